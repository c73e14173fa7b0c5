"""Every way to say what the answer must look like, and those that are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai_events import HELLO, ask, chat, refusal
from tropilla.api.surfaces.openai.chat import CHAT
from tropilla.api.surfaces.openai.completions import COMPLETIONS
from tropilla.common.generation import Constraint

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"b": {"type": "integer"}, "a": {"type": "string"}}}
OF_SCHEMA = Constraint("schema", json.dumps(SCHEMA))
ANY_JSON = Constraint("json")
GBNF = "root ::= [a-z]+"
LARK = "start: /[a-z]+/"
TOOLS = [{"type": "function", "function": {"name": "add"}}]

#: (fields, what becomes of them)
CASES: list[tuple[dict[str, Any], Constraint | None]] = [
    ({"response_format": {"type": "text"}}, None),
    ({"response_format": {}}, None),
    ({"response_format": None}, None),
    ({"response_format": {"type": "json_object"}}, ANY_JSON),
    ({"response_format": {"type": "json_object", "schema": SCHEMA}}, OF_SCHEMA),
    ({"response_format": {"type": "json_object", "value": SCHEMA}}, OF_SCHEMA),
    ({"response_format": {"type": "json", "value": SCHEMA}}, OF_SCHEMA),
    ({"response_format": {"type": "json", "value": json.dumps(SCHEMA)}}, OF_SCHEMA),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}, OF_SCHEMA),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}},
        OF_SCHEMA,
    ),
    ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, ANY_JSON),
    ({"response_format": {"type": "json_schema", "value": {"name": "x", "schema": SCHEMA}}}, OF_SCHEMA),
    ({"response_format": {"type": "regex", "value": "[a-z]+"}}, Constraint("regex", "[a-z]+")),
    ({"json_schema": SCHEMA}, OF_SCHEMA),
    ({"json_schema": {}}, None),
    ({"grammar": GBNF}, Constraint("gbnf", GBNF)),
    ({"grammar": {"type": "json", "value": SCHEMA}}, OF_SCHEMA),
    ({"grammar": ""}, None),
    ({"guided_json": SCHEMA}, OF_SCHEMA),
    ({"guided_json": json.dumps(SCHEMA)}, OF_SCHEMA),
    ({"guided_regex": "[a-z]+"}, Constraint("regex", "[a-z]+")),
    ({"guided_choice": ["red", "a.b|c"]}, Constraint("regex", r"red|a\.b\|c")),
    ({"guided_choice": []}, None),
    ({"guided_grammar": GBNF}, Constraint("gbnf", GBNF)),
    ({"guided_grammar": LARK}, Constraint("lark", LARK)),
    ({"structured_outputs": {}}, None),
    ({"structured_outputs": {"json": SCHEMA, "regex": None, "json_object": False}}, OF_SCHEMA),
    ({"structured_outputs": {"json_object": True}}, ANY_JSON),
    ({"structured_outputs": {"regex": "[a-z]+"}}, Constraint("regex", "[a-z]+")),
    ({"structured_outputs": {"choice": ["a", "b"]}}, Constraint("regex", "a|b")),
    ({"structured_outputs": {"grammar": GBNF}}, Constraint("gbnf", GBNF)),
    ({"response_format": {"type": "text"}, "grammar": GBNF}, Constraint("gbnf", GBNF)),
]

#: (fields, param, code)
REFUSED: list[tuple[dict[str, Any], str, str | None]] = [
    ({"response_format": "json"}, "response_format", "invalid_type"),
    ({"response_format": {"kind": "json"}}, "response_format.type", "missing_required_parameter"),
    ({"response_format": {"type": 5}}, "response_format.type", "invalid_type"),
    ({"response_format": {"type": "sound"}}, "response_format.type", "invalid_value"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
    ({"response_format": {"type": "json_schema", "json_schema": 5}}, "response_format.json_schema", "invalid_type"),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": 123}}},
        "response_format.json_schema.schema",
        "invalid_type",
    ),
    ({"response_format": {"type": "json_object", "schema": 123}}, "response_format.schema", "invalid_type"),
    ({"response_format": {"type": "json_object", "schema": {"type": 123}}}, "response_format", "invalid_value"),
    ({"response_format": {"type": "json_object", "schema": {"type": "hiccup"}}}, "response_format", "invalid_value"),
    ({"response_format": {"type": "json"}}, "response_format.value", "missing_required_parameter"),
    ({"response_format": {"type": "json", "value": "{"}}, "response_format.value", "invalid_value"),
    ({"response_format": {"type": "json", "value": "5"}}, "response_format.value", "invalid_type"),
    ({"response_format": {"type": "regex"}}, "response_format.value", "missing_required_parameter"),
    ({"response_format": {"type": "regex", "value": 5}}, "response_format.value", "invalid_type"),
    ({"response_format": {"type": "regex", "value": "("}}, "response_format", "invalid_value"),
    ({"grammar": "root ::= ("}, "grammar", "invalid_value"),
    ({"grammar": 5}, "grammar", "invalid_type"),
    ({"json_schema": []}, "json_schema", "invalid_type"),
    ({"guided_json": "{"}, "guided_json", "invalid_value"),
    ({"guided_regex": "["}, "guided_regex", "invalid_value"),
    ({"guided_choice": "a"}, "guided_choice", "invalid_type"),
    ({"guided_choice": ["a", 5]}, "guided_choice[1]", "invalid_type"),
    ({"structured_outputs": {"regex": 5}}, "structured_outputs.regex", "invalid_type"),
    ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs", "invalid_value"),
    ({"structured_outputs": {"structural_tag": "x"}}, "structured_outputs.structural_tag", "unsupported_value"),
    ({"grammar": GBNF, "json_schema": SCHEMA}, "grammar", None),
    ({"response_format": {"type": "json_object"}, "guided_regex": "a"}, "guided_regex", None),
]


@pytest.mark.parametrize(("fields", "expected"), CASES)
def test_a_form_becomes_a_constraint_on_both_routes(fields: dict[str, Any], expected: Constraint | None) -> None:
    assert chat(**fields).request.constraint == expected
    assert ask(COMPLETIONS, {"prompt": "a", **fields}).request.constraint == expected


@pytest.mark.parametrize(("fields", "param", "code"), REFUSED)
def test_a_form_that_cannot_be_kept_is_refused_before_the_queue(
    fields: dict[str, Any], param: str, code: str | None
) -> None:
    for surface, body in ((CHAT, HELLO), (COMPLETIONS, {"prompt": "a"})):
        reply = refusal(surface, {**body, **fields, "stream": True})
        assert reply.status == 400
        assert (reply.body["error"]["param"], reply.body["error"]["code"]) == (param, code)


def test_an_answer_has_one_form() -> None:
    expected = "'json_schema' and 'grammar' cannot both be given: the answer has one form."
    error = refusal(CHAT, {**HELLO, "grammar": GBNF, "json_schema": SCHEMA}).body["error"]
    assert (error["param"], error["message"]) == ("grammar", expected)


def test_the_reason_is_told() -> None:
    error = refusal(CHAT, {**HELLO, "response_format": {"type": "json_object", "schema": {"type": "hiccup"}}}).body
    assert error["error"]["message"].startswith("Invalid 'response_format': ")
    assert "hiccup" in error["error"]["message"]


def test_a_schemas_properties_keep_their_order() -> None:
    constraint = chat(json_schema={"properties": {"z": {}, "a": {}}}).request.constraint
    assert constraint is not None
    assert list(json.loads(constraint.source)["properties"]) == ["z", "a"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [(None, ANY_JSON), ("auto", ANY_JSON), ("none", ANY_JSON), ("required", None), ("add", None)],
)
def test_a_call_that_must_come_wins_over_the_form_of_the_text(choice: str | None, expected: Constraint | None) -> None:
    call = chat(tools=TOOLS, tool_choice=choice, response_format={"type": "json_object"})
    assert call.request.constraint == expected


@pytest.mark.parametrize("field", ["guided_json", "structured_outputs"])
def test_a_named_tool_and_a_guide_exclude_each_other(field: str) -> None:
    value: Any = SCHEMA if field == "guided_json" else {"json": SCHEMA}
    error = refusal(CHAT, {**HELLO, "tools": TOOLS, "tool_choice": "add", field: value}).body["error"]
    assert (error["param"], error["code"]) == (field, None)
