from __future__ import annotations

import random
from collections import Counter
from itertools import groupby
from typing import Any

import pytest
from fakes import sequence
from tropilla.workers.fairness import TURN_TOKENS
from tropilla.workers.headway import ABOUT_SECONDS, LEAST_BESIDE, STALL_SECONDS
from tropilla.workers.prefixes import Copy, Drop, Shift
from tropilla.workers.rotation import TURN_STEPS
from tropilla.workers.scheduler import Chunk, Limits, Scheduler
from tropilla.workers.sequence import Sequence


def a_scheduler(*, slots: int, step_tokens: int, cells: int = 10_000, **limits: int) -> Scheduler:
    return Scheduler(Limits(slots, cells, step_tokens, **{"sequences": slots + 4, **limits}))


def step(scheduler: Scheduler) -> list[tuple[str, int, int]]:
    """Plans and applies one step; every sequence that samples knows one more token."""
    chunks = scheduler.plan().chunks
    scheduler.apply(chunks)
    for chunk in chunks:
        if chunk.samples:
            chunk.sequence.tokens.append(0)
    return [(chunk.sequence.request_id, chunk.start, chunk.stop) for chunk in chunks]


def test_nothing_to_do_is_an_empty_plan() -> None:
    scheduler = a_scheduler(slots=2, step_tokens=4)
    assert scheduler.idle
    assert scheduler.plan().chunks == []


def test_a_prompt_is_computed_in_chunks_and_sampled_after_the_last() -> None:
    scheduler = a_scheduler(slots=1, step_tokens=4)
    one = sequence(prompt=10)
    scheduler.add(one)
    planned = []
    for _ in range(3):
        (chunk,) = scheduler.plan().chunks
        planned.append((chunk.start, chunk.stop, chunk.samples))
        scheduler.apply([chunk])
    assert planned == [(0, 4, False), (4, 8, False), (8, 10, True)]


def test_decoding_sequences_come_first_and_prompts_share_the_rest_oldest_first() -> None:
    scheduler = a_scheduler(slots=4, step_tokens=8)
    scheduler.add(sequence("a", prompt=1))
    step(scheduler)
    scheduler.add(sequence("b", prompt=5))
    scheduler.add(sequence("c", prompt=5))
    assert step(scheduler) == [("a", 1, 2), ("b", 0, 5), ("c", 0, 2)]
    assert step(scheduler) == [("a", 2, 3), ("b", 5, 6), ("c", 2, 5)]


def test_a_step_that_is_full_of_decoding_sequences_still_moves_a_prompt() -> None:
    scheduler = a_scheduler(slots=3, step_tokens=3)
    for name in "ab":
        scheduler.add(sequence(name, prompt=1))
    step(scheduler)
    scheduler.add(sequence("c", prompt=9))
    assert step(scheduler) == [("a", 1, 2), ("b", 1, 2), ("c", 0, 1)]


def test_more_sequences_than_slots_wait_in_order_of_arrival() -> None:
    scheduler = a_scheduler(slots=2, step_tokens=8)
    a, b, c, d = (sequence(name, prompt=1) for name in "abcd")
    for one in (a, b, c, d):
        scheduler.add(one)
    assert [name for name, _, _ in step(scheduler)] == ["a", "b"]
    assert (scheduler.running, scheduler.waiting) == (2, 2)
    scheduler.retire(b)
    assert [name for name, _, _ in step(scheduler)] == ["a", "c"]
    assert (c.slot is None, d.slot) == (False, None)


def test_a_sequence_retires_wherever_it_is() -> None:
    scheduler = a_scheduler(slots=1, step_tokens=4)
    running, waiting = sequence("a"), sequence("b")
    scheduler.add(running)
    scheduler.add(waiting)
    scheduler.plan()
    scheduler.retire(waiting)
    scheduler.retire(running)
    assert scheduler.idle
    assert scheduler.moves() == [Drop(0)], "nothing of it was computed"


def test_a_request_is_found_running_and_waiting() -> None:
    scheduler = a_scheduler(slots=1, step_tokens=4)
    choices = [sequence("a", choice=choice) for choice in range(3)]
    for one in (*choices, sequence("b")):
        scheduler.add(one)
    scheduler.plan()
    assert list(scheduler.of("a")) == choices


