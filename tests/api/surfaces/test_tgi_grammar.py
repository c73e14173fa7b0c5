"""`grammar` of a TGI body: what it becomes, and the texts of its refusals (sheet, section 5)."""

from __future__ import annotations

import json

import pytest
from tropilla.api.surface import JSON
from tropilla.api.surfaces.tgi.grammar import constraint_of
from tropilla.common.errors import InvalidField
from tropilla.common.generation import Constraint

WEATHER = {"type": "object", "properties": {"unit": {"enum": ["c", "f"]}, "city": {"type": "string"}}}
TEXT = '{"type":"object","properties":{"unit":{"enum":["c","f"]},"city":{"type":"string"}}}'
UNTYPED = {"required": ["city"], "properties": {"city": {"type": "string"}}}

ACCEPTED: list[tuple[JSON, Constraint | None]] = [
    (None, None),
    ({"type": "json", "value": WEATHER}, Constraint("schema", TEXT)),
    ({"type": "json", "value": json.dumps(WEATHER)}, Constraint("schema", TEXT)),
    ({"type": "json_object", "value": WEATHER}, Constraint("schema", TEXT)),
    ({"type": "json_schema", "value": {"name": "w", "strict": True, "schema": WEATHER}}, Constraint("schema", TEXT)),
    ({"type": "json_schema", "value": {"schema": json.dumps(WEATHER)}}, Constraint("schema", TEXT)),
    (
        {"type": "json", "value": UNTYPED},
        Constraint("schema", '{"type":"object","required":["city"],"properties":{"city":{"type":"string"}}}'),
    ),
    ({"type": "regex", "value": "[0-9]{3}-(a|b)+"}, Constraint("regex", "[0-9]{3}-(a|b)+")),
]

NO_PROPERTIES = "grammar is not valid: Grammar must have a 'properties' field"
UNKNOWN_TYPE = "grammar is not valid: unknown type, expected one of json, json_object, json_schema, regex"

REFUSED: list[tuple[JSON, str]] = [
    ("json", "grammar is not supported"),
    ({}, "grammar is not valid: missing field `type`"),
    ({"type": "json"}, "grammar is not valid: missing field `value`"),
    ({"type": "json", "value": None}, "grammar is not valid: missing field `value`"),
    ({"type": "xml", "value": "<a/>"}, UNKNOWN_TYPE),
    ({"type": 1, "value": {}}, UNKNOWN_TYPE),
    ({"type": "json", "value": 7}, "grammar is not supported"),
    ({"type": "json", "value": [WEATHER]}, "grammar is not supported"),
    ({"type": "json", "value": {"type": "object"}}, NO_PROPERTIES),
    ({"type": "json", "value": "true"}, NO_PROPERTIES),
    ({"type": "json_schema", "value": "x"}, "grammar is not supported"),
    ({"type": "json_schema", "value": {"name": "w"}}, "grammar is not valid: missing field `schema`"),
    ({"type": "json_schema", "value": {"schema": {}}}, NO_PROPERTIES),
    ({"type": "regex", "value": {}}, "grammar is not valid: `value` must be a string"),
]

#: What is wrong, and how its text begins: the reason is the compiler's own.
UNKEPT: list[tuple[JSON, str]] = [
    ({"type": "json", "value": "{"}, "grammar is not valid: "),
    ({"type": "json", "value": {"properties": 5}}, "cannot compile regex from schema: "),
    ({"type": "json", "value": {"properties": {"a": {"type": "txt"}}}}, "cannot compile regex from schema: "),
    ({"type": "json", "value": {"properties": {"a": {"$ref": "#/$defs/a"}}}}, "cannot compile regex from schema: "),
    ({"type": "regex", "value": "(a"}, "grammar is not valid: "),
    ({"type": "regex", "value": "a(?=b)"}, "grammar is not valid: "),
]


@pytest.mark.parametrize(("grammar", "constraint"), ACCEPTED)
def test_a_grammar_becomes_a_constraint(grammar: JSON, constraint: Constraint | None) -> None:
    assert constraint_of(grammar) == constraint


@pytest.mark.parametrize(("grammar", "text"), REFUSED)
def test_a_grammar_that_is_none_is_refused_in_upstreams_words(grammar: JSON, text: str) -> None:
    with pytest.raises(InvalidField) as caught:
        constraint_of(grammar)
    assert (caught.value.message, caught.value.param) == (text, "parameters.grammar")


@pytest.mark.parametrize(("grammar", "begins"), UNKEPT)
def test_a_grammar_that_cannot_be_kept_is_refused_with_the_reason(grammar: JSON, begins: str) -> None:
    with pytest.raises(InvalidField) as caught:
        constraint_of(grammar)
    assert caught.value.message.startswith(begins)
    assert len(caught.value.message) > len(begins)


def test_a_schema_nested_beyond_all_measure_is_refused() -> None:
    schema: JSON = {"type": "string"}
    for _ in range(300):
        schema = {"properties": {"a": schema}}
    with pytest.raises(InvalidField, match="nested too deeply"):
        constraint_of({"type": "json", "value": schema})
