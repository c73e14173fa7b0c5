"""The engine's own layer, on the built-in model: real llama.cpp, no servers."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tropilla.common.errors import ConfigurationError
from tropilla.common.generation import Sampling, Token
from tropilla.workers import pocket
from tropilla.workers.llama.library import check_flavour, check_version
from tropilla.workers.llama.model import Llama, Size
from tropilla.workers.loop import Job, Loop, Outgoing
from tropilla.workers.sampler import Sampler
from tropilla.workers.scheduler import Limits, Scheduler
from tropilla.workers.sequence import Rules, Sequence
from tropilla.workers.text import Text

SLOTS, CONTEXT, STEP_TOKENS = 4, 512, 64
SIZE = Size(SLOTS, CONTEXT, STEP_TOKENS, cells=SLOTS * CONTEXT, sequences=2 * SLOTS)
PROMPTS = ["Once upon a time", "The capital of France is", "A dog has", "Once upon a time there was a fox", "1 2 3 4"]


@pytest.fixture(scope="module")
def llama() -> Iterator[Llama]:
    llama = Llama(pocket.path(), SIZE, threads=1)
    yield llama
    llama.close()


def generate(
    llama: Llama, *prompts: str, sampling: Sampling | None = None, max_tokens: int = 24, logprobs: int | None = None
) -> list[list[Token]]:
    """The tokens of each prompt, all of them through one loop."""
    events: list[Outgoing] = []
    limits = Limits(SLOTS, SIZE.cells, STEP_TOKENS, sequences=SIZE.sequences)
    scheduler = Scheduler(limits)
    loop = Loop(llama, scheduler, outbox=events.extend, worker="w")
    jobs = []
    for number, prompt in enumerate(prompts):
        ids = llama.vocabulary.tokenize(prompt, special=False, start=True)
        sampler = Sampler(sampling or Sampling(temperature=0), context=CONTEXT, prompt=ids)
        jobs.append(Job(str(number), 1, 1))
        sequence = Sequence(
            request_id=str(number), choice=0, prompt=ids, sampler=sampler, text=Text(),
            rules=Rules(max_tokens, logprobs=logprobs),
        )  # fmt: skip
        loop.submit(jobs[-1], [sequence])
    loop.turn()
    while not loop.idle:
        loop.turn()
    scheduler.forget_idle()
    llama.move(scheduler.moves())
    tokens = [event for event in events if isinstance(event.event, Token)]
    return [[one.event for one in tokens if one.job is job and isinstance(one.event, Token)] for job in jobs]


def ids(tokens: list[Token]) -> list[int]:
    return [token.id for token in tokens]


def outlook(llama: Llama, *prompts: str) -> list[dict[int, float]]:
    """The probability of every token after each prompt, all of them evaluated in one company."""
    firsts = [tokens[0] for tokens in generate(llama, *prompts, logprobs=llama.vocabulary.size, max_tokens=1)]
    return [{one.id: math.exp(one.logprob) for one in first.top} for first in firsts]


def furthest(one: dict[int, float], other: dict[int, float]) -> float:
    return max(abs(one[token] - other[token]) for token in one)


#: Batches of another shape are multiplied by other kernels, which round differently (ARCHITECTURE.md promises no more). Two
#: hundred tokens of nothing new amplify it: cutting the same prompt into other chunks moved a probability by up to 0.04.
ROUNDING = 0.1


def test_a_prompt_reads_the_same_alone_and_in_any_company(llama: Llama) -> None:
    alone = [outlook(llama, prompt)[0] for prompt in PROMPTS]
    for one, other in zip(alone, outlook(llama, *PROMPTS), strict=True):
        assert furthest(one, other) < ROUNDING


def test_a_prompt_in_chunks_reads_as_the_same_prompt(llama: Llama) -> None:
    long = "The cat is small. " * 40
    assert len(llama.vocabulary.tokenize(long, special=False, start=True)) > 2 * STEP_TOKENS
    assert furthest(outlook(llama, long, "A dog has", long)[0], outlook(llama, long)[0]) < ROUNDING
    assert furthest(outlook(llama, long)[0], outlook(llama, "A dog has")[0]) > 3 * ROUNDING


def test_a_slot_remembers_nothing_of_whoever_had_it_before(llama: Llama) -> None:
    first = ids(generate(llama, "Once upon a time")[0])
    generate(llama, *PROMPTS)
    assert ids(generate(llama, "Once upon a time")[0]) == first


def test_a_seed_repeats_and_another_differs(llama: Llama) -> None:
    warm = Sampling(temperature=1.5, seed=11)
    one, two = (ids(generate(llama, "Once upon a time", sampling=warm)[0]) for _ in range(2))
    other = ids(generate(llama, "Once upon a time", sampling=Sampling(temperature=1.5, seed=12))[0])
    assert one == two != other


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=1.0, top_k=1, seed=5),
        Sampling(temperature=1.0, top_p=1e-6, seed=5),
        Sampling(temperature=1.0, min_p=1.0, seed=5),
        Sampling(temperature=1e-9, seed=5),
    ],
    ids=["top_k", "top_p", "min_p", "temperature"],
)
def test_each_of_these_alone_makes_sampling_greedy(llama: Llama, sampling: Sampling) -> None:
    greedy = generate(llama, "The capital of France is")
    assert ids(generate(llama, "The capital of France is", sampling=sampling)[0]) == ids(greedy[0])


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=1.2, mirostat=1, mirostat_tau=0.5, seed=5),
        Sampling(temperature=1.2, mirostat=2, mirostat_tau=0.5, seed=5),
        Sampling(temperature=1.2, typical_p=0.3, seed=5),
    ],
    ids=["mirostat 1", "mirostat 2", "typical_p"],
)
def test_each_of_these_changes_what_is_said(llama: Llama, sampling: Sampling) -> None:
    plain = Sampling(temperature=sampling.temperature, seed=sampling.seed)
    prompt = "Once upon a time"
    assert ids(generate(llama, prompt, sampling=sampling)[0]) != ids(generate(llama, prompt, sampling=plain)[0])


@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty"])
def test_a_strong_penalty_says_nothing_twice_and_its_opposite_nothing_else(llama: Llama, name: str) -> None:
    def said(strength: float) -> list[int]:
        sampling = Sampling(**{"temperature": 0, name: strength})
        return ids(generate(llama, "Once upon a time", sampling=sampling)[0])

    assert len(set(said(1000.0))) == len(said(1000.0)) > 3
    assert len(set(said(-1000.0))) == 1


def test_the_repeat_penalty_looks_at_the_prompt_and_the_others_do_not(llama: Llama) -> None:
    prompt = "red red red red red red red red"
    greedy = ids(generate(llama, prompt, max_tokens=1)[0])
    counted = Sampling(temperature=0, presence_penalty=2.0, frequency_penalty=2.0)
    assert ids(generate(llama, prompt, sampling=counted, max_tokens=1)[0]) == greedy
    repeated = Sampling(temperature=0, repeat_penalty=100.0, repeat_last_n=-1)
    said = set(llama.vocabulary.tokenize(prompt, special=False, start=True))
    assert not said & set(ids(generate(llama, prompt, sampling=repeated, max_tokens=1)[0]))


def test_log_probabilities_are_those_of_the_raw_softmax(llama: Llama) -> None:
    size = llama.vocabulary.size
    (token, *_) = generate(llama, "The capital of France is", logprobs=size, max_tokens=1)[0]
    assert math.isclose(sum(math.exp(one.logprob) for one in token.top), 1.0, rel_tol=1e-4)
    assert (token.top[0].id, token.top[0].logprob) == (token.id, token.logprob)
    assert [one.logprob for one in token.top] == sorted((one.logprob for one in token.top), reverse=True)


def test_markers_are_markers_only_where_they_may_be(llama: Llama) -> None:
    vocabulary = llama.vocabulary
    (marker,) = vocabulary.tokenize("<|im_end|>", special=True, start=False)
    assert vocabulary.is_marker(marker)
    assert vocabulary.ends_turn(marker)
    plain = vocabulary.tokenize("<|im_end|>", special=False, start=False)
    assert len(plain) > 1
    assert not any(vocabulary.is_marker(token) for token in plain)
    assert "<|im_end|>" in vocabulary.marker_texts


@pytest.mark.parametrize("text", ["", "Hello", "Grüße, 你好 😀", "a" * 500, "\x00\n\t "])
def test_what_is_tokenized_is_spelled_again_by_its_pieces(llama: Llama, text: str) -> None:
    tokens = llama.vocabulary.tokenize(text, special=False, start=False)
    assert b"".join(llama.vocabulary.piece(token) for token in tokens).decode() == text


def test_loading_tells_how_far_it_is() -> None:
    seen: list[float] = []
    Llama(pocket.path(), Size(1, 256, 16), threads=1, on_progress=seen.append).close()
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_what_llama_cpp_will_not_load_is_one_sentence_naming_the_file(tmp_path: Path) -> None:
    path = tmp_path / "odd.gguf"
    # A sound header of an architecture that nobody knows.
    key = b"general.architecture" + struct.pack("<IQ", 8, len("llama"))
    path.write_bytes(pocket.path().read_bytes().replace(key + b"llama", key + b"alpac"))
    with pytest.raises(ConfigurationError, match=r"odd\.gguf could not be loaded"):
        Llama(path, Size(1, 256, 16), threads=1)


def test_any_other_release_of_the_bindings_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"llama-cpp-python is 9\.9\.9; .* exactly 0\.3\.36"):
        check_version("9.9.9")


def test_a_cpu_worker_needs_no_gpu() -> None:
    check_flavour("cpu")
