from __future__ import annotations

import threading

import pytest
from fakes import Clock, FakeJournal, answer, job
from tropilla.common import codec
from tropilla.common.bus import Appended, Entry
from tropilla.common.generation import Event, Failed, Prompted, Token
from tropilla.workers.loop import Job, Outgoing
from tropilla.workers.publisher import HOLD_SECONDS, Publisher


class Press:
    """A publisher, its journal, and what it told the loop."""

    def __init__(self) -> None:
        self.journal = FakeJournal()
        self.clock = Clock()
        self.cancels: list[str] = []
        self.fences: list[tuple[str, int]] = []
        self.publisher = Publisher(
            self.journal,
            cancel=self.cancels.append,
            fence=self._fence,
            journal_seconds=600,
            orphan_seconds=10,
            clock=self.clock,
        )

    def _fence(self, request_id: str, attempt: int) -> None:
        self.fences.append((request_id, attempt))


def outgoing(posted: Job, text: str = "hi") -> list[Outgoing]:
    events = answer(text)
    return [Outgoing(posted, event, ends=event is events[-1]) for event in events]


def run(publisher: Publisher) -> None:
    """Whatever was put goes out."""
    publisher.stop()
    publisher.run()


def test_events_go_out_in_order_with_their_attempt_and_index() -> None:
    press, posted = Press(), job(attempt=3)
    press.publisher.put(outgoing(posted))
    run(press.publisher)
    (entries,) = press.journal.calls
    assert [(e.request_id, e.attempt, e.index, e.ends) for e in entries] == [
        ("a", 3, 0, ""),
        ("a", 3, 1, ""),
        ("a", 3, 2, "completed"),
    ]
    assert [codec.decode_event(e.index, e.payload) for e in entries] == answer("hi")


def test_steps_that_wait_go_out_in_one_call() -> None:
    press = Press()
    for name in "abc":
        press.publisher.put(outgoing(job(name)))
    run(press.publisher)
    assert [[e.request_id for e in call] for call in press.journal.calls] == [["a"] * 3 + ["b"] * 3 + ["c"] * 3]


def tokens(posted: Job, first: int, count: int) -> list[Outgoing]:
    return [Outgoing(posted, Token(first + at, 0, 65, "A"), ends=False) for at in range(count)]


def test_tokens_wait_a_moment_for_company_but_a_beginning_and_an_end_do_not() -> None:
    press, posted, other = Press(), job("a"), job("b")
    sent: list[tuple[float, list[tuple[str, int]]]] = []

    def append(entries: list[Entry], **_: object) -> Appended:
        sent.append((press.clock(), [(e.request_id, e.index) for e in entries]))
        return Appended(frozenset(), frozenset())

    press.journal.append = append  # type: ignore[method-assign, assignment]
    patient = press.publisher
    begun = press.clock()

    def due() -> None:
        events = patient._next()
        assert events is not None
        patient.publish(events)

    waits: list[float] = []

    def wait(timeout: float | None = None) -> bool:
        assert timeout is not None, "nothing is due, ever"
        waits.append(timeout)
        # Meanwhile two more steps are over.
        patient._steps += [tokens(posted, 2, 1), tokens(posted, 3, 1)]
        press.clock.advance(timeout)
        return False

    patient._put.wait = wait  # type: ignore[method-assign, assignment]
    patient.put(tokens(posted, 0, 1))
    due()
    patient.put(tokens(posted, 1, 1))
    due()
    patient.put(tokens(posted, 4, 1))
    patient.put([*tokens(posted, 5, 1), *tokens(other, 0, 1)])
    due()
    patient.put([Outgoing(posted, answer("")[-1], ends=True)])
    due()
    assert waits == [pytest.approx(HOLD_SECONDS)]
    assert [names for _, names in sent] == [
        [("a", 0)],
        [("a", 1), ("a", 2), ("a", 3)],
        [("a", 4), ("a", 5), ("b", 0)],
        [("a", answer("")[-1].index)],
    ]
    assert [when - begun for when, _ in sent] == pytest.approx([0.0, *[HOLD_SECONDS] * 3])


def test_the_ticket_holder_is_told_once_the_last_event_is_safe() -> None:
    press, posted = Press(), job()
    events = outgoing(posted)
    press.publisher.publish(events[:-1])
    assert not posted.ended.is_set()
    press.publisher.publish(events[-1:])
    assert posted.ended.is_set()


def test_the_first_token_of_every_attempt_goes_out_at_once() -> None:
    """Whoever lost a worker has waited long enough, and until then the request may be blamed for this one."""
    press, posted = Press(), job(attempt=2)
    press.publisher.publish(tokens(job("b"), 0, 1))
    press.publisher.put(tokens(posted, 7, 1))
    assert press.publisher._urgent
    run(press.publisher)
    press.publisher.put(tokens(posted, 8, 1))
    assert not press.publisher._urgent


