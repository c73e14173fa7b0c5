"""Any JSON value, and anything the document allows, through every dialect's `parse`: understood or refused, never a bug."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies
from scene import POCKET
from tropilla.api.about import About
from tropilla.api.batches.wishes import BeginBatch
from tropilla.api.docs.openapi import document, template
from tropilla.api.framing import compact
from tropilla.api.reading import parse_json
from tropilla.api.surface import (
    Batch,
    Chore,
    Desk,
    Dialect,
    Dismissal,
    Enquiry,
    ErrandCall,
    Reply,
    Route,
    Stopping,
    Surroundings,
    method_of,
)
from tropilla.api.surfaces import DIALECTS
from tropilla.api.surfaces.jan.settings import BOUNDS
from tropilla.api.surfaces.tgi.root import ROOT
from tropilla.common import codec
from tropilla.common.catalogue import Catalogue, Definition, Worker
from tropilla.common.errands import Pull, Task
from tropilla.common.errors import InvalidField, RequestError, UnknownModel
from tropilla.common.recipes import File, Recipe
from tropilla.common.settings import Settings

MODEL = dataclasses.replace(POCKET, capabilities=("completion", "embedding"))
WORKER = Worker(name="w", flavour="cpu", state="ready", slots=1, model=MODEL)
#: The store has it, too, so that it may be changed.
STORED = Definition(MODEL, Recipe("pocket", (File("ab" * 32, 1, "pocket.gguf"),)), source="registry")
AROUND = Surroundings(
    Catalogue((WORKER,), (STORED,)),
    Settings(unknown_model="default"),
    1_700_000_000.0,
    path={"id": "pocket"},
    task=lambda errand_id: Task(Pull(errand_id, "llama3", "llama3:latest")) if errand_id == "0" else None,
)
DOCUMENT = document(DIALECTS, AROUND.settings)
OPERATIONS = schemathesis.openapi.from_dict(DOCUMENT)

#: The same cases in every run, and nothing kept for the next.
SAME = hypothesis.settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=60,
    phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
    suppress_health_check=list(hypothesis.HealthCheck),
)
#: Bodies made from a schema take some ten times as long to make.
FEW = hypothesis.settings(SAME, max_examples=20)

Asking = Route | Enquiry | Batch | Chore | Desk
Parse = Callable[[Any, Surroundings], Any]


def parse_of(route: Asking) -> Parse:
    return route.surface.parse if isinstance(route, Route) else route.parse


def about(route: Asking) -> About:
    return route.surface.about if isinstance(route, Route) else route.about


#: One route of each parse: aliases read alike, and whatever stands below the root of a model.
ROUTES = list(
    {
        parse_of(route): (dialect, route)
        for dialect in reversed(DIALECTS)
        for route in reversed(dialect.routes)
        if isinstance(route, Asking) and not route.path.startswith(ROOT) and about(route).example is not None
    }.values()
)
each_route = pytest.mark.parametrize(
    ("dialect", "route"), ROUTES, ids=lambda value: value.path if isinstance(value, Asking) else ""
)


def check(dialect: Dialect, route: Asking, body: bytes) -> RequestError | None:
    """What is understood can be sent to a worker; a refusal can be told, and is the caller's fault."""
    try:
        parsed = parse_of(route)(parse_json(body), AROUND)
    except RequestError as error:
        said = dialect.fault(error)
        assert 400 <= said.status < 500
        assert compact(said.body)
        return error
    if isinstance(parsed, Reply | Dismissal | Stopping):
        assert compact((parsed if isinstance(parsed, Reply) else parsed.reply).body)
    elif isinstance(parsed, ErrandCall):
        assert codec.encode_errand(parsed.errand)
    elif isinstance(parsed, BeginBatch):
        assert compact(dataclasses.asdict(parsed))
    else:
        for asked in parsed if isinstance(parsed, tuple) else (parsed,):
            assert codec.encode_request(asked.request)
    return None


def fields_of(route: Asking) -> list[str]:
    """The names at the top of a route's body."""
    content = DOCUMENT["paths"][template(route.path)][method_of(route).lower()]["requestBody"]["content"]
    return sorted(set(_tops(content["application/json"]["schema"])))


