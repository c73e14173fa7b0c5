"""A rolling restart of stand-ins: Python processes that say they are ready, and leave when they are told to."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tropilla.common.settings import Settings
from tropilla.compose.herd import Herd
from tropilla.compose.log import Log, prefixes
from tropilla.compose.prepare import Cluster
from tropilla.compose.program import Program, Role, heard
from tropilla.compose.readiness import Readiness
from tropilla.compose.rolling import NEW, OLD, RollFailed, Rolling
from tropilla.compose.signals import Signals
from tropilla.compose.supervisor import Supervisor

READY = """
import os, signal, sys, time
def leave(number, frame):
    print("leaving by", signal.Signals(number).name, flush=True)
    sys.exit()
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
    signal.signal(number, leave)
os.write(int(os.environ["READY_FD"]), b"%d\\n" % os.getpid())
time.sleep(60)
"""
BROKEN = "import sys; sys.exit('the file is gone')"
STUBBORN = READY.replace("sys.exit()", "pass").replace("time.sleep(60)", "[time.sleep(60) for _ in range(9)]")
NAMES = ("api", "cpu-1", "cpu-2", "store")


class Scene:
    """All of `NAMES`, running."""

    def __init__(
        self, folder: Path, herd: Herd, supervisor: Supervisor, readiness: Readiness, log: io.StringIO
    ) -> None:
        self.folder, self.supervisor, self.readiness, self.log = folder, supervisor, readiness, log
        self.herd = herd
        self.said: list[str] = []
        self.changes = 0
        api, *workers, store = (self.program(name) for name in NAMES)
        settings = Settings(drain_seconds=0, api_drain_seconds=0)
        self.cluster = Cluster(settings, (), None, api, store, tuple(workers), None, None)
        for program in (api, *workers, store):
            supervisor.start(program)
        supervisor.phase = "running"
        while not all(readiness.count(pid) for pid in supervisor.pids.values()):
            supervisor.turn(0.01)
        self.before = supervisor.pids

    def program(self, name: str, source: str = READY) -> Program:
        role: Role = "api" if name == "api" else "store" if name == "store" else "worker"
        return heard(Program(name, role, (sys.executable, "-c", source), dict(os.environ)), self.readiness.writer)

    def roll(self, patience_seconds: float = 20.0) -> None:
        def changed() -> None:
            self.changes += 1

        Rolling(
            self.cluster,
            self.supervisor,
            self.readiness,
            turn=lambda: self.supervisor.turn(0.01) and None,
            say=self.said.append,
            changed=changed,
            patience_seconds=patience_seconds,
        ).run()

    def until(self, text: str) -> None:
        while text not in self.log.getvalue():
            self.supervisor.turn(1.0)

    @property
    def same(self) -> set[str]:
        """Who is still the process that it was."""
        return {name for name, pid in self.before.items() if self.supervisor.pids.get(name) == pid}


@pytest.fixture
def scene(tmp_path: Path, signals: Signals) -> Iterator[Scene]:
    output = io.StringIO()
    log = Log(output, prefixes((*NAMES, NEW, OLD), colour=False))
    with Readiness() as readiness, Herd(tmp_path, signals, log.line) as herd:
        yield Scene(tmp_path, herd, Supervisor(herd, log, signals), readiness, output)


def test_everybody_is_replaced_and_told_how_to_leave(scene: Scene) -> None:
    scene.roll()
    assert (scene.same, scene.changes) == (set(), 4)
    scene.until(f"{OLD} has left")
    assert set(scene.supervisor.pids) == set(NAMES)
    leaving = [line.split() for line in scene.log.getvalue().splitlines() if "leaving by" in line]
    assert sorted((words[0], words[-1]) for words in leaving) == [
        (OLD, "SIGTERM"), ("cpu-1", "SIGUSR2"), ("cpu-2", "SIGUSR2"), ("store", "SIGUSR2"),
    ]  # fmt: skip
    assert "ended" not in scene.log.getvalue()


def test_a_fresh_api_that_cannot_start_leaves_the_old_one_where_it_is(scene: Scene) -> None:
    scene.cluster = replace(scene.cluster, api=scene.program("api", BROKEN))
    with pytest.raises(RollFailed, match=rf"{NEW} ended before it could be used: exit status 1, the file is gone"):
        scene.roll()
    assert set(scene.supervisor.pids) == scene.same == set(NAMES)


def test_a_worker_that_does_not_come_back_stops_the_roll_and_is_tried_again(scene: Scene) -> None:
    broken = scene.program("cpu-1", BROKEN)
    scene.cluster = replace(scene.cluster, workers=(broken, scene.cluster.workers[1]))
    with pytest.raises(RollFailed, match="cpu-1 ended before it could be used: exit status 1, the file is gone"):
        scene.roll()
    assert scene.same == {"cpu-2", "store"}
    assert "cpu-1 ended (exit status 1); it is started again in 1 s" in scene.log.getvalue()


def test_who_is_not_there_cannot_be_restarted(scene: Scene) -> None:
    os.kill(scene.before["cpu-2"], signal.SIGKILL)
    scene.until("cpu-2 ended")
    with pytest.raises(RollFailed, match="cpu-2 is not running"):
        scene.roll()


def test_who_does_not_leave_is_killed(scene: Scene) -> None:
    stubborn = scene.program("cpu-1", STUBBORN)
    scene.cluster = replace(scene.cluster, workers=(stubborn,))
    scene.roll()
    scene.before = scene.supervisor.pids
    scene.roll(patience_seconds=0.2)
    assert "cpu-1 has left (killed by SIGKILL)" in scene.log.getvalue()
    assert scene.same == {"cpu-2"}


def test_when_everything_stops_the_api_hears_that_it_is_now(scene: Scene) -> None:
    scene.supervisor.stop(patience_seconds=20)
    leaving = [line.split() for line in scene.log.getvalue().splitlines() if "leaving by" in line]
    assert {words[0]: words[-1] for words in leaving} == {
        "api": "SIGINT", "cpu-1": "SIGTERM", "cpu-2": "SIGTERM", "store": "SIGTERM",
    }  # fmt: skip
