"""`tropilla dead list | show | retry | drop`: requests that were given up because of the workers they cost."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from tropilla.api import placement
from tropilla.common import codec
from tropilla.common.catalogue import Lane
from tropilla.common.dead import Dead, DeadLetters
from tropilla.common.errors import ConfigurationError, StoreUnavailable
from tropilla.common.generation import Event, Failed, Finished, Last, Request, new_request_id
from tropilla.common.registry import Registry
from tropilla.common.room import Room
from tropilla.common.tasks import create_celery, submit
from tropilla.common.terms import Bounds, ending
from tropilla.compose.client import letters, tables
from tropilla.compose.client.books import Books, opened
from tropilla.compose.client.errors import Refusal

#: Between two looks at the answer of what was asked again, in seconds.
LOOK_SECONDS = 0.1


def run_list(asked: Namespace, environment: Mapping[str, str]) -> int:
    with opened(asked, environment) as books:
        found = DeadLetters(books.bus).all()
        if books.json:
            for letter in found:
                books.screen.json(letters.facts(letter))
        elif not found:
            books.screen.say("No request was given up.")
        else:
            books.screen.table(tables.DEAD_HEADER, tables.dead_rows(found, datetime.now(UTC)))
    return 0


def run_show(asked: Namespace, environment: Mapping[str, str]) -> int:
    with opened(asked, environment) as books:
        kept = DeadLetters(books.bus)
        letter = _found(kept, asked.id)
        request, answers = kept.request(letter.id), letters.said(_events(kept, letter.id))
        if books.json:
            private = letters.content(request, answers) if asked.prompt else {}
            books.screen.json(letters.facts(letter) | private)
            return 0
        books.screen.sections(letters.sections(letter))
        if asked.prompt:
            books.screen.sections(letters.private_sections(request, answers))
    return 0


def run_retry(asked: Namespace, environment: Mapping[str, str]) -> int:
    with opened(asked, environment) as books:
        kept = DeadLetters(books.bus)
        letter = _found(kept, asked.id)
        request = replace(kept.request(letter.id), id=new_request_id())
        _ask_again(books, letter, request)
        kept.mark_retried(letter.id, request.id)
        if not asked.wait:
            _tell(books, request.id, "waiting", [])
            return 0
        try:
            events = list(_answer(books, request))
        except KeyboardInterrupt:
            books.screen.say(f"it goes on by itself, as {request.id}")
            raise
        last = events[-1]
        _tell(books, request.id, ending(last), letters.said(events))
        if isinstance(last, Failed) or (isinstance(last, Finished) and last.reason == "cancelled"):
            why = last.message if isinstance(last, Failed) else "somebody has cancelled it"
            raise Refusal(f"{letter.id}, asked again as {request.id}, has failed: {why}")
        kept.drop([letter.id])
    return 0


def run_drop(asked: Namespace, environment: Mapping[str, str]) -> int:
    if asked.all == bool(asked.ids):
        raise ConfigurationError("name the requests that are to be dropped, or all of them with --all")
    with opened(asked, environment) as books:
        kept = DeadLetters(books.bus)
        ids = [letter.id for letter in kept.all()] if asked.all else asked.ids
        unknown = [request_id for request_id in ids if not kept.drop([request_id])]
        if books.json:
            books.screen.json({"dropped": [request_id for request_id in ids if request_id not in unknown]})
        else:
            books.screen.say(f"{len(ids) - len(unknown)} dropped")
    for request_id in unknown:
        print(f"tropilla: {_unknown(request_id)}", file=sys.stderr)
    return 1 if unknown else 0


def _unknown(request_id: str) -> str:
    return f"no request {request_id!r} is kept aside: `tropilla dead list` shows which are"


def _found(kept: DeadLetters, request_id: str) -> Dead:
    if letter := kept.find(request_id):
        return letter
    raise Refusal(_unknown(request_id))


def _events(kept: DeadLetters, request_id: str) -> Iterator[Event]:
    return (codec.decode_event(item.index, item.payload) for item in kept.journal(request_id))


def _ask_again(books: Books, letter: Dead, request: Request) -> None:
    """Where its model is served now, on the terms it had, with nobody listening: it does not end with this command."""
    settings, room = books.settings, Room(books.bus)
    lane = placement.lane(
        Registry(books.bus).catalogue(),
        request.model,
        lambda lane: room.waiting([lane.name])[lane.name],
        settings.spill_backlog,
    )
    admitted = room.admit(
        request,
        lane,
        letter.terms,
        inbox="",
        bounds=Bounds(settings.max_queue, settings.max_queue_per_key, settings.max_queue_in_all),
        deadline_seconds=letter.deadline_seconds,
        kept_seconds=settings.journal_seconds,
    )
    if admitted.outcome != "admitted":
        raise Refusal(f"{admitted.number} requests are waiting for {request.model}: try it later")
    _submit(books, room, request, lane)


def _submit(books: Books, room: Room, request: Request, lane: Lane) -> None:
    try:
        submit(create_celery(books.settings), lane.name, ticket=request.id, shown=request.model)
    except StoreUnavailable:
        # It may have got there all the same.
        kept = books.settings.journal_seconds
        room.cancel(request.id, seconds=books.settings.deadline_seconds, journal_seconds=kept)
        raise


def _answer(books: Books, request: Request) -> Iterator[Event]:
    """All events of a request, to the last one of its last choice."""
    index, left = 0, request.choices
    while left:
        for item in books.bus.read_journal(request.id, index):
            event = codec.decode_event(item.index, item.payload)
            index = item.index + 1
            left = 0 if isinstance(event, Failed) else left - isinstance(event, Last)
            yield event
        if left and books.bus.attempts(request.id) is None:
            raise Refusal(f"{request.id} is not known any more: it has taken longer than it may")
        if left:
            time.sleep(LOOK_SECONDS)


def _tell(books: Books, request_id: str, outcome: str, answers: list[str]) -> None:
    if books.json:
        books.screen.json({"id": request_id, "outcome": outcome, "said": answers})
        return
    books.screen.write("".join(f"{answer}\n" for answer in answers))
    books.screen.say(f"{request_id}: {outcome}")
