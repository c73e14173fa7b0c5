"""The embedding desk driven by hand, over an embedder that insists on its capacity; and how inputs become tokens."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy
import pytest
from fakes import BOS, EOS, Clock, FakeOutbox, FakeVocabulary, job
from numpy.typing import NDArray
from tropilla.common.errors import ContextExceeded, GenerationFailed, InvalidPrompt
from tropilla.common.generation import (
    ChatPrompt,
    Embedded,
    EmbeddingRequest,
    Failed,
    Fit,
    Message,
    Prompt,
    TextPrompt,
    TokenPrompt,
)
from tropilla.workers.embeddings import Desk, finish_vector, inputs
from tropilla.workers.loop import Job

NAN = 666


class FakeEmbedder:
    """An input's vector is made of its tokens and of nothing else; more than fits is refused as llama.cpp would."""

    def __init__(self, *, sequences: int = 4, tokens: int = 16) -> None:
        self.sequences, self.tokens = sequences, tokens
        #: pass by pass, the inputs
        self.passes: list[list[list[int]]] = []
        self.before_pass: Callable[[Sequence[Sequence[int]]], None] = lambda _: None

    def embed(self, inputs: Sequence[Sequence[int]]) -> list[NDArray[numpy.float32]]:
        assert all(inputs), "an empty input"
        assert 0 < len(inputs) <= self.sequences, "n_seq_max exceeded"
        assert len(inputs) == 1 or sum(map(len, inputs)) <= self.tokens, "n_batch exceeded"
        self.before_pass(inputs)
        self.passes.append([list(ids) for ids in inputs])
        return [self.vector(ids) for ids in inputs]

    @staticmethod
    def vector(ids: Sequence[int]) -> NDArray[numpy.float32]:
        if NAN in ids:
            return numpy.full(4, numpy.nan, numpy.float32)
        return numpy.array([sum(ids), len(ids), ids[0], ids[-1]], numpy.float32)


class Bench:
    def __init__(self, *, sequences: int = 4, tokens: int = 16) -> None:
        self.embedder = FakeEmbedder(sequences=sequences, tokens=tokens)
        self.clock = Clock()
        self.desk = Desk(self.embedder, worker="w", clock=self.clock)
        self.out = FakeOutbox()

    def add(
        self,
        request_id: str,
        *inputs: list[int],
        attempt: int = 1,
        dimensions: int | None = None,
        normalize: bool = False,
    ) -> Job:
        posted = job(request_id, choices=len(inputs), attempt=attempt)
        self.desk.add(posted, list(inputs), dimensions=dimensions, normalize=normalize)
        return posted

    def step(self) -> None:
        if events := self.desk.step():
            self.out(events)

    def finish(self) -> None:
        for _ in range(10_000):
            if self.desk.idle:
                return
            self.step()
        raise AssertionError("the desk never became idle")

    def vectors(self, request_id: str) -> list[tuple[float, ...]]:
        """In order of the inputs, whatever order the events came in."""
        events = [event for event in self.out.events[request_id] if isinstance(event, Embedded)]
        return [event.floats for event in sorted(events, key=lambda event: event.choice)]


def expected(*inputs: list[int]) -> list[tuple[float, ...]]:
    return [tuple(FakeEmbedder.vector(ids).tolist()) for ids in inputs]


def test_a_request_gets_a_vector_for_each_input_and_ends_with_the_last() -> None:
    bench = Bench()
    posted = bench.add("a", [1, 2], [3], [4, 5, 6])
    bench.step()
    assert bench.desk.idle
    assert bench.vectors("a") == expected([1, 2], [3], [4, 5, 6])
    assert [(e.choice, e.tokens, e.worker) for e in bench.out.events["a"]] == [(0, 2, "w"), (1, 1, "w"), (2, 3, "w")]  # type: ignore[union-attr]
    assert posted.ended.is_set()
    assert (posted.outcome, posted.open_choices) == ("embedded, 3 inputs of 6 tokens", 0)


def test_each_vector_tells_how_long_its_request_has_been_here() -> None:
    bench = Bench(tokens=2)
    bench.clock.advance(5.0)
    bench.add("a", [1, 2], [3, 4])
    bench.embedder.before_pass = lambda _: bench.clock.advance(0.25)
    bench.finish()
    assert [event.seconds for event in bench.out.events["a"]] == [0.25, 0.5]  # type: ignore[union-attr]


