"""The tool calls of a reply, each shown whole: nobody gets a piece of one (sheet, section 7.3)."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Iterable

import orjson
from tropilla.api.surface import JSON
from tropilla.common.errors import GenerationFailed
from tropilla.common.generation import CallDelta, Reason

_ALPHABET = string.ascii_lowercase + string.digits
_ID_LENGTH = 8


class ToolCalls:
    """Pieces in; each call out as soon as its arguments are a whole object, or with `end`."""

    def __init__(self, request_id: str) -> None:
        self._request_id = request_id
        #: Of the calls that are not shown yet, and of those that are.
        self._names: dict[int, str] = {}
        self._arguments: dict[int, str] = {}
        self._shown: set[int] = set()

    def feed(self, deltas: Iterable[CallDelta]) -> list[JSON]:
        """The calls that these pieces complete."""
        return [call for delta in deltas if delta.call not in self._shown for call in self._grown(delta)]

    def end(self, reason: Reason) -> list[JSON]:
        """The calls that nobody could know to be complete before.

        What was cut off is not shown: half a call is none. What the model ended by itself and is no call fails.
        """
        ended = reason == "eos"
        calls = []
        for number, name in self._names.items():
            text = self._arguments[number]
            arguments = _object(text or "{}") if ended else _object(text)
            if arguments is not None:
                calls.append(self._call(number, name, arguments))
            elif ended:
                raise GenerationFailed(f"the model called '{name}' with arguments that are not a JSON object")
        return calls

    def _grown(self, delta: CallDelta) -> Iterable[JSON]:
        number = delta.call
        name = self._names.setdefault(number, delta.name)
        text = self._arguments[number] = self._arguments.get(number, "") + delta.arguments
        # An object says itself where it ends. It is parsed only where it may, for a long one grows by small pieces.
        arguments = _object(text) if delta.arguments.rstrip().endswith("}") else None
        if arguments is None:
            return ()
        del self._names[number], self._arguments[number]
        self._shown.add(number)
        return (self._call(number, name, arguments),)

    def _call(self, number: int, name: str, arguments: dict[str, JSON]) -> JSON:
        function = {"index": number, "name": name, "arguments": arguments}
        return {"id": call_id(self._request_id, number), "function": function}


def call_id(request_id: str, number: int) -> str:
    """The same whenever it is asked for, so that a stream and its repetition agree."""
    digest = hashlib.sha256(f"{request_id}/{number}".encode()).digest()
    return "call_" + "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:_ID_LENGTH])


def _object(text: str) -> dict[str, JSON] | None:
    """The object that arguments spell, in the model's order; some models write its JSON text as a string."""
    try:
        value = orjson.loads(text)
        if isinstance(value, str):
            value = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
