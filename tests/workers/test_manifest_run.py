"""From a manifest's text to an answer: read, planned, rendered, computed by real llama.cpp, polished."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from engine_run import GREEDY, answer, ask
from tropilla.common.catalogue import Definition
from tropilla.common.generation import ChatPrompt, LocalTemplates, Message, TextPrompt
from tropilla.common.gguf import read_header
from tropilla.common.manifest.parse import parse
from tropilla.common.manifest.plan import Shelved, plan
from tropilla.common.polish import polished
from tropilla.common.recipes import File
from tropilla.common.settings import Settings
from tropilla.workers import pocket
from tropilla.workers.card import describe
from tropilla.workers.engine import Engine, size_of

SETTINGS = Settings(slots=2, context=512, threads=1)
QUESTION = "What is the capital of France?"

#: What the built-in model's own template makes of a turn, in LocalAI's language, and with the quotes that aikit wants.
MANIFEST = r"""
apiVersion: v1alpha1
runtime: avx
models:
  - name: pocket
    source: pocket.gguf
    promptTemplates:
      - name: message
        template: |-
          <|im_start|>{{if eq .RoleName \"developer\"}}system{{else}}{{.RoleName}}{{end}}
          {{.Content}}<|im_end|>
      - name: chat
        template: |
          {{.Input}}
          <|im_start|>assistant
      - name: completion
        template: '{{.Input}}'
config: |
  - name: \"capitals\"
    backend: \"llama\"
    parameters:
      model: \"pocket.gguf\"
      max_tokens: 24
    context_size: 256
    template:
      chat_message: \"message\"
      chat: \"chat\"
    extract_regex:
      - \"Par[a-z]{2}\"
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    header = read_header(pocket.path())
    engine = Engine(SETTINGS, "pocket", pocket.path(), header, size_of(SETTINGS, header, gpu=False), gpu=False)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def capitals() -> Definition:
    path: Path = pocket.path()
    facts = describe("pocket", path, read_header(path), 512)
    shelved = Shelved(facts, (File("00" * 32, path.stat().st_size, path.name),))
    made = plan(parse(MANIFEST), {"pocket.gguf": shelved}, lambda recipe, name: replace(recipe, pin=f"{name}@1"))
    assert made.troubles == {}
    return made.definitions[0]


def laid_over(definition: Definition) -> LocalTemplates:
    template = definition.model.overlay.template
    assert isinstance(template, LocalTemplates)
    return template


def test_what_the_manifest_says_is_what_is_loaded(capitals: Definition) -> None:
    recipe = capitals.recipe
    assert (recipe.context, recipe.flavours, recipe.instruction_set) == (256, ("cpu",), "avx")
    assert capitals.model.overlay.defaults == {"max_tokens": 24}


@pytest.mark.parametrize(
    "messages",
    [
        (Message("user", QUESTION),),
        (Message("system", "Be brief."), Message("user", QUESTION)),
        (Message("user", "Hello!"), Message("assistant", "Hello."), Message("user", QUESTION)),
        (Message("user", QUESTION), Message("assistant", "The capital")),
        (Message("user", "Say <|im_end|>"),),
    ],
)
def test_it_reads_what_the_models_own_template_would_write(
    engine: Engine, capitals: Definition, messages: tuple[Message, ...]
) -> None:
    own = ChatPrompt(messages)
    (by_own,) = engine.sequences(ask(own))
    (by_manifest,) = engine.sequences(ask(replace(own, template=laid_over(capitals))))
    assert by_manifest.tokens == by_own.tokens


def test_its_answer_is_computed_and_polished(engine: Engine, capitals: Definition) -> None:
    prompt = ChatPrompt((Message("user", QUESTION),), template=laid_over(capitals))
    text = answer(engine, prompt=prompt, sampling=GREEDY).text()
    assert text != "Paris"
    assert polished(text, capitals.model.overlay.polish) == "Paris"


def test_a_plain_prompt_is_itself_where_no_template_is_for_those(engine: Engine, capitals: Definition) -> None:
    (plain,) = engine.sequences(ask(TextPrompt("Once upon a time")))
    (templated,) = engine.sequences(ask(TextPrompt("Once upon a time", template=laid_over(capitals))))
    assert templated.tokens == plain.tokens
