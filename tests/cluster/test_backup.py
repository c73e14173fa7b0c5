"""A copy of Redis, brought back as docs/operations.md says: what waited waits again, and goes on being written down."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from cluster.herd import free_port, wait_for
from tropilla.common.bus import Bus
from tropilla.common.catalogue import Lane
from tropilla.common.generation import GenerationRequest, Sampling, TextPrompt, new_request_id
from tropilla.common.room import Room
from tropilla.common.terms import NO_TERMS, Bounds
from tropilla.compose import redis_server

LANE = Lane("pocket", "cpu")


@contextmanager
def running(folder: Path, *flags: str) -> Iterator[tuple[redis.Redis, Room]]:
    port = free_port()
    argv = [str(redis_server.find().path), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder),
            "--save", "", *flags]  # fmt: skip
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    client, bus = redis.Redis.from_url(url), Bus.connect(url)

    def answers() -> bool:
        try:
            return bool(client.ping())
        except redis.ConnectionError:
            return False

    try:
        wait_for(answers, "Redis")
        yield client, Room(bus)
    finally:
        client.close()
        bus.close()
        process.terminate()
        process.wait(20)


@pytest.fixture
def waits(tmp_path: Path) -> tuple[Path, str]:
    """The folder of a Redis that was stopped, with an RDB in it as well, and the request that waits there."""
    folder = tmp_path / "first"
    folder.mkdir()
    asked = GenerationRequest(new_request_id(), "pocket", (TextPrompt("a"),), Sampling(), max_tokens=2)
    with running(folder, "--appendonly", "yes") as (client, room):
        bounds = Bounds(10, 10, 10)
        room.admit(asked, LANE, NO_TERMS, inbox="", bounds=bounds, deadline_seconds=600, kept_seconds=60)
        client.save()
    return folder, asked.id


def is_taken(room: Room, request_id: str) -> bool:
    taken = room.take(LANE.name, worker="w", lease_seconds=5, journal_seconds=60)
    return taken.request_id == request_id


def test_a_folder_that_is_brought_back_has_what_waited(waits: tuple[Path, str], tmp_path: Path) -> None:
    folder, request_id = waits
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    with running(again, "--appendonly", "yes") as (_, room):
        assert room.waiting([LANE.name]) == {LANE.name: 1}
        assert is_taken(room, request_id)


def test_an_rdb_that_is_brought_back_has_what_waited_and_becomes_a_log(waits: tuple[Path, str], tmp_path: Path) -> None:
    folder, request_id = waits
    again = tmp_path / "again"
    again.mkdir()
    shutil.copy(folder / "dump.rdb", again)
    with running(again, "--appendonly", "no") as (client, room):
        client.config_set("appendonly", "yes")
        wait_for(lambda: client.info("persistence")["aof_last_bgrewrite_status"] == "ok"
                 and not client.info("persistence")["aof_rewrite_in_progress"]
                 and not client.info("persistence")["aof_rewrite_scheduled"], "the log")  # fmt: skip
        assert is_taken(room, request_id)
    with running(again, "--appendonly", "yes") as (client, room):
        assert room.waiting([LANE.name]) == {LANE.name: 0}
        assert [key for key in client.scan_iter("*") if request_id.encode() in key]
