"""What the witness of a process says of its end. The process is a real one; what it holds is a file to be written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest
from tropilla.workers import witness

#: A worker with a witness, that ends in some way; it is told where to say what its witness has seen, and how it ends.
WORKER = textwrap.dedent(
    """
    import os, sys, threading
    from pathlib import Path
    from tropilla.workers import leaving, witness

    seen = Path(sys.argv[1])
    leaving.be_seen_by(witness.post(lambda: lambda killed: seen.write_text(str(killed)) and None))
    print("there", flush=True)
    """
)
NOTHING = ""


def ends(folder: Path, how: str, *, kill: signal.Signals | None = None) -> tuple[str, subprocess.CompletedProcess[str]]:
    """What the witness has written down when it, too, is gone."""
    seen = folder / "seen"
    program = [sys.executable, "-c", WORKER + textwrap.dedent(how), str(seen)]
    worker = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "there\n"
    if kill is not None:
        worker.send_signal(kill)
    # The witness has the other end of its errors, so they end with it.
    output, errors = worker.communicate(timeout=30)
    done = subprocess.CompletedProcess(program, worker.returncode, output, errors)
    return seen.read_text() if seen.exists() else NOTHING, done


def test_who_is_killed_from_outside_is_not_to_blame(tmp_path: Path) -> None:
    seen, worker = ends(tmp_path, "threading.Event().wait()", kill=signal.SIGKILL)
    assert (seen, worker.returncode) == ("True", -signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_is_told_from_a_kill_and_shown(tmp_path: Path, number: signal.Signals) -> None:
    seen, worker = ends(tmp_path, f"import signal; signal.raise_signal({int(number)})")
    assert (seen, worker.returncode) == ("False", -number)
    assert "Fatal Python error" in worker.stderr


def test_a_crash_is_seen_where_nobody_reads_what_is_said_of_it(tmp_path: Path) -> None:
    """As when the supervisor has closed the pipe by then."""
    seen, (read, write) = tmp_path / "seen", os.pipe()
    how = "import signal; sys.stdin.readline(); signal.raise_signal(signal.SIGSEGV)"
    program = [sys.executable, "-c", WORKER + how, str(seen)]
    worker = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=write, text=True)
    os.close(write)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "there\n"
    (watching,) = psutil.Process(worker.pid).children()
    os.close(read)
    worker.communicate("\n", timeout=30)
    watching.wait(30)
    assert seen.read_text() == "False"


@pytest.mark.parametrize(
    ("how", "status"),
    [
        pytest.param("leaving.leave_hanging(9.0)", 71, id="a step hangs"),
        pytest.param("leaving.or_die(lambda: 1 / 0)", 70, id="a thread breaks"),
    ],
)
def test_who_ends_itself_over_its_work_says_so(tmp_path: Path, how: str, status: int) -> None:
    seen, worker = ends(tmp_path, how)
    assert (seen, worker.returncode) == ("False", status)


@pytest.mark.parametrize(
    "how",
    [
        "leaving.be_seen_no_more()",
        "leaving.leave_quietly()",
        "leaving.be_seen_no_more(); os.execv('/bin/true', ['true'])",
        # A group is told to stop: the witness has left it.
        "import signal; signal.signal(15, signal.SIG_IGN); os.killpg(0, 15); leaving.be_seen_no_more()",
    ],
)
def test_of_an_orderly_end_there_is_nothing_to_say(tmp_path: Path, how: str) -> None:
    seen, worker = ends(tmp_path, f"os.setpgid(0, 0)\n{how}")
    assert (seen, worker.returncode) == (NOTHING, 0)


def test_a_worker_whose_witness_was_killed_goes_on_and_leaves_in_order(tmp_path: Path) -> None:
    how = """
    import psutil
    (child,) = psutil.Process().children()
    child.kill()
    child.wait()
    leaving.be_seen_no_more()
    """
    assert ends(tmp_path, how)[1].returncode == 0


def test_the_witness_holds_nothing_of_the_worker_s(tmp_path: Path) -> None:
    here, there = os.pipe()
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(read)
        one = witness.post(lambda: lambda killed: None)
        (child,) = psutil.Process().children()
        # The last thing it does before it watches.
        while child.name() != witness.NAME.decode():
            os.sched_yield()
        os.write(write, f"{len(os.listdir(f'/proc/{child.pid}/fd'))}".encode())
        one.dismiss()
        os._exit(0)
    os.close(write)
    said = os.read(read, 100)
    os.waitpid(pid, 0)
    for number in (here, there, read):
        os.close(number)
    # Its three standard ones, its pipe, and where those lead.
    assert int(said) <= 5


def test_kills_for_want_of_memory_are_counted_where_the_kernel_counts_them() -> None:
    assert witness.out_of_memory_kills() >= 0
