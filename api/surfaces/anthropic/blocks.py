"""Messages of content blocks -> `Message`s. Tool results become messages of their own, before what the user says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError
from tropilla.api.about import OBJECT, TEXT, Nested, Shape, either, one_of, record, several, tagged
from tropilla.api.fields import Array, Boolean, Strict, Text, empty, wrong_type
from tropilla.api.reading import Wrong, without_nulls
from tropilla.api.surfaces.openai.wrong import absent, at, json_text
from tropilla.common.generation import Message, ToolCall

#: Between the texts of one message.
JOINT = "\n"
#: role -> the blocks it may have.
_SPOKEN: Mapping[str, frozenset[str]] = {
    "user": frozenset({"text", "tool_result"}),
    "assistant": frozenset({"text", "thinking", "redacted_thinking", "tool_use"}),
    "system": frozenset({"text"}),
}
#: Blocks Anthropic serves, as opposed to misspelt ones.
_MEDIA = frozenset({"image", "document", "search_result", "container_upload"})
#: A model is told that a call has failed by what it reads.
_FAILED = "Error: "


class _Input(Strict[str]):
    """A call's arguments, as JSON text."""

    expected = "an object"
    shape = OBJECT

    def read(self, value: Any) -> str:
        if not isinstance(value, dict):
            raise wrong_type(self.expected, value)
        return json_text(value)


def _kind(block: Any) -> str:
    if not isinstance(block, dict):
        raise wrong_type("an object", block)
    kind = block.get("type")
    if not isinstance(kind, str):
        raise at(absent() if kind is None else wrong_type("a string", kind), "type")
    if kind in _MEDIA:
        raise Wrong(f"content blocks of type '{kind}' are not supported: the model reads text only.", "unsupported")
    return kind


class _TextBlock(Schema):
    text = Text(required=True)


class _OnlyText(Strict[str]):
    """A block that has to be text."""

    expected = "an object"

    def described(self, nested: Nested, /) -> Shape:
        return tagged("text", nested(_TextBlock()))

    def read(self, value: Any) -> str:
        kind = _kind(value)
        if kind != "text":
            raise at(Wrong(f"unknown value '{kind}'. Expected 'text'."), "type")
        return str(_TextBlock().load(without_nulls(value), unknown=EXCLUDE)["text"])


class Texts(Strict[str]):
    """A string, or blocks of text."""

    expected = "a string or an array of content blocks"
    _blocks = Array(_OnlyText())

    def described(self, nested: Nested, /) -> Shape:
        return either(TEXT, self._blocks.described(nested))

    def read(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        if not isinstance(value, list):
            raise wrong_type(self.expected, value)
        return JOINT.join(text or "" for text in self._blocks.deserialize(value) or ())


class _Thinking(Schema):
    """Its signature is for whoever wrote it."""

    thinking = Text(required=True)


class _Redacted(Schema):
    """Encrypted: there is nothing in it to read."""


class _ToolUse(Schema):
    id = Text(required=True)
    name = Text(required=True)
    input = _Input(required=True)


class _ToolResult(Schema):
    tool_use_id = Text(required=True)
    content = Texts(load_default="")
    is_error = Boolean(load_default=False)


#: What each kind of block holds beside its type.
_BLOCKS: Mapping[str, Schema] = {
    "text": _TextBlock(),
    "thinking": _Thinking(),
    "redacted_thinking": _Redacted(),
    "tool_use": _ToolUse(),
    "tool_result": _ToolResult(),
}


class _Turn:
    """One message while its blocks come."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls: list[ToolCall] = []
        self._results: list[Message] = []
        self._readers: Mapping[str, Callable[[dict[str, Any]], None]] = {
            "text": self._text,
            "thinking": self._thinking,
            "redacted_thinking": lambda block: None,
            "tool_use": self._tool_use,
            "tool_result": self._tool_result,
        }

    def add(self, block: Any) -> None:
        kind = _kind(block)
        if kind not in self._readers:
            raise at(Wrong(f"content blocks of type '{kind}' are not served."), "type")
        if kind not in _SPOKEN[self._role]:
            raise at(Wrong(f"a message of role '{self._role}' has no blocks of type '{kind}'."), "type")
        self._readers[kind](without_nulls(block))

    def messages(self) -> list[Message]:
        if self._results and not self._texts:
            return self._results
        content, reasoning = JOINT.join(self._texts), JOINT.join(self._thoughts)
        said = Message(self._role, content, tool_calls=tuple(self._calls), reasoning=reasoning)
        return [*self._results, said]

    def _text(self, block: dict[str, Any]) -> None:
        self._texts.append(_TextBlock().load(block, unknown=EXCLUDE)["text"])

    def _thinking(self, block: dict[str, Any]) -> None:
        self._thoughts.append(_Thinking().load(block, unknown=EXCLUDE)["thinking"])

    def _tool_use(self, block: dict[str, Any]) -> None:
        call = _ToolUse().load(block, unknown=EXCLUDE)
        self._calls.append(ToolCall(call["name"], call["input"], call["id"]))

    def _tool_result(self, block: dict[str, Any]) -> None:
        result = _ToolResult().load(block, unknown=EXCLUDE)
        content = _FAILED + result["content"] if result["is_error"] else result["content"]
        self._results.append(Message("tool", content, tool_call_id=result["tool_use_id"]))


class _Role(Schema):
    role = Text(tuple(_SPOKEN), required=True)


class Said(Strict[list[Message]]):
    """One of `messages`, as one or several of ours."""

    expected = "an object"

    def described(self, nested: Nested, /) -> Shape:
        return either(*(self._spoken(role, nested) for role in _SPOKEN))

    def _spoken(self, role: str, nested: Nested) -> Shape:
        blocks = (tagged(kind, nested(schema)) for kind, schema in _BLOCKS.items() if kind in _SPOKEN[role])
        content = either(TEXT, several(either(*blocks), least=0 if role == "assistant" else 1))
        return record("", {"role": one_of(role), "content": content})

    def read(self, value: Any) -> list[Message]:
        if not isinstance(value, dict):
            raise wrong_type(self.expected, value)
        role = _Role().load(without_nulls(value), unknown=EXCLUDE)["role"]
        content = value.get("content")
        if isinstance(content, str):
            return [Message(role, content)]
        if not isinstance(content, list):
            raise at(absent() if content is None else wrong_type(Texts.expected, content), "content")
        if not content and role != "assistant":
            raise at(empty(), "content")
        turn = _Turn(role)
        for place, block in enumerate(content):
            try:
                turn.add(block)
            except ValidationError as error:
                raise at(error, "content", place) from error
        return turn.messages()
