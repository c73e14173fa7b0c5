"""What a TGI body may look like: types only.

Ranges are in `rules`, because the sheet fixes their order, across fields (section 4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import EXCLUDE, Schema, fields, pre_load
from tropilla.api import about
from tropilla.api.about import Described, Nested, Shape
from tropilla.api.reading import Wrong, load, without_nulls
from tropilla.common.errors import InvalidField

#: The largest values of the upstream struct's own types (u32, i32, u64, f32): beyond them it refuses to read the body.
U32, I32, U64, F32 = 2**32 - 1, 2**31 - 1, 2**64 - 1, 3.4028235e38


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """The `parameters` object, checked; the defaults of section 3 are written here. None: the caller said nothing."""

    adapter_id: str | None = None
    best_of: int | None = None
    decoder_input_details: bool = False
    details: bool = False
    do_sample: bool = False
    frequency_penalty: float = 0.0
    grammar: Any = None
    max_new_tokens: int | None = None
    repetition_penalty: float = 1.0
    return_full_text: bool | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    temperature: float | None = None
    top_k: int | None = None
    top_n_tokens: int = 0
    top_p: float | None = None
    truncate: int | None = None
    typical_p: float | None = None
    watermark: bool = False
    #: The fields that are there.
    given: frozenset[str] = frozenset()

    @property
    def samples(self) -> bool:
        """A warper samples even without `do_sample`; a temperature of 1 alone stays greedy (section 6)."""
        return self.do_sample or self.temperature not in (None, 1.0) or self._warps

    @property
    def asks_to_sample(self) -> bool:
        """What `best_of` looks at: any temperature that is there counts, though 1 samples nothing (section 4, rule 3)."""
        return self.do_sample or self.temperature is not None or self._warps

    @property
    def candidates(self) -> int:
        """How many answers compete. 0 is 1."""
        return self.best_of or 1

    @property
    def _warps(self) -> bool:
        return any(value is not None for value in (self.top_k, self.top_p, self.typical_p))


@dataclass(frozen=True, slots=True)
class Asked:
    """A whole body, checked for types. `stream` is the route's, or the body's on POST /."""

    inputs: str
    parameters: Parameters
    stream: bool


#: How the caller samples who sends no `parameters` at all, null included; with `{}` it is greedy (section 3).
WITHOUT_PARAMETERS = Parameters(do_sample=True)


def _integer(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        return None
    return int(value)


def _number(value: Any) -> float | None:
    return None if isinstance(value, bool) or not isinstance(value, int | float) else float(value)


def _boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: Any) -> tuple[str, ...] | None:
    fitting = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return tuple(value) if fitting else None


def _anything(value: Any) -> Any:
    return value


#: What a type is called in an error, what reads it (None for a value that is of another type), and its shape.
Kind = tuple[str, Callable[[Any], Any], Shape]
INTEGER: Kind = ("an integer", _integer, about.INTEGER)
NUMBER: Kind = ("a number", _number, about.NUMBER)
BOOLEAN: Kind = ("a boolean", _boolean, about.FLAG)
TEXT: Kind = ("a string", _text, about.TEXT)
TEXTS: Kind = ("a list of strings", _texts, about.several(about.TEXT))
ANYTHING: Kind = ("a value", _anything, about.ANYTHING)
#: For the document; `rules` keep them.
POSITIVE: Shape = {"exclusiveMinimum": 0}
INSIDE: Shape = {"exclusiveMinimum": 0, "exclusiveMaximum": 1}
#: For the document, too; `grammar` reads it.
GRAMMAR: Shape = about.either(
    about.record("", {"type": about.one_of("json", "json_object"), "value": about.either(about.OBJECT, about.TEXT)}),
    about.record("", {"type": about.one_of("regex"), "value": about.TEXT}),
    about.record(
        "",
        {
            "type": about.one_of("json_schema"),
            "value": about.record("", {"schema": about.OBJECT}, {"name": about.TEXT}),
        },
    ),
)


class Typed(Described, fields.Field[Any]):
    """A value of exactly one JSON type, at most `high`. `told` is what else the document says of it."""

    def __init__(
        self, kind: Kind, *, high: float | None = None, required: bool = False, told: Shape | None = None
    ) -> None:
        super().__init__(required=required)
        self._called, self._read, self._shape = kind
        self._high, self._told = high, told or {}

    def described(self, _: Nested, /) -> Shape:
        most = {} if self._high is None else {"maximum": self._high}
        return {**self._shape, **most, **self._told}

    def make_error(self, key: str, **_: Any) -> Wrong:
        assert key == "required", "null counts as absent, so nothing else is left to marshmallow"
        return Wrong(f"`{self.name}` is required", "missing")

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Any:
        found = self._read(value)
        if found is None:
            raise Wrong(f"`{self.name}` must be {self._called}", "type")
        if self._high is not None and found > self._high:
            raise Wrong(f"`{self.name}` must be <= {self._high}", "above")
        return found


class ParametersSchema(Schema):
    """Section 3. Unknown fields are ignored and null is absent, in here as well."""

    class Meta:
        unknown = EXCLUDE

    best_of = Typed(INTEGER, told={"minimum": 0})
    decoder_input_details = Typed(BOOLEAN)
    details = Typed(BOOLEAN)
    do_sample = Typed(BOOLEAN)
    temperature = Typed(NUMBER, high=F32, told=POSITIVE)
    repetition_penalty = Typed(NUMBER, high=F32, told=POSITIVE)
    frequency_penalty = Typed(NUMBER, told={"minimum": -2, "maximum": 2})
    top_p = Typed(NUMBER, told=INSIDE)
    typical_p = Typed(NUMBER, told=INSIDE)
    top_k = Typed(INTEGER, high=I32, told=POSITIVE)
    max_new_tokens = Typed(INTEGER, high=U32, told=POSITIVE)
    return_full_text = Typed(BOOLEAN)
    stop = Typed(TEXTS)
    seed = Typed(INTEGER, high=U64, told={"minimum": 0})
    top_n_tokens = Typed(INTEGER, told={"minimum": 0})
    truncate = Typed(INTEGER, told=POSITIVE)
    grammar = Typed(ANYTHING, told=GRAMMAR)
    adapter_id = Typed(TEXT)
    watermark = Typed(BOOLEAN)

    @pre_load
    def _drop_nulls(self, data: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        return without_nulls(data)


class ParametersField(Described, fields.Field[Parameters]):
    """Like marshmallow's `Nested`, whose own words for "not an object" cannot be told apart by kind."""

    _schema = ParametersSchema()

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Parameters:
        if not isinstance(value, Mapping):
            raise Wrong(f"`{self.name}` must be an object", "type")
        found = self._schema.load(value)
        return Parameters(**found, given=frozenset(found))

    def described(self, nested: Nested, /) -> Shape:
        return nested(self._schema)


class GenerateSchema(Schema):
    inputs = Typed(TEXT, required=True, told={"minLength": 1})
    parameters = ParametersField()


class CompatSchema(GenerateSchema):
    """POST / says in the body whether it streams; /generate ignores such a field, whatever is in it."""

    stream = Typed(BOOLEAN)


GENERATE = GenerateSchema()
COMPAT = CompatSchema()


def read(schema: Schema, body: Any, *, stream: bool = False) -> Asked:
    """The checked body. `stream` is what holds when the body cannot or does not say it."""
    if not isinstance(body, Mapping):
        raise InvalidField("the body must be an object", param=None, problem="type")
    found = load(schema, body)
    return Asked(
        inputs=found["inputs"],
        parameters=found.get("parameters", WITHOUT_PARAMETERS),
        stream=found.get("stream", stream),
    )
