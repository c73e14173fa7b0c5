"""Listing models, and which one a name means."""

from __future__ import annotations

from dataclasses import replace

import pytest
from openai.pagination import SyncPage
from openai.types import Model as OpenAIModel
from openai_events import HELLO, ask, model, refusal, surroundings
from openai_strict import strict
from tropilla.api.surface import JSON, Surface, Surroundings
from tropilla.api.surfaces.openai.chat import CHAT
from tropilla.api.surfaces.openai.completions import COMPLETIONS
from tropilla.api.surfaces.openai.models import health, listing, retrieve
from tropilla.common.catalogue import Catalogue, Worker, catalogue
from tropilla.common.errors import UnknownModel
from tropilla.common.settings import Settings


@pytest.mark.parametrize(
    ("served", "asked", "meant"),
    [
        (("a", "b"), "b", "b"),
        (("a", "b"), "b:latest", "b"),
        (("a", "org/b:q4"), "org/b:q4", "org/b:q4"),
        (("a", "org/b:q4"), "org/b", "org/b:q4"),
        (("a", "org/b:q4"), "b:q4", "org/b:q4"),
        (("a", "org/b:q4"), "b", "org/b:q4"),
        (("b", "org/b"), "b", "b"),
        # As Ollama's clients ask for it.
        (("a", "b:latest", "b:q4", "org/b:latest"), "b", "b:latest"),
        (("Org/B:Q4", "org/c"), "oRG/b:q4", "Org/B:Q4"),
        (("B:latest", "b:q4"), "b", "B:latest"),
        (("a", "Org/B:Q4"), "b", "Org/B:Q4"),
        (("b", "B"), "B", "B"),
        (("a", "b"), "tgi", "a"),
        (("a", "b"), "dummy", "a"),
        (("a", "b"), "", "a"),
        (("a", "b"), None, "a"),
        (("a", "b"), "http://localhost:8000/v1", "a"),
        (("a", "tgi"), "tgi", "tgi"),
    ],
)
def test_a_name_means_a_model_that_is_served(served: tuple[str, ...], asked: str | None, meant: str) -> None:
    call = ask(CHAT, {**HELLO, "model": asked}, surroundings(*served))
    assert (call.request.model, call.answer.model) == (meant, meant)


@pytest.mark.parametrize(
    ("served", "asked"), [(("a",), "b"), (("b:q4", "b:q8"), "b"), (("b:q4",), "b:latest"), (("b",), "b:q4")]
)
def test_a_name_that_means_none_or_several_is_a_404(served: tuple[str, ...], asked: str) -> None:
    assert refusal(CHAT, {**HELLO, "model": asked}, surroundings(*served)).status == 404


def test_an_operator_may_let_the_default_model_answer_for_all() -> None:
    around = surroundings("a", "b", unknown_model="default", default_model="b")
    assert ask(CHAT, {**HELLO, "model": "gpt-9"}, around).request.model == "b"


def test_without_any_model_a_bare_request_is_a_404() -> None:
    reply = refusal(CHAT, {"messages": HELLO["messages"]}, Surroundings(Catalogue(), Settings(), 0.0))
    assert (reply.status, reply.body["error"]["code"]) == (404, "model_not_found")


def test_the_list_names_every_model_and_reads_as_one_too() -> None:
    body = listing(surroundings("b", "a", default_model="b"), {}).body
    assert [entry["id"] for entry in body["data"]] == ["a", "b"]
    assert (body["object"], body["id"], body["owned_by"], body["created"]) == ("list", "b", "tropilla", 1_750_000_000)
    strict(SyncPage[OpenAIModel], body)


ALIASED = surroundings("a", "org/b:q4", model_aliases="gpt-4o = org/b:q4, small=a,lost=gone, a=org/b:q4")


@pytest.mark.parametrize(
    ("asked", "meant"), [("gpt-4o", "org/b:q4"), ("small", "a"), ("a", "a"), ("b", "org/b:q4"), ("tgi", "a")]
)
def test_an_alias_is_another_name_unless_a_model_bears_it_itself(asked: str, meant: str) -> None:
    call = ask(CHAT, {**HELLO, "model": asked}, ALIASED)
    assert (call.request.model, call.answer.model) == (meant, meant)


