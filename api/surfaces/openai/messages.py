"""Chat messages as OpenAI's clients write them -> `Message`s: roles, text parts, tool calls of the history.

Whatever a template might make of it is kept; whatever no model reads here (audio, files) is refused by name. Images are
those of users and of tools.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from marshmallow import Schema, ValidationError, post_load
from tropilla.api.about import OBJECT, TEXT, Nested, Shape, either, one_of, record, several, there
from tropilla.api.fields import Array, Object, Strict, Text, empty, wrong_type
from tropilla.api.images import BLIND, Piece, joined, of_url
from tropilla.api.reading import Wrong
from tropilla.api.surfaces.openai.wrong import at, json_text
from tropilla.common.generation import Image, Message, ToolCall

#: Names OpenAI has given to roles every template knows otherwise. Other roles are the template's business.
_ROLES: Mapping[str, str] = {"developer": "system", "function": "tool"}
#: Between text parts, where the template does not take lists of them (sheet, section 7); an assistant's are paragraphs
#: (section 13).
JOINT, _ASSISTANT_JOINT = "\n", "\n\n"


Images = tuple[Image, ...]


class Link(Strict[Image]):
    """An image by its URL: alone, or with how closely OpenAI would look at it. Here the projector decides that."""

    expected = "a string or an object"
    details = ("auto", "low", "high", "original")

    def described(self, _: Nested, /) -> Shape:
        return either(TEXT, record("", {"url": TEXT}, {"detail": one_of(*self.details)}))

    def read(self, value: Any) -> Image:
        if isinstance(value, str):
            return of_url(value, "")
        if not isinstance(value, dict):
            raise wrong_type(self.expected, value)
        url = value.get("url")
        if not isinstance(url, str):
            raise at(wrong_type("a string", url), "url")
        self.check_detail(value)
        try:
            return of_url(url, ".url")
        except Wrong as error:
            raise at(error, "url") from error

    def check_detail(self, value: Mapping[str, Any]) -> None:
        detail = value.get("detail")
        if detail is not None and detail not in self.details:
            raise at(Wrong(f"unknown value {detail!r}. Expected one of {', '.join(self.details)}."), "detail")


class Part(Strict[Piece]):
    """One content part: its text, or its image."""

    expected = "an object"
    #: The parts that are text, and the key it stands under; an error names the first.
    texts: Mapping[str, str] = {"text": "text", "refusal": "refusal"}
    #: Parts other servers understand, as opposed to misspelt ones.
    media = frozenset({"input_audio", "file", "video_url", "audio_url", "image", "video", "audio"})
    #: The part that is an image.
    shown = "image_url"
    link = Link()

    def described(self, nested: Nested, /) -> Shape:
        texts = (record("", {"type": one_of(kind), key: TEXT}) for kind, key in self.texts.items())
        return either(*texts, *self.described_image(nested))

    def described_image(self, nested: Nested) -> tuple[Shape, ...]:
        return (record("", {"type": one_of(self.shown), "image_url": self.link.described(nested)}),)

    def read_image(self, value: Mapping[str, Any]) -> Image:
        try:
            image = self.link.read(value.get("image_url"))
        except ValidationError as error:
            raise at(error, "image_url") from error
        return replace(image, param=f".image_url{image.param}")

    def read(self, value: Any) -> Piece:
        if not isinstance(value, dict):
            raise wrong_type(self.expected, value)
        kind = value.get("type")
        if not isinstance(kind, str):
            raise at(wrong_type("a string", kind), "type")
        if kind == self.shown:
            return self.read_image(value)
        if kind in self.media:
            raise Wrong(f"content parts of type '{kind}' are not supported.", "unsupported")
        if kind not in self.texts:
            raise at(Wrong(f"unknown content part type '{kind}'. Expected '{next(iter(self.texts))}'."), "type")
        text = value.get(self.texts[kind])
        if not isinstance(text, str):
            raise at(wrong_type("a string", text), self.texts[kind])
        return text


class Content(Strict[list[Piece]]):
    """Its texts and images: what stands between them is the role's business."""

    expected = "a string or an array of content parts"
    parts = Array(Part())

    def read(self, value: Any) -> list[Piece]:
        if isinstance(value, str):
            return [value]
        if not isinstance(value, list):
            raise wrong_type(self.expected, value)
        pieces = (part or "" for part in self.parts.deserialize(value) or ())
        return [piece if isinstance(piece, str) else _at(piece, place) for place, piece in enumerate(pieces)]

    def described(self, nested: Nested, /) -> Shape:
        return either(TEXT, self.parts.described(nested))


