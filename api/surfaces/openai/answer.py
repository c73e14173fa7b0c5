"""What every OpenAI answer has around its choices, streamed or whole: the envelope, finish reasons, usage, headers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tropilla.api.surface import Call, Reply
from tropilla.api.surfaces.openai.asking import counts
from tropilla.api.timings import measured
from tropilla.common.catalogue import Model
from tropilla.common.generation import Completion, Finished, GenerationRequest, Reason, TokenPrompt

#: Nobody reads the answer of a cancelled request; SDKs know no fifth word.
REASONS: Mapping[Reason, str] = {"eos": "stop", "stop": "stop", "length": "length", "cancelled": "stop"}
#: The date of the API that OpenAI has answered with ever since.
_VERSION = "2020-10-01"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer needs to know beside its request.

    `kind` begins the visible id; the rest is the request's own, so that whoever tells the answer again says the same.
    `token_ids` and `prompt_logprobs` tell what vLLM's clients ask for, `by_id` spells tokens of log-probabilities as ids.
    Of chats: `closing_delta` is the delta of a stream's finish chunks, `prefill` what an echo begins the content with;
    `function_call` tells a call as it was told before there were several, `mirror_reasoning` reasoning by both its names.
    Of completions: `echo` tells the prompt, too, `logprobs` whether the caller asked for them (`best_of` needs them for
    itself), `shown` how many choices of a prompt are told.
    """

    kind: str
    model: str
    fingerprint: str
    include_usage: bool = False
    running_usage: bool = False
    token_ids: bool = False
    by_id: bool = False
    prompt_logprobs: int | None = None
    closing_delta: Mapping[str, str] | None = None
    prefill: str = ""
    function_call: bool = False
    mirror_reasoning: bool = False
    echo: bool = False
    logprobs: bool = False
    shown: int = 1
    #: TGI's headers, those that are known before anything is generated.
    headers: Mapping[str, str] = field(default_factory=dict)


def answer(kind: str, request: GenerationRequest, model: Model, fields: dict[str, Any], **more: Any) -> Answer:
    options = fields["stream_options"]
    return Answer(
        kind=kind,
        model=request.adapter or model.name,
        # Changes with the file. llama.cpp's suite expects the b.
        fingerprint=f"b-{model.digest[:12]}",
        include_usage=options.get("include_usage", False),
        running_usage=counts(options),
        token_ids=fields["return_token_ids"],
        by_id=fields["return_tokens_as_token_ids"],
        prompt_logprobs=fields.get("prompt_logprobs"),
        **more,
    )


def stream_headers(call: Call) -> Mapping[str, str]:
    known: Answer = call.answer
    return known.headers


def envelope(call: Call, kind: str) -> dict[str, Any]:
    """The keys that are equal in every chunk of one response."""
    known: Answer = call.answer
    return {
        "id": f"{known.kind}-{call.request.id}",
        "object": kind,
        "created": int(call.received),
        "model": known.model,
        "system_fingerprint": known.fingerprint,
    }


def whole(
    call: Call, kind: str, choices: Iterable[Any], completion: Completion, finished_at: float, **more: Any
) -> Reply:
    """One response object around its choices. more: keys of a route's own."""
    usage = Tally(call.request)
    for choice in completion.choices:
        usage.finish(choice.finished)
    known: Answer = call.answer
    took = {**known.headers, **measured(call, (choice.finished for choice in completion.choices), finished_at)}
    body = {**envelope(call, kind), "choices": list(choices), "usage": usage.total(), **more}
    return Reply(body, headers=took)


def headers(seconds: float) -> Mapping[str, str]:
    """What every OpenAI answer carries; of a stream, the time is that of its first event."""
    return {"openai-version": _VERSION, "openai-processing-ms": str(round(seconds * 1000))}


class Tally:
    """Counts a request's tokens while its choices come in. A prompt counts once, however many choices it has."""

    def __init__(self, request: GenerationRequest) -> None:
        self._n = request.n
        # The length of a text is not known before its tokens are told, or a choice of it has finished.
        self._prompts = [len(p.ids) if isinstance(p, TokenPrompt) else 0 for p in request.prompts]
        self._cached = [0] * len(request.prompts)
        self._generated = [0] * request.choices
        self._reasoning = [0] * request.choices

    def prompted(self, choice: int, tokens: int) -> None:
        """The choice's prompt has so many tokens."""
        self._prompts[choice // self._n] = tokens

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
