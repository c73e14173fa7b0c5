"""Everything is restarted while people use it: nobody gets less than an answer."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cluster.conftest import HerdMaker
from cluster.herd import wait_for
from cluster.load import load
from cluster.test_up import Up
from cluster.wire import TGI, ask, post, text_of
from tropilla.common import names

TOKENS = 150


@pytest.fixture
def up(tmp_path: Path, endless_model: str) -> Iterator[Up]:
    """Two workers of one model, quick to notice a loss."""
    flags = ("--cpu", "2", "--threads", "1", "--slots", "4", "--ctx", "1024", "--model", endless_model)
    up = Up(tmp_path, "--port", "0", "--flower-port", "off", *flags, lease_seconds="1", stall_seconds="0.3")
    try:
        up.wait_until_ready()
        yield up
    finally:
        up.stop(signal.SIGTERM)


def restart(home: Path) -> subprocess.CompletedProcess[str]:
    argv = (sys.executable, "-m", "tropilla.compose.cli", "restart", "--home", str(home))
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def test_a_rolling_restart_under_load_fails_no_request(up: Up, tmp_path: Path) -> None:
    home = tmp_path / "home"

    def processes() -> dict[str, int]:
        found: dict[str, int] = json.loads((home / "up.json").read_text())["processes"]
        return found

    before = processes()
    with load(up.address("API")) as found:
        wait_for(lambda: found.complete >= 6, "the first answers")
        done = restart(home)
        assert done.returncode == 0, (done.stdout, done.stderr)
        answered = found.complete
        wait_for(lambda: found.complete >= answered + 12, "answers of those that are new")
    assert found.failures == []
    assert len(found.answered) == 6, "each client was answered"
    after = processes()
    assert {name for name in before if after[name] == before[name]} == {"redis"}
    assert [line.partition(":")[0] for line in done.stdout.splitlines() if ": can be used" in line] == [
        "cpu-1", "cpu-2", "store",
    ]  # fmt: skip


def test_a_worker_told_to_stop_with_all_its_slots_taken_leaves_everything_to_the_other(make_herd: HerdMaker) -> None:
    """Eight streams run on two workers and four wait; one worker leaves within five seconds, and nobody notices."""
    herd = make_herd(slots=4, context=1024)
    workers = [herd.start_worker(ready=False) for _ in range(2)]
    herd.start_api()
    wait_for(lambda: len([w for w in herd.bus.catalogue().workers if w.state == "ready"]) == len(workers), "both")

    def stream(number: int) -> list[dict[str, object]]:
        with post(herd, TGI, ask(TGI, f"a{number}", "endless", tokens=TOKENS)) as answer:
            return list(answer.items())

    with ThreadPoolExecutor(12) as pool:
        streams = [pool.submit(stream, number) for number in range(12)]
        wait_for(lambda: len(list(herd.redis.scan_iter(names.journal_key("*")))) >= 8, "eight streams to run")
        workers[0].kill(signal.SIGTERM)
        assert workers[0].wait(5) == 0
        assert not all(each.done() for each in streams)
        said = [each.result() for each in streams]
    for items in said:
        assert [item["index"] for item in items] == list(range(1, TOKENS + 1))
        assert items[-1]["generated_text"] == text_of(TGI, items)


def test_where_nothing_runs_there_is_nothing_to_restart(tmp_path: Path) -> None:
    done = restart(tmp_path)
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr == f"tropilla: no `tropilla up` runs with the home folder {tmp_path}\n"