def test_planning_twice_without_applying_plans_the_same() -> None:
    scheduler = a_scheduler(slots=2, step_tokens=4)
    scheduler.add(sequence("a", prompt=6))
    assert scheduler.plan().chunks == scheduler.plan().chunks != []
    assert isinstance(scheduler.plan().chunks[0], Chunk)


def test_every_running_sequence_must_fit_into_a_step() -> None:
    with pytest.raises(AssertionError):
        a_scheduler(slots=5, step_tokens=4)


# -- prefixes ------------------------------------------------------------------------------------------------------------


def test_a_prompt_starts_where_the_longest_resident_prefix_ends() -> None:
    scheduler = a_scheduler(slots=1, step_tokens=64)
    first = sequence("a", prompt=[1, 2, 3, 4])
    scheduler.add(first)
    step(scheduler)
    scheduler.retire(first)
    second = sequence("b", prompt=[1, 2, 3, 9])
    scheduler.add(second)
    plan = scheduler.plan()
    assert [type(move) for move in plan.moves] == [Copy]
    assert [(chunk.start, chunk.stop) for chunk in plan.chunks] == [(3, 4)]
    assert second.cached == 3


def test_a_prompt_that_is_all_there_is_computed_from_its_last_token() -> None:
    scheduler = a_scheduler(slots=2, step_tokens=64)
    scheduler.add(sequence("a", prompt=[1, 2, 3]))
    step(scheduler)
    scheduler.add(again := sequence("b", prompt=[1, 2, 3]))
    assert step(scheduler)[1] == ("b", 2, 3)
    assert again.cached == 2


def test_requests_that_arrive_together_compute_what_they_share_once() -> None:
    scheduler = a_scheduler(slots=4, step_tokens=10)
    for name in "abcd":
        scheduler.add(sequence(name, prompt=[*range(25), ord(name)]))
    steps = [step(scheduler) for _ in range(4)]
    assert steps[:2] == [[("a", 0, 10)], [("a", 10, 20)]]
    assert steps[2] == [("a", 20, 26)], "the others wait for what is being computed"
    assert steps[3] == [("a", 26, 27), ("b", 25, 26), ("c", 25, 26), ("d", 25, 26)]


def test_a_follower_takes_over_chunk_by_chunk_and_goes_on_alone_when_its_leader_leaves() -> None:
    scheduler = a_scheduler(slots=2, step_tokens=10)
    leader, follower = (sequence(name, prompt=[*range(25), ord(name)]) for name in "ab")
    scheduler.add(leader)
    scheduler.add(follower)
    step(scheduler)
    step(scheduler)
    scheduler.retire(leader)
    assert step(scheduler) == [("b", 20, 26)]
    assert follower.cached == 20


def test_choices_of_one_prompt_share_its_prefill() -> None:
    scheduler = a_scheduler(slots=4, step_tokens=64)
    for choice in range(4):
        scheduler.add(sequence("a", prompt=30, choice=choice))
    assert step(scheduler) == [("a", 0, 30)]
    assert [chunk[1:] for chunk in step(scheduler)] == [(30, 31), (29, 30), (29, 30), (29, 30)]


def test_a_memory_that_cannot_be_shared_computes_every_prompt() -> None:
    scheduler = Scheduler(Limits(2, 1000, 64, reuse=False))
    for name in "ab":
        scheduler.add(sequence(name, prompt=[1, 2, 3]))
    assert step(scheduler) == [("a", 0, 3), ("b", 0, 3)]
    assert scheduler.cells_used == 6


def test_a_prompt_whose_own_probabilities_are_wanted_is_computed_whole() -> None:
    scheduler = a_scheduler(slots=2, step_tokens=64)
    scheduler.add(sequence("a", prompt=[1] * 50))
    step(scheduler)
    scheduler.add(sequence("b", prompt=[1] * 50, prompt_logprobs=0))
    chunk = scheduler.plan().chunks[-1]
    assert (chunk.start, chunk.stop, chunk.scores) == (0, 32, True)


# -- cells ---------------------------------------------------------------------------------------------------------------


def test_idle_prefixes_make_room_for_who_runs() -> None:
    scheduler = a_scheduler(slots=1, step_tokens=64, cells=40)
    for name in "abc":
        scheduler.add(one := sequence(name, prompt=18))
        step(scheduler)
        scheduler.retire(one)
    assert scheduler.cells_used == 36
    scheduler.add(sequence("d", prompt=39))
    step(scheduler)
    assert (scheduler.cells_used, scheduler.cells_idle) == (39, 0)


