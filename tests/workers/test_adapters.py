"""LoRA adapters: what is read of them before llama.cpp sees one, and what it does with them, on the built-in model."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_run import Run, ask
from fakes import request
from tiny import write_adapter, write_decoder
from tropilla.common.errors import ConfigurationError, InvalidPrompt
from tropilla.common.generation import Prompted, TextPrompt, TokenPrompt
from tropilla.common.gguf import Header, read_header
from tropilla.common.settings import Settings
from tropilla.workers import pocket
from tropilla.workers.adapters import misfit, named_adapters, read_adapters, setting_of
from tropilla.workers.engine import Engine, size_of
from tropilla.workers.llama.model import Llama, Size

# -- the setting ---------------------------------------------------------------------------------------------------------


def test_a_setting_names_adapters_and_their_files() -> None:
    assert named_adapters("") == {}
    found = named_adapters("org/poet:v2=/a=b.gguf,cook=c.gguf")
    assert found == {"org/poet:v2": Path("/a=b.gguf"), "cook": Path.cwd() / "c.gguf"}
    assert list(found) == ["org/poet:v2", "cook"]
    assert named_adapters(setting_of(found.items())) == found


@pytest.mark.parametrize("setting", ["poet", "poet=", "=/x", "a b=/x", "tgi=/x", "poet=/x,", "poet=/x,poet=/y", ","])
def test_a_setting_that_names_none_or_one_twice_is_refused(setting: str) -> None:
    with pytest.raises(ConfigurationError):
        named_adapters(setting)


# -- the header ----------------------------------------------------------------------------------------------------------

#: Inputs 8, outputs 4; the embeddings of 9 tokens; three experts.
MODEL = Header(
    {"general.architecture": "llama"},
    0,
    0,
    tensors={
        "w.weight": (8, 4),
        "token_embd.weight": (8, 9),
        "output.weight": (8, 9),
        "experts.weight": (8, 4, 3),
        "norm.weight": (8,),
    },
)
VALUES = {"general.type": "adapter", "adapter.type": "lora", "general.architecture": "llama"}
PAIR = {"w.weight.lora_a": (8, 2), "w.weight.lora_b": (2, 4)}
EMBEDDINGS = {"token_embd.weight.lora_a": (2, 9), "token_embd.weight.lora_b": (2, 8)}
EXPERTS = {"experts.weight.lora_a": (8, 2, 3), "experts.weight.lora_b": (2, 4, 3)}


def adapter(tensors: dict[str, tuple[int, ...]], **values: Any) -> Header:
    """A double underscore is a dot, None leaves the key out."""
    given = VALUES | {name.replace("__", "."): value for name, value in values.items()}
    return Header({key: value for key, value in given.items() if value is not None}, 0, 0, tensors=tensors)


@pytest.mark.parametrize(
    "fitting",
    [
        adapter(PAIR),
        adapter(PAIR, adapter__lora__alpha=16.0),
        adapter(PAIR | EMBEDDINGS | EXPERTS),
        adapter({"w.weight.lora_a": (8, 1), "w.weight.lora_b": (1, 4)}),
        adapter({"output.weight.lora_a": (8, 2), "output.weight.lora_b": (2, 9)}),
    ],
)
def test_an_adapter_that_fits(fitting: Header) -> None:
    assert misfit(fitting, MODEL) is None


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (adapter(PAIR, general__type=None), "it is a GGUF of something else"),
        (adapter(PAIR, general__type="model"), "it is a GGUF of something else"),
        (adapter(PAIR, adapter__type="control_vector"), "it is of type 'control_vector', and only lora is served"),
        (adapter(PAIR, adapter__type=None), "it is of type None, and only lora is served"),
        (adapter(PAIR, general__architecture="qwen3"), "it was made for qwen3, and the model is llama"),
        (adapter(PAIR, adapter__lora__alpha=16), "its adapter.lora.alpha is not a fraction"),
        (adapter(PAIR, adapter__alora__invocation_tokens=(1, 2)), "it is an activated LoRA"),
        (adapter({}), "it has no tensors"),
        (adapter(PAIR | {"norm.weight": (8,)}), "llama.cpp would leave out its tensor norm.weight"),
        (adapter({"w.weight.lora_a": (8, 2)}), "it has only one half of w.weight"),
        (adapter({"v.weight.lora_a": (8, 2), "v.weight.lora_b": (2, 4)}), "it adapts v.weight, which the model does not"),
        (adapter({"w.weight.lora_a": (7, 2), "w.weight.lora_b": (2, 4)}), "it adapts a w.weight of another shape"),
        (adapter({"w.weight.lora_a": (8, 2), "w.weight.lora_b": (2, 5)}), "it adapts a w.weight of another shape"),
        (adapter({"w.weight.lora_a": (8, 2), "w.weight.lora_b": (3, 4)}), "it adapts a w.weight of another shape"),
        (adapter({"w.weight.lora_a": (2, 8), "w.weight.lora_b": (4, 2)}), "it adapts a w.weight of another shape"),
        (adapter({"w.weight.lora_a": (8, 0), "w.weight.lora_b": (0, 4)}), "it adapts a w.weight of another shape"),
        (adapter(EXPERTS | {"experts.weight.lora_b": (2, 4)}), "it adapts a experts.weight of another shape"),
        (adapter({"token_embd.weight.lora_a": (8, 2), "token_embd.weight.lora_b": (2, 9)}),
         "it adapts a token_embd.weight of another shape"),
    ],
)  # fmt: skip
def test_an_adapter_that_does_not_fit_is_refused_in_half_a_sentence(wrong: Header, why: str) -> None:
    found = misfit(wrong, MODEL)
    assert found is not None
    assert found.startswith(why)


def test_embeddings_that_are_the_output_too_cannot_be_adapted() -> None:
    """llama.cpp 0.3.36 takes such a file, and ends the process at the first token."""
    tied = Header(MODEL.values, 0, 0, tensors={n: s for n, s in MODEL.tensors.items() if n != "output.weight"})
    assert "is the output as well" in (misfit(adapter(EMBEDDINGS), tied) or "")
    assert misfit(adapter(EMBEDDINGS), MODEL) is None


def test_of_a_model_in_several_files_only_the_first_is_known() -> None:
    first = Header({**MODEL.values, "split.count": 3}, 0, 0, tensors={"w.weight": (8, 4)})
    elsewhere = {"v.weight.lora_a": (8, 2), "v.weight.lora_b": (2, 4)}
    assert misfit(adapter(PAIR | elsewhere), first) is None
    assert misfit(adapter(PAIR | EMBEDDINGS), first) is not None
    assert misfit(adapter({"w.weight.lora_a": (7, 2), "w.weight.lora_b": (2, 4)}), first) is not None


def test_a_refusal_names_the_file_and_the_model(tmp_path: Path) -> None:
    other = write_adapter(tmp_path / "other.gguf", write_decoder(tmp_path / "model.gguf"))
    header = read_header(pocket.path())
    for name, path in (("poet", other), ("poet", pocket.path()), ("poet", tmp_path / "none"), ("pocket", other)):
        with pytest.raises(ConfigurationError) as caught:
            read_adapters({name: path}, name="pocket", model=header)
        assert "pocket" in caught.value.message if name == "pocket" else str(path) in caught.value.message
        assert "\n" not in caught.value.message


def test_what_the_header_allows_llama_cpp_loads(tmp_path: Path) -> None:
    """And what llama.cpp refuses all the same is a sentence, too."""
    path, size = write_adapter(tmp_path / "poet.gguf", pocket.path()), Size(2, 256, 16)
    assert misfit(read_header(path), read_header(pocket.path())) is None
    Llama(pocket.path(), size, threads=1, adapters={"poet": path}).close()
    other = write_adapter(tmp_path / "other.gguf", write_decoder(tmp_path / "model.gguf"))
    with pytest.raises(ConfigurationError, match=r"other\.gguf could not be loaded by llama\.cpp as an adapter"):
        Llama(pocket.path(), size, threads=1, adapters={"poet": path, "other": other})


# -- llama.cpp -----------------------------------------------------------------------------------------------------------

SETTINGS = Settings(slots=8, context=512, step_tokens=64, threads=1)
NAMES = ("", "poet", "cook")
PROMPTS = ["Once upon a time", "The capital of France is", "A dog has", "1 2 3 4", "Count to nine: one"]
#: How far rounding may move a log-probability: batches of another shape are multiplied by other kernels.
ROUNDING = 0.25

Make = Callable[..., Engine]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    """Engines over the built-in model with adapters of these names."""
    folder = tmp_path_factory.mktemp("adapters")
    files = {
        name: write_adapter(folder / f"{name}.gguf", pocket.path(), seed=seed, strength=0.8)
        for seed, name in enumerate(NAMES[1:])
    }
    header, made = read_header(pocket.path()), []

    def engine(*names: str) -> Engine:
        adapters = {name: files[name] for name in names}
        size = size_of(SETTINGS, header, gpu=False, adapters=read_adapters(adapters, name="pocket", model=header))
        made.append(Engine(SETTINGS, "pocket", pocket.path(), header, size, gpu=False, adapters=adapters))
        return made[-1]

    yield engine
    for one in made:
        one.close()


@pytest.fixture(scope="module")
def engine(make: Make) -> Engine:
    return make(*NAMES[1:])


def said(engine: Engine, prompt: str, adapter: str = "") -> list[int]:
    """The greedy answer, alone."""
    run = Run(engine)
    run.submit(ask(TextPrompt(prompt), adapter=adapter))
    run.finish()
    return [token.id for token in run.tokens()]


def test_an_adapter_answers_as_it_does_where_there_is_no_other(make: Make, engine: Engine) -> None:
    """With both loaded, whatever was applied before: what a context says that has this adapter only, or none ever."""
    for adapter in NAMES:
        only = make(*[adapter] if adapter else [])
        for prompt in PROMPTS:
            assert said(engine, prompt, adapter) == said(only, prompt, adapter)
    answers = {adapter: [said(engine, prompt, adapter) for prompt in PROMPTS] for adapter in NAMES}
    # Counting, the last two, it has learned so well that nothing confuses it.
    for place in range(len(PROMPTS) - 2):
        assert len({tuple(answer[place]) for answer in answers.values()}) == len(NAMES)


@pytest.mark.parametrize("seed", range(3))
def test_eight_streams_of_mixed_adapters_say_what_each_says_alone(engine: Engine, seed: int) -> None:
    """Over prompts that begin alike. Every token that was said in company is the likeliest with its adapter when everything
    is computed afresh, alone; up to rounding, which decides between equals. That cells are shared with nobody else's is
    tested exactly in test_loop.py.
    """
    chance = random.Random(seed)
    stems = ["The cat is small. " * n for n in (3, 9)]
    asked = [(chance.choice(stems) + chance.choice(PROMPTS), NAMES[n % 3]) for n in range(16)]
    run = Run(engine)
    for n, (prompt, adapter) in enumerate(asked):
        run.submit(ask(TextPrompt(prompt), name=f"r{n}", adapter=adapter))
        for _ in range(chance.randint(0, 3)):
            run.loop.turn()
    run.finish()
    assert sum(run.finished(f"r{n}").usage.cached for n in range(16)) > 50
    same = 0
    for n, (prompt, adapter) in enumerate(asked):
        answer = [token.id for token in run.tokens(f"r{n}")]
        ids = engine.model.vocabulary.tokenize(prompt, special=False, start=True)
        scored = Run(engine)
        scored.submit(ask(TokenPrompt((*ids, *answer)), max_tokens=0, prompt_logprobs=1, adapter=adapter))
        scored.finish()
        (prompted,) = [event for event in scored.events["r"] if isinstance(event, Prompted)]
        for token in prompted.tokens[len(ids) :]:
            assert token.logprob is not None
            assert token.top[0].logprob - token.logprob < ROUNDING
        same += answer == said(engine, prompt, adapter)
    assert same >= 11


def test_an_adapter_that_this_worker_has_not_fails_its_request(engine: Engine) -> None:
    with pytest.raises(InvalidPrompt, match="adapter nobody not found") as caught:
        engine.sequences(request(adapter="nobody"))
    assert caught.value.code == "unsupported"
