"""The canary over a real loop and a model of bytes: when it is sent, what it leaves behind, and what is told of it."""

from __future__ import annotations

import dataclasses

import pytest
from fakes import EOS, Clock, FakeModel, FakeOutbox, FakeSampler, job, sequence
from tropilla.common.metrics import Tally
from tropilla.workers import canary
from tropilla.workers.canary import Canary
from tropilla.workers.loop import Job, Loop
from tropilla.workers.pace import Pace
from tropilla.workers.scheduler import Limits, Scheduler
from tropilla.workers.trouble import CannotLoad

SECONDS, STEP_SECONDS = 10.0, 90.0


class Scene:
    """A canary, and whom it watches; time passes by hand."""

    def __init__(self) -> None:
        self.clock, self.out, self.tally = Clock(), FakeOutbox(), Tally()
        self.model = FakeModel(step_tokens=16, slots=4)
        self.scheduler = Scheduler(Limits(2, 1000, 16, sequences=4))
        self.canary = Canary(self.out, seconds=SECONDS, step_seconds=STEP_SECONDS, clock=self.clock)
        self.loop = Loop(
            self.model,
            self.scheduler,
            outbox=self.canary.put,
            worker="w",
            pace=Pace("m", self.tally),
            clock=self.clock,
        )
        self.sent: list[Job] = []
        self.canary.mind(self.loop, self._send)

    def _send(self, sent: Job) -> None:
        self.sent.append(sent)
        probe = sequence(sent.request_id, prompt=1, max_tokens=1)
        probe.alone = True
        self.loop.submit(sent, [probe])

    def counted(self) -> int:
        counts: dict[object, float] = {}
        self.tally.flush(counts.update)
        return len(counts)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_it_leaves_nothing_behind(scene: Scene) -> None:
    scene.canary.prove()
    assert (scene.out.events, scene.counted()) == ({}, 0)
    assert (scene.model.cells_used, scene.scheduler.cells_used) == (0, 0)
    # Every slot is free again: two requests run at once.
    for name in "ab":
        scene.loop.submit(job(name), [sequence(name, script="hi")])
    scene.loop.turn()
    assert scene.scheduler.running == 2


def test_it_is_sent_when_nothing_was_computed_for_long_enough(scene: Scene) -> None:
    scene.clock.advance(SECONDS - 0.1)
    scene.canary.look()
    assert scene.sent == []
    scene.clock.advance(0.1)
    scene.canary.look()
    scene.canary.look()
    assert len(scene.sent) == 1
    scene.loop.turn()
    assert scene.sent[0].ended.is_set()
    assert (scene.canary.sign.age, scene.canary.sign.trouble) == (0, "")


def test_what_is_computed_for_somebody_is_as_good(scene: Scene) -> None:
    scene.loop.submit(job("a"), [sequence("a", script="a" * 40)])
    for _ in range(30):
        scene.clock.advance(SECONDS / 2)
        scene.loop.turn()
        scene.canary.look()
    assert scene.sent == []
    assert len(scene.out.events["a"]) > 20


def test_a_request_that_comes_meanwhile_has_all_of_its_events(scene: Scene) -> None:
    scene.clock.advance(SECONDS)
    scene.canary.look()
    scene.loop.submit(job("a"), [sequence("a", script=[*b"hi", EOS])])
    while not scene.loop.idle or not scene.out.events:
        scene.loop.turn()
    assert [type(event).__name__ for event in scene.out.events["a"]] == ["Token", "Token", "Token", "Finished"]
    assert canary.NAME not in scene.out.events


def test_it_tells_how_long_it_took(scene: Scene) -> None:
    scene.clock.advance(SECONDS)
    scene.canary.look()
    scene.clock.advance(0.25)
    scene.loop.turn()
    scene.clock.advance(3)
    assert dataclasses.astuple(scene.canary.sign) == (3, 0.25, "")


def test_one_that_does_not_come_back_is_missed(scene: Scene) -> None:
    scene.clock.advance(SECONDS)
    scene.canary.look()
    scene.clock.advance(canary.PATIENCE * SECONDS)
    assert scene.canary.sign.trouble == ""
    scene.clock.advance(1)
    assert scene.canary.sign.trouble == "no step has begun for 31 s"
    scene.loop.turn()
    assert scene.canary.sign.trouble == ""


def test_a_step_that_runs_for_long_is_told_of_before_it_ends_the_process(scene: Scene) -> None:
    told: list[str] = []

    def hang() -> None:
        for seconds in (STEP_SECONDS * canary.LONG_STEP, 1):
            scene.clock.advance(seconds)
            told.append(scene.canary.sign.trouble)

    scene.model.before_step = hang
    scene.clock.advance(SECONDS)
    scene.canary.look()
    scene.loop.turn()
    assert told == ["", "a step has been running for 31 s"]
    assert scene.canary.sign.trouble == ""


def test_a_step_that_fails_is_told_of_until_one_does_not(scene: Scene) -> None:
    def break_down() -> None:
        raise RuntimeError("llama_decode answered -3")

    scene.model.before_step = break_down
    scene.clock.advance(SECONDS)
    scene.canary.look()
    scene.loop.turn()
    assert "llama_decode answered -3" in scene.canary.sign.trouble
    scene.model.before_step = lambda: None
    scene.clock.advance(SECONDS)
    scene.canary.look()
    scene.loop.turn()
    assert (len(scene.sent), scene.canary.sign.trouble) == (2, "")


def test_a_model_that_computes_nothing_is_not_loaded(scene: Scene) -> None:
    def break_down() -> None:
        raise RuntimeError("no kernel image is available")

    scene.model.before_step = break_down
    with pytest.raises(CannotLoad, match=r"first token could not be computed: .*no kernel image"):
        scene.canary.prove()


def test_one_that_is_handed_back_with_all_others_is_not_waited_for(scene: Scene) -> None:
    scene.clock.advance(SECONDS)
    scene.canary.look()
    scene.loop.hand_back()
    scene.loop.turn()
    scene.clock.advance(SECONDS)
    scene.canary.look()
    assert len(scene.sent) == 2


def test_its_sampler_is_as_good_as_any(scene: Scene) -> None:
    """An end of turn is a token, too."""
    scene.canary.mind(scene.loop, lambda sent: scene.loop.submit(sent, [_ending(sent)]))
    scene.canary.prove()
    assert scene.canary.sign.trouble == ""


def _ending(sent: Job):  # type: ignore[no-untyped-def]
    found = sequence(sent.request_id, prompt=1, max_tokens=1)
    found.sampler = FakeSampler([EOS])
    return found