def test_a_prompt_waits_until_there_are_cells_for_it() -> None:
    scheduler = a_scheduler(slots=4, step_tokens=64, cells=50)
    scheduler.add(first := sequence("a", prompt=30))
    scheduler.add(sequence("b", prompt=30))
    assert step(scheduler) == [("a", 0, 30)]
    assert scheduler.waiting == 1
    scheduler.retire(first)
    assert step(scheduler) == [("b", 0, 30)]


def test_when_cells_run_out_the_youngest_waits_again_with_all_it_had() -> None:
    scheduler = a_scheduler(slots=2, step_tokens=64, cells=24)
    old, young = sequence("a", prompt=10), sequence("b", prompt=10)
    scheduler.add(old)
    scheduler.add(young)
    for _ in range(3):
        step(scheduler)
    assert (len(old.tokens), len(young.tokens)) == (13, 13)
    assert step(scheduler) == [("a", 12, 13)]
    assert (young.slot, young.computed, len(young.tokens)) == (None, 0, 13)
    scheduler.retire(old)
    assert step(scheduler) == [("b", 0, 13)]


def test_a_full_context_moves_up_in_place_where_its_cells_are_its_own() -> None:
    scheduler = a_scheduler(slots=1, step_tokens=64)
    one = sequence("a", prompt=4, context=10, shift_keep=2)
    scheduler.add(one)
    for _ in range(6):
        step(scheduler)
    assert one.full
    scheduler.shift(one)
    assert (len(one.tokens), one.computed) == (6, 5)
    assert [type(move) for move in scheduler.moves()] == [Drop, Shift]


def test_a_full_context_is_computed_again_where_its_cells_are_shared_or_cannot_move() -> None:
    for shift in (True, False):
        scheduler = a_scheduler(slots=1, step_tokens=64, shift=shift)
        one = sequence("a", prompt=9, context=10, shift_keep=2)
        scheduler.add(one)
        step(scheduler)
        scheduler.shift(one)
        assert (len(one.tokens), one.computed) == (6, 2)
        assert step(scheduler) == [("a", 2, 6)]


def test_an_idle_prefix_is_let_go_of_once_it_has_cost_what_it_would_cost_again() -> None:
    scheduler = a_scheduler(slots=1, step_tokens=64, idle_tokens=800)
    scheduler.add(first := sequence("a", prompt=30))
    step(scheduler)
    scheduler.retire(first)
    scheduler.add(second := sequence("b", prompt=40))
    step(scheduler)
    assert scheduler.cells_idle == 30
    for _ in range(12):
        step(scheduler)
    assert scheduler.cells_idle == 0
    scheduler.retire(second)
    for _ in range(60):
        step(scheduler)
    assert scheduler.cells_idle == 52, "while nothing is computed it costs nothing"


def test_what_was_shared_stays_longer_than_what_was_not() -> None:
    scheduler = a_scheduler(slots=1, step_tokens=64, idle_tokens=800)
    stem = list(range(20))
    for name in "ab":
        scheduler.add(one := sequence(name, prompt=[*stem, ord(name)] * 1))
        step(scheduler)
        scheduler.retire(one)
    assert scheduler.cells_idle == 22
    scheduler.add(other := sequence("c", prompt=30))
    for _ in range(60):
        step(scheduler)
    assert scheduler.cells_idle == 20, "the two ends are gone"
    for _ in range(800):
        step(scheduler)
    assert scheduler.cells_idle == 0
    scheduler.retire(other, keep=False)
    assert scheduler.cells_used == 0


def paced(seconds: float) -> Scheduler:
    """One that has seen 100 tokens of a prompt take so long, beside a stream and a prompt of 1,000 tokens."""
    scheduler = a_scheduler(slots=4, step_tokens=512)
    scheduler.took([Chunk(sequence("seen"), 0, 100, samples=False)], seconds)
    scheduler.add(sequence("a", prompt=1))
    step(scheduler)
    scheduler.add(sequence("b", prompt=1000))
    return scheduler


@pytest.mark.parametrize(
    ("seconds", "chunk"),
    [
        pytest.param(0.001, 511, id="as much as a step holds"),
        pytest.param(STALL_SECONDS, 99, id="what streams can wait for"),
        pytest.param(100.0, LEAST_BESIDE, id="but something"),
        pytest.param(0.0, 511, id="nothing is known"),
    ],
)
def test_beside_streams_a_prompt_gets_what_they_can_wait_for(seconds: float, chunk: int) -> None:
    assert step(paced(seconds)) == [("a", 1, 2), ("b", 0, chunk)]


