"""The OpenAPI document: valid, complete, true to the routes, and readable without anything from elsewhere."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import jsonschema_rs
import pytest
from scene import POCKET
from schemathesis.specs.openapi.definitions import OPENAPI_31
from tropilla.api.about import NULL, OBJECT, TEXT, About, Described, either, record
from tropilla.api.batches.wishes import BeginBatch
from tropilla.api.docs import described
from tropilla.api.docs.html import kind, page
from tropilla.api.docs.openapi import document, template
from tropilla.api.owners import Owners
from tropilla.api.surface import (
    AnyRoute,
    Call,
    Chore,
    Desk,
    Dialect,
    Dismissal,
    Enquiry,
    ErrandCall,
    Page,
    Question,
    Reply,
    Route,
    Stopping,
    Surroundings,
    method_of,
    scopes_of,
)
from tropilla.api.surfaces import DIALECTS
from tropilla.api.surfaces.jan.lifecycle import parse_start
from tropilla.common import errors
from tropilla.common.catalogue import Catalogue, Definition, Worker
from tropilla.common.errands import Pull, Task
from tropilla.common.errors import TropillaError
from tropilla.common.recipes import File, Recipe
from tropilla.common.settings import Settings

DOCS = described(DIALECTS)
ALL = (*DIALECTS, DOCS)
#: Of a server whose callers need keys: it has more to tell.
SETTINGS = Settings(keys="on")
DOCUMENT = document(ALL, SETTINGS)
ROUTES = [(dialect, route) for dialect in ALL for route in dialect.routes]
#: It embeds, too, so that the examples of every route are understood.
MODEL = dataclasses.replace(POCKET, capabilities=("completion", "embedding"))
AROUND = Surroundings(
    Catalogue(
        (Worker(name="w", flavour="cpu", state="ready", slots=1, model=MODEL),),
        (Definition(MODEL, Recipe("pocket", (File("ab" * 32, 1, "pocket.gguf"),)), source="registry"),),
    ),
    SETTINGS,
    1.0,
    path={"root": "pocket", "id": "pocket"},
    task=lambda errand_id: Task(Pull(errand_id, "llama3", "llama3:latest")),
)


def name_of(value: Any) -> str:
    return value.path if isinstance(value, AnyRoute) else ""


def about(route: AnyRoute) -> About:
    return route.surface.about if isinstance(route, Route) else route.about


def method(route: AnyRoute) -> str:
    return method_of(route).lower()


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for verb, operation in methods.items():
            yield verb, path, operation


def validator(schema: Any) -> jsonschema_rs.Validator:
    """Of a schema that may refer to the document's components."""
    return jsonschema_rs.validator_for({**schema, "components": DOCUMENT["components"]})


def test_the_document_is_valid_openapi_3_1() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    problems = jsonschema_rs.validator_for(OPENAPI_31).iter_errors(DOCUMENT)
    assert [f"{problem.instance_path}: {problem.message}" for problem in problems] == []


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_every_shape_is_a_valid_json_schema(name: str) -> None:
    jsonschema_rs.meta.validate(DOCUMENT["components"]["schemas"][name])


def test_the_document_names_its_version_its_servers_and_a_tag_for_each_dialect() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", DOCUMENT["info"]["version"])
    assert DOCUMENT["servers"]
    assert [tag["name"] for tag in DOCUMENT["tags"]] == ["OpenAI", "Jan", "Anthropic", "Ollama", "TGI", "Docs"]


def test_every_route_is_documented_and_every_documented_operation_exists() -> None:
    documented = {(verb, path) for verb, path, _ in operations()}
    assert documented == {(method(route), template(route.path)) for _, route in ROUTES}


def test_every_operation_says_which_keys_open_it_and_how_they_are_given() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"]
    for _, route in ROUTES:
        operation = DOCUMENT["paths"][template(route.path)][method(route)]
        wanted = [{name: [scope]} for name in schemes for scope in sorted(scopes_of(route))]
        assert operation["security"] == wanted
        assert ({"401", "403"} <= set(operation["responses"])) is bool(wanted), route.path


def test_where_callers_need_no_key_nothing_is_said_of_any() -> None:
    free = document(ALL, Settings(keys="off"))
    assert "securitySchemes" not in free["components"]
    told = [operation for methods in free["paths"].values() for operation in methods.values()]
    assert not [each for each in told if "security" in each or "401" in each["responses"]]


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(("_dialect", "route"), ROUTES, ids=name_of)
def test_every_route_says_what_it_is_what_it_takes_and_what_it_answers(_dialect: Dialect, route: Any) -> None:
    told = about(route)
    assert told.summary, f"{route.path} has no `about`"
    bodiless = isinstance(route, Desk) or (isinstance(route, Chore | Enquiry) and route.bodiless)
    assert (told.takes is None) <= (method(route) == "get" or bodiless)
    assert told.gives is not None or told.streams is not None