def test_an_alias_of_nothing_is_a_404() -> None:
    assert refusal(CHAT, {**HELLO, "model": "lost"}, ALIASED).status == 404


def test_aliases_are_listed_and_found() -> None:
    data = listing(ALIASED, {}).body["data"]
    told = [(entry["id"], entry["aliases"]) for entry in data]
    assert told == [("a", ["small"]), ("gpt-4o", ["gpt-4o"]), ("org/b:q4", ["gpt-4o"]), ("small", ["small"])]
    assert retrieve(ALIASED, {"id": "gpt-4o"}).body["id"] == "gpt-4o"
    assert retrieve(ALIASED, {"id": "b"}).body["id"] == "org/b:q4"


def test_health_is_whether_anything_can_answer() -> None:
    assert health(surroundings("a"), {}).body == {"status": "ok"}
    sick = health(Surroundings(Catalogue(), Settings(), 0.0), {})
    assert (sick.status, set(sick.body["error"])) == (503, {"message", "type", "param", "code"})


def test_the_list_of_nothing_is_empty() -> None:
    assert listing(Surroundings(Catalogue(), Settings(), 0.0), {}).body == {"object": "list", "data": []}


def test_one_model_is_found_by_its_path() -> None:
    assert retrieve(surroundings("org/b:q4"), {"id": "org/b:q4"}).body["id"] == "org/b:q4"


def test_an_unknown_model_cannot_be_retrieved_whatever_answers_for_it() -> None:
    with pytest.raises(UnknownModel):
        retrieve(surroundings("a", unknown_model="default"), {"id": "tgi"})


# -- adapters ---------------------------------------------------------------------------------------------------------


def with_adapters(**adapters: tuple[str, ...]) -> Surroundings:
    served = (replace(model(name), adapters=names) for name, names in adapters.items())
    workers = [Worker(each.name, "cpu", "ready", 8, each) for each in served]
    return Surroundings(catalogue(workers), Settings(), 0.0)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("cook", ("b", "cook")),
        ("b", ("b", "")),
        ("a", ("a", "")),
        ("tgi", ("a", "")),
        ("org/poet:v2", ("a", "org/poet:v2")),
    ],
)
@pytest.mark.parametrize(("surface", "body"), [(CHAT, HELLO), (COMPLETIONS, {"prompt": "Hello"})])
def test_an_adapter_is_asked_for_as_a_model(surface: Surface, body: JSON, asked: str, meant: tuple[str, str]) -> None:
    call = ask(surface, {**body, "model": asked}, with_adapters(a=("org/poet:v2",), b=("cook", "a")))
    assert (call.request.model, call.request.adapter) == meant
    assert call.answer.model == (meant[1] or meant[0])


@pytest.mark.parametrize("asked", ["poet", "cook:latest", "both"])
def test_an_adapter_that_nobody_has_or_several_have_is_a_404(asked: str) -> None:
    around = with_adapters(a=("org/poet", "cook", "both"), b=("both",))
    assert refusal(CHAT, {**HELLO, "model": asked}, around).status == 404


def test_the_list_names_adapters_beside_the_models_with_their_parent() -> None:
    around = with_adapters(a=("poet", "both"), b=("cook", "both"))
    body = listing(around, {}).body
    listed = [(entry["id"], entry.get("parent")) for entry in body["data"]]
    assert listed == [("a", None), ("b", None), ("cook", "b"), ("poet", "a")]
    assert body["id"] == "a"
    for entry in body["data"]:
        OpenAIModel.model_validate(entry, strict=True)
        alone = retrieve(around, {"id": entry["id"]}).body
        shared = ("id", "object", "created", "owned_by", "parent", "aliases", "max_model_len", "meta", "source_url")
        assert {key: alone.get(key) for key in shared} == {key: entry.get(key) for key in shared}
    with pytest.raises(UnknownModel):
        retrieve(around, {"id": "both"})


def test_the_fingerprint_changes_with_the_file() -> None:
    first = ask(CHAT, HELLO).answer.fingerprint
    assert first.startswith("b")
    assert model("pocket", digest="cd" * 32).digest[:12] not in first