def _tops(shape: Any) -> Iterator[str]:
    if "$ref" in shape:
        yield from _tops(DOCUMENT["components"]["schemas"][shape["$ref"].rpartition("/")[2]])
    yield from shape.get("properties", ())
    for inner in (*shape.get("allOf", ()), *shape.get("anyOf", ())):
        yield from _tops(inner)


def names_in(value: Any) -> Iterator[str]:
    """Every name of a field, and every word a field can be set to."""
    if isinstance(value, dict):
        yield from value.get("properties", {})
        yield from (word for word in value.get("enum", ()) if isinstance(word, str))
        for inner in value.values():
            yield from names_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from names_in(inner)


NAMES = sorted(set(names_in(DOCUMENT["components"]["schemas"])))
WORDS = strategies.sampled_from(NAMES) | strategies.text(max_size=8)
SCALARS = (
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | strategies.floats(allow_nan=False, allow_infinity=False)
    | WORDS
)
VALUES = strategies.recursive(
    SCALARS,
    lambda inner: strategies.lists(inner, max_size=4) | strategies.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


@each_route
def test_any_json_is_understood_or_refused(dialect: Dialect, route: Asking) -> None:
    @SAME
    @hypothesis.given(VALUES)
    def any_value(value: Any) -> None:
        check(dialect, route, json.dumps(value).encode())

    any_value()


@each_route
def test_an_example_with_anything_in_it_is_understood_or_refused(dialect: Dialect, route: Asking) -> None:
    fields = fields_of(route)

    @SAME
    @hypothesis.given(strategies.dictionaries(strategies.sampled_from(fields), VALUES, min_size=1, max_size=3))
    def with_more(more: dict[str, Any]) -> None:
        check(dialect, route, json.dumps({**about(route).example, **more}).encode())

    with_more()


#: JSON that other servers have stumbled over, as text: json.dumps would not write all of it.
ODD = (
    *("null", "true", "0", "-1", "1.5", "1e308", "-1e308", "9" * 25, "-" + "9" * 25, "1e-320", "9" * 400),
    *('""', '"\\u0000"', '"\\ud800"', '"\\udfff\\ud83d"', '"%s"' % ("x" * 5000), '"%s{}"', '"{0.__class__}"', '"("'),
    *("[]", "{}", "[[]]", "[{}]", "[null]", '[""]', "[0.5]", '{"": null}', '{"type": []}', '{"type": {}}'),
    *("[" * 900 + "]" * 900, '{"a":' * 900 + "0" + "}" * 900, "[" * 1020 + "]" * 1020),
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield from places(inner, (*path, step))


def replaced(value: Any, path: tuple[str | int, ...], mark: str) -> Any:
    if not path:
        return mark
    step, *rest = path
    inner = replaced(value[step] if isinstance(value, list) else value.get(step), tuple(rest), mark)
    if isinstance(value, list):
        return [inner if place == step else other for place, other in enumerate(value)]
    return {**value, step: inner}


@each_route
def test_odd_json_in_every_place_is_understood_or_refused(dialect: Dialect, route: Asking) -> None:
    example = about(route).example
    for path in (*places(example), *((field,) for field in fields_of(route))):
        body = json.dumps(replaced(example, path, "HERE"))
        for odd in ODD:
            check(dialect, route, body.replace('"HERE"', odd).encode())


#: What a body that the document allows is never refused for: only rules between fields are left, and what a model can.
PROMISED = ("missing", "type", "above", "below", "too_long", "empty")
#: Rules that say so with such a word: how many prompts there may be depends on `n`; thoughts of nothing are no message.
BETWEEN = {("prompt", "too_long"), ("input", "empty")}
#: And how large a model's settings may be depends on the model.
BETWEEN |= {(name, problem) for name in BOUNDS for problem in ("above", "below")}


@each_route
def test_what_the_document_allows_is_not_refused_for_its_form(dialect: Dialect, route: Asking) -> None:
    operation = OPERATIONS[template(route.path)][method_of(route)]
    understood = []

    @FEW
    @hypothesis.given(operation.as_strategy())
    def allowed(case: schemathesis.Case) -> None:
        refusal = check(dialect, route, json.dumps(case.body).encode())
        # A name that nobody knows is well formed.
        understood.append(refusal is None or isinstance(refusal, UnknownModel))
        if isinstance(refusal, InvalidField) and (refusal.param, refusal.problem) not in BETWEEN:
            assert refusal.problem not in PROMISED, refusal

    allowed()
    assert sum(understood) > len(understood) / 10