def told_kinds(kind: type[TropillaError]) -> Iterator[type[TropillaError]]:
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield below
            yield from told_kinds(below)


#: What no documented route answers with: faults of operators, of the wire, and of callers who miss the route.
ELSEWHERE = (errors.ConfigurationError, errors.DecodeError, errors.UnknownRoute)
OWNERS = Owners(ALL)
FACTS = {"prompt_tokens": 10, "context": 5}


def an_error(kind: type[TropillaError]) -> TropillaError:
    if issubclass(kind, errors.InvalidField):
        return kind("wrong", param="model")
    if issubclass(kind, errors.Overloaded):
        return kind("full", retry_after_seconds=1)
    if issubclass(kind, errors.GenerationFailed):
        return kind("failed", facts=FACTS)
    return kind("nobody")


@pytest.mark.parametrize("error", [kind for kind in told_kinds(TropillaError) if not issubclass(kind, ELSEWHERE)])
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_every_error_a_caller_can_meet_is_documented_as_it_looks(dialect: Dialect, error: type[TropillaError]) -> None:
    for route in dialect.routes:
        if method(route) == "get":
            continue
        speaker = OWNERS.of(route.path) if error is errors.ForbiddenOrigin else dialect
        reply = speaker.fault(an_error(error))
        responses = DOCUMENT["paths"][template(route.path)][method(route)]["responses"]
        assert str(reply.status) in responses
        schema = responses[str(reply.status)]["content"]["application/json"]["schema"]
        assert validator(schema).is_valid(reply.body)


#: Their examples need nobody to be asked.
AT_ONCE = ("/api/show", "/api/push")
CHORES = Reply | Dismissal | ErrandCall | Stopping
TAKING = [
    (dialect, route) for dialect, route in ROUTES if about(route).takes is not None and about(route).example is not None
]


@pytest.mark.parametrize(("_dialect", "route"), TAKING, ids=name_of)
def test_every_example_is_valid_and_is_understood(_dialect: Dialect, route: Any) -> None:
    content = DOCUMENT["paths"][template(route.path)][method(route)]["requestBody"]["content"]["application/json"]
    assert validator(content["schema"]).is_valid(content["example"])
    parse = route.surface.parse if isinstance(route, Route) else route.parse
    # A chore may be done at once; whoever starts a model that runs is told so, and some need nobody to be asked.
    at_once = isinstance(route, Chore) or parse is parse_start or route.path in AT_ONCE
    parsed = parse(content["example"], AROUND)
    wanted = BeginBatch if isinstance(route, Desk) else Call
    assert isinstance(parsed, Call | Question | tuple | (CHORES if at_once else wanted))


SCHEMAS = DOCUMENT["components"]["schemas"]


PICTURED = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}}


