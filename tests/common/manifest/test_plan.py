"""A manifest and its files -> definitions and troubles."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tropilla.common.catalogue import Model, Trouble
from tropilla.common.generation import LocalTemplates, Message
from tropilla.common.manifest.manifest import Manifest
from tropilla.common.manifest.parse import parse
from tropilla.common.manifest.plan import Plan, Shelved, plan
from tropilla.common.recipes import File, Overlay, Recipe

FACTS = Model(
    name="",
    digest="ab" * 32,
    size_bytes=9,
    family="llama",
    parameter_count=1,
    quantization="Q4_K_M",
    context_length=2048,
    trained_context=131072,
    embedding_length=64,
    vocabulary=1000,
    modified_at=1.0,
    capabilities=("completion", "tools"),
)
SHELVED = Shelved(FACTS, (File("ab" * 32, 9, "M.gguf"),), source="https://h.example/M.gguf")


def manifest(*configs: dict[str, Any], **outer: Any) -> Manifest:
    models = [{"name": "m", "source": "https://h.example/M.gguf"}]
    return parse(json.dumps({"apiVersion": "v1alpha1", "models": models, "config": json.dumps(configs), **outer}))


def config(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "parameters": {"model": "M.gguf"}, **more}


def pinned(recipe: Recipe, name: str) -> Recipe:
    """Equal recipes are equal texts; the first name stays in a registry of its own."""
    return replace(recipe, pin=_pins.setdefault(replace(recipe, pin=""), f"{name}@0"))


_pins: dict[Recipe, str] = {}


def planned(made: Manifest, **shelved: Shelved | Trouble) -> Plan:
    _pins.clear()
    return plan(made, {"M.gguf": SHELVED, **{name.replace("_", "."): each for name, each in shelved.items()}}, pinned)


def test_an_entry_becomes_a_definition() -> None:
    made = planned(
        manifest(config("chat", context_size=512, threads=2, cache_type_k="q8_0", cache_type_v="q8_0", pinned=True),
                 runtime="avx2")
    )  # fmt: skip
    (definition,) = made.definitions
    assert definition.recipe == Recipe(
        "chat@0", SHELVED.files, context=512, threads=2, cache_type="q8_0", flavours=("cpu",), instruction_set="avx2"
    )
    assert definition.model == replace(FACTS, name="chat", context_length=512, pinned_as="chat@0")
    assert (definition.preload, definition.keeps, definition.hidden) == (True, True, False)
    assert definition.source == "https://h.example/M.gguf"
    assert made.troubles == {}


@pytest.mark.parametrize("written", [True, False])
def test_a_manifest_that_is_debugged_has_models_that_are(written: bool) -> None:
    made = planned(manifest(config("a"), {"name": "b", "alias": "a"}, debug=written))
    assert [each.recipe.debug for each in made.definitions] == [written, written]


def test_entries_that_load_alike_share_a_pin() -> None:
    made = planned(manifest(config("a"), config("b", parameters={"model": "m", "top_k": 3}), config("c", threads=1)))
    assert [(each.model.name, each.model.pin) for each in made.definitions] == [
        ("a", "a@0"),
        ("b", "a@0"),
        ("c", "c@0"),
    ]
    assert made.definitions[0].recipe == made.definitions[1].recipe
    assert made.definitions[1].model.overlay.defaults == {"top_k": 3}


def test_a_context_may_be_all_that_it_was_trained_for() -> None:
    (all_of_it, as_it_comes) = planned(manifest(config("a", context_size=-1), config("b"))).definitions
    assert (all_of_it.recipe.context, all_of_it.model.context_length) == (131072, 131072)
    assert (as_it_comes.recipe.context, as_it_comes.model.context_length) == (0, 2048)


def test_an_entry_for_vectors_does_not_chat() -> None:
    (definition,) = planned(manifest(config("a", embeddings=True))).definitions
    assert definition.model.capabilities == ("embedding",)


def test_an_alias_is_the_same_under_another_name() -> None:
    made = planned(manifest({"name": "gpt-4", "alias": "a", "disabled": True}, config("a", system_prompt="S")))
    chat, alias = sorted(made.definitions, key=lambda each: each.model.name)
    assert alias == replace(chat, model=replace(chat.model, name="gpt-4"), hidden=True)
    assert alias.model.overlay.template == LocalTemplates(system_prompt="S")


def test_what_cannot_be_says_why() -> None:
    lost = Trouble("download_failed", "404")
    models = [{"source": f"https://h/{name}.gguf"} for name in ("M", "L")]
    bad = config("bad", backend="vllm")
    configs = [bad, config("lost", parameters={"model": "L.gguf"}), config("a"), {"name": "z", "alias": "bad"}]
    made = planned(manifest(*configs, models=models), L_gguf=lost)
    assert [each.model.name for each in made.definitions] == ["a"]
    assert made.troubles == {"bad": made.troubles["z"], "lost": lost, "z": made.troubles["bad"]}
    assert made.troubles["bad"].code == "backend_unsupported"
    assert plan(manifest(config("a")), {}, pinned).troubles == {
        "a": Trouble("file_missing", "the file M.gguf is not there")
    }


def test_a_manifest_goes_before_what_a_registry_says() -> None:
    said = Overlay(
        template="{{ .Prompt }}",
        system="S",
        messages=(Message("user", "hi"),),
        parameters=(("top_k", 1), ("top_p", 0.5)),
        licenses=("MIT",),
    )
    plain, own = config("plain"), config("own", template={"chat": "{{.Input}}"}, parameters={"model": "m", "top_k": 9})
    made = planned(manifest(plain, own), M_gguf=replace(SHELVED, overlay=said))
    assert made.definitions[0].model.overlay == said
    assert made.definitions[1].model.overlay == replace(
        said, template=LocalTemplates(chat="{{.Input}}"), parameters=(("top_k", 9), ("top_p", 0.5))
    )


EYE = File("ef" * 32, 5, "mmproj.gguf")


def test_a_model_reads_images_by_the_file_that_its_entry_names() -> None:
    made = manifest(
        config("sees", mmproj="https://h.example/mmproj.gguf"), config("blind"), config("vectors", embeddings=True)
    )
    assert [file.stored_name for file in made.wanted] == ["M.gguf", "mmproj.gguf"]
    sees, blind, _ = plan(made, {"M.gguf": SHELVED}, pinned, lambda name, model: EYE).definitions
    assert (sees.recipe.projector, sees.model.projector, sees.model.size_bytes) == (EYE, EYE.digest, 14)
    assert sees.model.capabilities == ("completion", "tools", "vision")
    assert (blind.recipe.projector, blind.model.projector, blind.model.size_bytes) == (None, "", 9)
    assert sees.recipe.pin != blind.recipe.pin
    trouble = Trouble("not_gguf", "mmproj.gguf is no projector")
    less = plan(made, {"M.gguf": SHELVED}, pinned, lambda name, model: trouble)
    assert less.troubles == {"sees": trouble}
    assert plan(made, {"M.gguf": SHELVED}, pinned).troubles["sees"].code == "file_missing"


def test_what_its_place_has_to_read_images_serves_where_the_entry_names_none() -> None:
    other = File("dd" * 32, 7, "other.gguf")
    shelved = {"M.gguf": replace(SHELVED, projector=other)}
    made = manifest(config("own"), config("named", mmproj="https://h.example/mmproj.gguf"))
    own, named = plan(made, shelved, pinned, lambda name, model: EYE).definitions
    assert (own.recipe.projector, named.recipe.projector) == (other, EYE)