def test_a_prompt_alone_gets_the_whole_step() -> None:
    scheduler = paced(100.0)
    (stream,) = scheduler.of("a")
    scheduler.retire(stream)
    assert step(scheduler) == [("b", 0, 512)]


def test_the_pace_follows_the_steps_and_decoding_says_nothing_about_it() -> None:
    scheduler = paced(STALL_SECONDS)
    scheduler.took([Chunk(sequence("d"), 9, 10, samples=True)], 50.0)
    assert step(scheduler)[1] == ("b", 0, 99)
    for _ in range(40):
        scheduler.took([Chunk(sequence("seen"), 0, 100, samples=False)], STALL_SECONDS * 2)
    assert step(scheduler)[1] == ("b", 99, 99 + 49)


# -- fairness --------------------------------------------------------------------------------------------------------------


def of_key(request_id: str, key: str, *, rank: int = 1, **fields: Any) -> Sequence:
    one = sequence(request_id, **fields)
    one.key, one.rank = key, rank
    return one


def seated(scheduler: Scheduler) -> str:
    return "".join(sorted(one.request_id for one in scheduler.alive if one.slot is not None))


def a_flooded_scheduler(*, slots: int = 3, key: str = "heavy", rank: int = 1, **limits: int) -> Scheduler:
    """One key has all slots and waits for more: abcd..."""
    scheduler = a_scheduler(slots=slots, step_tokens=64, **limits)
    for name in "abcdefgh"[: slots + 1]:
        scheduler.add(of_key(name, key, rank=rank, prompt=4))
    step(scheduler)
    return scheduler


def test_a_key_with_fewer_slots_gets_those_of_one_with_more_and_keeps_the_balance() -> None:
    scheduler = a_flooded_scheduler()
    assert seated(scheduler) == "abc"
    scheduler.add(of_key("x", "light"))
    step(scheduler)
    assert seated(scheduler) == "abx"
    scheduler.add(of_key("y", "light"))
    for _ in range(5):
        step(scheduler)
    assert seated(scheduler) == "abx", "moving one would make it no better"
    scheduler.add(of_key("z", "third"))
    step(scheduler)
    assert seated(scheduler) == "axz"


def test_what_stood_aside_goes_on_at_the_cost_of_one_token() -> None:
    scheduler = a_flooded_scheduler(slots=2)
    for _ in range(5):
        step(scheduler)
    scheduler.add(light := of_key("x", "light"))
    assert step(scheduler) == [("a", 9, 10), ("x", 0, 3)]
    (aside,) = scheduler.of("b")
    assert (aside.slot, aside.computed, len(aside.tokens), aside.cached) == (None, 0, 10, 0)
    scheduler.retire(light)
    assert step(scheduler) == [("a", 10, 11), ("b", 9, 10)], "before c, which came later"
    assert aside.cached == 0, "what it had computed itself was not there before"


def test_more_urgent_sequences_take_slots_at_once_and_go_first() -> None:
    scheduler = a_flooded_scheduler(slots=2, rank=2)
    for name in "xyz":
        scheduler.add(of_key(name, "heavy", rank=0))
    step(scheduler)
    assert seated(scheduler) == "xy"
    scheduler.retire(next(scheduler.of("x")))
    step(scheduler)
    assert seated(scheduler) == "yz"


def test_keys_take_turns_on_a_single_slot() -> None:
    scheduler = a_scheduler(slots=1, step_tokens=64)
    for key in "abc":
        scheduler.add(of_key(key, key, max_tokens=10_000))
    turns = [next(iter(step(scheduler)))[0] for _ in range(12 * TURN_TOKENS)]
    lengths = [(name, len(list(group))) for name, group in groupby(turns)]
    assert {name for name, _ in lengths[:3]} == {"a", "b", "c"}
    assert min(length for _, length in lengths[1:-1]) >= TURN_TOKENS - 3
    tokens = Counter(turns)
    assert max(tokens.values()) - min(tokens.values()) <= 2 * TURN_TOKENS