def test_one_pass_takes_inputs_of_many_requests_oldest_first() -> None:
    bench = Bench(sequences=4)
    bench.add("a", [1], [2])
    bench.add("b", [3])
    bench.add("c", [4], [5])
    bench.step()
    assert bench.embedder.passes == [[[1], [2], [3], [4]]]
    assert not bench.desk.idle
    bench.step()
    assert bench.embedder.passes[1:] == [[[5]]]
    assert bench.vectors("c") == expected([4], [5])


def test_a_pass_is_never_larger_than_the_embedder_takes_and_nobody_is_overtaken() -> None:
    bench = Bench(sequences=9, tokens=10)
    bench.add("a", [1] * 6, [2] * 6, [3] * 4)
    bench.add("b", [4])
    bench.finish()
    assert [[len(ids) for ids in one] for one in bench.embedder.passes] == [[6], [6, 4], [1]]


def test_an_input_longer_than_a_pass_goes_alone() -> None:
    bench = Bench(tokens=10)
    bench.add("a", [1], [2] * 50, [3])
    bench.finish()
    assert [[len(ids) for ids in one] for one in bench.embedder.passes] == [[1], [50], [1]]


def test_nothing_to_do_is_no_pass() -> None:
    bench = Bench()
    assert bench.desk.idle
    assert bench.desk.step() == []
    assert bench.embedder.passes == []


@pytest.mark.parametrize("seed", range(10))
def test_whoever_comes_and_goes_beside_it_a_request_gets_its_own_vectors(seed: int) -> None:
    chance = random.Random(seed)
    bench = Bench(sequences=chance.randint(1, 6), tokens=chance.randint(1, 40))
    wanted = {
        f"r{n}": [[chance.randint(0, 99) for _ in range(chance.randint(1, 20))] for _ in range(chance.randint(1, 15))]
        for n in range(30)
    }
    gone = set(chance.sample(sorted(wanted), 6))
    for name, its in wanted.items():
        bench.add(name, *its)
        for _ in range(chance.randint(0, 3)):
            bench.step()
        if name in gone and (events := bench.desk.cancel(name)):
            bench.out(events)
    bench.finish()
    for name in wanted.keys() - gone:
        assert bench.vectors(name) == expected(*wanted[name])


def test_a_refused_pass_ends_its_requests_and_no_others() -> None:
    bench = Bench(sequences=2)
    bench.add("a", [1])
    bench.add("b", [2], [3])
    bench.add("c", [4])

    def break_once(_: Any) -> None:
        bench.embedder.before_pass = lambda _: None
        raise GenerationFailed("llama_decode answered -2", code="internal")

    bench.embedder.before_pass = break_once
    bench.finish()
    assert [bench.out.failed(name).message for name in "ab"] == ["llama_decode answered -2"] * 2
    assert bench.vectors("c") == expected([4])


def test_a_bug_leaves_everything_in_place_for_whoever_ends_it() -> None:
    bench = Bench()
    bench.add("a", [1])

    def break_off(_: Any) -> None:
        raise MemoryError

    bench.embedder.before_pass = break_off
    with pytest.raises(MemoryError):
        bench.step()
    bench.out(bench.desk.fail_all(GenerationFailed("it broke")))
    assert bench.desk.idle
    assert bench.out.failed("a").message == "it broke"


def test_a_vector_that_is_not_of_numbers_fails_its_own_request_only() -> None:
    bench = Bench(sequences=5)
    bench.add("a", [1], [NAN], [2], [3])
    bench.add("b", [4])
    bench.finish()
    assert bench.vectors("a") == expected([1])
    assert (bench.out.failed("a").code, "NaN" in bench.out.failed("a").message) == ("internal", True)
    assert bench.vectors("b") == expected([4])


def test_a_cancel_midway_ends_the_request_and_its_other_inputs_are_never_evaluated() -> None:
    bench = Bench(sequences=2)
    posted = bench.add("a", [1], [2], [3], [4])
    bench.add("b", [5])
    bench.step()
    bench.out(bench.desk.cancel("a"))
    bench.finish()
    assert [type(event) for event in bench.out.events["a"]] == [Embedded, Embedded, Failed]
    assert (posted.outcome, posted.ended.is_set(), bench.out.failed("a").code) == ("cancelled", True, "cancelled")
    assert bench.embedder.passes == [[[1], [2]], [[5]]]


def test_a_cancel_of_an_unknown_or_ended_request_is_ignored() -> None:
    bench = Bench()
    bench.add("a", [1])
    bench.finish()
    assert bench.desk.cancel("a") == []
    assert bench.desk.cancel("never heard of") == []


