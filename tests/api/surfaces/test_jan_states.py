"""How things stand with a model, in each dialect's words, and that what is told is what the user's own schema allows."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from jan_scene import BROKEN, COMING, GONE, HUB, SEED, Scene, definition, made, running, valid, worker
from openai.types import Model as OpenAIModel
from tropilla.api.states import standing
from tropilla.common.catalogue import Catalogue
from tropilla.common.errands import Progress, Pull
from tropilla.common.recipes import Overlay

DEFINED = definition()
IDLE = Catalogue((worker(),), (DEFINED,))
PULL = Pull("t1", f"{HUB}/resolve/main/m.gguf", "m")
FAILED = {"m@1": {"w": BROKEN}}

#: (catalogue, inside, in the list, by itself, listed without being asked for)
STATES = [
    pytest.param(Catalogue((), (), {"m": GONE}), "registered", None, "not_downloaded", False, id="registered"),
    pytest.param(Catalogue((), (), {"m": COMING}), "downloading", "downloading", "not_downloaded", False, id="downloading"),
    pytest.param(IDLE, "downloaded", "ready", "downloaded", True, id="downloaded"),
    pytest.param(
        Catalogue((worker("loading", DEFINED.model),), (DEFINED,)), "starting", "starting", "downloaded", True, id="loading"
    ),
    pytest.param(
        Catalogue((worker("draining", made("n"), next_pin="m@1"),), (DEFINED,)), "starting", "starting", "downloaded", True,
        id="next",
    ),
    pytest.param(running(DEFINED), "running", "ready", "running", True, id="running"),
    pytest.param(
        Catalogue((worker("draining", DEFINED.model), dataclasses.replace(worker(), name="w2")), (DEFINED,)), "stopping",
        "stopping", "running", True, id="stopping",
    ),
    pytest.param(Catalogue((worker(),), (DEFINED,), {}, FAILED), "error", None, "downloaded", False, id="error"),
    pytest.param(Catalogue((), (DEFINED,)), "error", None, "downloaded", False, id="nobody"),
]  # fmt: skip


@pytest.mark.parametrize(("cluster", "inside", "in_list", "alone", "listed"), STATES)
def test_each_state_has_one_word_in_each_shape(
    cluster: Catalogue, inside: str, in_list: str | None, alone: str, listed: bool
) -> None:
    scene = Scene(cluster, Progress("pulling", "sha256:ab", 10, 4), tasks=(PULL,) if inside == "downloading" else ())
    assert standing(cluster, "m").state == inside
    _, shown = scene.ask("GET", "/v1/models")
    _, whole = scene.ask("GET", "/v1/models?all=1")
    assert [each["id"] for each in shown["data"]] == (["m"] if listed else [])
    assert [each.get("state") for each in whole["data"]] == [in_list]
    code, one = scene.ask("GET", "/v1/models/m")
    assert (code, one["state"]) == (200, alone)
    code, told = scene.ask("GET", "/v1/models/status/m")
    assert (code, told["id"], told["object"], told["state"]) == (200, "m", "model", inside)
    valid("ListModelsResponse", shown)
    valid("ListModelsResponse", whole)
    valid("GetModelResponse", one)
    for each in (*whole["data"], one):
        OpenAIModel.model_validate(each, strict=True)


def test_a_download_says_how_far_it_is() -> None:
    scene = Scene(Catalogue((), (), {"m": COMING}), Progress("pulling", "sha256:ab", 10, 4), tasks=(PULL,))
    _, body = scene.ask("GET", "/v1/models/m")
    assert body["metadata"]["download"] == {"taskId": "t1", "bytes": 10, "downloadedBytes": 4}
    assert scene.ask("GET", "/v1/models?all=1")[1]["data"][0]["metadata"] == body["metadata"]


@pytest.mark.parametrize(
    ("cluster", "code"),
    [(Catalogue((worker(),), (DEFINED,), {}, FAILED), "out_of_memory"), (Catalogue((), (), {"m": GONE}), GONE.code)],
)
def test_what_is_the_matter_is_told_with_its_reason(cluster: Catalogue, code: str) -> None:
    _, body = Scene(cluster).ask("GET", "/v1/models/m")
    assert body["metadata"]["error"]["code"] == code
    assert body["metadata"]["error"]["message"]


#: Facts with which a strict validator has refused other servers' answers (contracts, models sheet 4.2).
TRAPS: list[dict[str, Any]] = [
    {"context_length": 131072, "trained_context": 131072},
    {"context_length": 100},
    {"gpu_layers": 0},
    {"slots": 64},
    {"overlay": Overlay(parameters=(("temperature", 1.5), ("top_k", 500), ("max_tokens", -1)))},
    {"source": ""},
    {"source": "oci://registry.ollama.ai/library/m:latest"},
    {"parameter_count": 7_000_000_000, "quantization": ""},
]


@pytest.mark.parametrize("facts", TRAPS, ids=lambda facts: next(iter(facts)))
@pytest.mark.parametrize("flavour", ["cpu", "gpu"])
def test_strict_validators_find_nothing_wrong(facts: dict[str, Any], flavour: Any) -> None:
    defined = definition(**facts)
    scene = Scene(Catalogue((worker("ready", defined.model, flavour=flavour),), (defined,)))
    _, listed = scene.ask("GET", "/v1/models")
    _, one = scene.ask("GET", "/v1/models/m")
    valid("ListModelsResponse", listed)
    valid("GetModelResponse", one)
    assert one["parameters"] == one["model_parameters"]
    assert one["metadata"]["context_length"] == defined.model.context_length
    assert listed["data"][0]["settings"]["ctx_len"] == str(defined.model.context_length)
    assert ("ngl" in one["model_parameters"]) is (flavour == "gpu" and facts != {"gpu_layers": 0})


def test_the_schema_is_one_that_finds_something() -> None:
    assert len(SEED["components"]["schemas"]) == 8
    _, body = Scene(running(DEFINED)).ask("GET", "/v1/models")
    item = body["data"][0]
    for wrong in (
        {"state": None},
        {"source_url": "no address"},
        {"settings": {"ctx_len": 2048}},
        {"settings": {"x": ""}},
    ):
        with pytest.raises(Exception, match=r"\S"):
            valid("Model", {**item, **wrong})
    with pytest.raises(Exception, match="source_url"):
        valid("Model", {key: value for key, value in item.items() if key != "source_url"})


@pytest.mark.parametrize(
    ("source", "url"),
    [
        (f"{HUB}/resolve/main/m.gguf", f"{HUB}/resolve/main/m.gguf"),
        ("", "file:m.gguf"),
        ("oci://registry.ollama.ai/library/m:latest", "oci://registry.ollama.ai/library/m:latest"),
    ],
)
def test_where_it_came_from_is_told_without_paths_of_ours(source: str, url: str) -> None:
    _, body = Scene(running(definition(source=source))).ask("GET", "/v1/models/m")
    assert body["source_url"] == url


def test_what_a_models_name_sets_is_what_is_shown() -> None:
    overlay = Overlay(parameters=(("temperature", 0.25), ("top_p", 0.5), ("top_k", 80), ("max_tokens", 100)))
    _, listed = Scene(running(definition(overlay=overlay))).ask("GET", "/v1/models")
    told = {"temperature": "0.25", "top_p": "0.5", "top_k": "80", "token_limit": "100", "stream": "true"}
    assert listed["data"][0]["parameters"] == told


@pytest.mark.parametrize("asked", ["org/b:q4", "org%2Fb:q4", "org/b", "b:q4", "b"])
def test_a_name_may_hold_slashes_and_colons(asked: str) -> None:
    scene = Scene(running(definition("org/b:q4")))
    assert scene.ask("GET", f"/v1/models/{asked}")[1]["id"] == "org/b:q4"
    assert scene.ask("GET", f"/v1/models/status/{asked}")[1]["state"] == "running"
    assert scene.ask("PUT", f"/v1/models/{asked}/stop")[0] == 200


def test_a_model_that_cannot_answer_is_found_by_its_short_name_too() -> None:
    scene = Scene(Catalogue((), (), {"m:latest": GONE}))
    assert scene.ask("GET", "/v1/models/m")[1]["id"] == "m:latest"
