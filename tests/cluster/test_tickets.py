"""Tickets that are not what a worker expects."""

from __future__ import annotations

import json

import pytest
from celery import Celery
from cluster.herd import Herd, wait_for
from cluster.wire import TGI, ask, post
from tropilla.common import codec, names
from tropilla.common.generation import GenerationRequest, Sampling, TextPrompt, new_request_id
from tropilla.common.settings import Settings
from tropilla.common.tasks import create_celery


@pytest.fixture
def celery(herd: Herd) -> Celery:
    return create_celery(Settings(redis_url=herd.redis_url))


def put(celery: Celery, payload: str) -> str:
    ticket = new_request_id()
    celery.send_task(names.GENERATE_TASK, args=(payload,), task_id=ticket, queue="pocket.cpu", ignore_result=True)
    return ticket


def request() -> GenerationRequest:
    return GenerationRequest(new_request_id(), "pocket", (TextPrompt("a"),), Sampling())


def newer() -> str:
    envelope = json.loads(codec.encode_request(request()))
    return json.dumps({**envelope, "version": codec.VERSION + 1})


def still_serves(herd: Herd) -> bool:
    with post(herd, "/generate", ask(TGI, "a", "pocket", tokens=2)) as answer:
        return answer.status == 200


@pytest.mark.parametrize("junk", ["", "junk", "{}", "[]", "null", '{"version": 1, "request": {}, "prompts": []}'])
def test_a_ticket_that_nobody_can_read_is_dropped_and_the_worker_goes_on(herd: Herd, celery: Celery, junk: str) -> None:
    ticket = put(celery, junk)
    worker = herd.processes[1]
    wait_for(lambda: f"ticket {ticket} is dropped" in worker.log, "the ticket to be dropped")
    assert still_serves(herd)


def test_a_ticket_of_a_newer_release_goes_back_to_the_queue_without_spinning(herd: Herd, celery: Celery) -> None:
    ticket = put(celery, newer())
    worker = herd.processes[1]

    def seen() -> int:
        return worker.log.count(f"ticket {ticket} goes back")

    wait_for(lambda: seen() >= 2, "the ticket to come back")
    assert still_serves(herd)
    assert seen() < 10
    celery.control.revoke(ticket)


def test_a_ticket_whose_request_is_over_or_unknown_is_a_second_delivery(herd: Herd, celery: Celery) -> None:
    ticket = put(celery, codec.encode_request(request()).decode())
    worker = herd.processes[1]
    wait_for(lambda: f"[{ticket}] succeeded" in worker.log, "the ticket to be done with")
    assert still_serves(herd)
