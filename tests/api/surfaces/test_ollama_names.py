"""Model names: section 2."""

from __future__ import annotations

import dataclasses

import pytest
from ollama_scene import LIPS, POCKET, surroundings
from tropilla.api.surfaces.ollama.names import known_as, name_of, parse_name, resolve
from tropilla.common.errors import InvalidField, UnknownModel


@pytest.mark.parametrize(
    ("text", "full", "display"),
    [
        ("llama3", "registry.ollama.ai/library/llama3:latest", "llama3:latest"),
        ("llama3:70b", "registry.ollama.ai/library/llama3:70b", "llama3:70b"),
        ("apple/OpenELM", "registry.ollama.ai/apple/OpenELM:latest", "apple/OpenELM:latest"),
        ("host:5000/ns/m:t", "host:5000/ns/m:t", "host:5000/ns/m:t"),
        ("https://host/library/m", "host/library/m:latest", "host/library/m:latest"),
        ("Registry.Ollama.ai/Library/m", "Registry.Ollama.ai/Library/m:latest", "m:latest"),
        ("  m:t  ", "registry.ollama.ai/library/m:t", "m:t"),
        ("m" * 80, f"registry.ollama.ai/library/{'m' * 80}:latest", f"{'m' * 80}:latest"),
        ("h" * 350 + "/n/m", f"{'h' * 350}/n/m:latest", f"{'h' * 350}/n/m:latest"),
    ],
)
def test_a_name_is_filled_up_with_defaults_and_shown_without_them(text: str, full: str, display: str) -> None:
    name = parse_name(text)
    assert (name.valid, name.full, name.display) == (True, full, display)


@pytest.mark.parametrize(
    "text",
    [
        "^",
        "mm:",
        ":t",
        "/mm",
        "/nn/mm",
        "//",
        "x://",
        "-m",
        "n/-m",
        "m:-t",
        ".m",
        "a./m",
        "m@sha256",
        "m\n",
        "host/name:space/model:tag",
        "a/b/c/d",
        "é",
        "m" * 81,
        "m:" + "t" * 81,
        "n" * 81 + "/m",
        "h" * 351 + "/n/m",
    ],
)
def test_what_the_grammar_forbids_is_no_name(text: str) -> None:
    # The whole string is trimmed, so the newline stands inside.
    assert not parse_name(text.replace("\n", "\nm")).valid


@pytest.mark.parametrize(
    "text", ["pocket", "pocket:latest", "POCKET", "library/pocket", "pocket:local", " Pocket:LATEST "]
)
def test_a_model_answers_to_every_spelling_of_its_name(text: str) -> None:
    assert resolve(surroundings(), text) == POCKET


@pytest.mark.parametrize("text", ["h:5/n/m", "h-5/n/m", "http://H:5/n/m:latest"])
def test_a_port_is_kept_behind_a_dash_and_found_behind_a_colon(text: str) -> None:
    assert parse_name("h:5/n/m").stored == "h-5/n/m:latest"
    kept = dataclasses.replace(POCKET, name="h-5/n/m:latest")
    assert resolve(surroundings(kept), text) == kept
    assert known_as(surroundings(kept).catalogue, text) == "h-5/n/m:latest"


@pytest.mark.parametrize("text", ["Apple/Lips:Code", "apple/lips:code", "registry.ollama.ai/APPLE/lips:CODE"])
def test_the_catalogues_casing_wins(text: str) -> None:
    assert resolve(surroundings(), text).name == LIPS.name


@pytest.mark.parametrize(
    "text", ["llama3", "pocket:8b", "lips:code", "pocket:cloud", "pocket:8b-cloud", "h/library/pocket"]
)
def test_a_name_that_nobody_serves_is_unknown_as_it_was_typed(text: str) -> None:
    with pytest.raises(UnknownModel) as caught:
        resolve(surroundings(), text)
    assert caught.value.message == f"model '{text}' not found"


def test_local_and_cloud_exclude_each_other() -> None:
    with pytest.raises(InvalidField, match='use either :local or :cloud, not both: "x:cloud:local"'):
        resolve(surroundings(), "x:cloud:local")


def test_an_operator_may_let_the_default_model_answer_unknown_names() -> None:
    assert resolve(surroundings(unknown_model="default", default_model="pocket"), "gpt-4o") == POCKET


def test_a_name_outside_ollamas_grammar_is_found_as_it_stands_and_listed_with_a_tag() -> None:
    odd = dataclasses.replace(POCKET, name="my model@home")
    assert resolve(surroundings(odd), "my model@home") == odd
    assert name_of(odd).display == "my model@home:latest"
    assert resolve(surroundings(odd), name_of(odd).display) == odd
