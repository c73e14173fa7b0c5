"""Events -> the answers of /v1/completions, whole and streamed (sheet, section 6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tropilla.api.surface import Call
from tropilla.api.surfaces.openai.answer import REASONS, Answer
from tropilla.api.surfaces.openai.echo import Before, before
from tropilla.api.surfaces.openai.logprobs import legacy_echo, legacy_logprobs
from tropilla.api.surfaces.openai.sight import Seen, Sight, sight_of
from tropilla.api.surfaces.openai.stream import Piece
from tropilla.api.surfaces.openai.token_facts import choice_facts, prompt_facts
from tropilla.common.generation import Choice, Finished, Prompt, Prompted, Token

#: Chunks and whole answers alike.
OBJECT = "text_completion"


class CompletionShape:
    """The chunks of a text completion. An echoed prompt is the choice's first one.

    With an echo every token has an entry: who scores a prompt counts them, and leaves off those he did not send.
    """

    object, one_prompt = OBJECT, False

    def __init__(self, call: Call) -> None:
        self._call = call
        self._answer: Answer = call.answer
        choices = range(call.request.choices)
        shown = call.request.show_markers
        sights = [Sight(everything=self._answer.echo, markers=shown) for _ in choices]
        self._sights = sights if self._answer.logprobs else None
        self._before = [before(_prompt(call, choice), ()) for choice in choices]

    def opening(self, _: int) -> Iterator[Piece]:
        yield from ()

    def prompted(self, event: Prompted) -> Iterator[Piece]:
        told = self._before[event.choice] = before(_prompt(self._call, event.choice), event.tokens)
        if self._answer.echo and (told.text or told.tokens):
            yield Piece({"text": told.text}, _echo(self._call, told) if self._answer.logprobs else None)

    def token(self, token: Token) -> Iterator[Piece]:
        seen = self._sights[token.choice].feed(token) if self._sights else []
        if token.text:
            yield Piece({"text": token.text}, self._logprobs(seen, token.choice))

    def closing(self, finished: Finished) -> Piece:
        rest = self._sights[finished.choice].rest() if self._sights and self._answer.echo else []
        return Piece({"text": ""}, self._logprobs(rest, finished.choice), REASONS[finished.reason])

    def _logprobs(self, seen: list[Seen], choice: int) -> Any:
        offset = len(self._before[choice].text)
        return legacy_logprobs(seen, offset, by_id=self._answer.by_id) if seen else None


def completion_choice(call: Call, index: int, choice: Choice) -> dict[str, Any]:
    """One choice of a whole answer."""
    known: Answer = call.answer
    told = before(_prompt(call, choice.finished.choice), choice.prompt)
    return {
        "index": index,
        "text": told.text + choice.text if known.echo else choice.text,
        "logprobs": _whole_logprobs(call, told, choice) if known.logprobs else None,
        "finish_reason": REASONS[choice.finished.reason],
        **prompt_facts(known, choice.prompt),
        **choice_facts(known, choice),
    }


def _whole_logprobs(call: Call, told: Before, choice: Choice) -> dict[str, Any]:
    known: Answer = call.answer
    seen = sight_of(choice.tokens, everything=known.echo, markers=call.request.show_markers)
    generated = legacy_logprobs(seen, len(told.text), by_id=known.by_id)
    if not known.echo:
        return generated
    return {key: entries + generated[key] for key, entries in _echo(call, told).items()}


def _echo(call: Call, told: Before) -> dict[str, Any]:
    # More may be known, where the prompt's own log-probabilities were asked for, too.
    return legacy_echo(told.tokens, call.request.logprobs or 0, by_id=call.answer.by_id)


def _prompt(call: Call, choice: int) -> Prompt:
    return call.request.prompts[choice // call.request.n]
