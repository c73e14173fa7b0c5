"""POST /api/create: a new name for another model's weights, or for files that were uploaded (sheet, section 10.1).

What is empty is not given, as in Go: the store takes it from the model that the new one is made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from tropilla.api.about import OBJECT, TEXT, Nested, Shape, either, several
from tropilla.api.surface import JSON, Chore, ErrandCall, Surroundings
from tropilla.api.surfaces.ollama import about
from tropilla.api.surfaces.ollama.changes import BAD_NAME, name_in, new_name, unknown
from tropilla.api.surfaces.ollama.fields import Boolean, Field, Integer, Object, Objects, Struct, Text, kind_of
from tropilla.api.surfaces.ollama.history import history
from tropilla.api.surfaces.ollama.names import known_as, parse_name
from tropilla.api.surfaces.ollama.options import parameters_given
from tropilla.api.surfaces.ollama.schemas import GivenOptions, MessageSchema, read_body
from tropilla.api.surfaces.ollama.words import last, lines
from tropilla.common.blobs import DIGEST, digest_of
from tropilla.common.errands import Create
from tropilla.common.errors import InvalidField, UnsupportedField
from tropilla.common.generation import Message, new_request_id
from tropilla.common.gotemplate.faults import ParseError
from tropilla.common.gotemplate.ollama import OllamaTemplate
from tropilla.common.recipes import Overlay

#: What would change answers and that nobody here knows how to do.
NOT_SERVED = ("renderer", "parser", "requires")


class Texts(Field[tuple[str, ...]]):
    """A list of strings; where `one` is set one string will do."""

    go_type = "[]string"

    def __init__(self, *, one: bool = False, **more: Any) -> None:
        super().__init__(**more)
        self.one = one

    def read(self, value: Any) -> tuple[str, ...]:
        texts = [value] if self.one and isinstance(value, str) else value
        if not isinstance(texts, list):
            raise self.wrong_type(kind_of(value))
        wrong = next((text for text in texts if not isinstance(text, str)), None)
        if wrong is not None:
            raise self.wrong_type(kind_of(wrong))
        return tuple(text for text in texts if text)

    def described(self, _: Nested, /) -> Shape:
        return either(TEXT, several(TEXT)) if self.one else several(TEXT)


class Digests(Field[tuple[tuple[str, str], ...]]):
    """File name -> digest."""

    go_type = "map[string]string"
    shape: ClassVar[Shape] = {**OBJECT, "additionalProperties": {**TEXT, "pattern": f"^{DIGEST.pattern}$"}}

    def read(self, value: Any) -> tuple[tuple[str, str], ...]:
        if not isinstance(value, dict):
            raise self.wrong_type(kind_of(value))
        for digest in value.values():
            if digest is not None and not isinstance(digest, str):
                raise self.wrong_type(kind_of(digest))
        return tuple((name, digest or "") for name, digest in value.items())


class Never(Text):
    """A text that only "" is taken for."""

    shape: ClassVar[Shape] = {**TEXT, "maxLength": 0}


class InfoSchema(Struct):
    """Facts that Ollama lets a caller say of a model instead of its file."""

    go_name = "CreateRequest.info"

    capabilities = Texts()
    model_family = Text()
    base_name = Text()
    quantization_level = Text()
    parameter_size = Text()
    context_length = Integer()
    embedding_length = Integer()


class CreateSchema(Struct):
    go_name = "CreateRequest"

    model = Text(load_default="")
    name = Text(load_default="")
    stream = Boolean(load_default=True)
    from_ = Text(load_default="", data_key="from")
    files = Digests(load_default=())
    adapters = Digests(load_default=())
    template = Text(load_default="")
    system = Text(load_default="")
    license = Texts(load_default=(), one=True)
    parameters = GivenOptions(load_default=dict)
    messages = Objects(MessageSchema(), load_default=list)
    quantize = Text(load_default="")
    quantization = Text(load_default="")
    renderer = Never(load_default="")
    parser = Never(load_default="")
    requires = Never(load_default="")
    info = Object(InfoSchema(), load_default=dict)


_CREATE = CreateSchema()


def parse_create(body: JSON, surroundings: Surroundings) -> ErrandCall:
    given = read_body(_CREATE, body)
    typed = name_in(given)
    if not parse_name(typed).valid and known_as(surroundings.catalogue, typed) is None:
        raise InvalidField(BAD_NAME, param="model")
    name = new_name(surroundings.catalogue, typed, "model")
    _check_source(given)
    _check_served(given)
    errand = Create(
        id=new_request_id(),
        name=name,
        base=_base(given, surroundings),
        files=_digests(given["files"]),
        adapters=_digests(given["adapters"]),
        overlay=_overlay(given),
        quantization=given["quantize"] or given["quantization"],
    )
    return ErrandCall(errand, surroundings.now, stream=given["stream"])


def _check_source(given: Mapping[str, Any]) -> None:
    if not given["from_"] and not given["files"]:
        raise InvalidField("neither 'from' or 'files' was specified", param="from", problem="missing")
    if given["from_"] and given["files"]:
        raise InvalidField("'from' and 'files' exclude each other", param="files", problem="rule")
    if len(given["adapters"]) > 1:
        raise InvalidField("only one adapter is currently supported", param="adapters")


def _check_served(given: Mapping[str, Any]) -> None:
    for field in NOT_SERVED:
        if given[field]:
            raise UnsupportedField(f"{field} is not supported", param=field)
    negative = next((key for key, value in given["info"].items() if isinstance(value, int) and value < 0), None)
    if negative is not None:
        raise InvalidField(f"info.{negative} must not be negative", param=f"info.{negative}")
    if given["info"]:
        raise UnsupportedField("info is not supported: what a model is, its file says", param="info")


def _base(given: Mapping[str, Any], surroundings: Surroundings) -> str:
    typed: str = given["from_"].strip()
    if not typed:
        return ""
    known = known_as(surroundings.catalogue, typed)
    if known is None:
        if not parse_name(typed).valid:
            raise InvalidField(BAD_NAME, param="from")
        raise unknown(typed)
    return known


def _digests(files: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Names stay below the folder they are given in, though nobody makes a path of them."""
    found = []
    for name, text in files:
        if not name or name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
            raise InvalidField("file path must be relative", param="files")
        digest = digest_of(text)
        if digest is None:
            raise InvalidField("invalid digest format", param="files")
        found.append((name, digest))
    return tuple(found)


def _overlay(given: Mapping[str, Any]) -> Overlay:
    if given["template"]:
        try:
            OllamaTemplate(given["template"])
        except ParseError as error:
            raise InvalidField(f"template error: {error.message}", param="template") from error
    return Overlay(
        template=given["template"],
        system=given["system"],
        messages=_messages(given["messages"]),
        parameters=parameters_given(given["parameters"]),
        licenses=given["license"],
    )


def _messages(given: list[Mapping[str, Any]]) -> tuple[Message, ...]:
    pictured = next((place for place, message in enumerate(given) if message["images"]), None)
    if pictured is not None:
        raise UnsupportedField(
            f"messages[{pictured}].images is not supported yet", param=f"messages[{pictured}].images"
        )
    return tuple(history(given))


ROUTES = (Chore("/api/create", parse_create, last, lines, about=about.create(_CREATE)),)
