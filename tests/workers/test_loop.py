"""The loop driven by hand, over a model that insists on llama.cpp's rules."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
from fakes import EOS, Clock, FakeModel, FakeOutbox, job, sequence
from tropilla.common.generation import Prompted, Token, Usage
from tropilla.common.logs import JsonLines, TextLines
from tropilla.common.terms import PRIORITIES, Priority
from tropilla.workers.fairness import Held
from tropilla.workers.loop import Job, Loop
from tropilla.workers.scheduler import SCORED_TOKENS, Limits, Scheduler
from tropilla.workers.sequence import Sequence


class Bench:
    """A loop and everything around it."""

    def __init__(
        self, *, slots: int = 2, step_tokens: int = 16, cells: int = 10_000, spare: int = 4, **limits: Any
    ) -> None:
        self.model = FakeModel(step_tokens=step_tokens, slots=slots + spare, cells=cells)
        self.scheduler = Scheduler(Limits(slots, cells, step_tokens, sequences=slots + spare, **limits))
        self.out = FakeOutbox()
        self.clock = Clock()
        self.loop = Loop(self.model, self.scheduler, outbox=self.out, worker="w", clock=self.clock)

    def submit(self, *sequences: Sequence, attempt: int = 1) -> Job:
        posted = job(sequences[0].request_id, choices=len(sequences), attempt=attempt)
        self.loop.submit(posted, list(sequences))
        return posted

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.loop.turn()

    def finish(self) -> None:
        """Turns until there is nothing left, which also means: nothing in the KV cache but idle prefixes, and nothing at
        all once those are let go of.
        """
        self.loop.turn()
        for _ in range(20_000):
            if self.scheduler.idle:
                break
            self.loop.turn()
        assert self.scheduler.idle
        assert self.model.cells_used == self.scheduler.cells_used == self.scheduler.cells_idle
        self.forget()

    def forget(self) -> None:
        self.scheduler.forget_idle()
        self.model.move(self.scheduler.moves())
        assert (self.model.cells_used, self.scheduler.cells_used) == (0, 0)

    @property
    def slots_in_use(self) -> int:
        return self.scheduler.running


def test_a_request_is_answered_token_by_token_and_finished() -> None:
    bench = Bench()
    posted = bench.submit(sequence(script="hello"))
    bench.finish()
    finished = bench.out.finished()[0]
    assert bench.out.text() == "hello"
    assert (finished.reason, finished.usage, finished.worker) == ("eos", Usage(3, 0, 6), "w")
    assert [token.last for token in bench.out.tokens()] == [False] * 5 + [True]
    assert posted.outcome == "eos, 3 + 6 tokens"


def test_a_request_that_waited_for_its_model_says_how_long_that_took() -> None:
    bench = Bench()
    bench.submit(sequence("waited", script="a")).load_seconds = 2.5
    bench.submit(sequence("late", script="b"))
    bench.finish()
    assert {r: bench.out.finished(r)[0].timings.load for r in ("waited", "late")} == {"waited": 2.5, "late": 0.0}


def test_max_tokens_ends_a_choice() -> None:
    bench = Bench()
    bench.submit(sequence(script="hello", max_tokens=3))
    bench.finish()
    assert (bench.out.text(), bench.out.finished()[0].reason) == ("hel", "length")


def test_no_tokens_wanted_is_answered_without_the_model() -> None:
    bench = Bench()
    bench.submit(sequence(max_tokens=0), sequence(max_tokens=0, choice=1))
    bench.finish()
    assert bench.model.steps == []
    assert [finished.reason for finished in bench.out.finished().values()] == ["length", "length"]
    assert bench.out.tokens() == []


def test_a_stop_string_ends_a_choice_and_is_not_shown() -> None:
    bench = Bench()
    bench.submit(sequence(script="one ENtwo END three", stop=["END"]))
    bench.finish()
    finished = bench.out.finished()[0]
    assert (bench.out.text(), finished.reason, finished.stop) == ("one ENtwo ", "stop", "END")


def test_log_probabilities_come_with_their_tokens() -> None:
    bench = Bench()
    bench.submit(sequence(script="x", logprobs=2))
    bench.finish()
    first = bench.out.tokens()[0]
    assert (first.piece, first.logprob, len(first.top)) == (b"x", -0.5, 2)


def test_every_choice_of_a_request_finishes_and_the_last_one_ends_it() -> None:
    bench = Bench(slots=3)
    texts = ["a", "bb", "ccccc"]
    posted = bench.submit(*(sequence(script=text, choice=choice) for choice, text in enumerate(texts)))
    bench.finish()
    assert [bench.out.text(choice=choice) for choice in range(3)] == texts
    assert list(bench.out.finished()) == [0, 1, 2]
    assert posted.ended.is_set()


def test_more_choices_than_slots_are_answered_one_after_another() -> None:
    bench = Bench(slots=2)
    bench.submit(*(sequence(script=f"text {choice}", choice=choice) for choice in range(5)))
    bench.finish()
    assert [bench.out.text(choice=choice) for choice in range(5)] == [f"text {choice}" for choice in range(5)]


def test_a_long_prompt_never_stalls_running_streams() -> None:
    bench = Bench(slots=4, step_tokens=64)
    for name in "abc":
        bench.submit(sequence(name, script="x" * 200))
    bench.turn()
    bench.submit(sequence("long", prompt=2000, script="y"))
    while "long" not in bench.out.events:
        before = {name: len(bench.out.tokens(name)) for name in "abc"}
        bench.turn()
        assert {name: len(bench.out.tokens(name)) - before[name] for name in "abc"} == dict.fromkeys("abc", 1)
    chunks = [size for step in bench.model.steps for name, size in step if name == "long"]
    assert chunks == [61] * 32 + [48]


def test_requests_join_and_leave_at_any_step() -> None:
    bench = Bench(slots=3)
    bench.submit(sequence("a", script="a" * 9))
    bench.turn(2)
    bench.submit(sequence("b", script="bb"))
    bench.turn(2)
    bench.submit(sequence("c", script="c" * 5))
    bench.finish()
    assert {name: bench.out.text(name) for name in "abc"} == {"a": "a" * 9, "b": "bb", "c": "c" * 5}


def test_a_cancel_while_waiting_takes_the_request_out_of_the_line() -> None:
    bench = Bench(slots=1)
    bench.submit(sequence("a", script="aaaa"))
    bench.submit(sequence("b", script="b"))
    bench.turn()
    bench.loop.cancel("b")
    bench.turn()
    assert bench.out.finished("b")[0].reason == "cancelled"
    assert bench.scheduler.waiting == 0


def test_a_cancel_during_prefill_frees_the_slot_at_the_next_turn() -> None:
    bench = Bench(slots=1, step_tokens=16)
    bench.submit(sequence("a", prompt=100))
    bench.turn(2)
    assert bench.model.cells_used == 32
    bench.loop.cancel("a")
    bench.turn()
    assert bench.scheduler.cells_idle == 32, "what was computed stays for whoever asks the same"
    assert (bench.out.finished("a")[0].reason, bench.slots_in_use) == ("cancelled", 0)


def test_a_cancel_while_decoding_frees_the_slot_for_who_waits() -> None:
    bench = Bench(slots=1)
    bench.submit(sequence("a", script="a" * 50))
    bench.submit(sequence("b", script="b"))
    bench.turn(3)
    bench.loop.cancel("a")
    bench.turn()
    assert bench.out.text("a") == "aaa"
    assert bench.out.finished("a")[0].usage.generated == 3
    assert bench.out.text("b") == "b"


def test_a_cancel_ends_every_choice_that_is_still_open() -> None:
    bench = Bench(slots=2)
    bench.submit(*(sequence(script=text, choice=c) for c, text in enumerate(["a", "b" * 9, "c" * 9])))
    bench.turn(3)
    bench.loop.cancel("a")
    bench.finish()
    assert [f.reason for _, f in sorted(bench.out.finished().items())] == ["eos", "cancelled", "cancelled"]


def test_a_cancel_of_an_unknown_or_ended_request_is_ignored() -> None:
    bench = Bench()
    bench.submit(sequence(script="x"))
    bench.finish()
    bench.loop.cancel("a")
    bench.loop.cancel("never heard of")
    bench.finish()
    assert len(bench.out.finished()) == 1


def test_a_cancel_right_behind_its_request_still_finds_it() -> None:
    bench = Bench()
    bench.submit(sequence(script="x"))
    bench.loop.cancel("a")
    bench.finish()
    assert bench.out.finished()[0].reason == "cancelled"
    assert bench.model.steps == []


def test_a_fenced_request_leaves_without_a_word() -> None:
    bench = Bench()
    posted = bench.submit(sequence(script="x" * 9))
    bench.turn(2)
    bench.loop.fence("a", 1)
    bench.finish()
    assert posted.ended.is_set()
    assert posted.outcome == "taken away"
    assert len(bench.out.events["a"]) == 2


def test_a_request_that_comes_back_takes_the_place_of_its_earlier_attempt() -> None:
    bench = Bench()
    first = bench.submit(sequence(script="x" * 9))
    bench.loop.turn()
    bench.out.events.clear()
    second = bench.submit(sequence(script="yes"), attempt=2)
    bench.finish()
    assert first.ended.is_set()
    assert (bench.out.text(), second.outcome) == ("yes", "eos, 3 + 4 tokens")


def test_a_failing_step_ends_its_requests_and_no_others() -> None:
    bench = Bench(slots=2, step_tokens=16)
    bench.submit(sequence("a", script="aaaa"), sequence("a", script="aaaa", choice=1))
    bench.submit(sequence("b", script="b"))
    bench.turn()

    def break_once() -> None:
        bench.model.before_step = lambda: None
        raise RuntimeError("llama_decode answered -3")

    bench.model.before_step = break_once
    bench.turn()
    failed = bench.out.failed("a")
    assert (failed.code, "llama_decode answered -3" in failed.message) == ("internal", True)
    bench.finish()
    assert bench.out.text("b") == "b"


def test_a_pass_that_is_refused_ends_its_requests_and_the_others_of_the_step_go_on() -> None:
    """Every stream of a step was ended for an image that llama.cpp would not have."""
    bench = Bench(slots=3, step_tokens=16)
    bench.submit(sequence("a", script="aaaa"), sequence("a", script="aaaa", choice=1))
    bench.submit(sequence("b", script="bbbb"))
    bench.turn(2)
    bench.model.refuses = lambda chunk: (chunk.sequence.request_id, chunk.sequence.choice) == ("a", 1)
    bench.finish()
    failed = bench.out.failed("a")
    assert (failed.code, "llama_decode answered -1" in failed.message) == ("internal", True)
    assert bench.out.text("b") == "bbbb"


def test_stopping_drops_what_runs_without_a_word() -> None:
    bench = Bench()
    bench.submit(sequence(script="x" * 9))
    bench.turn(2)
    bench.loop.stop()
    bench.turn(3)
    assert len(bench.out.events["a"]) == 2


def test_run_waits_for_work_and_ends_with_stop() -> None:
    bench = Bench()
    thread = threading.Thread(target=bench.loop.run)
    thread.start()
    posted = bench.submit(sequence(script="hello"))
    assert posted.ended.wait(5)
    bench.loop.stop()
    thread.join(5)
    assert not thread.is_alive()
    assert bench.out.text() == "hello"


def test_the_timings_are_the_loops_own() -> None:
    bench = Bench(slots=1)
    bench.submit(sequence("a", script="aaa"))
    bench.submit(sequence("b", script="bb"))
    bench.model.before_step = lambda: bench.clock.advance(1.0)
    bench.finish()
    timings = bench.out.finished("b")[0].timings
    assert (timings.queue, timings.prefill, timings.decode) == (4.0, 1.0, 2.0)


@pytest.mark.parametrize("seed", range(25))
def test_whoever_runs_beside_it_a_request_says_what_it_says_alone(seed: int) -> None:
    chance = random.Random(seed)

    def plans() -> list[Sequence]:
        draw = random.Random(seed)
        return [
            sequence(f"r{n}", prompt=draw.randint(1, 90), max_tokens=draw.randint(1, 60), seed=n) for n in range(12)
        ]

    alone = {}
    for one in plans():
        bench = Bench(slots=1, step_tokens=512)
        bench.submit(one)
        bench.finish()
        alone[one.request_id] = bench.out.text(one.request_id)

    slots = chance.randint(1, 5)
    bench = Bench(slots=slots, step_tokens=slots + chance.randint(0, 20))
    cancelled = set(chance.sample([f"r{n}" for n in range(12)], 3))
    for one in plans():
        bench.submit(one)
        bench.turn(chance.randint(0, 12))
        if cancelled and chance.random() < 0.3:
            unwanted = chance.choice(sorted(cancelled))
            if chance.random() < 0.5:
                bench.loop.fence(unwanted, 1)
            else:
                bench.loop.cancel(unwanted)
    bench.finish()
    for name, text in alone.items():
        if name in cancelled:
            assert text.startswith(bench.out.text(name))
        else:
            assert bench.out.text(name) == text
            assert bench.out.finished(name)[0].usage.generated == len(bench.out.tokens(name))


def test_an_end_token_is_counted_and_not_shown() -> None:
    bench = Bench()
    bench.submit(sequence(script=[EOS]))
    bench.finish()
    assert bench.out.text() == ""
    assert bench.out.finished()[0].usage.generated == 1


def test_a_prompts_own_log_probabilities_are_told_once_all_are_known() -> None:
    bench = Bench(step_tokens=512)
    prompt = [5, *range(10, 80)]
    bench.submit(sequence(prompt=prompt, script="x", prompt_logprobs=1))
    bench.finish()
    prompted, first, *_ = bench.out.events["a"]
    assert isinstance(prompted, Prompted)
    assert [token.id for token in prompted.tokens] == prompt
    assert [token.logprob for token in prompted.tokens] == [None, *(-float(token) for token in prompt[1:])]
    assert [len(token.top) for token in prompted.tokens] == [0] + [1] * 70
    assert isinstance(first, Token)
    assert max(size for step in bench.model.steps for _, size in step) == SCORED_TOKENS


def test_scoring_alone_needs_no_token() -> None:
    bench = Bench()
    bench.submit(sequence(prompt=[1, 2], max_tokens=0, prompt_logprobs=0))
    bench.finish()
    prompted, finished = bench.out.events["a"]
    assert isinstance(prompted, Prompted)
    assert [token.logprob for token in prompted.tokens] == [None, -2.0]
    assert (finished.reason, finished.usage.generated) == ("length", 0)  # type: ignore[union-attr]


def test_a_prompt_of_one_token_has_nothing_to_score() -> None:
    bench = Bench()
    bench.submit(sequence(prompt=[1], script="x", prompt_logprobs=0))
    bench.finish()
    assert [type(event) for event in bench.out.events["a"][:2]] == [Prompted, Token]


def test_a_draw_that_goes_wrong_fails_its_request_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(slots=3)
    broken = sequence("a", script="aaaa")
    bench.submit(broken, sequence("a", script="aaaa", choice=1))
    bench.submit(sequence("b", script="bbbb"))
    bench.turn(2)

    def refuse(resident: object) -> int:
        raise ValueError("nothing may come next")

    broken.sampler.draw = refuse  # type: ignore[attr-defined]
    bench.finish()
    assert "nothing may come next" in bench.out.failed("a").message
    # What a grammar says quotes the answer so far: its caller hears it, and no log.
    told = [TextLines().format(record) + JsonLines("worker", "w").format(record) for record in caplog.records]
    assert told
    assert not [line for line in told if "nothing may come next" in line]
    assert bench.out.text("b") == "bbbb"


def test_a_grammar_that_is_complete_ends_the_turn() -> None:
    bench = Bench()
    one = sequence(script="ab")
    bench.submit(one)
    bench.turn()
    one.sampler.ended = True  # type: ignore[attr-defined]
    bench.finish()
    assert (bench.out.text(), bench.out.finished()[0].reason) == ("ab", "eos")


def test_a_full_context_ends_a_choice_or_is_gone_on_from() -> None:
    for keep, reason, tokens in ((None, "length", 6), (2, "length", 40)):
        bench = Bench(spare=2)
        bench.submit(sequence(prompt=4, script="x" * 99, max_tokens=40, context=10, shift_keep=keep))
        bench.finish()
        finished = bench.out.finished()[0]
        assert (finished.reason, finished.usage.generated) == (reason, tokens)


def test_what_was_resident_is_reported() -> None:
    bench = Bench()
    bench.submit(sequence("a", prompt=[1, 2, 3, 4], script="x"))
    bench.turn(3)
    bench.submit(sequence("b", prompt=[1, 2, 3, 4], script="x"))
    bench.finish()
    assert [bench.out.finished(name)[0].usage.cached for name in "ab"] == [0, 3]


def test_a_step_that_runs_can_be_seen_from_outside() -> None:
    bench = Bench()
    seen: list[float | None] = []
    bench.model.before_step = lambda: seen.append(bench.loop.busy_since)
    bench.submit(sequence(script="x"))
    bench.turn()
    assert (seen, bench.loop.busy_since) == ([bench.clock()], None)


ADAPTERS = ("", "poet", "cook")


@pytest.mark.parametrize("adapters", [("",), ADAPTERS], ids=["plain", "adapters"])
@pytest.mark.parametrize("seed", range(40))
def test_reuse_eviction_preemption_shifts_and_adapters_change_no_answer(seed: int, adapters: tuple[str, ...]) -> None:
    """The fake model insists that every slot holds exactly its sequence's tokens, and says what depends on all of them;
    that a pass is of one adapter; and that nobody stands on cells that another adapter computed.
    """
    chance = random.Random(seed)
    stems = [[chance.randrange(200) for _ in range(chance.randint(5, 60))] for _ in range(3)]

    def plans() -> list[Sequence]:
        draw = random.Random(seed + 1)
        return [
            sequence(
                f"r{n}",
                prompt=draw.choice(stems)[: draw.randint(1, 60)] + [draw.randrange(3) for _ in range(draw.randint(0, 9))],
                max_tokens=draw.randint(1, 60),
                seed=draw.randrange(2),
                context=90,
                adapter=draw.choice(adapters),
            )
            for n in range(20)
        ]  # fmt: skip

    alone = {}
    for one in plans():
        bench = Bench(slots=1, step_tokens=512, reuse=False)
        bench.submit(one)
        bench.finish()
        alone[one.request_id] = bench.out.text(one.request_id)

    slots = chance.randint(1, 6)
    bench = Bench(
        slots=slots,
        step_tokens=slots + chance.randint(0, 40),
        cells=chance.choice([90, 120, 400, 5000]),
        spare=chance.randint(2, 9),
        idle_tokens=chance.choice([0, 64, 2000]),
    )
    unwanted = set(chance.sample(sorted(alone), 4))
    for one in plans():
        bench.submit(one)
        bench.turn(chance.randint(0, 8))
        if chance.random() < 0.3:
            bench.loop.cancel(chance.choice(sorted(unwanted)))
    bench.finish()
    for name, text in alone.items():
        assert text.startswith(bench.out.text(name)) if name in unwanted else bench.out.text(name) == text
    assert sum(bench.out.finished(name)[0].usage.cached for name in alone) > 0


@pytest.mark.parametrize("seed", range(10))
def test_shifting_contexts_stay_whole_among_shared_prefixes(seed: int) -> None:
    chance = random.Random(seed)
    bench = Bench(slots=3, step_tokens=16, cells=chance.choice([60, 500]), shift=chance.random() < 0.5)
    stem = [1] * 20
    for n in range(8):
        prompt = [*stem[: chance.randint(1, 20)], chance.randrange(5)]
        bench.submit(sequence(f"r{n}", prompt=prompt, max_tokens=90, context=30, shift_keep=chance.choice([0, 4, 25])))
        bench.turn(chance.randint(0, 20))
    bench.finish()
    for n in range(8):
        assert bench.out.finished(f"r{n}")[0].reason in ("length", "eos")


@pytest.mark.parametrize("seed", range(10))
def test_shifting_contexts_of_several_adapters_stay_whole(seed: int) -> None:
    chance = random.Random(seed)
    bench = Bench(slots=3, step_tokens=16, cells=chance.choice([60, 500]), shift=chance.random() < 0.5)
    for n in range(8):
        one = sequence(
            f"r{n}",
            prompt=[*[1] * chance.randint(1, 20), chance.randrange(5)],
            max_tokens=90,
            context=30,
            shift_keep=chance.choice([0, 4, 25]),
            adapter=chance.choice(ADAPTERS),
        )
        bench.submit(one)
        bench.turn(chance.randint(0, 20))
    bench.finish()
    for n in range(8):
        assert bench.out.finished(f"r{n}")[0].reason in ("length", "eos")


def test_what_one_adapter_said_differs_from_what_another_says() -> None:
    """So that the tests above could tell."""
    bench = Bench(slots=3)
    for name, adapter in zip("abc", ADAPTERS, strict=True):
        bench.submit(sequence(name, prompt=[1, 2, 3], max_tokens=20, adapter=adapter))
    bench.finish()
    assert len({bench.out.text(name) for name in "abc"}) == 3


def test_a_step_that_fails_is_one_adapters_only() -> None:
    bench = Bench(slots=2)
    bench.submit(sequence("a", script="a" * 9))
    bench.submit(sequence("b", script="b" * 9, adapter="poet"))
    bench.turn(2)

    def broken() -> None:
        bench.model.before_step = lambda: None
        raise RuntimeError("llama.cpp refused to apply it")

    bench.model.before_step = broken
    bench.finish()
    assert bench.out.failed("a").code == "internal"
    assert bench.out.text("b") == "b" * 9


# -- fairness --------------------------------------------------------------------------------------------------------------


def of_key(bench: Bench, name: str, key: str = "", priority: Priority = "normal", **fields: Any) -> Job:
    posted = job(name)
    posted.key, posted.priority = key, priority
    bench.loop.submit(posted, [sequence(name, **fields)])
    return posted


@pytest.mark.parametrize("reuse", [True, False], ids=["prefixes are shared", "prefixes are not shared"])
@pytest.mark.parametrize("seed", range(12))
def test_whoever_stands_aside_says_what_he_would_have_said(seed: int, reuse: bool) -> None:
    """Requests of any key, urgency and length that come at any time, in few slots and few cells."""
    chance = random.Random(seed)
    asked = {
        name: {"prompt": chance.randint(1, 40), "max_tokens": chance.randint(1, 60), "seed": chance.randrange(99)}
        for name in "abcdefghijklmnopqrst"
    }
    alone = {}
    for name, fields in asked.items():
        bench = Bench(slots=1)
        of_key(bench, name, **fields)
        bench.finish()
        alone[name] = bench.out.text(name)
    bench = Bench(slots=2, cells=120, reuse=reuse, spare=4 if reuse else 0)
    known: set[Sequence] = set()
    for name, fields in asked.items():
        of_key(bench, name, chance.choice("hhhl"), chance.choice(PRIORITIES), **fields)
        bench.turn(1 + chance.randrange(4))
        known.update(bench.scheduler.alive)
    bench.finish()
    assert any(one.seatings > 1 for one in known), "somebody stood aside"
    assert {name: bench.out.text(name) for name in asked} == alone
    assert all(bench.out.finished(name)[0].usage.prompt == fields["prompt"] for name, fields in asked.items())


def test_a_request_that_is_to_stand_aside_ends_here_once_all_it_said_is_safe() -> None:
    bench = Bench(slots=1)
    posted = bench.submit(sequence("a"))
    bench.turn(3)
    posted.be_safe(1)
    bench.loop.stand_aside(posted)
    bench.turn()
    assert (bench.scheduler.idle, posted.stood_aside, posted.ended.is_set()) == (True, True, False)
    posted.be_safe(2)
    assert posted.ended.is_set()
    assert posted.outcome == "stood aside at event 3"
    bench.loop.stand_aside(posted)
    bench.turn()
    assert bench.scheduler.idle, "who has left cannot be asked to"


def test_what_is_held_is_known_while_somebody_waits() -> None:
    bench = Bench(slots=2)
    of_key(bench, "a", "k", "batch")
    bench.submit(*(sequence("b", choice=choice) for choice in range(2)))
    bench.turn()
    assert bench.loop.held == (Held("a", "k", 2, waits=True), Held("b", "", 1, choices=2))
    bench.loop.cancel("b")
    bench.turn()
    assert bench.loop.held == (), "nobody waits"
    bench.turn(2)
    of_key(bench, "c", "k", "interactive")
    of_key(bench, "d", "k", "interactive")
    bench.turn()
    assert bench.loop.held[0] == Held("a", "k", 2, waits=True, begun=True)


def test_a_prompt_whose_probabilities_were_told_is_not_told_again_after_standing_aside() -> None:
    bench = Bench(slots=1)
    of_key(bench, "a", priority="batch", prompt=SCORED_TOKENS + 5, script="x" * 9, prompt_logprobs=0)
    bench.turn(6)
    of_key(bench, "u", priority="interactive", script="yy")
    bench.finish()
    assert [type(event) for event in bench.out.events["a"]].count(Prompted) == 1
    assert bench.out.text("a") == "x" * 9
