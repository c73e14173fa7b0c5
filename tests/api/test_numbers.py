"""Every number of every body, at its worst: refused, or brought within the bounds that are written here.

llama.cpp's own server wrote beyond its memory on one negative number (CVE-2026-21869), and one huge `n` has ended vLLM
(CVE-2026-34756). So what may reach the engine is a table, and what is not in the table may not.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from bounds import BOUNDS
from scene import POCKET
from tropilla.api.about import About
from tropilla.api.docs.openapi import document, template
from tropilla.api.reading import parse_json
from tropilla.api.surface import Batch, Chore, Dialect, Enquiry, ErrandCall, Route, Surroundings, method_of
from tropilla.api.surfaces import DIALECTS
from tropilla.api.surfaces.tgi.root import ROOT
from tropilla.common import codec
from tropilla.common.catalogue import Catalogue, Definition, Worker
from tropilla.common.errors import RequestError
from tropilla.common.generation import BAN, Sampling
from tropilla.common.recipes import BARE, File, Overlay, Recipe
from tropilla.common.settings import Settings

MODEL = dataclasses.replace(POCKET, capabilities=("completion", "embedding"))
WORKER = Worker(name="w", flavour="cpu", state="ready", slots=1, model=MODEL)
STORED = Definition(MODEL, Recipe("pocket", (File("ab" * 32, 1, "pocket.gguf"),)), source="registry")
SETTINGS = Settings(unknown_model="default")
AROUND = Surroundings(Catalogue((WORKER,), (STORED,)), SETTINGS, 1_700_000_000.0, path={"id": "pocket"})
DOCUMENT = document(DIALECTS, SETTINGS)

#: A pair of a token and what its logit gains; and what is laid over a model, which is checked as requests are.
PAIRS = {"logit_bias": ((0, 2**31 - 1), (BAN * 2, 100))}

EXTREMES = (
    *(0, -1, 1, -2, 3, 255, 65536, 2**31 - 1, 2**31, -(2**31) - 1, 2**32, 2**53, 2**63 - 1, -(2**63), 2**64 - 1),
    *(0.5, -0.5, 1e-308, -1e-308, 1e308, -1e308, 1.7976931348623157e308),
)

Asking = Route | Enquiry | Batch | Chore


def about(route: Asking) -> About:
    return route.surface.about if isinstance(route, Route) else route.about


def numbers(shape: Any, path: tuple[str, ...] = (), seen: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where the document says that a body may hold a number, or a list of numbers: the keys on the way there."""
    if reference := shape.get("$ref"):
        if reference not in seen:
            yield from numbers(
                DOCUMENT["components"]["schemas"][reference.rpartition("/")[2]], path, (*seen, reference)
            )
        return
    kinds = shape.get("type", ())
    if path and {"integer", "number"} & ({kinds} if isinstance(kinds, str) else set(kinds)):
        yield path
    if path and shape.get("items"):
        yield from (found for found in numbers(shape["items"], path, seen) if found == path)
    for name, inner in shape.get("properties", {}).items():
        yield from numbers(inner, (*path, name), seen)
    for inner in (each for word in ("allOf", "anyOf", "oneOf") for each in shape.get(word, ())):
        yield from numbers(inner, path, seen)


def body_of(route: Asking) -> Any:
    operation = DOCUMENT["paths"][template(route.path)][method_of(route).lower()]
    return operation["requestBody"]["content"]["application/json"]["schema"]


def parse_of(route: Asking) -> Any:
    return route.surface.parse if isinstance(route, Route) else route.parse


#: One route for each parse, with everything in its body that may be a number.
PLACES: dict[str, tuple[Dialect, Asking, tuple[tuple[str, ...], ...]]] = {
    f"{method_of(route)} {route.path}": (dialect, route, places)
    for dialect, route in {
        parse_of(route): (dialect, route)
        for dialect in reversed(DIALECTS)
        for route in reversed(dialect.routes)
        if isinstance(route, Asking) and not route.path.startswith(ROOT) and about(route).example is not None
    }.values()
    if (places := tuple(dict.fromkeys(numbers(body_of(route)))))
}


def put(body: Any, path: tuple[str, ...], value: Any) -> Any:
    if not path:
        return value
    inner = body.get(path[0]) if isinstance(body, dict) else None
    return {**(body if isinstance(body, dict) else {}), path[0]: put(inner, path[1:], value)}


def told(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number in a request or an errand, under the name of its field."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from told(getattr(value, field.name), field.name)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from told(item, name)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, value


def check(sent: Any) -> None:
    for request in sent if isinstance(sent, tuple) else (sent,):
        for name, number in told(request):
            if name in PAIRS:
                assert any(low <= number <= high for low, high in PAIRS[name]), f"{name}={number}"
                continue
            assert name in BOUNDS, f"{name}={number} has no bounds: write down what a worker may be told"
            low, high = BOUNDS[name]
            assert low <= number <= high, f"{name}={number}, not from {low} to {high}"


def sent_of(parsed: Any) -> Any:
    """What goes to the queue; nothing where the route answers by itself."""
    if isinstance(parsed, ErrandCall):
        assert codec.encode_errand(parsed.errand)
        # What is laid over a model is kept as it was written, and brought within bounds when it is used: see below.
        return dataclasses.replace(parsed.errand, overlay=BARE) if hasattr(parsed.errand, "overlay") else parsed.errand
    calls = parsed if isinstance(parsed, tuple) else (parsed,)
    return tuple(call.request for call in calls if hasattr(call, "request"))


@pytest.mark.parametrize("label", PLACES)
def test_no_number_reaches_a_worker_that_is_not_within_bounds(label: str) -> None:
    dialect, route, places = PLACES[label]
    refused: list[int] = []
    for path in places:
        for extreme in EXTREMES:
            for value in (extreme, [extreme], str(extreme)):
                body = json.dumps(put(about(route).example, path, value)).encode()
                try:
                    parsed = parse_of(route)(parse_json(body), AROUND)
                except RequestError as error:
                    refused.append(dialect.fault(error).status)
                else:
                    check(sent_of(parsed))
    assert all(400 <= status < 500 for status in refused)


#: What a model brings along for requests that do not say it.
KNOBS = (
    *(field.name for field in dataclasses.fields(Sampling) if field.type in ("int", "float", "Literal[0, 1, 2]")),
    *("max_tokens", "keep", "context"),
)


@pytest.mark.parametrize("knob", KNOBS)
def test_no_number_that_is_laid_over_a_model_reaches_a_worker_that_is_not_within_bounds(knob: str) -> None:
    for extreme in EXTREMES:
        given = extreme if isinstance(getattr(Sampling(), knob, 0), float) else int(extreme)
        model = dataclasses.replace(MODEL, overlay=Overlay(parameters=((knob, given),)))
        around = dataclasses.replace(AROUND, catalogue=Catalogue((dataclasses.replace(WORKER, model=model),)))
        for _, route, _ in PLACES.values():
            if isinstance(route, Route):
                with suppress(RequestError):
                    check(sent_of(parse_of(route)(dict(about(route).example), around)))


def test_the_numbers_that_servers_fell_over_are_among_them() -> None:
    found = {path[-1] for _, _, places in PLACES.values() for path in places}
    assert {"n", "best_of", "max_tokens", "num_ctx", "num_keep", "top_k", "seed", "logprobs", "top_n_tokens"} <= found
    assert len(found) > 40