@pytest.mark.parametrize(
    ("schema", "body", "fits"),
    [
        ("OpenAIChat", {"messages": [{"role": "user", "content": "Hi"}], "stop": "x"}, True),
        ("OpenAIChat", {"temperature": 2, "n": None, "max_tokens": 10.0}, True),
        ("OpenAIChat", {"temperature": 2.5}, False),
        ("OpenAIChat", {"n": 0}, False),
        ("OpenAIChat", {"n": True}, False),
        ("OpenAIChat", {"stop": ["a", "b", "c", "d", "e"]}, False),
        ("OpenAIChat", {"messages": []}, False),
        ("OpenAIChat", {"messages": [{"content": "Hi"}]}, False),
        ("OpenAIChat", {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}, True),
        ("OpenAIChat", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, False),
        ("OpenAIChat", {"messages": [{"role": "user", "content": [PICTURED]}]}, True),
        ("OpenAIChat", {"reasoning_effort": "enormous"}, False),
        ("OpenAIChat", {"reasoning_effort": None, "something": "else"}, True),
        ("OpenAIChat", {"tools": [{"type": "function", "function": {"name": "a b"}}]}, False),
        ("OpenAIChat", {"logit_bias": {"5": -100}}, True),
        ("OpenAIChat", {"logit_bias": {"5": -101}}, False),
        ("OpenAICompletion", {"prompt": [[1, 2], "a"]}, True),
        ("OpenAICompletion", {"prompt": [[-1]]}, False),
        ("OpenAICompletion", {"prompt": 5}, False),
        ("OpenAICompletion", {"prompt": [1, "a", 2.0]}, True),
        ("OpenAICompletion", {"prompt": [1, [2]]}, False),
        ("OpenAIEmbedding", {"input": [[1, "a"], "b"]}, True),
        ("OpenAIEmbedding", {"input": []}, False),
        ("OpenAIResponses", {"input": "Hi"}, True),
        ("OpenAIResponses", {"input": []}, False),
        ("OpenAIResponses", {"input": [{"role": "user", "content": "Hi"}]}, True),
        ("OpenAIResponses", {"input": [{"role": "tool", "content": "Hi"}]}, False),
        (
            "OpenAIResponses",
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]},
            True,
        ),
        (
            "OpenAIResponses",
            {"input": [{"role": "user", "content": [{"type": "input_image", "text": "Hi"}]}]},
            False,
        ),
        ("OpenAIResponses", {"input": [{"type": "function_call", "call_id": "c", "name": "f"}]}, True),
        ("OpenAIResponses", {"input": [{"type": "function_call", "call_id": "c"}]}, False),
        ("OpenAIResponses", {"input": "Hi", "tools": [{"type": "web_search"}]}, True),
        ("OpenAIResponses", {"input": "Hi", "tools": [{"type": "function"}]}, False),
        ("OpenAIResponses", {"input": "Hi", "text": {"format": {"type": "json_schema", "name": "n"}}}, False),
        ("AnthropicMessages", {"max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}, True),
        ("AnthropicMessages", {"messages": [{"role": "user", "content": "Hi"}]}, False),
        ("AnthropicMessagesCount", {"messages": [{"role": "user", "content": "Hi"}]}, True),
        ("AnthropicMessagesCount", {"messages": [{"role": "user", "content": []}]}, False),
        ("AnthropicMessagesCount", {"messages": [{"role": "assistant", "content": []}]}, True),
        (
            "AnthropicMessagesCount",
            {"messages": [{"role": "user", "content": [{"type": "thinking", "thinking": "Hm"}]}]},
            False,
        ),
        ("AnthropicMessagesCount", {"messages": [], "thinking": {"type": "enabled"}}, False),
        ("OllamaEmbed", {"input": ["a", "b"]}, True),
        ("OllamaEmbed", {"input": [1]}, False),
        ("OllamaChat", {"think": "high", "keep_alive": -1}, True),
        ("OllamaChat", {"think": "enormous"}, False),
        ("OllamaGenerate", {"options": {"mirostat": 3}}, False),
        ("OllamaGenerate", {"options": {"temperature": "hot"}}, False),
        ("TGIGenerate", {"inputs": "x", "parameters": None}, True),
        ("TGIGenerate", {"inputs": ""}, False),
        ("TGIGenerate", {"inputs": "x", "parameters": {"top_p": 1}}, False),
        ("TGIGenerate", {"inputs": "x", "parameters": {"grammar": {"type": "regex", "value": "a"}}}, True),
        ("TGIGenerate", {"inputs": "x", "parameters": {"grammar": {"type": "poem", "value": "a"}}}, False),
    ],
)
def test_types_ranges_enums_and_nulls_are_those_that_are_checked(schema: str, body: Any, fits: bool) -> None:
    assert validator({"$ref": f"#/components/schemas/{schema}"}).is_valid(body) is fits


def test_bounds_are_the_operators() -> None:
    strict = document(ALL, Settings(max_choices=3, max_stop_sequences=2))["components"]["schemas"]["OpenAIChat"]
    assert strict["properties"]["n"]["maximum"] == 3
    assert strict["properties"]["stop"]["anyOf"][1]["maxItems"] == 2


def test_the_status_of_a_refused_body_is_the_operators() -> None:
    paths = document(ALL, Settings(shared_errors="tgi"))["paths"]
    for path, refused in (("/v1/responses", "422"), ("/v1/messages", "400"), ("/api/chat", "400")):
        assert {"400", "422"} & set(paths[path]["post"]["responses"]) == {refused}


def test_as_many_instances_as_an_operator_lets_choices() -> None:
    content = document(ALL, Settings(max_choices=3))["paths"]["/vertex"]["post"]["requestBody"]["content"]
    assert content["application/json"]["schema"]["properties"]["instances"]["maxItems"] == 3


@pytest.mark.parametrize(
    ("body", "fits"),
    [
        ({"inputs": "x"}, True),
        ({"messages": [{"role": "user", "content": "Hi"}]}, True),
        ({"prompt": "x"}, True),
        ({"prompt": None}, False),
        ({"inputs": ""}, False),
        ({}, False),
    ],
)
def test_a_route_that_takes_what_others_take_tells_all_of_it(body: Any, fits: bool) -> None:
    content = DOCUMENT["paths"]["/invocations"]["post"]["requestBody"]["content"]
    assert validator(content["application/json"]["schema"]).is_valid(body) is fits


