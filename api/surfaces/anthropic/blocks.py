"""Messages of content blocks -> `Message`s. Tool results become messages of their own, before what the user says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError
from tropilla.api.about import OBJECT, TEXT, Nested, Shape, either, one_of, record, several, tagged
from tropilla.api.fields import Array, Boolean, Strict, Text, empty, wrong_type
from tropilla.api.images import Piece, joined, placed
from tropilla.api.reading import Wrong, without_nulls
from tropilla.api.surfaces.anthropic.sources import ImageBlock
from tropilla.api.surfaces.openai.wrong import absent, at, json_text
from tropilla.common.generation import Image, Message, ToolCall

#: Between the texts of one message.
JOINT = "\n"
#: role -> the blocks it may have.
_SPOKEN: Mapping[str, frozenset[str]] = {
    "user": frozenset({"text", "image", "tool_result"}),
    "assistant": frozenset({"text", "thinking", "redacted_thinking", "tool_use"}),
    "system": frozenset({"text"}),
}
#: Blocks Anthropic serves, as opposed to misspelt ones.
_MEDIA = frozenset({"document", "search_result", "container_upload"})
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
        raise Wrong(f"content blocks of type '{kind}' are not supported.", "unsupported")
    return kind


class _TextBlock(Schema):
    text = Text(required=True)


class _TextOrImage(Strict[Piece]):
    """A block that a result of a tool may have."""

    expected = "an object"
    kinds: tuple[str, ...] = ("text", "image")

    def described(self, nested: Nested, /) -> Shape:
        return either(*(tagged(kind, nested(_BLOCKS[kind])) for kind in self.kinds))

    def read(self, value: Any) -> Piece:
        kind = _kind(value)
        if kind not in self.kinds:
            raise at(Wrong(f"unknown value '{kind}'. Expected {' or '.join(map(repr, self.kinds))}."), "type")
        piece: Piece = _BLOCKS[kind].load(without_nulls(value), unknown=EXCLUDE)[_SAYS[kind]]
        return piece


class _OnlyText(_TextOrImage):
    """A block that has to be text."""

    kinds = ("text",)


class _Pieces(Strict[list[Piece]]):
    """A string, or blocks."""

    expected = "a string or an array of content blocks"
    _blocks: Array[Piece] = Array(_TextOrImage())

    def described(self, nested: Nested, /) -> Shape:
        return either(TEXT, self._blocks.described(nested))

    def read(self, value: Any) -> list[Piece]:
        if isinstance(value, str):
            return [value]
        if not isinstance(value, list):
            raise wrong_type(self.expected, value)
        pieces = (piece or "" for piece in self._blocks.deserialize(value) or ())
        return [_below(piece, f"content[{place}]") for place, piece in enumerate(pieces)]


def _below(piece: Piece, before: str) -> Piece:
    return replace(piece, param=before + piece.param) if isinstance(piece, Image) else piece


class Texts(Strict[str]):
    """A string, or blocks of text."""

    expected = _Pieces.expected
    _blocks: Array[Piece] = Array(_OnlyText())

    def described(self, nested: Nested, /) -> Shape:
        return either(TEXT, self._blocks.described(nested))

    def read(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        if not isinstance(value, list):
            raise wrong_type(self.expected, value)
        return joined((text or "" for text in self._blocks.deserialize(value) or ()), JOINT)[0]


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
    content = _Pieces(load_default=list)
    is_error = Boolean(load_default=False)


#: What each kind of block holds beside its type.
_BLOCKS: Mapping[str, Schema] = {
    "text": _TextBlock(),
    "image": ImageBlock(),
    "thinking": _Thinking(),
    "redacted_thinking": _Redacted(),
    "tool_use": _ToolUse(),
    "tool_result": _ToolResult(),
}


#: Where those stand in their blocks that can stand side by side.
_SAYS: Mapping[str, str] = {"text": "text", "image": "source"}


class _Turn:
    """One message while its blocks come."""

    def __init__(self, role: str) -> None:
        self._role = role
        self._pieces: list[Piece] = []
        self._place = 0
        self._thoughts: list[str] = []
        self._calls: list[ToolCall] = []
        self._results: list[Message] = []
        self._readers: Mapping[str, Callable[[dict[str, Any]], None]] = {
            "text": self._text,
            "image": self._image,
            "thinking": self._thinking,
            "redacted_thinking": lambda block: None,
            "tool_use": self._tool_use,
            "tool_result": self._tool_result,
        }

    def add(self, block: Any, place: int) -> None:
        """`place` is its own among the blocks."""
        kind, self._place = _kind(block), place
        if kind not in self._readers:
            raise at(Wrong(f"content blocks of type '{kind}' are not served."), "type")
        if kind not in _SPOKEN[self._role]:
            raise at(Wrong(f"a message of role '{self._role}' has no blocks of type '{kind}'."), "type")
        self._readers[kind](without_nulls(block))

    def messages(self) -> list[Message]:
        if self._results and not self._pieces:
            return self._results
        (content, images), reasoning = joined(self._pieces, JOINT), JOINT.join(self._thoughts)
        said = Message(self._role, content, tool_calls=tuple(self._calls), reasoning=reasoning, images=images)
        return [*self._results, said]

    def _text(self, block: dict[str, Any]) -> None:
        self._pieces.append(_TextBlock().load(block, unknown=EXCLUDE)["text"])

    def _image(self, block: dict[str, Any]) -> None:
        image = ImageBlock().load(block, unknown=EXCLUDE)["source"]
        self._pieces.append(_below(image, f"content[{self._place}]"))

    def _thinking(self, block: dict[str, Any]) -> None:
        self._thoughts.append(_Thinking().load(block, unknown=EXCLUDE)["thinking"])

    def _tool_use(self, block: dict[str, Any]) -> None:
        call = _ToolUse().load(block, unknown=EXCLUDE)
        self._calls.append(ToolCall(call["name"], call["input"], call["id"]))

    def _tool_result(self, block: dict[str, Any]) -> None:
        result = _ToolResult().load(block, unknown=EXCLUDE)
        content, images = joined(result["content"], JOINT)
        message = Message("tool", content, tool_call_id=result["tool_use_id"], images=images)
        if result["is_error"]:
            message = replace(message, content=_FAILED + content)
        self._results.append(placed(message, f"content[{self._place}]."))


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
                turn.add(block, place)
            except ValidationError as error:
                raise at(error, "content", place) from error
        return turn.messages()