def test_a_request_taken_away_leaves_without_a_word() -> None:
    bench = Bench(sequences=1)
    posted = bench.add("a", [1], [2], attempt=2)
    bench.step()
    bench.desk.take_away("a", 1)
    assert not bench.desk.idle
    bench.desk.take_away("a", 2)
    assert bench.desk.idle
    assert (posted.outcome, posted.ended.is_set(), len(bench.out.events["a"])) == ("taken away", True, 1)


def test_a_request_that_comes_back_takes_the_place_of_its_earlier_attempt() -> None:
    bench = Bench(sequences=1)
    first = bench.add("a", [1], [2])
    bench.step()
    bench.out.events.clear()
    bench.add("a", [1], [2], attempt=2)
    bench.finish()
    assert first.outcome == "taken away"
    assert bench.vectors("a") == expected([1], [2])


def test_failing_all_ends_every_request() -> None:
    bench = Bench(sequences=1)
    bench.add("a", [1], [2])
    bench.add("b", [3])
    bench.step()
    bench.out(bench.desk.fail_all(GenerationFailed("good-bye", code="shutting_down")))
    assert [bench.out.failed(name).code for name in "ab"] == ["shutting_down"] * 2
    assert bench.desk.idle


def test_what_is_handed_back_leaves_without_a_word() -> None:
    bench = Bench(sequences=1)
    jobs = [bench.add("a", [1], [2]), bench.add("b", [3])]
    bench.step()
    bench.desk.hand_back()
    assert bench.desk.idle
    assert [(job.handed_back, job.ended.is_set()) for job in jobs] == [(True, True)] * 2
    assert {name: len(events) for name, events in bench.out.events.items()} == {"a": 1}


def test_events_go_on_where_an_earlier_attempt_had_ended() -> None:
    bench = Bench()
    posted = Job("a", 2, 1, next_index=3)
    bench.desk.add(posted, [[1], [2], [3], [4]], dimensions=None, normalize=True)
    [said] = bench.desk.step()
    assert isinstance(said.event, Embedded)
    assert (said.event.index, said.event.choice, said.ends) == (3, 3, True)


def test_each_request_gets_its_own_finish() -> None:
    bench = Bench()
    bench.add("raw", [3, 4])
    bench.add("short", [3, 4], dimensions=2, normalize=True)
    bench.finish()
    assert bench.vectors("raw") == [(7.0, 2.0, 3.0, 4.0)]
    assert bench.vectors("short")[0] == pytest.approx((7 / math.hypot(7, 2), 2 / math.hypot(7, 2)))


# -- vectors -----------------------------------------------------------------------------------------------------------


def finished(*values: float, dimensions: int | None = None, normalize: bool = True) -> tuple[float, ...]:
    data = finish_vector(numpy.array(values, numpy.float32), dimensions, normalize=normalize)
    return struct.unpack(f"<{len(data) // 4}f", data)


def test_a_vector_is_brought_to_length_1() -> None:
    assert finished(3, 4) == pytest.approx((0.6, 0.8))
    assert math.hypot(*finished(*range(1000))) == pytest.approx(1, abs=1e-6)


def test_a_cut_vector_is_brought_to_length_1_again() -> None:
    assert finished(3, 4, 12, dimensions=2) == pytest.approx((0.6, 0.8))


def test_a_raw_vector_keeps_its_length() -> None:
    assert finished(3, 4, 12, normalize=False) == (3, 4, 12)
    assert finished(3, 4, 12, dimensions=2, normalize=False) == (3, 4)


def test_a_zero_vector_stays_zero() -> None:
    assert finished(0, 0) == (0, 0)


def test_very_small_and_very_large_vectors_have_a_length_too() -> None:
    assert finished(3e-38, 4e-38) == pytest.approx((0.6, 0.8))
    assert finished(1e38, 1e38) == pytest.approx((0.5**0.5, 0.5**0.5))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_an_error(value: float) -> None:
    for normalize in (True, False):
        with pytest.raises(GenerationFailed, match="NaN"):
            finished(1, value, normalize=normalize)


# -- intake ------------------------------------------------------------------------------------------------------------


class Closing(FakeVocabulary):
    """Adds an EOS, as BERT's adds its SEP."""

    def tokenize(self, text: str, *, special: bool, start: bool) -> list[int]:
        return [*super().tokenize(text, special=special, start=start), *([EOS] if start else [])]


