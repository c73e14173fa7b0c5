"""A request's way seen from the API, with a hand-driven clock and mailboxes that pop a script."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from fakes import Clock, FakeInbox, FakeStore, answer, request
from tropilla.api.inbox import CLOSING, GAP, GONE
from tropilla.api.relay import AskedBefore, Caller, Relay
from tropilla.api.watch import ABANDONED_SECONDS, EXPIRY_SECONDS, PULSE, ClientGone, Pulse
from tropilla.common.catalogue import Lane, Trouble
from tropilla.common.errors import Conflict, Overloaded, StoreUnavailable
from tropilla.common.generation import (
    PICTURE,
    Embedded,
    EmbeddingRequest,
    Event,
    Failed,
    Finished,
    Image,
    Request,
    TextPrompt,
    Token,
    Usage,
)
from tropilla.common.settings import Settings
from tropilla.common.terms import Terms

GONE_ALL = Trouble("no_worker", "no worker serves m any more")
LANE = Lane("m", "cpu")
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
        self.renew: Callable[[Iterable[str]], None] = lambda digests: None
        self.relay = Relay(
            self.store,
            self.store,
            self.inbox,
            self._submit,
            self._look_again,
            settings,
            self.clock,
            renew=lambda digests: self.renew(digests),
        )

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


NAMED = Terms("k", idempotency="one", digest="x")


def test_vectors_that_somebody_may_come_back_for_are_kept() -> None:
    world = World()
    world.deliver(*VECTORS)
    for told in (world.relay.run(TEXTS, LANE, terms=NAMED), world.relay.resume(TEXTS, LANE)):
        assert list(told) == VECTORS
    assert (world.store.released, world.store.cancelled) == ([], [])


def test_what_was_asked_for_before_is_told_by_its_id_and_leaves_nothing() -> None:
    world = World()
    world.deliver(*answer("hello"))
    assert list(world.relay.run(request("first"), LANE, terms=NAMED, call=b"kept"))
    with pytest.raises(AskedBefore) as before:
        next(world.relay.run(request("second"), LANE, terms=NAMED, call=b"mine"))
    with pytest.raises(Conflict, match="Idempotency-Key"):
        next(world.relay.run(request("third"), LANE, terms=replace(NAMED, digest="y")))
    assert before.value.request_id == "first"
    assert (world.store.calls.kept, world.submitted) == ({"first": b"kept"}, [("first", "m.cpu")])
    assert (world.inbox.registered, world.store.cancelled) == ([], [])


def test_whoever_has_a_word_for_his_request_may_leave_it() -> None:
    world = World()
    world.deliver(*answer("hello")[:1])
    run = world.relay.run(request("r"), LANE, terms=NAMED)
    next(run)
    run.close()  # type: ignore[attr-defined]
    assert (world.store.cancelled, world.inbox.registered) == ([], [])


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
    assert world.events() == [*SAID[:2], Failed(2, "worker_lost", "a part of the answer was lost in the queue")]
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


def test_the_images_of_a_request_are_kept_while_it_waits_and_no_longer() -> None:
    renewed: list[tuple[float, tuple[str, ...]]] = []
    world = World(settings=replace(SETTINGS, image_seconds=30))
    began = world.clock.now
    world.renew = lambda digests: renewed.append((world.clock.now - began, tuple(digests)))
    # Half a minute in the room, half a minute with a worker that says nothing.
    world.inbox.script = [*[None] * 16, world.claim, *[None] * 15, lambda: world.store.write(*SAID)]
    images = (Image("a" * 64), Image("b" * 64), Image("a" * 64))
    assert world.events(request("r", prompts=(TextPrompt(PICTURE * 3, images=images),))) == SAID
    assert renewed == [(when, ("a" * 64, "b" * 64)) for when in (10.0, 20.0, 30.0)]


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


def test_it_waits_as_long_for_a_worker_to_come_back_however_long_it_has_waited_for_its_turn() -> None:
    world = World()
    times: list[float] = []

    def lose_it() -> None:
        world.found = GONE_ALL
        times.append(world.clock.now)

    world.inbox.script = [*[None] * 20, lose_it]
    assert failed(world).code == "model_unavailable"
    assert world.clock.now - times[0] > ABANDONED_SECONDS


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
    assert failed(world) == Failed(0, "worker_lost", "the request was lost in the queue")


def test_a_request_past_its_deadline_is_cancelled_and_expires() -> None:
    world = World()
    world.inbox.script = [world.claim]
    began = world.clock.now
    assert failed(world).code == "expired"
    assert world.clock.now - began == SETTINGS.deadline_seconds
    assert world.store.cancelled == ["r"]


def test_a_deadline_of_its_own_is_kept_to_the_moment_and_the_operators_is_the_most() -> None:
    for asked, kept in ((0.3, 0.3), (99999.0, 3600.0)):
        world = World()
        began = world.clock.now
        *_, last = world.relay.run(request("r"), Lane("m", "cpu"), terms=Terms(deadline_seconds=asked))
        assert last == Failed(0, "expired", f"no answer within {kept:g} s")
        assert world.clock.now - began == pytest.approx(kept)
        assert world.store.deadline_seconds == kept


def test_a_request_whose_time_is_over_waits_for_a_redis_that_is_away() -> None:
    world = World()
    world.submitting = lambda: setattr(world.store, "down_until", world.clock.now + 10)
    *_, last = world.relay.run(request("r"), Lane("m", "cpu"), terms=Terms(deadline_seconds=1))
    assert failed_code(last) == "expired"


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


@pytest.mark.parametrize("told", [0, 2])
def test_a_stream_that_can_be_resumed_outlives_the_server_that_told_its_beginning(told: int) -> None:
    world = World()
    world.deliver(*SAID)
    world.inbox.script = [*list(world.inbox.script)[:told], CLOSING]
    said = list(world.relay.run(request("r"), Lane("m", "cpu"), Caller(resumable=True)))
    assert said == [*SAID[:told], Failed(told, "shutting_down", "the server is shutting down")]
    assert (world.store.cancelled, world.inbox.registered) == ([] if told else ["r"], [])


@pytest.mark.parametrize("leave", ["hang up", "close"])
def test_a_stream_that_can_be_resumed_is_cancelled_where_its_client_leaves(leave: str) -> None:
    world = World()
    world.deliver(*SAID)
    world.inbox.script = [*list(world.inbox.script)[:2], GONE]
    stream = world.relay.run(request("r"), Lane("m", "cpu"), Caller(resumable=True))
    assert [next(stream), next(stream)] == SAID[:2]
    if leave == "close":
        stream.close()  # type: ignore[attr-defined]
    else:
        with pytest.raises(ClientGone):
            next(stream)
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


# -- places ------------------------------------------------------------------------------------------------------------


def told(world: World, *, places: bool = True) -> list[tuple[float, Pulse]]:
    began, run = world.clock.now, world.relay.run(request("r"), Lane("m", "cpu"), Caller(places=places))
    return [(world.clock.now - began, event) for event in run if isinstance(event, Pulse)]


def advanced(world: World, *places: int) -> Iterator[Any]:
    """Whoever waits moves on, a place a second; then his turn has come."""
    for before in places:
        world.store.before = before
        yield None
    world.claim()
    yield from world.store.write(*SAID)


def test_who_waits_is_told_his_place_after_a_second_and_when_it_has_changed() -> None:
    world = World()
    world.store.pace = 2.0
    world.inbox.script = advanced(world, 3, 3, 1, 1, 0)
    assert told(world) == [(1, Pulse(3, 6.0)), (3, Pulse(1, 2.0)), (5, Pulse(0, 0.0))]


def test_who_is_next_from_the_start_or_does_not_ask_is_told_nothing() -> None:
    for before, places in ((0, True), (3, False)):
        world = World()
        world.inbox.script = advanced(world, *[before] * 4)
        assert told(world, places=places) == []


def test_a_place_is_told_once_a_second_at_the_most() -> None:
    world = World(settings=replace(SETTINGS, stall_seconds=0.25))
    world.inbox.script = advanced(world, *range(9, 1, -1))
    assert told(world) == [(1.0, Pulse(6)), (2.0, Pulse(2))]


def test_a_place_counts_as_a_sign_of_life() -> None:
    world = World(settings=replace(SETTINGS, heartbeat_seconds=2.5))
    world.inbox.script = advanced(world, 5, 4, 4, 4, 4)
    assert told(world) == [(1, Pulse(5)), (2, Pulse(4)), (4.5, PULSE)]


# -- redis is away -----------------------------------------------------------------------------------------------------


def outage(world: World, *, seconds: float) -> Callable[[], None]:
    return lambda: setattr(world.store, "down_until", world.clock.now + seconds)


def test_an_outage_shorter_than_the_limit_is_survived() -> None:
    world = World()
    world.deliver(*SAID)
    first, *_ = world.inbox.script
    world.inbox.script = [first, outage(world, seconds=SETTINGS.outage_seconds - 1)]
    assert world.events() == SAID


def test_an_outage_longer_than_the_limit_ends_the_stream() -> None:
    world = World()
    world.inbox.script = [world.claim, outage(world, seconds=10 * SETTINGS.outage_seconds)]
    began = world.clock.now
    last = failed(world)
    assert (last.code, "the request queue could not be reached for 9" in last.message) == ("worker_lost", True)
    assert SETTINGS.outage_seconds < world.clock.now - began <= SETTINGS.outage_seconds + 2 * SETTINGS.stall_seconds


def test_the_limit_counts_from_the_beginning_of_the_outage_however_long_the_stream_ran() -> None:
    world, said = World(), answer("x" * 100)

    def busy() -> Iterator[Any]:
        world.claim()
        for event in said[:60]:
            world.clock.advance(1)
            yield from world.store.write(event)
        world.store.write(*said[60:])
        world.store.down_until = world.clock.now + SETTINGS.outage_seconds - 5

    world.inbox.script = busy()
    assert world.events() == said


def test_a_lease_that_ran_out_while_redis_was_away_is_its_holders_to_renew() -> None:
    world = World()
    tickets: list[int] = []

    def lapse() -> None:
        world.store.down_until, world.store.lease = world.clock.now + 5, None

    def renew() -> None:
        tickets.append(len(world.submitted))
        world.store.lease = "w/1"
        world.store.write(*SAID)

    # Two looks find it away; the next one comes back at once, and waits as long as a lease lasts.
    world.inbox.script = [world.claim, lapse, None, None, None, renew]
    assert world.events() == SAID
    assert tickets == [1]


def test_a_worker_that_does_not_renew_its_lease_after_an_outage_is_lost() -> None:
    world = World()

    def lapse() -> None:
        world.store.down_until, world.store.lease = world.clock.now + 5, None

    def take() -> None:
        world.claim()
        world.store.write(*SAID)

    world.inbox.script = [world.claim, lapse, *[None] * 6, take]
    assert world.events() == SAID
    assert len(world.submitted) == 2


def test_an_answer_that_was_cancelled_under_its_listener_is_an_error_and_no_end() -> None:
    """Its worker had heard for too long that nobody listens, as while this process was cut off."""
    world = World()
    cancelled = Finished(1, 0, "cancelled", Usage(1, 0, 1), seed=0)
    world.deliver(SAID[0], cancelled)
    first, last = world.events()
    assert first == SAID[0]
    assert isinstance(last, Failed)
    assert last.code == "worker_lost"


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


def test_a_ticket_is_replaced_in_the_lane_to_which_a_worker_that_left_gave_the_request() -> None:
    world = World()

    def give_back() -> None:
        world.store.lane, world.store.unpopped = Lane("m", "gpu"), 0

    world.inbox.script = [give_back, None, lambda: world.store.write(*answer("late")), None]
    world.events()
    assert world.submitted == [("r", "m.cpu"), ("r", "m.gpu")]


def test_a_ticket_that_still_waits_is_not_doubled() -> None:
    world = World()
    world.inbox.script = [*[None] * 20, lambda: world.store.write(*answer("late"))]
    world.events()
    assert world.submitted == [("r", "m.cpu")]


def test_who_waits_asks_redis_one_question_a_look_and_the_others_once_somebody_has_come() -> None:
    """Hundreds may wait in a process, beside streams that run."""
    world, asked = World(), list[str]()

    def noted(name: str) -> None:
        question = getattr(world.store, name)
        setattr(world.store, name, lambda *args: asked.append(name) or question(*args))

    for name in ("position", "read_journal", "attempts", "held_for", "tickets"):
        noted(name)

    def come() -> None:
        world.claim()
        world.store.write(*answer("late"))

    world.inbox.script = [*[None] * 5, come]
    assert [event for event in world.events() if isinstance(event, Token)] != []
    assert asked == [*["position"] * 6, "read_journal"]


# -- requests that go on when nobody listens ----------------------------------------------------------------------------

BATCH = Terms(priority="batch")


def attended(world: World, asked: Request | None = None) -> Iterator[Any]:
    return world.relay.attend(asked or request("r"), Lane("m", "cpu"), terms=BATCH)


def test_a_request_that_nobody_needs_to_hear_is_admitted_on_its_terms_and_told() -> None:
    world, said = World(), answer("hello")
    world.deliver(*said)
    assert list(attended(world)) == said
    assert (world.store.background, world.store.terms, world.submitted) == (True, BATCH, [("r", "m.cpu")])
    assert (world.store.cancelled, world.store.released) == ([], [])


def test_one_that_is_known_already_is_told_from_its_first_event_on_and_asked_for_no_more() -> None:
    world, said = World(), answer("hello")
    world.store.attempt, world.store.background = 0, True
    world.store.write(*said)
    assert list(attended(world)) == said
    assert world.submitted == []


def test_leaving_such_a_request_cancels_nothing_unless_it_is_said() -> None:
    world = World()
    world.deliver(answer("hello")[0])
    run = attended(world)
    next(run)
    run.close()  # type: ignore[attr-defined]
    assert world.store.cancelled == []
    world.relay.cancel("r")
    assert world.store.cancelled == ["r"]


def test_vectors_of_such_a_request_are_kept_until_it_is_forgotten() -> None:
    world = World()
    world.deliver(*VECTORS)
    assert list(attended(world, TEXTS)) == VECTORS
    assert world.store.released == []
    world.relay.forget("r")
    assert world.store.released == ["r"]


def test_a_full_queue_is_told_of_such_a_request_too() -> None:
    with pytest.raises(Overloaded):
        next(attended(World(room=False)))


# -- whose time it is ---------------------------------------------------------------------------------------------------


def joined(world: World, own: float | None, left: float) -> Iterator[Any]:
    """A request that runs, and has so many seconds left; whoever comes to it gives it `own`."""
    world.store.attempt, world.store.left = 0, left
    world.claim()
    return world.relay.resume(request("r"), LANE, terms=Terms(deadline_seconds=own))


def test_a_request_that_is_joined_has_the_time_that_it_was_given() -> None:
    world = World()
    began = world.clock()
    last = list(joined(world, None, 5))[-1]
    assert isinstance(last, Failed)
    assert (last.code, world.clock()) == ("expired", began + 5)
    assert world.store.done


def test_who_joins_and_gives_it_less_time_leaves_it_to_the_others() -> None:
    world = World()
    began = world.clock()
    last = list(joined(world, 2, 60))[-1]
    assert last == Failed(0, "expired", "no answer within 2 s")
    assert (world.clock(), world.store.done) == (began + 2, False)


def test_an_answer_that_is_over_is_told_also_after_its_time() -> None:
    world = World()
    events = joined(world, None, -5)
    world.store.write(*answer("hi"))
    assert list(events) == answer("hi")


def test_nobody_waits_beyond_the_time_of_a_request_that_redis_has_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    events = joined(world, None, -5)
    # It is lost in the moment after it was joined.
    monkeypatch.setattr(world.store, "join", lambda *_, **__: -5.0)
    world.store.attempt = None
    assert list(events) == [Failed(0, "expired", "no answer within 3600 s")]