def test_one_of_several_alternatives_stands_beside_the_others() -> None:
    assert either(either(TEXT, OBJECT), OBJECT, NULL) == {"anyOf": [TEXT, OBJECT, NULL]}
    named = {"title": "Named", **either(TEXT, OBJECT)}
    assert either(named, NULL) == {"anyOf": [named, NULL]}


def test_a_field_that_does_not_say_what_it_takes_is_found() -> None:
    with pytest.raises(TypeError, match="Described does not say"):
        Described().described(lambda schema: {})


def test_two_shapes_of_one_name_are_found() -> None:
    pages = tuple(
        Page(path, lambda s, v: Reply({}), About("Say", gives=record("Same", {key: TEXT})))
        for path, key in (("/a", "one"), ("/b", "other"))
    )
    with pytest.raises(ValueError, match="two shapes are called Same"):
        document((Dialect("d", pages, ("",), lambda error: Reply("", 500)),), Settings())


# -- served ------------------------------------------------------------------------------------------------------------


def answer_of(path: str) -> Reply:
    (found,) = [route for route in DOCS.routes if route.path == path]
    assert isinstance(found, Page)
    return found.answer(AROUND, {})


@pytest.mark.parametrize("path", ["/openapi.json", "/api-doc/openapi.json"])
def test_the_document_is_served(path: str) -> None:
    assert answer_of(path).body == DOCUMENT


class Tags(HTMLParser):
    """Which tags a page has, whether they are closed, where it leads, and its anchors."""

    VOID = frozenset({"meta", "tr", "td"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.links: set[str] = set()
        self.anchors: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.links |= {value or "" for name, value in attrs if name in ("href", "src")}
        self.anchors += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_tells_every_operation_and_needs_nothing_from_elsewhere() -> None:
    reply = answer_of("/docs")
    assert reply.headers["Content-Type"] == "text/html; charset=utf-8"
    tags = Tags()
    tags.feed(reply.body)
    tags.close()
    assert tags.open == []
    assert tags.seen.isdisjoint({"script", "link", "img", "iframe"})
    assert "url(" not in reply.body
    assert "@import" not in reply.body
    anchors = set(tags.anchors)
    assert len(anchors) == len(tags.anchors)
    assert anchors >= {operation["operationId"] for _, _, operation in operations()}
    assert tags.links - {"openapi.json"} <= {f"#{anchor}" for anchor in anchors}
    assert tags.links > {"openapi.json"}


def test_what_is_shown_is_escaped() -> None:
    operation = {
        "operationId": "x",
        "summary": "<b>",
        "tags": ["T"],
        "responses": {},
        "requestBody": {"content": {"application/json": {"schema": {"enum": ["<i>"]}, "example": {"a": "<u>'"}}}},
    }
    info = {"title": "<s>", "version": "1", "description": "<q>"}
    shown = page(
        {"info": info, "tags": [{"name": "T"}], "paths": {"/p": {"post": operation}}, "components": {"schemas": {}}}
    )
    for raw in ("<b>", "<i>", "<u>", "<s>", "<q>"):
        assert raw not in shown


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"type": ["string", "null"]}, "string"),
        ({"type": "array", "items": {"type": "integer"}}, "list of integer"),
        (
            {"anyOf": [{"type": "string"}, {"$ref": "#/components/schemas/A"}, {"type": "null"}]},
            'string or <a href="#A">A</a>',
        ),
        ({"enum": ["a", None]}, "<code>&quot;a&quot;</code>"),
        ({"required": ["model"]}, "with <code>model</code>"),
        ({}, "anything"),
        ({"type": "object"}, "object"),
    ],
)
def test_a_shape_in_words(shape: Any, words: str) -> None:
    assert kind(shape) == words


def test_the_headers_of_requests_that_wait_are_told_once() -> None:
    told = DOCUMENT["components"]["parameters"]
    assert {name: (each["name"], each["in"]) for name, each in told.items()} == {
        "X-Priority": ("X-Priority", "header"),
        "X-Request-Deadline": ("X-Request-Deadline", "header"),
        "Idempotency-Key": ("Idempotency-Key", "header"),
    }
    references = [{"$ref": f"#/components/parameters/{name}"} for name in told]
    reading = [path for _, path, operation in operations() if operation["parameters"][-len(references) :] == references]
    assert {"/v1/chat/completions", "/api/chat", "/generate", "/v1/embeddings", "/v1/messages"} <= set(reading)
    assert not {"/v1/models", "/api/pull", "/v1/streams/{id}"} & set(reading)
    deadline = re.compile(told["X-Request-Deadline"]["schema"]["pattern"])
    assert deadline.match(told["X-Request-Deadline"]["example"])
