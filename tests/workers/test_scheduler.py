from __future__ import annotations

import pytest
from fakes import sequence
from tropilla.workers.scheduler import Chunk, Scheduler


def step(scheduler: Scheduler) -> list[tuple[str, int, int]]:
    """Plans and applies one step; every sequence that samples knows one more token."""
    chunks = scheduler.plan()
    scheduler.apply(chunks)
    for chunk in chunks:
        if chunk.samples:
            chunk.sequence.tokens.append(0)
    return [(chunk.sequence.request_id, chunk.start, chunk.stop) for chunk in chunks]


def test_nothing_to_do_is_an_empty_plan() -> None:
    scheduler = Scheduler(slots=2, step_tokens=4)
    assert scheduler.idle
    assert scheduler.plan() == []


def test_a_prompt_is_computed_in_chunks_and_sampled_after_the_last() -> None:
    scheduler = Scheduler(slots=1, step_tokens=4)
    one = sequence(prompt=10)
    scheduler.add(one)
    planned = []
    for _ in range(3):
        (chunk,) = scheduler.plan()
        planned.append((chunk.start, chunk.stop, chunk.samples))
        scheduler.apply([chunk])
    assert planned == [(0, 4, False), (4, 8, False), (8, 10, True)]


def test_decoding_sequences_come_first_and_prompts_share_the_rest_oldest_first() -> None:
    scheduler = Scheduler(slots=4, step_tokens=8)
    scheduler.add(sequence("a", prompt=1))
    step(scheduler)
    scheduler.add(sequence("b", prompt=5))
    scheduler.add(sequence("c", prompt=5))
    assert step(scheduler) == [("a", 1, 2), ("b", 0, 5), ("c", 0, 2)]
    assert step(scheduler) == [("a", 2, 3), ("b", 5, 6), ("c", 2, 5)]


def test_a_step_that_is_full_of_decoding_sequences_still_moves_a_prompt() -> None:
    scheduler = Scheduler(slots=3, step_tokens=3)
    for name in "ab":
        scheduler.add(sequence(name, prompt=1))
    step(scheduler)
    scheduler.add(sequence("c", prompt=9))
    assert step(scheduler) == [("a", 1, 2), ("b", 1, 2), ("c", 0, 1)]


def test_more_sequences_than_slots_wait_in_order_of_arrival() -> None:
    scheduler = Scheduler(slots=2, step_tokens=8)
    a, b, c, d = (sequence(name, prompt=1) for name in "abcd")
    for one in (a, b, c, d):
        scheduler.add(one)
    assert [name for name, _, _ in step(scheduler)] == ["a", "b"]
    assert (scheduler.running, scheduler.waiting) == (2, 2)
    scheduler.retire(b)
    assert [name for name, _, _ in step(scheduler)] == ["a", "c"]
    assert (c.slot, d.slot) == (1, None)


def test_retiring_answers_the_slot_to_clear_wherever_the_sequence_is() -> None:
    scheduler = Scheduler(slots=1, step_tokens=4)
    running, waiting = sequence("a"), sequence("b")
    scheduler.add(running)
    scheduler.add(waiting)
    scheduler.plan()
    assert scheduler.retire(waiting) is None
    assert scheduler.retire(running) == 0
    assert scheduler.idle


def test_a_request_is_found_running_and_waiting() -> None:
    scheduler = Scheduler(slots=1, step_tokens=4)
    choices = [sequence("a", choice=choice) for choice in range(3)]
    for one in (*choices, sequence("b")):
        scheduler.add(one)
    scheduler.plan()
    assert list(scheduler.of("a")) == choices


def test_planning_twice_without_applying_plans_the_same() -> None:
    scheduler = Scheduler(slots=2, step_tokens=4)
    scheduler.add(sequence("a", prompt=6))
    assert scheduler.plan() == scheduler.plan() != []
    assert isinstance(scheduler.plan()[0], Chunk)


def test_every_running_sequence_must_fit_into_a_step() -> None:
    with pytest.raises(AssertionError):
        Scheduler(slots=5, step_tokens=4)
