"""Tool calls in answers, whole and in pieces, as `tool_calls` or as the `function_call` there was before."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from tropilla.common.generation import Call, CallDelta, Choice

#: As OpenAI's: `call_` and so many characters.
_ID_LENGTH = 24


def call_id(request_id: str, choice: int, call: int) -> str:
    """The same at every telling: a stream may be taken up again where it broke."""
    return "call_" + hashlib.sha256(f"{request_id}/{choice}/{call}".encode()).hexdigest()[:_ID_LENGTH]


def delta(piece: CallDelta, *, request_id: str, choice: int) -> dict[str, Any]:
    """One chunk's delta. SDKs add up strings, so that id, type and name come once and the arguments in pieces."""
    if not piece.name:
        return {"tool_calls": [{"index": piece.call, "function": {"arguments": piece.arguments}}]}
    function = {"name": piece.name, "arguments": piece.arguments}
    identity = call_id(request_id, choice, piece.call)
    return {"tool_calls": [{"index": piece.call, "id": identity, "type": "function", "function": function}]}


def legacy_delta(piece: CallDelta) -> dict[str, Any]:
    named = {"name": piece.name} if piece.name else {}
    return {"function_call": {**named, "arguments": piece.arguments}}


def whole_calls(choice: Choice) -> tuple[Call, ...]:
    """All calls, but for the last where the answer was cut inside it: nobody could run it."""
    calls = choice.calls
    if choice.finished.reason == "length" and calls and not _is_json(calls[-1].arguments):
        return calls[:-1]
    return calls


def tool_calls(calls: tuple[Call, ...], *, request_id: str, choice: int) -> list[dict[str, Any]]:
    return [
        {"id": call_id(request_id, choice, number), "type": "function", "function": legacy_call(call)}
        for number, call in enumerate(calls)
    ]


def legacy_call(call: Call) -> dict[str, Any]:
    return {"name": call.name, "arguments": call.arguments}


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True
