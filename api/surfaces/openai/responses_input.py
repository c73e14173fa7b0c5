"""`input` of the Responses API -> `Message`s: what was said, called, answered and thought, item by item (sheet, section 9).

An assistant's turn is several items there (a reasoning, a message, calls) and one message for a template: consecutive items
are put together again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError
from tropilla.api.about import TEXT, Nested, Shape, either, one_of, record, several, tagged
from tropilla.api.fields import Array, Strict, Text, empty, wrong_type
from tropilla.api.images import Piece, joined, of_url, placed
from tropilla.api.reading import Wrong, without_nulls
from tropilla.api.surfaces.openai.messages import JOINT, Arguments, Content, Link, Part, said
from tropilla.api.surfaces.openai.wrong import absent, at
from tropilla.common.generation import Image, Message, ToolCall

#: Those that speak; a tool does so by `function_call_output`.
_ROLES = ("user", "assistant", "system", "developer")


class _Link(Link):
    """A bare one: how closely to look at it stands beside it."""

    expected = "a string"

    def read(self, value: Any) -> Image:
        if not isinstance(value, str):
            raise absent() if value is None else wrong_type(self.expected, value)
        return of_url(value, "")


class _InputPart(Part):
    texts: Mapping[str, str] = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
    media = frozenset({"input_file", "input_audio", "computer_screenshot"})
    shown = "input_image"
    link = _Link()

    def described_image(self, _: Nested) -> tuple[Shape, ...]:
        more = {"detail": one_of(*self.link.details), "file_id": {"type": "null"}}
        return (record("", {"type": one_of(self.shown), "image_url": TEXT}, more),)

    def read_image(self, value: Mapping[str, Any]) -> Image:
        if value.get("file_id") is not None:
            raise at(Wrong("images in files are not served: send them as data: URLs.", "unsupported"), "file_id")
        self.link.check_detail(value)
        return super().read_image(value)


class _InputContent(Content):
    parts = Array(_InputPart())


class _ReasoningPart(Part):
    texts: Mapping[str, str] = {"reasoning_text": "text", "summary_text": "text", "text": "text"}
    shown = ""

    def described_image(self, _: Nested) -> tuple[Shape, ...]:
        return ()


class _Said(Schema):
    role = Text(_ROLES, required=True)
    content = _InputContent(required=True)


class _Called(Schema):
    call_id = Text(required=True)
    name = Text(required=True)
    arguments = Arguments(load_default="")


class _Returned(Schema):
    call_id = Text(required=True)
    output = _InputContent(required=True)


class _Thought(Schema):
    """`content` is the reasoning itself, where a server tells it. What is encrypted only its writer reads."""

    summary = Array(_ReasoningPart(), load_default=())
    content = Array(_ReasoningPart(), load_default=())


@dataclass(slots=True)
class _Turn:
    """An assistant's, as far as its items have come."""

    content: str | None = None
    reasoning: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)

    def message(self) -> Message:
        return Message(
            "assistant", self.content or "", tool_calls=tuple(self.calls), reasoning=JOINT.join(self.reasoning)
        )


class _Turns:
    """Items in, messages out."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._turn: _Turn | None = None
        self._place = 0

    def add(self, item: Any, place: int) -> None:
        """`place` is its own among the items. Raises a `ValidationError` with paths inside the item."""
        if not isinstance(item, dict):
            raise wrong_type("an object", item)
        kind = item.get("type") or ("message" if "role" in item else None)
        if kind is None:
            raise at(absent(), "type")
        if not isinstance(kind, str):
            raise at(wrong_type("a string", kind), "type")
        fields, self._place = without_nulls(item), place
        match kind:
            case "message":
                self._said(**_Said().load(fields, unknown=EXCLUDE))
            case "function_call":
                self._called(**_Called().load(fields, unknown=EXCLUDE))
            case "function_call_output":
                self._returned(**_Returned().load(fields, unknown=EXCLUDE))
            case "reasoning":
                self._thought(**_Thought().load(fields, unknown=EXCLUDE))
            case _:
                served = "'message', 'function_call', 'function_call_output', 'reasoning'"
                raise at(Wrong(f"items of type '{kind}' are not served. Expected one of {served}."), "type")

    def messages(self) -> list[Message]:
        self._close()
        return self._messages

    def _said(self, role: str, content: list[Piece]) -> None:
        message = self._message("system" if role == "developer" else role, content, "content")
        if role == "assistant":
            # Whoever speaks after a call, or once more, begins another turn.
            if self._turn is not None and (self._turn.calls or self._turn.content is not None):
                self._close()
            self._open().content = message.content
            return
        self._close()
        self._messages.append(message)

    def _called(self, call_id: str, name: str, arguments: str) -> None:
        self._open().calls.append(ToolCall(name, arguments, call_id))

    def _returned(self, call_id: str, output: list[Piece]) -> None:
        self._close()
        self._messages.append(replace(self._message("tool", output, "output"), tool_call_id=call_id))

    def _message(self, role: str, pieces: list[Piece], field: str) -> Message:
        content, images = said(pieces, role, field=field)
        return placed(Message(role, content, images=images), f"input[{self._place}].")

    def _thought(self, summary: list[Piece], content: list[Piece]) -> None:
        thought, _ = joined(content or summary, JOINT)
        if self._turn is not None and (self._turn.calls or self._turn.content is not None):
            self._close()
        if thought:
            self._open().reasoning.append(thought)

    def _open(self) -> _Turn:
        self._turn = self._turn or _Turn()
        return self._turn

    def _close(self) -> None:
        if self._turn is not None:
            self._messages.append(self._turn.message())
            self._turn = None


class Input(Strict[list[Message]]):
    """A string, said by the user, or items."""

    expected = "a string or an array of input items"

    def described(self, nested: Nested, /) -> Shape:
        """A message need not say that it is one."""
        said: Shape = {"allOf": [{"properties": {"type": {"enum": ["message", None]}}}, nested(_Said())]}
        kinds = {"function_call": _Called(), "function_call_output": _Returned(), "reasoning": _Thought()}
        items = (tagged(kind, nested(schema)) for kind, schema in kinds.items())
        return either(TEXT, several(either(said, *items), least=1))

    def read(self, value: Any) -> list[Message]:
        if isinstance(value, str):
            return [Message("user", value)]
        if not isinstance(value, list):
            raise wrong_type(self.expected, value)
        turns = _Turns()
        for place, item in enumerate(value):
            try:
                turns.add(item, place)
            except ValidationError as error:
                raise at(error, place) from error
        messages = turns.messages()
        if not messages:
            raise empty()
        return messages
