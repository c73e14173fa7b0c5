"""Whoever deserves a slot more gets it at once; whoever gave it up goes on as if nothing had happened."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cluster.herd import Herd, wait_for
from cluster.wire import TGI, Answer, ask
from tropilla.common import names
from tropilla.common.catalogue import Lane

LANE = Lane("endless", "cpu")
SLOTS = 2
#: With one slot each, two ready for the next free ones, and two in the room.
FLOOD = SLOTS + 4
LONG, SHORT = 80, 3
Flood = Callable[[Mapping[str, str]], list[Future[list[Any]]]]


@pytest.fixture(scope="module")
def herd(tmp_path_factory: pytest.TempPathFactory, endless_model: str) -> Iterator[Herd]:
    """One worker with two slots, one API process."""
    folder: Path = tmp_path_factory.mktemp("fairness")
    herd = Herd(folder, model=endless_model, context=8192, threads=1, slots=SLOTS)
    try:
        herd.start_worker()
        herd.start_api()
        yield herd
    finally:
        herd.stop()


def said(herd: Herd, headers: Mapping[str, str], tokens: int) -> list[Any]:
    """A whole stream; it has no head before its first token."""
    body = json.dumps(ask(TGI, "a", "endless", tokens=tokens)).encode()
    with Answer(herd, TGI, body, headers=headers) as answer:
        return list(answer.items())


def taken_and_waiting(herd: Herd) -> tuple[int, int]:
    return herd.redis.scard(names.running_key(LANE.pin)), herd.waiting(LANE.name)


@pytest.fixture
def flood(herd: Herd) -> Iterator[Flood]:
    """Begins as many streams as there are, and returns once the worker has taken all it can."""
    with ThreadPoolExecutor(FLOOD) as pool:

        def begin(headers: Mapping[str, str]) -> list[Future[list[Any]]]:
            streams = [pool.submit(said, herd, headers, LONG) for _ in range(FLOOD)]
            wait_for(lambda: taken_and_waiting(herd) == (SLOTS + 2, FLOOD - SLOTS - 2), "all that can be taken to be")
            return streams

        yield begin


def ledger(herd: Herd) -> dict[str, dict[str, str]]:
    """What was written down of each request that has ended."""
    rows: Any = herd.redis.xrange(names.LEDGER_KEY)
    told = [{name.decode(): value.decode() for name, value in fields.items()} for _, fields in rows]
    return {row["request"]: row for row in told}


def complete(items: list[Any], tokens: int) -> bool:
    """Every token once, in order, and the text as the last one has it."""
    text = "".join(item["token"]["text"] for item in items)
    return [item["index"] for item in items] == list(range(1, tokens + 1)) and items[-1]["generated_text"] == text


@pytest.mark.parametrize(
    ("many", "newcomer"),
    [
        pytest.param({"Authorization": "Bearer heavy"}, {"Authorization": "Bearer light"}, id="a light key"),
        pytest.param({"X-Priority": "batch"}, {"X-Priority": "interactive"}, id="an urgent request"),
    ],
)
def test_who_deserves_it_more_is_answered_while_everybody_else_waits(
    herd: Herd, flood: Flood, many: Mapping[str, str], newcomer: Mapping[str, str]
) -> None:
    before = ledger(herd).keys()
    streams = flood(many)
    assert complete(said(herd, newcomer, SHORT), SHORT)
    first = [row for request_id, row in ledger(herd).items() if request_id not in before]
    assert [int(row["generated"]) for row in first] == [SHORT], "nobody else had ended"
    for stream in streams:
        assert complete(stream.result(), LONG)
    rows = [row for request_id, row in ledger(herd).items() if request_id not in before]
    assert len(rows) == FLOOD + 1
    assert {(row["outcome"], row["lost"]) for row in rows} == {("completed", "0")}
    assert [int(row["generated"]) for row in rows[1:]] == [LONG] * FLOOD
    assert sum(int(row["attempts"]) for row in rows) == FLOOD + 2, "one was handed back, and taken again"
    assert "stood aside at event 0" in herd.processes[1].log