def test_who_is_nearly_done_keeps_his_slot_unless_somebody_is_more_urgent() -> None:
    scheduler = a_scheduler(slots=2, step_tokens=64)
    for name in "ab":
        scheduler.add(of_key(name, "heavy", max_tokens=3))
    step(scheduler)
    scheduler.add(of_key("x", "light"))
    step(scheduler)
    assert seated(scheduler) == "ab"
    scheduler.add(of_key("u", "urgent", rank=0))
    step(scheduler)
    assert seated(scheduler) == "au"


def test_the_prompt_of_who_deserves_it_more_is_computed_first() -> None:
    scheduler = a_scheduler(slots=4, step_tokens=8)
    for name in "ab":
        scheduler.add(of_key(name, "heavy", prompt=100))
    step(scheduler)
    scheduler.add(of_key("x", "light", prompt=6))
    assert step(scheduler) == [("x", 0, 6), ("a", 8, 10)]
    scheduler.add(of_key("u", "heavy", rank=0, prompt=4))
    assert step(scheduler) == [("x", 6, 7), ("u", 0, 4), ("a", 10, 13)]


def test_for_an_urgent_prompt_others_give_their_cells_back() -> None:
    scheduler = a_flooded_scheduler(slots=3, rank=2, cells=30)
    scheduler.add(of_key("u", "urgent", rank=0, prompt=22))
    assert step(scheduler)[-1] == ("u", 0, 22)
    assert seated(scheduler) == "au"


def test_a_prompt_for_which_there_are_no_cells_takes_no_slot_from_its_equals() -> None:
    scheduler = a_flooded_scheduler(slots=3, cells=30)
    scheduler.add(of_key("x", "light", prompt=22))
    step(scheduler)
    assert seated(scheduler) == "abc"


def test_where_cells_run_out_the_heaviest_key_gives_way() -> None:
    scheduler = a_scheduler(slots=4, step_tokens=64, cells=32)
    for name, key in (("a", "heavy"), ("b", "heavy"), ("x", "light")):
        scheduler.add(of_key(name, key, prompt=8))
    for _ in range(4):
        step(scheduler)
    assert seated(scheduler) == "ax"


# -- several keys in turns -------------------------------------------------------------------------------------------------

#: Seconds a token takes in the following: 20 are half as long as those that crowd may have, and 100 all that streams wait.
PACE = STALL_SECONDS / 100


def took(scheduler: Scheduler, chunks: list[Chunk], seconds: float | None = None) -> None:
    scheduler.took(chunks, sum(chunk.stop - chunk.start for chunk in chunks) * PACE if seconds is None else seconds)


def a_crowded_scheduler(*, slots: int = 8, streams: str = "abc", step_tokens: int = 512) -> Scheduler:
    """One whose pace is known, and that has so many streams of one key."""
    scheduler = a_scheduler(slots=slots, step_tokens=step_tokens)
    took(scheduler, [Chunk(of_key("seen", "heavy"), 0, 100, samples=False)])
    for name in streams:
        scheduler.add(of_key(name, "heavy", prompt=1))
    step(scheduler)
    return scheduler


def names(steps: list[tuple[str, int, int]]) -> str:
    return "".join(name for name, _, _ in steps)


def test_a_newcomer_is_computed_without_the_streams_of_who_crowds_and_they_have_the_next_step() -> None:
    scheduler = a_crowded_scheduler()
    scheduler.add(of_key("x", "light", prompt=28))
    assert step(scheduler) == [("x", 0, 28)]
    assert names(step(scheduler)) == "abcx"


def test_a_prompt_that_takes_no_time_shares_a_step_with_streams() -> None:
    scheduler = a_crowded_scheduler()
    scheduler.add(of_key("x", "light", prompt=9))
    assert step(scheduler)[3:] == [("x", 0, 9)]


def test_who_crowds_has_short_prompts_and_streams_in_turns_until_nobody_else_has_long_been_there() -> None:
    scheduler = a_crowded_scheduler()
    scheduler.add(light := of_key("x", "light", prompt=1))
    took(scheduler, scheduler.plan().chunks)
    step(scheduler)
    scheduler.retire(light)
    scheduler.add(of_key("d", "heavy", prompt=1000))
    assert [step(scheduler)[-1] for _ in range(4)] == [("d", 0, 32), ("c", 2, 3), ("d", 32, 64), ("c", 3, 4)]
    took(scheduler, [Chunk(of_key("seen", "heavy"), 0, 1, samples=True)], ABOUT_SECONDS + 0.001)
    assert step(scheduler)[2:] == [("c", 4, 5), ("d", 64, 64 + 97)]


