"""The fault harness in short: a dozen workers are killed, told to leave and frozen under load, and every word is checked.

`make faults` takes them away by the thousand (docs/faults.md).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cluster.wire import OLLAMA, OPENAI, TGI, ask, post
from faults import scripted
from faults.account import Check, left_over, misbooked, rows
from faults.burst import Burst, flooded
from faults.checker import Heard, journalled, verdict
from faults.flock import Flock
from faults.hangups import Way, freed_after
from faults.killer import Killer
from faults.load import Load, asking, listen
from faults.poison import Undertaker
from faults.runs import under_load
from tropilla.common import codec
from tropilla.common.generation import Failed, new_request_id
from tropilla.common.room import MAX_LOST_IN_ALL
from tropilla.common.settings import Settings
from tropilla.common.tasks import create_celery, submit

STEP_MS = 5.0
LANE = f"{scripted.NAME}.cpu"
NOTHING_LEFT = dict.fromkeys(
    ("leases", "requests_waiting", "tickets_waiting", "tickets_unacknowledged", "slots_in_use"), 0
)


@pytest.fixture(scope="module")
def flock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flock]:
    """Four workers that run the script, behind one API process; quick to hand out tickets again."""
    quick = {"stall_seconds": 0.3, "visibility_seconds": 4, "context": scripted.CONTEXT}
    flock = Flock(tmp_path_factory.mktemp("flock"), step_ms=STEP_MS, slots=8, step_tokens=64, **quick)
    try:
        flock.populate(4)
        flock.start_api()
        yield flock
    finally:
        flock.stop()


def short(seed: int, **more: Any) -> Any:
    return asking(random.Random(seed), tokens=(60, 200), **more)


def wrong(flock: Flock, heard: list[Heard]) -> list[str]:
    """Everything that is wrong with answers, their journals and their rows in the ledger."""
    ledger = rows(flock)
    checks: list[Check] = [verdict, journalled, lambda each: misbooked(each, ledger.get(each.request_id, []))]
    return [fault for each in heard for check in checks for fault in check(each)]


def test_every_word_arrives_once_while_workers_are_killed_and_leave_and_freeze(flock: Flock) -> None:
    load = Load(flock, short(1), clients=12, model=scripted.NAME)
    killer = Killer(flock, random.Random(2), between=(0.2, 0.4), frozen=(2.2, 2.6))

    def harm(killer: Killer) -> None:
        killer.kill(8)
        killer.tell(2)
        killer.freeze(1)

    result = under_load(load, killer, harm, STEP_MS / 1000)
    assert wrong(flock, load.heard) == []
    assert (result["exact"], result["losses"]) == (result["requests"], 11)
    assert result["interrupted"] > 8
    assert left_over(flock, LANE) == NOTHING_LEFT


#: Words that are said before the worker dies -> how many workers that costs, and who hears of it how. Words that were said
#: but not handed over yet are said again by the next worker, which is a way forward, too: on a busy machine one at a time.
POISONS = {
    0: (range(2, 3), TGI, lambda items: items[0]["error_type"] == "incomplete_generation"),
    7: (
        range(3, MAX_LOST_IN_ALL + 1),
        OPENAI,
        lambda items: items[-1] == "[DONE]" and items[-2]["error"]["type"] == "server_error",
    ),
}


@pytest.mark.parametrize("said", POISONS)
def test_a_prompt_that_kills_its_workers_ends_and_costs_nobody_else_an_answer(flock: Flock, said: int) -> None:
    cost, path, as_it_should = POISONS[said]
    # Half of them in prefill for a while: what the poison takes along there has not said a word either.
    undertaker, load = Undertaker(flock), Load(flock, short(3, long_every=2), clients=8, model=scripted.NAME)
    undertaker.start()
    load.start()
    try:
        with post(flock, path, ask(path, f"segmentation fault at {said}", scripted.NAME, tokens=20)) as answer:
            items = list(answer.items())
            last = flock.bus.read_journal(answer.headers["x-request-id"].removeprefix("req_"))[-1]
    finally:
        load.stop()
        undertaker.stop()
    failed = codec.decode_event(last.index, last.payload)
    assert isinstance(failed, Failed)
    assert failed.code == "worker_crashed"
    assert len(undertaker.losses) in cost, flock.logged(answer.headers["x-request-id"].removeprefix("req_"))
    assert as_it_should(items), items
    assert wrong(flock, load.heard) == []


@pytest.mark.parametrize("half", [False, True], ids=["close", "half-close"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_nobody_works_for_a_caller_who_has_left(flock: Flock, stream: bool, half: bool) -> None:
    chance = random.Random(4)
    for stage, dialect in (("prefill", OPENAI), ("decode", OLLAMA)):
        assert freed_after(flock, Way(dialect, stage, stream, half), chance) < 1
    assert left_over(flock, LANE) == NOTHING_LEFT


def test_a_ticket_too_many_makes_nobody_generate_twice(flock: Flock) -> None:
    celery = create_celery(Settings(redis_url=flock.redis_url))
    load = Load(flock, short(5), clients=6, model=scripted.NAME)
    load.start()
    try:
        for _ in range(200):
            submit(celery, LANE, ticket=new_request_id(), shown=scripted.NAME)
    finally:
        load.stop()
        celery.close()
    assert wrong(flock, load.heard) == []
    attempts = {each.request_id: rows(flock)[each.request_id][0]["attempts"] for each in load.heard}
    assert set(attempts.values()) == {"1"}
    assert left_over(flock, LANE) == NOTHING_LEFT


def test_what_is_too_new_for_a_worker_is_answered_by_others(flock: Flock) -> None:
    """Half of the workers are of the release before this one, as in the middle of an upgrade."""
    for sheep in list(flock.living.values())[:2]:
        flock.kill(sheep)
    flock.populate(2, older=True)
    asked = short(6)
    with ThreadPoolExecutor(8) as clients:
        heard = list(clients.map(lambda one: listen(flock, one, scripted.NAME), [next(asked) for _ in range(8)]))
    assert wrong(flock, heard) == []
    assert "of a newer release" in flock.workers_log.read_text()


def test_exactly_as_many_are_taken_in_as_may_wait(tmp_path: Path) -> None:
    flock = Flock(tmp_path, step_ms=STEP_MS, slots=8, max_queue=20)
    try:
        flock.start_api()
        burst = Burst(flock.api_port, 400, connections=60)
        flooded(flock, burst, 20, workers=1)
        assert burst.ends == {"answered": 20, "refused": 380}
        assert burst.without_retry == 0
        assert left_over(flock, LANE) == NOTHING_LEFT
    finally:
        flock.stop()
