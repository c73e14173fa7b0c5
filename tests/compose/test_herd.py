from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tropilla.compose.herd import TETHER, Exit, Herd
from tropilla.compose.program import Program
from tropilla.compose.signals import Signals

#: Says its number, ignores every polite request and starts another that does the same.
STUBBORN = r"""
import os, signal, sys, time
for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(each, signal.SIG_IGN)
os.fork()
os.write(1, b"%d\n" % os.getpid())
time.sleep(60)
"""
#: A parent with a herd of two (four with their children), to be killed from outside.
SHEPHERD = """
import sys
from pathlib import Path
from tropilla.compose.herd import Herd
from tropilla.compose.program import Program
from tropilla.compose.signals import Signals
with Signals() as signals, Herd(Path("/"), signals, lambda name, line: print(line, flush=True)) as herd:
    for name in ("a", "b"):
        herd.start(Program(name, "worker", (sys.executable, "-c", sys.argv[1]), {}))
    while True:
        herd.turn(None)
"""


Said = list[tuple[str, str]]
Ended = Callable[[int], bool]


def child(name: str, source: str) -> Program:
    return Program(name, "worker", (sys.executable, "-c", source), dict(os.environ))


def turn_until(herd: Herd, done: Callable[[], bool]) -> list[Exit]:
    exits: list[Exit] = []
    while not done():
        exits += herd.turn(20.0)
    return exits


@pytest.fixture
def said() -> Said:
    return []


@pytest.fixture
def herd(tmp_path: Path, signals: Signals, said: Said) -> Iterator[Herd]:
    with Herd(tmp_path, signals, lambda name, line: said.append((name, line))) as opened:
        yield opened


def test_what_a_child_says_is_relayed_whole_up_to_its_last_word(herd: Herd, said: Said) -> None:
    herd.start(
        child(
            "a", "import sys; print('out'); print('err', file=sys.stderr); sys.stdout.write('no newline'); sys.exit(3)"
        )
    )
    (exited,) = turn_until(herd, lambda: not herd.names)
    assert sorted(said) == [("a", "err"), ("a", "no newline"), ("a", "out")]
    assert exited.status == 3


def test_a_flood_of_output_arrives_in_order_and_complete(herd: Herd, said: Said) -> None:
    herd.start(child("a", "for n in range(50_000): print(n)"))
    turn_until(herd, lambda: not herd.names)
    assert [int(line) for _, line in said] == list(range(50_000))


#: As a worker and its witness.
SEEN = """
import os, signal
read, write = os.pipe()
there, here = os.pipe()
if os.fork():
    os.read(there, 1)
    os.kill(os.getpid(), signal.SIGKILL)
os.setsid()
os.close(write)
os.write(here, b"!")
os.read(read, 1)
print("I have seen it end", flush=True)
"""


def test_who_has_seen_a_child_end_is_heard_after_it(herd: Herd, said: Said) -> None:
    herd.start(child("a", SEEN))
    (exited,) = turn_until(herd, lambda: not herd.names)
    turn_until(herd, lambda: bool(said))
    assert (exited.status, said) == (-signal.SIGKILL, [("a", "I have seen it end")])
    herd.start(child("a", "print('again')"))
    turn_until(herd, lambda: not herd.names)
    assert said[1:] == [("a", "again")]


def test_a_child_that_cannot_be_started_says_so_and_ends(herd: Herd) -> None:
    herd.start(Program("a", "worker", ("/no/such/program",), dict(os.environ)))
    (exited,) = turn_until(herd, lambda: not herd.names)
    assert exited.status == 127
    assert exited.last_words == "/no/such/program cannot be started: No such file or directory"


def test_a_child_leads_a_group_of_its_own_and_may_open_many_files(herd: Herd, said: Said) -> None:
    source = "import os, resource; print(os.getpid() == os.getpgrp() == os.getsid(0), resource.getrlimit(7)[0] > 1024)"
    herd.start(child("a", source))
    turn_until(herd, lambda: not herd.names)
    assert said == [("a", "True True")]


def test_leaving_kills_even_who_ignores_requests_and_its_children(
    tmp_path: Path, signals: Signals, ended: Ended
) -> None:
    lines: list[str] = []
    with Herd(tmp_path, signals, lambda _, line: lines.append(line)) as herd:
        herd.start(child("a", STUBBORN))
        turn_until(herd, lambda: len(lines) == 2)
        herd.send(signal.SIGTERM, ["a"])
    assert all(ended(int(line)) for line in lines)


def test_a_dead_childs_own_children_are_killed_with_it(herd: Herd, said: Said, ended: Ended) -> None:
    herd.start(child("a", STUBBORN))
    turn_until(herd, lambda: len(said) == 2)
    os.kill(herd.pids["a"], signal.SIGKILL)
    (exited,) = turn_until(herd, lambda: not herd.names)
    assert exited.status == -signal.SIGKILL
    assert all(ended(int(line)) for _, line in said)


def test_killing_the_parent_leaves_neither_its_children_nor_theirs(ended: Ended) -> None:
    with subprocess.Popen((sys.executable, "-c", SHEPHERD, STUBBORN), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        children = [int(parent.stdout.readline()) for _ in range(4)]
        parent.kill()
    assert all(ended(pid) for pid in children)


def test_a_parent_that_is_gone_before_the_child_could_ask_is_noticed() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    done = subprocess.run(
        (sys.executable, "-I", str(TETHER), str(reading), "echo", "alive"),
        stdout=subprocess.PIPE, pass_fds=(reading,), start_new_session=True, check=True,
    )  # fmt: skip
    os.close(reading)
    assert done.stdout == b""
