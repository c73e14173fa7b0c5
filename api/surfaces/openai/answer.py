"""What every OpenAI answer has around its choices, streamed or whole: the envelope, finish reasons, usage, headers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tropilla.api.surface import Call, Reply
from tropilla.api.timings import measured
from tropilla.common.catalogue import Model
from tropilla.common.generation import Completion, Finished, GenerationRequest, Reason, TokenPrompt

#: Nobody reads the answer of a cancelled request; SDKs know no fifth word.
REASONS: Mapping[Reason, str] = {"eos": "stop", "stop": "stop", "length": "length", "cancelled": "stop"}
#: The date of the API that OpenAI has answered with ever since.
HEADERS: Mapping[str, str] = {"openai-version": "2020-10-01"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer needs to know beside its request.

    Of chats: `closing_delta` is the delta of a stream's finish chunks, `prefill` what an echo begins the content with;
    `function_call` tells a call as it was told before there were several.
    Of completions: `echo` tells the prompt, too, `logprobs` whether the caller asked for them (`best_of` needs them for
    itself), `shown` how many choices of a prompt are told.
    """

    id: str
    model: str
    fingerprint: str
    include_usage: bool = False
    running_usage: bool = False
    closing_delta: Mapping[str, str] | None = None
    prefill: str = ""
    function_call: bool = False
    echo: bool = False
    logprobs: bool = False
    shown: int = 1
    #: TGI's headers, those that are known before anything is generated.
    headers: Mapping[str, str] = field(default_factory=dict)


def answer(kind: str, request: GenerationRequest, model: Model, fields: dict[str, Any], **more: Any) -> Answer:
    """`kind` begins the visible id; the rest is the request's own, so that a second attempt has the same."""
    options = fields["stream_options"]
    include = options.get("include_usage", False)
    return Answer(
        id=f"{kind}-{request.id}",
        model=model.name,
        # Changes with the file. llama.cpp's suite expects the b.
        fingerprint=f"b-{model.digest[:12]}",
        include_usage=include,
        running_usage=include and options.get("continuous_usage_stats", False),
        **more,
    )


def stream_headers(call: Call) -> Mapping[str, str]:
    known: Answer = call.answer
    return {**HEADERS, **known.headers}


def envelope(call: Call, kind: str) -> dict[str, Any]:
    """The keys that are equal in every chunk of one response."""
    known: Answer = call.answer
    return {
        "id": known.id,
        "object": kind,
        "created": int(call.received),
        "model": known.model,
        "system_fingerprint": known.fingerprint,
    }


def whole(call: Call, kind: str, choices: Iterable[Any], completion: Completion, finished_at: float) -> Reply:
    """One response object around its choices."""
    usage = Tally(call.request)
    for choice in completion.choices:
        usage.finish(choice.finished)
    known: Answer = call.answer
    headers = {
        **HEADERS,
        **known.headers,
        "openai-processing-ms": str(max(0, round((finished_at - call.received) * 1000))),
        **measured(call, (choice.finished for choice in completion.choices), finished_at),
    }
    return Reply({**envelope(call, kind), "choices": list(choices), "usage": usage.total()}, headers=headers)


class Tally:
    """Counts a request's tokens while its choices come in. A prompt counts once, however many choices it has."""

    def __init__(self, request: GenerationRequest) -> None:
        self._n = request.n
        # The length of a text is not known before a choice of it has finished.
        self._prompts = [len(p.ids) if isinstance(p, TokenPrompt) else 0 for p in request.prompts]
        self._cached = [0] * len(request.prompts)
        self._generated = [0] * request.choices
        self._reasoning = [0] * request.choices

    def count(self, choice: int) -> None:
        """One more token of a choice."""
        self._generated[choice] += 1

    def finish(self, finished: Finished) -> None:
        """What the worker says replaces what was counted."""
        self._generated[finished.choice] = finished.usage.generated
        self._reasoning[finished.choice] = finished.usage.reasoning
        prompt, number = divmod(finished.choice, self._n)
        self._prompts[prompt] = finished.usage.prompt
        if number == 0:
            self._cached[prompt] = finished.usage.cached

    def total(self) -> dict[str, Any]:
        prompt, generated = sum(self._prompts), sum(self._generated)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": generated,
            "total_tokens": prompt + generated,
            "prompt_tokens_details": {"cached_tokens": sum(self._cached)},
            "completion_tokens_details": {"reasoning_tokens": sum(self._reasoning)},
        }
