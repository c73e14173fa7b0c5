"""Events -> the answers of /v1/chat/completions, whole and streamed (sheet, section 8)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tropilla.api.surface import Call
from tropilla.api.surfaces.openai import calls
from tropilla.api.surfaces.openai.answer import REASONS, Answer
from tropilla.api.surfaces.openai.logprobs import chat_logprobs
from tropilla.api.surfaces.openai.sight import Sight, sight_of
from tropilla.api.surfaces.openai.stream import Piece
from tropilla.api.surfaces.openai.token_facts import choice_facts
from tropilla.common.generation import CallDelta, Choice, Finished, Prompted, Reason, Token


class ChatShape:
    """The chunks of a chat. Within a token reasoning comes first, then content, then calls: each in chunks of its own."""

    object, one_prompt = "chat.completion.chunk", True

    def __init__(self, call: Call) -> None:
        self._request = call.request
        self._answer: Answer = call.answer
        asked = call.request
        sights = [Sight(markers=asked.show_markers) for _ in range(asked.choices)]
        self._sights = None if asked.logprobs is None else sights
        self._called: set[int] = set()

    def opening(self, _: int) -> Iterator[Piece]:
        yield Piece({"delta": {"role": "assistant", "content": ""}})
        if self._answer.prefill:
            yield Piece({"delta": {"content": self._answer.prefill}})

    def prompted(self, _: Prompted) -> Iterator[Piece]:
        yield from ()

    def token(self, token: Token) -> Iterator[Piece]:
        seen = self._sights[token.choice].feed(token) if self._sights else []
        if token.reasoning:
            yield Piece({"delta": _reasoning(self._answer, token.reasoning)})
        if token.text:
            logprobs = chat_logprobs(seen, by_id=self._answer.by_id) if seen else None
            yield Piece({"delta": {"content": token.text}}, logprobs)
        for piece in token.calls:
            if piece.name or piece.arguments:
                self._called.add(token.choice)
                yield Piece({"delta": self._call(piece, token.choice)})

    def closing(self, finished: Finished) -> Piece:
        reason = finish_reason(self._answer, finished.reason, called=finished.choice in self._called)
        return Piece({"delta": dict(self._answer.closing_delta or {})}, finish_reason=reason)

    def _call(self, piece: CallDelta, choice: int) -> dict[str, Any]:
        if self._answer.function_call:
            return calls.legacy_delta(piece)
        return calls.delta(piece, request_id=self._request.id, choice=choice)


def chat_choice(call: Call, index: int, choice: Choice) -> dict[str, Any]:
    """One choice of a whole answer."""
    known: Answer = call.answer
    called = calls.whole_calls(choice)
    return {
        "index": index,
        "message": _message(call, index, choice),
        "logprobs": _logprobs(call, choice),
        "finish_reason": finish_reason(known, choice.finished.reason, called=bool(called)),
        **choice_facts(known, choice),
    }


def _logprobs(call: Call, choice: Choice) -> dict[str, Any] | None:
    if call.request.logprobs is None:
        return None
    seen = sight_of(choice.tokens, markers=call.request.show_markers)
    return chat_logprobs(seen, by_id=call.answer.by_id)


def _reasoning(known: Answer, text: str) -> dict[str, str]:
    """By DeepSeek's and llama.cpp's name, and where it is wanted by vLLM's."""
    return {"reasoning_content": text, **({"reasoning": text} if known.mirror_reasoning else {})}


def _message(call: Call, index: int, choice: Choice) -> dict[str, Any]:
    """Content is null where there are calls and no text; keys without anything to say are absent."""
    known: Answer = call.answer
    called, text = calls.whole_calls(choice), known.prefill + choice.text
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if called else ""), "refusal": None}
    if choice.reasoning:
        message |= _reasoning(known, choice.reasoning)
    if called and known.function_call:
        message["function_call"] = calls.legacy_call(called[0])
    elif called:
        message["tool_calls"] = calls.tool_calls(called, request_id=call.request.id, choice=index)
    return message


def finish_reason(known: Answer, reason: Reason, *, called: bool) -> str:
    """A call is why an answer ends, unless it was cut short."""
    if called and REASONS[reason] == "stop":
        return "function_call" if known.function_call else "tool_calls"
    return REASONS[reason]
