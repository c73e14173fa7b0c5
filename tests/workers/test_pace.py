"""What is written down of the loop's steps."""

from __future__ import annotations

from collections import defaultdict

from fakes import Clock, FakeModel, FakeOutbox, job, sequence
from tropilla.common.metrics import SUM, Key, Load, Tally
from tropilla.workers.loop import Loop
from tropilla.workers.pace import Lap, Pace
from tropilla.workers.scheduler import Chunk, Limits, Scheduler


class Worker:
    def __init__(self) -> None:
        self.tally, self.out = Tally(), FakeOutbox()
        self.pace = Pace("m", self.tally, slots=2, cells=1000)
        self.model = FakeModel(step_tokens=8, slots=2)
        scheduler = Scheduler(Limits(slots=2, sequences=2, cells=1000, step_tokens=8))
        self.loop = Loop(self.model, scheduler, outbox=self.out, worker="w", pace=self.pace, clock=Clock())

    @property
    def written(self) -> dict[tuple[str, str], float]:
        """Counts, and of histograms how many were observed."""
        found: dict[Key, float] = {}
        self.tally.flush(found.update)
        counted: dict[tuple[str, str], float] = defaultdict(float)
        for key, amount in found.items():
            if key.place != SUM:
                counted[key.name, key.label] += amount
        return dict(counted)


PARTS = ("concat", "forward", "decode", "filter")


def test_steps_are_prefills_and_decodes_with_all_their_parts() -> None:
    worker = Worker()
    worker.loop.submit(job("a"), [sequence("a", prompt=3, script="xy")])
    worker.loop.turn()
    assert worker.pace.load == Load("m", 1, 1003, 4, running=1, slots=2, used=3, cells=1000)
    worker.loop.turn()
    worker.loop.turn()
    assert (worker.pace.load.sequences, worker.pace.load.running, worker.pace.load.slots) == (0, 0, 2)
    written = worker.written
    for name in ("count", "success", "duration"):
        assert (written["batch_inference_" + name, "prefill"], written["batch_inference_" + name, "decode"]) == (1, 2)
    assert all(written[f"batch_{part}_duration", "decode"] == 2 for part in PARTS)
    assert written["batch_next_size", ""] == 1
    # Of three tokens, the first of which came with the prompt.
    assert written["inter_token", ""] == 2
    assert ("batch_concat", "joined") not in written


def test_between_tokens_lies_what_an_answer_waits_while_other_adapters_have_their_turn() -> None:
    """Not from step to step, where that step was another adapter's."""
    tally, clock = Tally(), Clock()
    pace = Pace("m", tally)
    one, other = (sequence(name, prompt=1, script="xyz", adapter=name) for name in ("a", "b"))
    for who, start in ((one, 0), (one, 1), (other, 0), (other, 1), (one, 2)):
        lap = Lap(clock)
        clock.advance(1.0)
        lap.end("forward")
        pace.stepped([Chunk(who, start, start + 1, samples=True)], lap, joined=0, broke=False)
    found: dict[Key, float] = {}
    tally.flush(found.update)
    told = {key.place: amount for key, amount in found.items() if key.name == "inter_token"}
    # One second for each of two steps that followed their own, and three for the one behind two of the other's.
    assert told[SUM] == 1.0 + 1.0 + 3.0


def test_who_joins_others_is_counted() -> None:
    worker = Worker()
    worker.loop.submit(job("a"), [sequence("a", script="xyz")])
    worker.loop.turn()
    worker.loop.submit(job("b"), [sequence("b", script="xyz")])
    worker.loop.turn()
    written = worker.written
    assert (written["batch_concat", "joined"], written["batch_next_size", ""]) == (1, 2)
    # A step that has a prompt in it is a prefill, whoever decodes beside.
    assert written["batch_inference_count", "prefill"] == 2


def test_a_step_that_breaks_is_a_failure_and_takes_no_time() -> None:
    worker = Worker()

    def break_down(_: object) -> list[int]:
        raise RuntimeError("no memory")

    worker.model.evaluate = break_down  # type: ignore[assignment, method-assign]
    worker.loop.submit(job("a"), [sequence("a")])
    worker.loop.turn()
    assert worker.written == {
        ("batch_inference_count", "prefill"): 1,
        ("batch_inference_failure", "prefill"): 1,
        ("batch_next_size", ""): 1,
    }


def test_a_turn_without_a_step_writes_nothing() -> None:
    worker = Worker()
    worker.loop.turn()
    assert worker.written == {}


def test_a_lap_adds_up_and_may_come_back_to_a_part() -> None:
    clock = Clock()
    lap = Lap(clock)
    for part, seconds in (("concat", 1.0), ("forward", 2.0), ("concat", 0.5)):
        clock.advance(seconds)
        lap.end(part)  # type: ignore[arg-type]
    assert (lap.parts, lap.total) == ({"concat": 1.5, "forward": 2.0}, 3.5)
