"""Where pictures stand among tokens, and how a scheduler computes them: driven by hand, without a model."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection
from collections.abc import Sequence as SequenceOf

import pytest
from fakes import FakeModel, FakeOutbox, job, sequence
from tropilla.workers.headway import STALL_SECONDS
from tropilla.workers.loop import Loop
from tropilla.workers.prefixes import Copy, Drop
from tropilla.workers.scheduler import Limits, Scheduler
from tropilla.workers.sequence import Sequence
from tropilla.workers.views import Shape, Span, Spans, View, standing, without_torn


def spans_of(*views: tuple[int, int] | tuple[int, int, int]) -> Spans:
    """(start, length), or (start, length, steps) with M-RoPE."""
    return Spans([Span(start, Shape(length, *(steps or [length]))) for start, length, *steps in views])


# -- places and positions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spans", "edges"),
    [
        (spans_of(), [6, 6, 6, 6, 6, 6]),
        (spans_of((2, 2)), [2, 2, 4, 4, 6, 6]),
        (spans_of((0, 1), (1, 3)), [1, 4, 4, 4, 6, 6]),
        (spans_of((1, 2), (4, 1)), [1, 3, 3, 4, 5, 6]),
    ],
)
def test_text_ends_where_a_view_begins_and_a_view_where_it_ends(spans: Spans, edges: list[int]) -> None:
    assert [spans.edge(place, 6) for place in range(6)] == edges


@pytest.mark.parametrize(
    ("spans", "whole"),
    [
        (spans_of(), [0, 1, 2, 3, 4, 5, 6]),
        (spans_of((2, 3)), [0, 1, 2, 2, 2, 5, 6]),
        (spans_of((0, 2), (2, 2)), [0, 0, 2, 2, 4, 5, 6]),
    ],
)
def test_a_length_that_would_tear_a_view_ends_before_it(spans: Spans, whole: list[int]) -> None:
    assert [spans.whole(length) for length in range(7)] == whole


@pytest.mark.parametrize(
    ("spans", "positions", "straight"),
    [
        (spans_of(), [0, 1, 2, 3, 4, 5, 6], None),
        (spans_of((1, 3)), [0, 1, 2, 3, 4, 5, 6], None),
        # Four places in a square of two by two: what stands behind it is two positions on.
        (spans_of((1, 4, 2)), [0, 1, 1, 1, 1, 3, 4], 1),
        (spans_of((0, 2, 1), (3, 3, 2)), [0, 0, 1, 2, 2, 2, 4], 0),
        # Of more positions than places.
        (spans_of((1, 2, 5)), [0, 1, 1, 6, 7, 8, 9], 1),
    ],
)
def test_places_and_positions_part_with_m_rope(spans: Spans, positions: list[int], straight: int | None) -> None:
    assert [spans.position(place) for place in range(7)] == positions
    assert spans.straight == straight


VIEWS = {view.first: view for view in (View(-1, Shape(3, 3)), View(-4, Shape(2, 2)))}


@pytest.mark.parametrize(
    ("ids", "places", "left"),
    [
        ([7, 8], [], [7, 8]),
        ([7, -1, -2, -3, 8], [1], [7, -1, -2, -3, 8]),
        ([-1, -2, -3, -1, -2, -3, -4, -5, 8], [0, 3, 6], [-1, -2, -3, -1, -2, -3, -4, -5, 8]),
        # Cut at the front, at the back, in the middle.
        ([-2, -3, 8], [], [8]),
        ([7, -1, -2], [], [7]),
        ([7, -1, -3, 8, -4, -5, 9], [4], [7, 8, -4, -5, 9]),
        # Nothing follows it.
        ([7, -4, -5], [1], [7]),
    ],
)
def test_a_prompt_that_was_cut_has_its_pictures_whole_or_not_at_all(
    ids: list[int], places: list[int], left: list[int]
) -> None:
    assert [place for place, _ in standing(ids, VIEWS)] == places
    assert without_torn(ids, VIEWS) == left


# -- a scheduler ---------------------------------------------------------------------------------------------------------


def pictured(
    name: str, *parts: int | Shape, first: int = -1, script: str | None = None, max_tokens: int = 1000
) -> Sequence:
    """Runs of so many tokens, and views, whose numbers begin with `first`."""
    tokens: list[int] = []
    spans: list[Span] = []
    for part in parts:
        if isinstance(part, Shape):
            spans.append(Span(len(tokens), part))
            tokens += View(first, part).ids
            first -= part.length
        else:
            tokens += [ord("p") + len(tokens) % 7 for _ in range(part)]
    return sequence(name, prompt=tokens, spans=spans, script=script, max_tokens=max_tokens)


def scheduled(scheduler: Scheduler, *sequences: Sequence) -> Scheduler:
    for one in sequences:
        scheduler.add(one)
    return scheduler


def a_scheduler(*, slots: int = 4, step_tokens: int = 64, cells: int = 10_000) -> Scheduler:
    return Scheduler(Limits(slots, cells, step_tokens, sequences=slots + 4))


def step(scheduler: Scheduler) -> list[tuple[str, int, int]]:
    chunks = scheduler.plan().chunks
    scheduler.apply(chunks)
    for chunk in chunks:
        if chunk.samples:
            chunk.sequence.tokens.append(0)
    return [(chunk.sequence.request_id, chunk.start, chunk.stop) for chunk in chunks]


FOUR, SIX = Shape(4, 4), Shape(6, 6, together=True)


@pytest.mark.parametrize(
    ("step_tokens", "parts", "cuts"),
    [
        (64, (3, FOUR, 2), [3, 7, 9]),
        (64, (FOUR, FOUR, 2), [4, 8, 10]),
        (3, (3, FOUR, 2), [3, 6, 7, 9]),
        (3, (2, FOUR, 5), [2, 5, 6, 9, 11]),
        (1, (1, Shape(2, 2), 1), [1, 2, 3, 4]),
        # Places that see each other come at once, or not at all.
        (64, (3, SIX, 2), [3, 9, 11]),
        (6, (3, SIX, 8), [3, 9, 15, 17]),
    ],
)
def test_a_prompt_is_cut_where_an_image_begins_and_ends(
    step_tokens: int, parts: SequenceOf[int | Shape], cuts: list[int]
) -> None:
    one = pictured("a", *parts)
    scheduler = scheduled(a_scheduler(slots=1, step_tokens=step_tokens), one)
    assert [step(scheduler)[0][2] for _ in cuts] == cuts
    assert one.pending == 1, "the next token is known"


def test_an_image_shares_a_step_with_streams_and_prompts_and_its_chunk_says_whose_it_is() -> None:
    scheduler = scheduled(a_scheduler(step_tokens=8), sequence("a", prompt=1))
    step(scheduler)
    seeing = pictured("b", FOUR, 2)
    scheduled(scheduler, seeing, sequence("c", prompt=9))
    chunks = scheduler.plan().chunks
    assert [(c.sequence.request_id, c.start, c.stop) for c in chunks] == [("a", 1, 2), ("b", 0, 4), ("c", 0, 3)]
    assert [c.view is not None for c in chunks] == [False, True, False]
    assert chunks[1].view is seeing.views.at(0)


def test_a_view_at_once_is_computed_beside_streams_whatever_they_were_promised() -> None:
    scheduler = scheduled(a_scheduler(step_tokens=64), sequence("a", prompt=1))
    step(scheduler)
    long = sequence("z", prompt=64)
    scheduled(scheduler, long)
    # A token takes so long that prompts get the least there is.
    scheduler.took(scheduler.plan().chunks, 64 * STALL_SECONDS)
    scheduler.retire(long, keep=False)
    wide = Shape(60, 60, together=True)
    scheduled(scheduler, pictured("b", wide, 2), pictured("c", wide, 2, first=-100))
    assert step(scheduler) == [("a", 1, 2), ("b", 0, 60)], "one of them: the other's turn comes"
    assert step(scheduler)[1:] == [("b", 60, 62)]
    assert ("c", 0, 60) in step(scheduler)


def test_the_same_image_is_computed_once_for_all_who_come_together() -> None:
    together = [pictured(name, 2, FOUR, 2) for name in "abc"]
    scheduler = scheduled(a_scheduler(step_tokens=16), *together)
    computed: Counter[int] = Counter()
    while any(one.computed < one.prompt_length for one in together):
        for _, start, stop in step(scheduler):
            computed.update(range(start, stop))
    # All but the last token, from which each draws his own next one.
    assert [computed[place] for place in range(8)] == [1] * 7 + [3]


def test_another_image_shares_the_text_before_it() -> None:
    scheduler = scheduled(a_scheduler(), pictured("a", 3, FOUR, 2))
    for _ in range(3):
        step(scheduler)
    other = pictured("b", 3, FOUR, 2, first=-50)
    scheduled(scheduler, other)
    assert ("b", 3, 7) in step(scheduler)
    assert other.cached == 3


@pytest.mark.parametrize("reached", [1, 2, 3])
def test_a_prefix_that_ends_in_an_image_is_shared_up_to_it(reached: int) -> None:
    """Whoever computed it was stopped in the middle of it."""
    scheduler = scheduled(a_scheduler(slots=1, step_tokens=4), one := pictured("a", 4 - reached, FOUR, 2))
    step(scheduler)
    scheduler.limits = Limits(1, 1000, reached, sequences=4)
    step(scheduler)
    assert one.computed == 4
    scheduler.retire(one)
    scheduler.limits = Limits(1, 1000, 64, sequences=4)
    scheduled(scheduler, two := pictured("b", 4 - reached, FOUR, 2))
    assert step(scheduler) == [("b", 4 - reached, 8 - reached)]
    assert two.cached == 4 - reached


def test_with_m_rope_only_what_stands_before_the_first_image_is_shared() -> None:
    square = Shape(4, 2)
    scheduler = scheduled(a_scheduler(slots=2), one := pictured("a", 3, square, 2))
    for _ in range(4):
        step(scheduler)
    assert (one.sharable, one.computed) == (3, 10)
    scheduled(scheduler, two := pictured("b", 3, square, 2))
    plan = scheduler.plan()
    assert [move for move in plan.moves if isinstance(move, Copy)] == [Copy(0, 1, 0, 3)]
    assert two.cached == 3
    scheduler.apply(plan.chunks)
    scheduler.retire(one)
    # What it computed at positions that are no places is not kept, and the other holds the rest.
    assert scheduler.moves() == [Drop(0, 3), Drop(0)]


def test_answers_are_what_they_would_be_alone_whatever_is_shared_cut_and_dropped() -> None:
    """200 scenes: texts and images in slots and cells that are too few, some given up halfway."""
    for seed in range(200):
        rng = random.Random(seed)
        asked = [_some(rng, name) for name in "abcdef"]
        crowded = _answers(rng, asked, slots=rng.randint(1, 3), step_tokens=rng.randint(6, 20), gone={"c"})
        for index in (0, 1, 3, 4, 5):
            alone = _answers(rng, [asked[index]], slots=1, step_tokens=64)
            name = "abcdef"[index]
            assert crowded[name] == alone[name], (seed, name)


def _some(rng: random.Random, name: str) -> tuple[str, tuple[int | Shape, ...], int]:
    view = rng.choice([FOUR, SIX, Shape(2, 2)])
    parts = rng.choice([(3, view, 2), (view, 2), (5,), (2, view, 1, FOUR, 3), (view, view, 1)])
    return name, parts, rng.choice([-1, -1, -40])


def _answers(
    rng: random.Random,
    asked: SequenceOf[tuple[str, tuple[int | Shape, ...], int]],
    *,
    slots: int,
    step_tokens: int,
    gone: Collection[str] = (),
) -> dict[str, str]:
    cells = 40
    model = FakeModel(step_tokens=step_tokens, slots=slots + 3, cells=cells)
    outbox = FakeOutbox()
    loop = Loop(model, Scheduler(Limits(slots, cells, step_tokens, sequences=slots + 3)), outbox=outbox, worker="w")
    for name, parts, first in asked:
        loop.submit(job(name), [pictured(name, *parts, first=first, max_tokens=12)])
        loop.turn()
        if name in gone:
            loop.cancel(name)
    while not loop.idle:
        loop.turn()
    return {name: outbox.text(name) for name, _, _ in asked}