@pytest.mark.parametrize(
    ("event", "begun"),
    [
        (Prompted(0, 0, ()), False),
        (Token(0, 0, 1, "x"), True),
        (Failed(0, "internal", "x"), True),
    ],
    ids=["prompted", "token", "failed"],
)
def test_a_request_has_begun_with_the_first_event_that_took_computing(event: Event, begun: bool) -> None:
    press, posted = Press(), job()
    press.publisher.publish([Outgoing(posted, event, ends=isinstance(event, Failed))])
    assert posted.begun.is_set() is begun


def test_a_request_that_is_gone_from_here_keeps_nobody_waiting_for_its_beginning() -> None:
    taken, returned = job(), job()
    taken.be_taken_away()
    returned.hand_back()
    assert taken.begun.is_set()
    assert returned.begun.is_set()


def test_a_request_that_was_taken_away_is_fenced_and_its_holder_let_go() -> None:
    press, lost, kept = Press(), job("lost"), job("kept")
    press.journal.refused = {"lost"}
    press.publisher.publish([*outgoing(lost)[:1], *outgoing(kept)[:1]])
    assert press.fences == [("lost", 1)]
    assert (lost.ended.is_set(), kept.ended.is_set()) == (True, False)


def test_events_wait_for_a_redis_that_is_away() -> None:
    press, posted = Press(), job()
    press.journal.failures = 1
    press.publisher.publish(outgoing(posted))
    assert len(press.journal.calls) == 1
    assert posted.ended.is_set()


def test_stopping_gives_up_on_a_redis_that_is_away() -> None:
    press, posted = Press(), job()
    press.journal.failures = 1_000_000
    press.publisher.put(outgoing(posted))
    run(press.publisher)
    assert press.journal.calls == []


def test_a_full_queue_makes_the_loop_wait_until_redis_takes_events_again() -> None:
    press, posted = Press(), job()
    many = [Outgoing(posted, event, ends=False) for event in answer("x" * 400)]

    def decode() -> None:
        for one in many:
            press.publisher.put([one])
        press.publisher.stop()

    loop = threading.Thread(target=decode)
    loop.start()
    press.publisher.run()
    loop.join(5)
    assert [e.index for call in press.journal.calls for e in call] == list(range(401))


def test_a_request_that_nobody_hears_is_cancelled_after_the_grace() -> None:
    press, orphan, heard = Press(), job("orphan"), job("heard")
    press.journal.unheard = {"orphan"}
    for seconds, cancels in ((0, []), (9.9, []), (0.1, ["orphan"])):
        press.clock.advance(seconds)
        press.publisher.publish([*outgoing(orphan)[:1], *outgoing(heard)[:1]])
        assert press.cancels == cancels


def test_a_request_that_somebody_comes_back_to_in_the_last_moment_is_not_given_up() -> None:
    press, orphan = Press(), job("orphan")
    press.journal.unheard = {"orphan"}

    def said_after(seconds: float) -> list[str]:
        press.clock.advance(seconds)
        press.publisher.publish(outgoing(orphan)[:1])
        return list(press.cancels)

    assert said_after(0) == []
    press.journal.joined = {"orphan"}
    assert said_after(10) == []
    press.journal.joined = set()
    assert [said_after(0), said_after(9), said_after(1)] == [[], [], ["orphan"]]


def test_a_request_that_is_listened_to_again_gets_a_new_grace() -> None:
    press, posted = Press(), job()
    for unheard in ({"a"}, set(), {"a"}):
        press.journal.unheard = unheard
        press.publisher.publish(outgoing(posted)[:1])
        press.clock.advance(9)
    assert press.cancels == []


def test_an_attempt_that_is_over_is_fenced_and_the_next_one_beside_it_goes_on() -> None:
    """A worker that was cut off has its own request back while the first attempt's events still wait."""
    press, first, second = Press(), job(attempt=1), job(attempt=2)
    press.journal.refused_writers = {("a", 1)}
    press.publisher.put(outgoing(first))
    press.publisher.put(outgoing(second))
    run(press.publisher)
    assert len(press.journal.calls) == 1
    assert press.fences == [("a", 1)]
    assert (first.outcome, second.outcome) == ("taken away", "running")


def test_a_request_that_stands_aside_is_let_go_of_when_its_events_are_safe() -> None:
    press, posted = Press(), job()
    events = outgoing(posted)[:-1]
    for _ in events:
        posted.number()
    press.publisher.put(events)
    posted.stand_aside()
    assert not posted.ended.is_set()
    run(press.publisher)
    assert posted.ended.is_set()
    assert posted.bell.is_set()
