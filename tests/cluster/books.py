"""Requests by the thousand through the scripts alone: threads stand for API processes and for workers, which often die.

Nothing is computed and nothing is waited for but Redis, so that every way a request can end comes up hundreds of times:
who takes one may hand over some tokens and never come back, hand it back, fail it, end it, or hand it over twice over; who
asks for one may leave while it waits, while it runs, or after its worker was lost.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from fakes import request
from tropilla.common import codec, names
from tropilla.common.bus import Bus, Entry, Lease
from tropilla.common.catalogue import Lane
from tropilla.common.generation import (
    EmbeddingRequest,
    Failed,
    Finished,
    LoadRequest,
    Request,
    TextPrompt,
    Token,
    TokenizeRequest,
    Usage,
    new_request_id,
)
from tropilla.common.room import Room, Taken
from tropilla.common.terms import Bounds, Terms, ending

#: Of each request.
PROMPT, CACHED = 7, 3
LEASE_SECONDS = 0.05
BOUNDS = Bounds(1_000_000, 1_000_000, 1_000_000)
#: What may become of a taken request, and how often; the last three end it.
FATES = {
    "dies": 25,
    "dies at once": 6,
    "hands back": 10,
    "loses its connection": 20,
    "fails it": 7,
    "ends it": 80,
}


@dataclass
class Books:
    """What the threads know, beside what Redis does. `left`: whose caller hung up. `errors`: what broke a thread."""

    accepted: dict[str, Request] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)
    errors: list[BaseException] = field(default_factory=list)


class Rush:
    """`count` requests in one lane, `leaving` of all callers hang up; the same for the same seed, but for the order in
    which threads run.
    """

    def __init__(self, url: str, lane: Lane, *, count: int, leaving: float, seed: int) -> None:
        self._url, self._lane, self._count, self._leaving, self._seed = url, lane, count, leaving, seed
        self.books = Books()
        self._lock = threading.Lock()
        self._open: set[str] = set()
        self._asked = 0

    def run(self, *, callers: int = 4, workers: int = 8) -> Books:
        """Until everything that was accepted is over."""
        jobs = [(self._caller, n) for n in range(callers)] + [(self._worker, n) for n in range(workers)]
        threads = [threading.Thread(target=self._guarded, args=job) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self.books.errors:
            raise self.books.errors[0]
        return self.books

    def _guarded(self, job: Callable[[Bus, random.Random], None], number: int) -> None:
        bus = Bus.connect(self._url)
        try:
            job(bus, random.Random(f"{self._seed} {job.__name__} {number}"))
        except BaseException as error:
            self.books.errors.append(error)
        finally:
            bus.close()

    @property
    def _done(self) -> bool:
        with self._lock:
            return bool(self.books.errors) or (self._asked >= self._count and not self._open)

    # -- an API process ---------------------------------------------------------------------------------------------

    def _caller(self, bus: Bus, chance: random.Random) -> None:
        room = Room(bus)
        mine: list[tuple[str, bool]] = []
        while True:
            with self._lock:
                self._asked += 1
                if self._asked > self._count:
                    break
            asked, terms = self._request(chance), Terms(chance.choice(("", "a", "b")))
            # Some deadlines are over before anybody comes.
            deadline = 0.0 if chance.random() < 0.03 else 60.0
            with self._lock:
                self.books.accepted[asked.id] = asked
                self._open.add(asked.id)

            def admit(seconds: float, asked: Request = asked, terms: Terms = terms) -> str:
                said = room.admit(
                    asked, self._lane, terms, inbox="", bounds=BOUNDS, deadline_seconds=seconds, kept_seconds=60
                )
                return said.outcome

            # Whose time is over before it could begin is not let in, once it is known how fast the lane empties.
            if admit(deadline) == "late":
                assert admit(60.0) == "admitted"
            mine.append((asked.id, chance.random() < self._leaving))
            while len(mine) > 40:
                self._look(bus, room, chance, mine)
        while mine and not self.books.errors:
            self._look(bus, room, chance, mine)

    def _request(self, chance: random.Random) -> Request:
        request_id, prompts = new_request_id(), (TextPrompt("abc"),)
        match chance.choices(("generation", "embedding", "tokenize", "load"), (85, 10, 3, 2))[0]:
            case "embedding":
                return EmbeddingRequest(request_id, "m", prompts)
            case "tokenize":
                return TokenizeRequest(request_id, "m", prompts)
            case "load":
                return LoadRequest(request_id, "m")
            case _:
                return request(request_id, prompts=prompts, model=chance.choice("mn"))

    def _look(self, bus: Bus, room: Room, chance: random.Random, mine: list[tuple[str, bool]]) -> None:
        """At one of this caller's: whether it is over, whether its worker was lost, whether to leave."""
        at = chance.randrange(len(mine))
        request_id, leaves = mine[at]
        if bus.connection.hexists(names.state_key(request_id), "done"):
            del mine[at]
            with self._lock:
                self._open.discard(request_id)
        elif leaves and chance.random() < 0.2:
            mine[at] = (request_id, False)
            self.books.left.add(request_id)
            room.cancel(request_id, seconds=60, journal_seconds=60)
        elif bus.attempts(request_id) and bus.held_for(request_id) is None:
            room.put_back(request_id)

    # -- a worker ---------------------------------------------------------------------------------------------------

    def _worker(self, bus: Bus, chance: random.Random) -> None:
        room, number = Room(bus), 0
        while not self._done:
            number += 1
            name = f"worker {self._seed} {number}"
            taken = room.take(self._lane.name, worker=name, lease_seconds=LEASE_SECONDS, journal_seconds=60)
            if taken.outcome in ("claimed", "suspect"):
                if taken.outcome == "suspect":
                    room.begin(taken.request_id, taken.attempt)
                self._run(bus, room, chance, taken, name)

    def _run(self, bus: Bus, room: Room, chance: random.Random, taken: Taken, name: str) -> None:
        fate = chance.choices(list(FATES), list(FATES.values()))[0]
        asked = self.books.accepted[taken.request_id]
        generates = asked.choices == 1 and not isinstance(asked, EmbeddingRequest | TokenizeRequest | LoadRequest)
        tokens = chance.randint(0, 6) if generates else 0
        said = [self._token(taken, taken.next_index + i) for i in range(tokens)]
        if fate == "dies at once" or (said and not self._appended(bus, said, taken)):
            return
        match fate:
            case "dies":
                pass
            case "hands back":
                room.hand_back([Lease(taken.request_id, name, taken.attempt)])
            case "fails it":
                failed = Failed(0, "internal", "no")
                payload = codec.encode_event(failed)
                bus.conclude(
                    taken.request_id, payload, outcome=ending(failed), attempt=taken.attempt, journal_seconds=60
                )
            case "loses its connection":
                # It cannot know what has arrived, and hands everything over again with the end.
                self._appended(bus, [*said, self._end(bus, taken, tokens)], taken)
            case _:
                self._appended(bus, [self._end(bus, taken, tokens)], taken)

    def _appended(self, bus: Bus, entries: list[Entry], taken: Taken) -> bool:
        return taken.request_id not in bus.append(entries, journal_seconds=60).refused

    def _token(self, taken: Taken, index: int) -> Entry:
        payload = codec.encode_event(Token(index, 0, index, "x"))
        return Entry(taken.request_id, taken.attempt, index, "", payload, tokens=1, prompt=PROMPT)

    def _end(self, bus: Bus, taken: Taken, tokens: int) -> Entry:
        """What a worker says last: all tokens there are, those of earlier attempts included."""
        cancelled = bool(bus.cancelled([taken.request_id]))
        index = taken.next_index + tokens
        finished = Finished(index, 0, "cancelled" if cancelled else "eos", Usage(PROMPT, CACHED, index), seed=0)
        return Entry(
            taken.request_id, taken.attempt, index, ending(finished), codec.encode_event(finished), cached=CACHED,
            prompt=PROMPT,
        )  # fmt: skip