def _at(image: Image, place: int) -> Image:
    return replace(image, param=f"[{place}]{image.param}")


def said(pieces: Iterable[Piece], role: str, *, field: str = "content", joint: str = JOINT) -> tuple[str, Images]:
    """A message's content: its text, and what there is to be seen. Raises a `ValidationError` for images where nobody looks
    at any.
    """
    text, images = joined(pieces, joint)
    if images and role in BLIND:
        wrong = Wrong(f"images are taken of users and tools alone, and this message has the role '{role}'.")
        raise at(wrong, field)
    return text, tuple(replace(image, param=field + image.param) for image in images)


class Arguments(Strict[str]):
    """JSON text. Some clients send the object itself."""

    expected = "a string"
    shape = either(TEXT, OBJECT)

    def read(self, value: Any) -> str:
        if isinstance(value, dict):
            return json_text(value)
        if not isinstance(value, str):
            raise wrong_type(self.expected, value)
        return value


class _FunctionSchema(Schema):
    name = Text(required=True)
    arguments = Arguments(load_default="")


class _ToolCallSchema(Schema):
    id = Text(load_default="")
    type = Text(("function",), load_default="function")
    function = Object(_FunctionSchema(), required=True)

    @post_load
    def _tool_call(self, fields: dict[str, Any], **_: Any) -> ToolCall:
        return ToolCall(id=fields["id"], **fields["function"])


#: Who calls need not speak.
_CONTENTLESS: Shape = {
    "properties": {"role": {"const": "assistant"}},
    **either(there("tool_calls", {"type": "array", "minItems": 1}), there("function_call"), there("refusal")),
}


class MessageSchema(Schema):
    needs: ClassVar[Shape] = either(there("content"), _CONTENTLESS)

    role = Text(required=True)
    content = Content()
    name = Text(load_default="")
    tool_call_id = Text(load_default="")
    tool_calls = Array(Object(_ToolCallSchema()), load_default=())
    #: What `tool_calls` was before there were several.
    function_call = Object(_FunctionSchema())
    refusal = Text()
    reasoning = Text()
    reasoning_content = Text()

    @post_load
    def _message(self, fields: dict[str, Any], **_: Any) -> Message:
        calls = tuple(fields["tool_calls"])
        if not calls and "function_call" in fields:
            calls = (ToolCall(**fields["function_call"]),)
        role = fields["role"]
        speaks = role == "assistant"
        texts = fields.get("content", [fields["refusal"]] if speaks and "refusal" in fields else None)
        if texts is None and not (speaks and calls):
            raise at(Wrong(f"a message of role '{role}' needs content.", "missing"), "content")
        content, images = said(texts or (), role, joint=_ASSISTANT_JOINT if speaks else JOINT)
        return Message(
            role=_ROLES.get(role, role),
            content=content,
            name=fields["name"],
            tool_calls=calls,
            tool_call_id=fields["tool_call_id"],
            reasoning=fields.get("reasoning", fields.get("reasoning_content", "")),
            images=images,
        )


class Said(Strict[list[Message]]):
    """Cria's chat route takes a `prompt`: a string, or strings, said by the user."""

    expected = "a string or an array of strings"
    shape = either(TEXT, several(TEXT, least=1))

    def read(self, value: Any) -> list[Message]:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list):
            raise wrong_type(self.expected, value)
        if not texts:
            raise empty()
        odd = [text for text in texts if not isinstance(text, str)]
        if odd:
            raise wrong_type("an array of strings", odd[0])
        return [Message("user", JOINT.join(texts))]
