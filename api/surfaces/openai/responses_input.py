"""`input` of the Responses API -> `Message`s: what was said, called, answered and thought, item by item (sheet, section 9).

An assistant's turn is several items there (a reasoning, a message, calls) and one message for a template: consecutive items
are put together again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError
from tropilla.api.about import TEXT, Nested, Shape, either, several, tagged
from tropilla.api.fields import Array, Strict, Text, empty, wrong_type
from tropilla.api.reading import Wrong, without_nulls
from tropilla.api.surfaces.openai.messages import JOINT, Arguments, Content, Part
from tropilla.api.surfaces.openai.wrong import absent, at
from tropilla.common.generation import Message, ToolCall

#: Those that speak; a tool does so by `function_call_output`.
_ROLES = ("user", "assistant", "system", "developer")


class _InputPart(Part):
    texts: Mapping[str, str] = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
    media = frozenset({"input_image", "input_file", "input_audio", "computer_screenshot"})


class _InputTexts(Content):
    parts = Array(_InputPart())


class _InputContent(Strict[str]):
    """Its texts as one."""

    expected = Content.expected
    _texts = _InputTexts()

    def described(self, nested: Nested, /) -> Shape:
        return self._texts.described(nested)

    def read(self, value: Any) -> str:
        return JOINT.join(self._texts.read(value))


class _ReasoningPart(Part):
    texts: Mapping[str, str] = {"reasoning_text": "text", "summary_text": "text", "text": "text"}


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

    def add(self, item: Any) -> None:
        """Raises a `ValidationError` with paths inside the item."""
        if not isinstance(item, dict):
            raise wrong_type("an object", item)
        kind = item.get("type") or ("message" if "role" in item else None)
        if kind is None:
            raise at(absent(), "type")
        if not isinstance(kind, str):
            raise at(wrong_type("a string", kind), "type")
        fields = without_nulls(item)
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

    def _said(self, role: str, content: str) -> None:
        if role == "assistant":
            # Whoever speaks after a call, or once more, begins another turn.
            if self._turn is not None and (self._turn.calls or self._turn.content is not None):
                self._close()
            self._open().content = content
            return
        self._close()
        self._messages.append(Message("system" if role == "developer" else role, content))

    def _called(self, call_id: str, name: str, arguments: str) -> None:
        self._open().calls.append(ToolCall(name, arguments, call_id))

    def _returned(self, call_id: str, output: str) -> None:
        self._close()
        self._messages.append(Message("tool", output, tool_call_id=call_id))

    def _thought(self, summary: list[str], content: list[str]) -> None:
        thought = JOINT.join(content or summary)
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
                turns.add(item)
            except ValidationError as error:
                raise at(error, place) from error
        messages = turns.messages()
        if not messages:
            raise empty()
        return messages
