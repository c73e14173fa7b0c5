"""A request's way seen from the API, with a hand-driven clock and mailboxes that pop a script."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from fakes import Clock, FakeInbox, FakeStore, answer, request
from tropilla.api.inbox import CLOSING, GAP, GONE
from tropilla.api.relay import Relay
from tropilla.api.watch import ABANDONED_SECONDS, EXPIRY_SECONDS, OUTAGE_SECONDS, PULSE, ClientGone
from tropilla.common.catalogue import Lane, Trouble
from tropilla.common.errors import Overloaded, StoreUnavailable
from tropilla.common.generation import Embedded, EmbeddingRequest, Event, Failed, Request, TextPrompt, Token
from tropilla.common.settings import Settings

GONE_ALL = Trouble("no_worker", "no worker serves m any more")
SETTINGS = Settings(stall_seconds=2, heartbeat_seconds=10, deadline_seconds=3600, journal_seconds=600)


class World:
    """A relay and everything around it. `script` is what happens in the mailbox, in order."""

    def __init__(self, script: Iterable[Any] = (), *, settings: Settings = SETTINGS, room: bool = True) -> None:
        self.clock = Clock()
        self.store = FakeStore(self.clock, room=room)
        self.inbox = FakeInbox(self.clock, script)
        self.submitted: list[tuple[str, str]] = []
        self.submitting: Callable[[], None] = lambda: None
        #: What there is to say of the lane where the request waits; None: it is as good as any.
        self.found: Lane | Trouble | None = None
        self.looked: list[tuple[str, Lane]] = []
        self.relay = Relay(self.store, self.store, self.inbox, self._submit, self._look_again, settings, self.clock)

    def _submit(self, generation: Request, lane: Lane) -> None:
        self.submitting()
        self.submitted.append((generation.id, lane.name))

    def _look_again(self, model: str, waits: Lane) -> Lane | Trouble:
        self.looked.append((model, waits))
        return self.found or waits

    def run(self, asked: Request | None = None) -> Iterator[Any]:
        return self.relay.run(asked or request("r"), Lane("m", "cpu"))

    def events(self, asked: Request | None = None) -> list[Event]:
        return [event for event in self.run(asked) if event is not PULSE]

    def deliver(self, *events: Event) -> None:
        """A worker that holds the request writes, and what it publishes arrives next."""
        self.inbox.script = self.store.write(*events)

    def claim(self) -> None:
        self.store.claim()


def failed(world: World) -> Failed:
    last = world.events()[-1]
    assert isinstance(last, Failed)
    return last


def test_events_are_passed_on_in_order() -> None:
    world, said = World(), answer("hello")
    world.deliver(*said)
    assert world.events() == said
    assert world.submitted == [("r", "m.cpu")]


def test_a_normal_end_cancels_nothing_and_forgets_the_mailbox() -> None:
    world = World()
    world.deliver(*answer("hello"))
    world.events()
    assert (world.store.cancelled, world.inbox.registered) == ([], [])


VECTORS: list[Event] = [Embedded(place, place, b"", 3) for place in range(2)]
TEXTS = EmbeddingRequest("r", "m", (TextPrompt("a"), TextPrompt("b")))


def test_vectors_that_were_told_are_not_kept_as_a_generations_tokens_are() -> None:
    world = World()
    world.deliver(*VECTORS)
    assert world.events(TEXTS) == VECTORS
    assert (world.store.released, world.store.cancelled) == (["r"], [])
    world = World()
    world.deliver(*answer("hello"))
    world.events()
    assert world.store.released == []


def test_vectors_that_nobody_waits_for_are_cancelled_instead() -> None:
    world = World()
    world.deliver(VECTORS[0])
    run = world.run(TEXTS)
    next(run)
    run.close()  # type: ignore[attr-defined]
    assert (world.store.released, world.store.cancelled) == ([], ["r"])


def test_a_journal_that_cannot_be_freed_is_no_failure() -> None:
    world = World()
    world.deliver(*VECTORS)
    run = world.run(TEXTS)
    assert [next(run), next(run)] == VECTORS
    world.store.down_until = float("inf")
    assert list(run) == []


def test_every_choice_must_finish() -> None:
    world, said = World(), [*answer("ab"), *answer("c", choice=1, first=3)]
    world.deliver(*said)
    assert world.events(request("r", n=2)) == said


def test_a_failure_ends_the_request_whatever_is_open() -> None:
    world, said = World(), [*answer("ab"), Failed(3, "internal", "broken")]
    world.deliver(*said)
    assert world.events(request("r", n=2)) == said
    assert world.store.cancelled == []


def test_the_mailbox_is_registered_before_the_ticket_is_submitted() -> None:
    world = World()
    world.deliver(*answer(""))
    world.submitting = lambda: events_seen.append(list(world.inbox.registered))
    events_seen: list[list[str]] = []
    world.events()
    assert events_seen == [["r"]]


# -- messages are lost, repeated, late ---------------------------------------------------------------------------------

SAID = answer("hello")


@pytest.mark.parametrize("lost", range(len(SAID)))
def test_any_lost_message_is_read_from_the_journal(lost: int) -> None:
    world = World()
    world.deliver(*SAID)
    del world.inbox.script[lost]  # type: ignore[attr-defined]
    assert world.events() == SAID


@pytest.mark.parametrize("first_lost", range(len(SAID)))
def test_a_lost_tail_is_found_after_silence(first_lost: int) -> None:
    world = World()
    world.deliver(*SAID)
    del world.inbox.script[first_lost:]  # type: ignore[attr-defined]
    began = world.clock.now
    assert world.events() == SAID
    assert world.clock.now - began == SETTINGS.stall_seconds


def test_repeated_and_late_messages_are_passed_over() -> None:
    world = World()
    world.deliver(*SAID)
    a, b, c, *rest = world.inbox.script
    world.inbox.script = [c, a, b, a, *rest]
    assert world.events() == SAID


def test_a_mark_that_messages_may_be_lost_is_looked_into_at_once() -> None:
    world = World()
    world.deliver(*SAID)
    world.inbox.script = [GAP]
    began = world.clock.now
    assert world.events() == SAID
    assert world.clock.now == began


def test_a_journal_with_a_hole_is_told_rather_than_skipped() -> None:
    world = World()
    world.deliver(*SAID)
    read = world.store.read_journal
    world.store.read_journal = lambda r, start=0: [d for d in read(r, start) if d.index != 2]  # type: ignore[method-assign]
    world.inbox.script = [None]
    assert world.events() == [*SAID[:2], Failed(2, "internal", "a part of the answer was lost in the queue")]
    assert world.store.cancelled == ["r"]


def test_an_event_that_cannot_be_read_ends_the_stream_in_its_own_words() -> None:
    world = World()
    world.deliver(*SAID)
    first, *_ = world.inbox.script
    world.inbox.script = [first, replace(first, index=1, payload=b"junk")]
    assert [type(event) for event in world.events()] == [type(SAID[0]), Failed]
    assert world.store.cancelled == ["r"]


# -- who still works for it --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", range(len(SAID)))
def test_a_dead_worker_is_noticed_and_another_goes_on_where_it_was(told: int) -> None:
    world = World()

    def die() -> None:
        world.claim()
        world.store.write(*SAID[:told])
        world.store.lease = None

    def go_on() -> Iterator[Any]:
        # The first silence brings what he had said, the second that he is gone.
        yield from (die, None, None)
        assert world.submitted == [("r", "m.cpu")] * 2
        world.claim()
        yield from world.store.write(*SAID[told:])

    world.inbox.script = go_on()
    assert world.events() == SAID
    assert world.store.cancelled == []


def test_for_each_worker_that_is_lost_there_is_one_more_ticket() -> None:
    world = World()

    def die(*events: Event) -> Callable[[], None]:
        def happen() -> None:
            world.claim()
            world.store.write(*events)
            world.store.lease = None

        return happen

    last = Failed(2, "worker_lost", "2 workers were lost")
    world.inbox.script = [
        die(*SAID[:1]),
        *[None] * 5,
        die(SAID[1]),
        *[None] * 5,
        world.claim,
        lambda: world.store.write(last),
    ]
    assert world.events() == [*SAID[:2], last]
    assert len(world.submitted) == 3


def test_the_end_of_a_dead_workers_lease_is_waited_for_and_no_longer() -> None:
    world = World()
    world.store.lease_seconds = 0.5

    def expire() -> None:
        world.store.lease = None

    began = world.clock.now
    world.inbox.script = [world.claim, None, expire, None, world.claim, lambda: world.store.write(*SAID)]
    world.submitting = lambda: times.append(world.clock.now - began)
    times: list[float] = []
    assert world.events() == SAID
    assert times == [0.0, pytest.approx(SETTINGS.stall_seconds + 0.5 + EXPIRY_SECONDS)]


def test_a_ticket_that_cannot_be_put_back_now_is_put_back_later() -> None:
    world = World()

    def die() -> None:
        world.claim()
        world.store.lease = None
        world.submitting = refuse

    def refuse() -> None:
        world.submitting = lambda: None
        raise StoreUnavailable("Redis cannot take the ticket")

    world.store.unpopped = 0
    world.inbox.script = [die, None, None, world.claim, lambda: world.store.write(*SAID)]
    assert world.events() == SAID
    assert len(world.submitted) == 2


def failed_code(event: Event) -> str:
    assert isinstance(event, Failed)
    return event.code


def test_a_worker_that_was_faster_than_the_conclusion_wins() -> None:
    world = World()

    def finish() -> None:
        world.store.after_question = lambda: None
        world.store.write(*SAID)
        world.store.done, world.store.lease = True, None

    world.inbox.script = [world.claim]
    world.store.after_question = finish
    assert world.events() == SAID


def test_a_worker_that_takes_the_request_between_two_questions_is_not_taken_for_dead() -> None:
    world = World()

    def claim() -> None:
        world.store.after_question = lambda: None
        world.claim()

    world.store.after_question = claim
    world.inbox.script = [None, None, lambda: world.store.write(*SAID)]
    assert world.events() == SAID


def test_silence_of_a_worker_that_lives_is_waited_out() -> None:
    world = World([None] * 40)

    def finish() -> None:
        world.store.write(*SAID)

    world.inbox.script = [world.claim, *[None] * 40, finish]
    assert world.events() == SAID
    assert world.store.cancelled == []


def test_a_queued_request_waits_as_long_as_somebody_may_come() -> None:
    world = World()
    world.inbox.script = [*[None] * 100, world.claim, lambda: world.store.write(*SAID)]
    assert world.events() == SAID
    assert set(world.looked) == {("m", Lane("m", "cpu"))}
    assert world.submitted == [("r", "m.cpu")]


def test_a_caller_hears_signs_of_life_while_others_have_their_turn() -> None:
    world = World()
    world.inbox.script = [*[None] * 100, world.claim, lambda: world.store.write(*SAID)]
    assert pulses(world) == [10.0 * beat for beat in range(1, 21)]


def test_a_request_to_whose_lane_nobody_comes_waits_in_another_from_then_on() -> None:
    world = World()

    def lose() -> None:
        world.found = Lane("m", "gpu")

    world.inbox.script = [*[None] * 3, lose, *[None] * 5, world.claim, lambda: world.store.write(*SAID)]
    assert world.events() == SAID
    assert world.submitted == [("r", "m.cpu"), ("r", "m.gpu")]
    assert world.looked[-1] == ("m", Lane("m", "gpu"))


def test_a_worker_lost_after_that_is_replaced_in_the_other_lane() -> None:
    world = World()
    world.found = Lane("m", "gpu")

    def die() -> None:
        world.claim()
        world.store.lease = None

    world.inbox.script = [None, die, None, world.claim, lambda: world.store.write(*SAID)]
    assert world.events() == SAID
    assert world.submitted == [("r", "m.cpu"), ("r", "m.gpu"), ("r", "m.gpu")]


def test_a_queued_request_that_nobody_can_load_ends_at_once_and_says_why() -> None:
    world = World()

    def fail() -> None:
        world.found = Trouble("out_of_memory", "m takes 9 GB; 4 GB are free")

    began = world.clock.now
    world.inbox.script = [None, fail]
    assert failed(world) == Failed(0, "model_unavailable", "m takes 9 GB; 4 GB are free")
    assert world.clock.now - began == 2 * SETTINGS.stall_seconds
    assert 2 * SETTINGS.stall_seconds < ABANDONED_SECONDS
    assert world.store.done


def test_what_is_held_is_nobodys_trouble() -> None:
    world = World()
    world.found = Trouble("out_of_memory", "elsewhere")
    world.inbox.script = [world.claim, *[None] * 20, lambda: world.store.write(*SAID)]
    assert world.events() == SAID


def test_a_queued_request_without_any_worker_left_ends_after_a_while() -> None:
    world = World()
    world.found = GONE_ALL
    began = world.clock.now
    assert failed(world).code == "model_unavailable"
    assert ABANDONED_SECONDS < world.clock.now - began <= ABANDONED_SECONDS + SETTINGS.stall_seconds
    assert world.store.done


def test_a_model_that_is_served_again_in_time_keeps_its_queue() -> None:
    world = World()
    world.found = GONE_ALL

    def come_back() -> None:
        world.found = None

    world.inbox.script = [*[None] * 4, come_back, *[None] * 9, world.claim, lambda: world.store.write(*SAID)]
    assert world.events() == SAID


def test_a_request_that_redis_has_forgotten_ends() -> None:
    world = World()

    def forget() -> None:
        world.store.attempt = None

    world.inbox.script = [forget]
    assert failed(world) == Failed(0, "internal", "the request was lost in the queue")


def test_a_request_past_its_deadline_is_cancelled_and_expires() -> None:
    world = World()
    world.inbox.script = [world.claim]
    began = world.clock.now
    assert failed(world).code == "expired"
    assert world.clock.now - began > SETTINGS.deadline_seconds
    assert world.store.cancelled == ["r"]


def test_a_stream_that_never_falls_silent_expires_too() -> None:
    world = World(settings=replace(SETTINGS, deadline_seconds=60))

    def endless() -> Iterator[Any]:
        world.claim()
        for event in answer("x" * 1000)[:-1]:
            world.clock.advance(1)
            yield from world.store.write(event)

    world.inbox.script = endless()
    events = world.events()
    assert failed_code(events[-1]) == "expired"
    assert 60 <= len(events) < 70
    assert [event.index for event in events] == list(range(len(events)))
    assert world.store.cancelled == ["r"]


# -- nobody wants it any more ------------------------------------------------------------------------------------------


def test_a_client_that_has_gone_cancels_the_request() -> None:
    world = World()
    world.deliver(*SAID[:2])
    world.inbox.script = [*world.inbox.script, GONE]
    with pytest.raises(ClientGone):
        world.events()
    assert (world.store.cancelled, world.inbox.registered) == (["r"], [])


@pytest.mark.parametrize("read", [0, 1, 3])
def test_leaving_the_generator_early_cancels_the_request(read: int) -> None:
    world = World()
    world.deliver(*SAID)
    stream = world.run()
    for _ in range(read):
        next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert (world.store.cancelled, world.inbox.registered) == (["r"] if read else [], [])


def test_a_server_that_shuts_down_says_so_and_cancels() -> None:
    world = World([CLOSING])
    assert failed(world) == Failed(0, "shutting_down", "the server is shutting down")
    assert world.store.cancelled == ["r"]


def test_a_cancel_that_redis_does_not_take_is_not_the_callers_trouble() -> None:
    world = World([GONE])
    world.submitting = lambda: setattr(world.store, "down_until", float("inf"))
    with pytest.raises(ClientGone):
        world.events()


# -- it cannot begin ---------------------------------------------------------------------------------------------------


def test_a_full_queue_is_refused_with_a_time_to_come_back() -> None:
    world = World(room=False)
    with pytest.raises(Overloaded) as caught:
        world.events()
    assert caught.value.retry_after_seconds >= 1
    assert (world.submitted, world.store.cancelled, world.inbox.registered) == ([], [], [])


def test_a_ticket_that_cannot_be_submitted_is_an_error_and_cancelled() -> None:
    world = World()

    def refuse() -> None:
        raise StoreUnavailable("Redis cannot take the ticket")

    world.submitting = refuse
    with pytest.raises(StoreUnavailable):
        world.events()
    assert (world.store.cancelled, world.inbox.registered) == (["r"], [])


def test_a_redis_that_is_away_at_the_beginning_is_an_error() -> None:
    world = World()
    world.store.down_until = float("inf")
    with pytest.raises(StoreUnavailable):
        world.events()
    assert world.inbox.registered == []


# -- signs of life -----------------------------------------------------------------------------------------------------


def pulses(world: World) -> list[float]:
    began = world.clock.now
    return [world.clock.now - began for event in world.run() if event is PULSE]


def test_a_pulse_comes_after_every_so_many_seconds_of_silence() -> None:
    world = World()
    world.inbox.script = [world.claim, *[None] * 16, lambda: world.store.write(*SAID)]
    assert pulses(world) == [10, 20, 30]


def test_there_is_no_pulse_while_tokens_come() -> None:
    world = World()

    def slowly() -> Iterator[Any]:
        world.claim()
        for event in SAID:
            yield from [None, None, None, None]
            yield from world.store.write(event)

    world.inbox.script = slowly()
    assert pulses(world) == []


@pytest.mark.parametrize("stall_seconds", [60, 3])
def test_pulses_are_on_time_however_often_the_lease_is_looked_at(stall_seconds: float) -> None:
    world = World(settings=replace(SETTINGS, stall_seconds=stall_seconds, heartbeat_seconds=5))
    world.inbox.script = [world.claim, *[None] * 20, lambda: world.store.write(*SAID)]
    assert pulses(world)[:3] == [5, 10, 15]


def test_there_are_pulses_while_redis_is_away() -> None:
    world = World()
    world.submitting = lambda: setattr(world.store, "down_until", world.clock.now + 25)
    world.inbox.script = [*[None] * 14, lambda: world.claim(), lambda: world.store.write(*SAID)]
    assert 10 in pulses(world)


# -- redis is away -----------------------------------------------------------------------------------------------------


def outage(world: World, *, seconds: float) -> Callable[[], None]:
    return lambda: setattr(world.store, "down_until", world.clock.now + seconds)


def test_an_outage_shorter_than_the_limit_is_survived() -> None:
    world = World()
    world.deliver(*SAID)
    first, *_ = world.inbox.script
    world.inbox.script = [first, outage(world, seconds=OUTAGE_SECONDS - 1)]
    assert world.events() == SAID


def test_an_outage_longer_than_the_limit_ends_the_stream() -> None:
    world = World()
    world.inbox.script = [world.claim, outage(world, seconds=10 * OUTAGE_SECONDS)]
    began = world.clock.now
    assert failed(world).code == "internal"
    assert OUTAGE_SECONDS < world.clock.now - began <= OUTAGE_SECONDS + 2 * SETTINGS.stall_seconds


def test_the_limit_counts_from_the_beginning_of_the_outage_however_long_the_stream_ran() -> None:
    world, said = World(), answer("x" * 100)

    def busy() -> Iterator[Any]:
        world.claim()
        for event in said[:60]:
            world.clock.advance(1)
            yield from world.store.write(event)
        world.store.write(*said[60:])
        world.store.down_until = world.clock.now + OUTAGE_SECONDS - 5

    world.inbox.script = busy()
    assert world.events() == said


def test_a_gap_found_while_redis_is_away_is_filled_later() -> None:
    world = World()
    world.deliver(*SAID)
    first, _, third, *_ = world.inbox.script
    world.inbox.script = [first, outage(world, seconds=5), third]
    assert world.events() == SAID


def test_a_ticket_that_vanished_with_the_worker_that_popped_it_is_replaced() -> None:
    world = World()

    def vanish() -> None:
        world.store.unpopped = 0

    def come() -> None:
        assert len(world.submitted) == 2
        world.store.write(*answer("late"))

    world.inbox.script = [vanish, None, come, None]
    assert [event for event in world.events() if isinstance(event, Token)] != []
    assert world.submitted == [("r", "m.cpu"), ("r", "m.cpu")]


def test_a_ticket_that_still_waits_is_not_doubled() -> None:
    world = World()
    world.inbox.script = [*[None] * 20, lambda: world.store.write(*answer("late"))]
    world.events()
    assert world.submitted == [("r", "m.cpu")]
