"""Tickets that are nobody's turn, and requests that are not what a worker expects."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from celery import Celery
from cluster.herd import Herd, wait_for
from cluster.wire import TGI, ask, post
from tropilla.common import codec, names
from tropilla.common.catalogue import Lane
from tropilla.common.errors import from_failed
from tropilla.common.generation import Failed, GenerationRequest, Sampling, TextPrompt, new_request_id
from tropilla.common.settings import Settings
from tropilla.common.tasks import create_celery, submit

LANE = Lane("pocket", "cpu")


@pytest.fixture
def celery(herd: Herd) -> Iterator[Celery]:
    celery = create_celery(Settings(redis_url=herd.redis_url))
    yield celery
    celery.close()


def request() -> GenerationRequest:
    return GenerationRequest(new_request_id(), "pocket", (TextPrompt("a"),), Sampling(), max_tokens=2)


def put(herd: Herd, celery: Celery, **state: str | int) -> str:
    """A request waits whose state says something else than what was asked for."""
    asked = request()
    herd.admit(asked, LANE)
    if state:
        herd.redis.hset(names.state_key(asked.id), mapping=state)  # type: ignore[arg-type]
    submit(celery, LANE.name, ticket=asked.id, shown=asked.model)
    return asked.id


def still_serves(herd: Herd) -> bool:
    with post(herd, "/generate", ask(TGI, "a", "pocket", tokens=2)) as answer:
        return answer.status == 200


JUNK = ["", "junk", "{}", "[]", "null", '{"version": 1, "request": {}, "prompts": []}']


@pytest.mark.parametrize("junk", JUNK, ids=range(len(JUNK)))
def test_a_request_that_nobody_can_read_is_told_so_and_the_worker_goes_on(
    herd: Herd, celery: Celery, junk: str
) -> None:
    request_id = put(herd, celery, request=junk)
    (said,) = wait_for(lambda: herd.bus.read_journal(request_id), "the request to end")
    failed = codec.decode_event(said.index, said.payload)
    assert isinstance(failed, Failed)
    assert from_failed(failed).status == 500
    assert still_serves(herd)


def test_a_request_of_a_newer_release_is_left_to_newer_workers_and_holds_nobody_up(herd: Herd, celery: Celery) -> None:
    envelope = json.loads(codec.encode_request(request()))
    newer = json.dumps({**envelope, "version": codec.VERSION + 1})
    request_id = put(herd, celery, request=newer, version=codec.VERSION + 1)
    worker = herd.processes[1]

    def seen() -> int:
        return worker.log.count("goes back: those who wait are of a newer release")

    wait_for(lambda: seen() >= 2, "its ticket to come back")
    assert still_serves(herd)
    assert seen() < 10
    assert herd.waiting(LANE.name) == 1
    herd.room.cancel(request_id, seconds=60, journal_seconds=60)


def test_a_ticket_when_nobody_waits_is_worth_nothing(herd: Herd, celery: Celery) -> None:
    ticket = new_request_id()
    submit(celery, LANE.name, ticket=ticket, shown="pocket")
    worker = herd.processes[1]
    wait_for(lambda: f"[{ticket}] succeeded" in worker.log, "the ticket to be done with")
    assert still_serves(herd)


def test_any_ticket_serves_whoever_is_next(herd: Herd, celery: Celery) -> None:
    asked = request()
    herd.admit(asked, LANE)
    submit(celery, LANE.name, ticket=new_request_id(), shown="pocket")
    wait_for(lambda: herd.bus.read_journal(asked.id), "the request to be served")


def test_whoever_waits_without_a_ticket_is_served_all_the_same(herd: Herd) -> None:
    """Its API process was killed before it could submit one, and nobody watches."""
    asked = request()
    herd.admit(asked, LANE)
    wait_for(lambda: herd.bus.read_journal(asked.id), "the request to be served", seconds=10)


def test_a_worker_killed_while_it_looked_for_lost_tickets_keeps_the_others_from_that_for_seconds_only(
    celery: Celery,
) -> None:
    with celery.connection_for_read() as connection, connection.channel() as channel:
        assert channel.unacked_mutex_expire <= 5