def taken(
    *prompts: Prompt, vocabulary: FakeVocabulary | None = None, longest: int = 100, **fields: Any
) -> list[list[int]]:
    request = EmbeddingRequest("a", "m", prompts, **fields)
    return inputs(request, vocabulary or Closing(), longest=longest, length=8)


def test_text_gets_what_the_model_adds_and_ids_are_taken_as_they_are() -> None:
    assert taken(TextPrompt("ab"), TokenPrompt((5, 6))) == [[BOS, 97, 98, EOS], [5, 6]]
    assert taken(TextPrompt("ab"), vocabulary=FakeVocabulary(adds_bos=False)) == [[97, 98]]


def test_markers_in_text_are_markers_only_where_the_request_says_so() -> None:
    assert taken(TextPrompt("</s>", special=True)) == [[BOS, EOS, EOS]]
    assert len(taken(TextPrompt("</s>"))[0]) == 6


def test_tokens_before_a_text_take_the_place_of_a_start() -> None:
    assert taken(TextPrompt("b", context=(BOS, 97)), vocabulary=FakeVocabulary()) == [[BOS, 97, 98]]


def test_empty_text_has_a_vector_too() -> None:
    assert taken(TextPrompt("")) == [[BOS, EOS]]
    assert taken(TextPrompt(""), vocabulary=FakeVocabulary(adds_bos=False)) == [[BOS]]


def test_no_tokens_at_all_are_refused() -> None:
    with pytest.raises(InvalidPrompt, match="no tokens"):
        taken(TokenPrompt(()))


@pytest.mark.parametrize("token", [-1, FakeVocabulary.size])
def test_ids_out_of_vocabulary_are_refused(token: int) -> None:
    with pytest.raises(InvalidPrompt) as refused:
        taken(TokenPrompt((5, token)))
    assert refused.value.code == "invalid_prompt"


def test_messages_cannot_be_embedded() -> None:
    with pytest.raises(InvalidPrompt) as refused:
        taken(ChatPrompt((Message("user", "hi"),)))
    assert refused.value.code == "unsupported"


@pytest.mark.parametrize("prompt", [TextPrompt("a" * 7), TokenPrompt((1,) * 9)])
@pytest.mark.parametrize("overlong", ["refuse", "drop"])
def test_an_input_that_is_too_long_fails_the_request(prompt: Prompt, overlong: Any) -> None:
    with pytest.raises(ContextExceeded) as refused:
        taken(TextPrompt("short"), prompt, longest=8, fit=Fit(overlong=overlong))
    assert refused.value.facts == {"prompt_tokens": 9, "context": 8}
    assert refused.value.code == "context_length"


def test_exactly_as_long_as_it_may_be_is_not_too_long() -> None:
    assert len(taken(TextPrompt("a" * 6), longest=8)[0]) == 8


def test_a_shortened_text_is_what_the_shorter_text_would_have_been() -> None:
    shorten = Fit(overlong="shorten")
    assert taken(TextPrompt("abcdefghij"), longest=8, fit=shorten) == taken(TextPrompt("abcdef"))
    bare = FakeVocabulary(adds_bos=False)
    assert taken(TextPrompt("abcdefghij"), longest=3, fit=shorten, vocabulary=bare) == [[97, 98, 99]]
    assert taken(TextPrompt("abcdefghij"), longest=3, fit=shorten, vocabulary=FakeVocabulary()) == [[BOS, 97, 98]]
    assert taken(TokenPrompt((1, 2, 3)), longest=2, fit=shorten) == [[1, 2]]


def test_the_callers_own_limit_counts_where_it_is_smaller() -> None:
    assert taken(TokenPrompt((1, 2, 3)), fit=Fit(overlong="shorten", context_limit=2)) == [[1, 2]]
    assert taken(TokenPrompt((1, 2, 3)), longest=2, fit=Fit(overlong="shorten", context_limit=50)) == [[1, 2]]


@pytest.mark.parametrize("limit", [1, 2])
def test_a_limit_with_no_room_for_text_is_refused(limit: int) -> None:
    with pytest.raises(ContextExceeded):
        taken(TextPrompt("abc"), fit=Fit(overlong="shorten", context_limit=limit))


@pytest.mark.parametrize("dimensions", [0, 9])
def test_dimensions_that_the_model_has_not_are_refused(dimensions: int) -> None:
    with pytest.raises(InvalidPrompt) as refused:
        taken(TextPrompt("a"), dimensions=dimensions)
    assert refused.value.facts == {"dimensions": dimensions, "length": 8}
    assert taken(TextPrompt("a"), dimensions=8) == [[BOS, 97, EOS]]