def test_newcomers_follow_each_other_for_as_long_as_streams_can_wait() -> None:
    scheduler = a_crowded_scheduler()
    steps = []
    for name in "xyz":
        scheduler.add(of_key(name, name, prompt=40))
        steps.append(names(step(scheduler)))
    assert [*steps, names(step(scheduler))] == ["x", "y", "abcxy", "z"]


def test_the_prompt_of_who_crowds_is_passed_over_once() -> None:
    scheduler = a_crowded_scheduler()
    scheduler.add(of_key("d", "heavy", prompt=28))
    scheduler.add(of_key("x", "light", prompt=28))
    assert step(scheduler) == [("x", 0, 28)]
    scheduler.add(of_key("y", "third", prompt=28))
    assert step(scheduler) == [("y", 0, 28), ("d", 0, 28)]


def test_the_prompt_of_who_crowds_is_not_passed_over_where_it_takes_no_time() -> None:
    scheduler = a_crowded_scheduler()
    scheduler.add(of_key("d", "heavy", prompt=9))
    scheduler.add(of_key("x", "light", prompt=28))
    assert step(scheduler) == [("x", 0, 28), ("d", 0, 9)]


@pytest.mark.parametrize("seed", range(20))
def test_whoever_comes_everybody_goes_on(seed: int) -> None:
    """Keys and prompts at random, of two adapters: no stream is left out of its adapter's steps for longer than it can
    wait, but for a single step that has to be longer; and everybody ends.
    """
    chance = random.Random(seed)
    scheduler = a_crowded_scheduler(slots=6, step_tokens=64, streams="")
    for number in range(60):
        key, adapter = chance.choice(["heavy", "heavy", "heavy", *"xyz"]), chance.choice(["", "", "poet"])
        prompt = [chance.randrange(5) for _ in range(chance.randint(1, 120))]
        scheduler.add(of_key(f"r{number}", key, prompt=prompt, adapter=adapter, max_tokens=20))
    silent: dict[Sequence, list[int]] = {}
    for _ in range(10_000):
        chunks = scheduler.plan().chunks
        assert chunks == scheduler.plan().chunks
        if not chunks:
            break
        stepped = {chunk.sequence for chunk in chunks}
        tokens = sum(chunk.stop - chunk.start for chunk in chunks)
        streams = [one for one in scheduler.alive if one.pending == 1 and one.adapter == chunks[0].sequence.adapter]
        for one in streams:
            silent[one] = [] if one in stepped or one.slot is None else [*silent.get(one, []), tokens]
            assert sum(silent[one]) * PACE <= STALL_SECONDS or len(silent[one]) == 1
        took(scheduler, chunks)
        scheduler.apply(chunks)
        for chunk in chunks:
            if chunk.samples:
                chunk.sequence.tokens.append(0)
                chunk.sequence.generated += 1
                if chunk.sequence.generated == 20:
                    scheduler.retire(chunk.sequence)
    assert scheduler.idle


# -- adapters --------------------------------------------------------------------------------------------------------------


def served(scheduler: Scheduler, steps: int) -> list[str]:
    """Whose each of so many steps was."""
    adapters = []
    for _ in range(steps):
        chunks = scheduler.plan().chunks
        (adapter,) = {chunk.sequence.adapter for chunk in chunks}
        scheduler.apply(chunks)
        for chunk in chunks:
            if chunk.samples:
                chunk.sequence.tokens.append(0)
        adapters.append(adapter)
    return adapters


def test_a_step_is_of_one_adapter_and_adapters_take_turns() -> None:
    scheduler = a_scheduler(slots=4, step_tokens=64)
    for name, adapter in (("a", ""), ("b", "poet"), ("c", ""), ("d", "cook")):
        scheduler.add(sequence(name, prompt=3, adapter=adapter))
    turn = [""] * TURN_STEPS + ["poet"] * TURN_STEPS + ["cook"] * TURN_STEPS
    assert served(scheduler, 3 * len(turn)) == turn * 3


def test_a_long_prompt_keeps_other_adapters_waiting_for_one_chunk() -> None:
    scheduler = a_scheduler(slots=2, step_tokens=16)
    scheduler.add(sequence("a", prompt=3))
    served(scheduler, TURN_STEPS)
    scheduler.add(sequence("b", prompt=100, adapter="poet"))
    assert served(scheduler, 12) == (["poet"] + [""] * TURN_STEPS) * 2 + ["poet", ""]


