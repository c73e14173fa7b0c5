from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tropilla.compose.herd import Herd
from tropilla.compose.log import Log, prefixes
from tropilla.compose.program import Program, Role
from tropilla.compose.signals import Signals
from tropilla.compose.supervisor import ClusterFailed, StopRequested, Supervisor

PATIENT = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + PATIENT
FAILING = "import sys; print('page.gguf is not a GGUF'); sys.exit(1)"
Ended = Callable[[int], bool]
NAMES = ("redis", "api", "cpu-1", "flower")


class Scene:
    """A supervisor of stand-ins, and what it says."""

    def __init__(self, folder: Path, herd: Herd, output: io.StringIO, supervisor: Supervisor) -> None:
        self.folder, self.herd, self.output, self.supervisor = folder, herd, output, supervisor

    def start(self, name: str, source: str, role: Role = "worker") -> None:
        self.supervisor.start(Program(name, role, (sys.executable, "-c", source), dict(os.environ)))

    def turn_until_said(self, text: str, times: int = 1) -> None:
        while self.output.getvalue().count(text) < times:
            self.supervisor.turn(20.0)


@pytest.fixture
def scene(tmp_path: Path, signals: Signals) -> Iterator[Scene]:
    output = io.StringIO()
    log = Log(output, prefixes(NAMES, colour=False))
    with Herd(tmp_path, signals, log.line) as herd:
        yield Scene(tmp_path, herd, output, Supervisor(herd, log, signals))


def test_a_worker_that_crashes_while_running_is_started_again(scene: Scene) -> None:
    scene.start("cpu-1", PATIENT)
    scene.turn_until_said("| up")
    scene.supervisor.phase = "running"
    first = scene.herd.pids["cpu-1"]
    os.kill(first, signal.SIGKILL)
    scene.turn_until_said("| up", times=2)
    assert "cpu-1 ended (killed by SIGKILL); it is started again in 1 s" in scene.output.getvalue()
    assert scene.herd.pids["cpu-1"] != first


def test_a_worker_that_cannot_start_ends_everything_with_its_own_sentence(scene: Scene) -> None:
    scene.start("cpu-1", FAILING)
    with pytest.raises(ClusterFailed, match=r"cpu-1 ended while starting \(exit status 1\).*: page.gguf is not a GGUF"):
        scene.turn_until_said("never")


def test_the_end_of_redis_ends_everything(scene: Scene) -> None:
    scene.supervisor.phase = "running"
    scene.start("redis", PATIENT, role="redis")
    scene.turn_until_said("| up")
    os.kill(scene.herd.pids["redis"], signal.SIGKILL)
    with pytest.raises(ClusterFailed, match=r"redis ended \(killed by SIGKILL\), so everything was stopped"):
        scene.turn_until_said("never")


def test_a_request_to_stop_leaves_the_loop(scene: Scene) -> None:
    scene.start("api", PATIENT, role="api")
    scene.turn_until_said("| up")
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(StopRequested):
        scene.turn_until_said("never")


def test_stopping_leaves_nobody_and_redis_goes_last(scene: Scene, ended: Ended) -> None:
    goodbye = "import signal, sys, time\ndef leave(*_): print('bye', flush=True); sys.exit()\n"
    goodbye += "signal.signal(signal.SIGTERM, leave); print('up', flush=True); time.sleep(60)"
    for name in NAMES:
        scene.start(name, goodbye)
    scene.turn_until_said("| up", times=4)
    pids = scene.herd.pids.values()
    scene.supervisor.stop(patience_seconds=20)
    assert all(ended(pid) for pid in pids)
    byes = [line for line in scene.output.getvalue().splitlines() if line.endswith("bye")]
    assert len(byes) == 4
    assert byes[-1].startswith("redis")


def test_who_does_not_stop_in_time_is_killed(scene: Scene, ended: Ended) -> None:
    scene.start("cpu-1", STUBBORN)
    scene.turn_until_said("| up")
    pid = scene.herd.pids["cpu-1"]
    scene.supervisor.stop(patience_seconds=0.1)
    assert ended(pid)
    assert "killing cpu-1" in scene.output.getvalue()


def test_a_second_request_to_stop_kills_at_once(scene: Scene, signals: Signals) -> None:
    scene.start("cpu-1", STUBBORN)
    scene.turn_until_said("| up")

    class Asking(io.StringIO):
        """Somebody presses Ctrl-C when told that the stop has begun."""

        def write(self, text: str) -> int:
            if "stopping" in text:
                signals.request()
            return super().write(text)

    scene.supervisor._log = Log(Asking(), prefixes(NAMES, colour=False))
    scene.supervisor.stop(patience_seconds=600)
    assert not scene.herd.names