def test_who_comes_late_is_served_before_anybody_has_a_second_turn() -> None:
    scheduler = a_scheduler(slots=3, step_tokens=64)
    scheduler.add(sequence("a", prompt=3))
    scheduler.add(sequence("b", prompt=3, adapter="poet"))
    served(scheduler, 10 * TURN_STEPS + 1)
    scheduler.add(sequence("c", prompt=3, adapter="cook"))
    turn = TURN_STEPS
    assert served(scheduler, 3 * turn - 1) == [""] * (turn - 1) + ["cook"] * turn + ["poet"] * turn


def test_an_adapter_alone_goes_on_and_a_turn_ends_with_its_work() -> None:
    scheduler = a_scheduler(slots=2, step_tokens=64)
    only = sequence("a", prompt=3, adapter="poet")
    scheduler.add(only)
    assert served(scheduler, 5 * TURN_STEPS) == ["poet"] * 5 * TURN_STEPS
    scheduler.add(sequence("b", prompt=3, adapter="cook"))
    assert served(scheduler, 1) == ["cook"]
    scheduler.retire(only)
    assert served(scheduler, 3 * TURN_STEPS) == ["cook"] * 3 * TURN_STEPS


@pytest.mark.parametrize("seed", range(20))
def test_nobody_waits_for_more_than_one_turn_of_each_other(seed: int) -> None:
    """Five adapters, prompts and streams of any length that come and go: between two steps of one that has work, every
    other has had one turn at the most.
    """
    chance, adapters = random.Random(seed), ["", "a", "b", "c", "d"]
    scheduler = a_scheduler(slots=8, step_tokens=16)
    since: dict[str, list[str]] = {}
    for number in range(400):
        if chance.random() < 0.2:
            prompt = [chance.randrange(3) for _ in range(chance.randint(1, 80))]
            scheduler.add(sequence(f"r{number}", prompt=prompt, adapter=chance.choice(adapters)))
        chunks = scheduler.plan().chunks
        running = {one.adapter for one in scheduler._running.values()}
        since = {adapter: since.get(adapter, []) for adapter in running}
        if not chunks:
            assert not running
            continue
        scheduler.apply(chunks)
        for chunk in chunks:
            if chunk.samples:
                chunk.sequence.tokens.append(0)
                if chance.random() < 0.1:
                    scheduler.retire(chunk.sequence)
        for adapter, steps in since.items():
            steps.append(chunks[0].sequence.adapter)
            turns = [one for one, _ in groupby(steps)]
            assert len(turns) == len(set(turns)) <= len(adapters)
            assert all(steps.count(one) <= TURN_STEPS for one in turns if one != adapter)
        since[chunks[0].sequence.adapter] = []


def test_a_prefix_is_not_shared_with_another_adapter() -> None:
    scheduler = a_scheduler(slots=3, step_tokens=64)
    for name, adapter in (("a", "poet"), ("b", "cook"), ("c", "poet")):
        scheduler.add(sequence(name, prompt=[1, 2, 3, 4], adapter=adapter))
    # Neither by waiting for somebody who computes it: b has no leader, c has.
    planned = scheduler.plan()
    assert [(chunk.sequence.request_id, chunk.start, chunk.stop) for chunk in planned.chunks] == [("a", 0, 4)]
    scheduler.apply(planned.chunks)
    found = {}
    for _ in range(3 * TURN_STEPS):
        for name, start, _ in step(scheduler):
            found.setdefault(name, start)
    assert (found["b"], found["c"]) == (0, 3)


def test_one_that_cannot_go_on_for_want_of_cells_lets_the_next_adapter() -> None:
    """12 cells: the prompt of b has no room beside a, which goes on."""
    scheduler = a_scheduler(slots=2, step_tokens=4, cells=12)
    scheduler.add(sequence("a", prompt=4))
    served(scheduler, 1)
    scheduler.add(sequence("b", prompt=6, adapter="poet"))
    for _ in range(6):
        assert served(scheduler, 1)[0] in ("", "poet")
    # The oldest is the one that stays.
    assert [one.request_id for one in scheduler._running.values()] == ["a"]
    assert scheduler.waiting == 1
