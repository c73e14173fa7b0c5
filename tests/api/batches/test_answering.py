"""One line: answered as its route would, waited for, asked again, given up."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from fakes import Clock, FakeAlbum, FakeAnnouncements, FakeBook, answer, showing
from PIL import Image as Pillow
from scene import POCKET
from tropilla.api.asking import Asking
from tropilla.api.batches.answering import MOST_TRIES, Answering
from tropilla.api.batches.lines import Line, request_id
from tropilla.api.batches.records import Asked, Tokens
from tropilla.api.batches.segments import Row
from tropilla.api.cluster import Cluster
from tropilla.api.inbox import GONE, Mailbox
from tropilla.api.relay import Caller
from tropilla.api.surfaces.openai import OPENAI
from tropilla.api.watch import ABANDONED_SECONDS, PULSE, ClientGone
from tropilla.common.catalogue import Lane, Worker
from tropilla.common.errors import LimitReached, Overloaded, StoreUnavailable
from tropilla.common.generation import Embedded, Event, Failed, Finished, Request, Token, Usage, images_of
from tropilla.common.keys import Limits
from tropilla.common.settings import Settings
from tropilla.common.terms import Terms

BEGAN = 1_700_000_000.0
BATCH = "batch_" + "0" * 32
LIMITS = {"somebody": Limits(3, 60, 1000)}
CHAT, VECTORS = "/v1/chat/completions", "/v1/embeddings"
WORKER = Worker("w", "cpu", "ready", 4, replace(POCKET, capabilities=("completion", "embedding")))
BODY: dict[str, Any] = {"model": "pocket", "messages": [{"role": "user", "content": "Hi"}]}


class FakeRelay:
    """Says one of its scripts after the other: events, or what is raised in their place."""

    def __init__(self, *scripts: Sequence[Event] | Exception) -> None:
        self.scripts = list(scripts)
        self.asked: list[tuple[Request, Lane, Terms]] = []
        self.cancelled: list[str] = []
        self.forgotten: list[str] = []
        self.closed = 0
        #: Called once somebody listens.
        self.heard: Callable[[], None] = lambda: None

    def attend(self, request: Request, lane: Lane, caller: Caller, terms: Terms) -> Iterator[Any]:
        self.asked.append((request, lane, terms))
        mailbox = Mailbox()
        try:
            caller.opened(mailbox)
            self.heard()
            script = self.scripts.pop(0)
            if isinstance(script, Exception):
                raise script
            yield PULSE
            for event in script:
                if mailbox.get(0) is GONE:
                    raise ClientGone("gone")
                yield event
        finally:
            self.closed += 1

    def cancel(self, request_id: str) -> None:
        self.cancelled.append(request_id)

    def forget(self, request_id: str) -> None:
        self.forgotten.append(request_id)


class World:
    def __init__(self, *scripts: Sequence[Event] | Exception) -> None:
        self.clock, self.relay, self.album = Clock(BEGAN), FakeRelay(*scripts), FakeAlbum()
        self._hear(FakeAnnouncements(WORKER))

    def sees(self) -> None:
        """From here on the model has a projector."""
        self._hear(FakeAnnouncements(replace(WORKER, model=replace(POCKET, capabilities=("completion", "vision")))))

    def leave(self, back: int | None = None) -> None:
        """The worker is gone; see `Leaving`."""
        self._hear(Leaving(self.clock, back))

    def _hear(self, announced: FakeAnnouncements) -> None:
        cluster = Cluster(announced, announced, self.clock)
        told = showing(Settings(), cluster, self.album)
        asking = Asking(Settings(), cluster, FakeBook(), lambda digest: {}, told)
        self.answering = Answering(
            OPENAI, asking, self.relay, self.clock, limits=LIMITS.__getitem__, most_wait_seconds=0
        )  # type: ignore[arg-type]

    def answer(self, body: dict[str, Any] = BODY, endpoint: str = CHAT) -> Row | None:
        asked = Asked(BATCH, endpoint, "file-x", "1h", 1_699_999_000, 1_700_000_900, 60, key="somebody")
        data = json.dumps({"custom_id": "mine", "method": "POST", "url": endpoint, "body": body}).encode()
        return self.answering.answer(asked, Line(7, "mine", 0, len(data)), data)

    @property
    def ids(self) -> list[str]:
        """Of requests, in the order in which they were asked."""
        return [request.id for request, _, _ in self.relay.asked]


def told(row: Row | None) -> tuple[int, Any]:
    """The status and body of an answer."""
    assert row is not None
    response = json.loads(row.text)["response"]
    assert row.good is (response["status_code"] == 200)
    return response["status_code"], response["body"]


def test_a_line_is_answered_as_its_route_would_in_the_last_class() -> None:
    world = World(answer("Hello"))
    row = world.answer()
    status, body = told(row)
    assert (status, body["object"], body["choices"][0]["message"]["content"]) == (200, "chat.completion", "Hello")
    assert row is not None
    assert (row.line, row.tokens) == (7, Tokens(1, 0, 5, 0))
    ((request, lane, terms),) = world.relay.asked
    assert request.id == request_id(BATCH, 7, 0)
    assert json.loads(row.text)["id"] == f"batch_req_{request.id}"
    assert lane == Lane("pocket", "cpu")
    # No longer than the batch itself.
    # As its key may, but for what that may ask within a minute.
    assert terms == Terms("somebody", "batch", 900.0, limits=Limits(3, 0, 1000))
    world.answering.settled(7)
    assert world.relay.forgotten == [request.id]


def pictured(data: bytes) -> dict[str, Any]:
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return {**BODY, "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}


def test_the_images_of_a_line_lie_where_workers_look_once_it_is_asked() -> None:
    world = World(answer("red"))
    world.sees()
    with io.BytesIO() as file:
        Pillow.new("RGB", (8, 8), "red").save(file, "PNG")
        data = file.getvalue()
    status, body = told(world.answer(pictured(data)))
    assert (status, body["choices"][0]["message"]["content"]) == (200, "red")
    ((request, _, _),) = world.relay.asked
    (image,) = images_of(request)
    assert (image.data, world.album.kept, world.album.keys) == (None, {image.digest: data}, ["somebody"])


def test_a_line_whose_image_is_none_is_answered_as_over_http() -> None:
    world = World()
    world.sees()
    status, body = told(world.answer(pictured(b"no image")))
    assert (status, body["error"]["param"]) == (400, "messages[0].content[0].image_url.url")
    assert (world.relay.asked, world.album.kept) == ([], {})


def test_vectors_are_answered_in_the_order_of_their_inputs() -> None:
    floats = (b"\0\0\x80?", b"\0\0\0\0")
    vectors = [Embedded(0, 1, floats[1], 4), Embedded(1, 0, floats[0], 3)]
    world = World(vectors)
    row = world.answer({"model": "pocket", "input": ["a", "b"]}, VECTORS)
    status, body = told(row)
    assert (status, [each["embedding"] for each in body["data"]]) == (200, [[1.0], [0.0]])
    assert row is not None
    assert row.tokens == Tokens(prompt=7)


@pytest.mark.parametrize(
    ("more", "param"),
    [({"temperature": 9}, "temperature"), ({"stream": True}, "stream"), ({"messages": []}, "messages")],
    ids=str,
)
def test_a_body_that_is_refused_gets_the_dialect_s_error_and_costs_nothing(more: dict[str, Any], param: str) -> None:
    world = World()
    status, body = told(world.answer({**BODY, **more}))
    assert (status, body["error"]["param"]) == (400, param)
    assert world.relay.asked == []


def test_a_prompt_that_the_worker_refuses_is_a_fault_of_its_field() -> None:
    world = World([Failed(0, "context_length", "too long", {"prompt_tokens": 9, "context": 5})])
    status, body = told(world.answer())
    assert (status, body["error"]["param"]) == (400, "messages")


@pytest.mark.parametrize(
    "trouble",
    [Overloaded("full", retry_after_seconds=30), StoreUnavailable("Redis cannot serve")],
    ids=["full", "away"],
)
def test_a_full_queue_and_a_redis_that_is_away_are_waited_for(trouble: Exception) -> None:
    world = World(trouble, trouble, answer("Hello"))
    assert told(world.answer())[0] == 200
    assert set(world.ids) == {request_id(BATCH, 7, 0)}
    assert world.relay.closed == 3


CANCELLED = [Finished(0, 0, "cancelled", Usage(0, 0, 0), seed=0)]


@pytest.mark.parametrize(
    "ended",
    [
        CANCELLED,
        [Failed(0, "expired", "its time was over")],
        [Failed(0, "shutting_down", "the server is shutting down")],
        [Failed(0, "model_unavailable", "nobody serves it any more")],
    ],
    ids=["cancelled", "expired", "shutting_down", "model_unavailable"],
)
def test_what_ended_without_an_answer_is_asked_again_under_the_next_id(ended: list[Event]) -> None:
    world = World(*[ended] * 5, answer("Hello"))
    row = world.answer()
    assert told(row)[0] == 200
    assert world.ids == [request_id(BATCH, 7, attempt) for attempt in range(6)]


@pytest.mark.parametrize("code", ["internal", "worker_lost"])
def test_what_may_be_the_machine_s_fault_is_asked_a_few_times(code: Any) -> None:
    world = World(*[[Failed(0, code, "broken")]] * MOST_TRIES)
    assert told(world.answer())[0] == 500
    assert len(world.ids) == MOST_TRIES
    world = World([Failed(0, code, "broken")], answer("Hello"))
    assert told(world.answer())[0] == 200


def test_what_has_cost_workers_is_not_asked_again() -> None:
    world = World([Failed(0, "worker_crashed", "two workers were lost")])
    assert told(world.answer())[0] == 500
    assert len(world.ids) == 1


def test_an_answer_that_was_under_way_when_its_time_was_over_is_a_timeout() -> None:
    world = World([Token(0, 0, 5, "a"), Failed(1, "expired", "no answer within 5 s")])
    row = world.answer()
    assert row is not None
    line = json.loads(row.text)
    assert (row.good, line["response"], line["error"]["code"]) == (False, None, "request_timeout")


class Leaving(FakeAnnouncements):
    """A second passes with every look; the worker comes back at that one, if ever."""

    def __init__(self, clock: Clock, back: int | None = None) -> None:
        super().__init__()
        self._clock, self._back = clock, back

    def catalogue(self) -> Any:
        self._clock.advance(1)
        if self.read == self._back:
            self.workers.append(WORKER)
        return super().catalogue()


def test_a_model_that_nobody_knows_is_waited_for_a_moment_and_only_once() -> None:
    world = World()
    world.leave()
    ends = []
    for _ in range(2):
        assert told(world.answer())[0] == 404
        ends.append(world.clock.now - BEGAN)
    assert ends[0] >= ABANDONED_SECONDS
    assert ends[1] - ends[0] < ABANDONED_SECONDS


def test_a_worker_that_comes_back_answers_what_waited_for_it() -> None:
    world = World(answer("Hello"))
    world.leave(back=5)
    assert told(world.answer())[0] == 200


def test_a_bug_of_ours_costs_its_line_only(caplog: pytest.LogCaptureFixture) -> None:
    world = World(RuntimeError("a bug"), answer("Hello"))
    assert told(world.answer())[0] == 500
    assert "a bug" in caplog.text
    assert told(world.answer())[0] == 200


def test_who_leaves_gives_no_answer_and_cancels_nothing() -> None:
    world = World(answer("Hello"))
    world.relay.heard = world.answering.abandon
    assert world.answer() is None
    assert (world.relay.cancelled, world.relay.closed) == ([], 1)
    # Nor does who comes later.
    assert world.answer() is None
    assert len(world.ids) == 1


def test_what_another_process_may_have_under_way_is_cancelled_whichever_try_it_is() -> None:
    world = World()
    asked = Asked(BATCH, CHAT, "file-x", "1h", 1_699_999_000, 1_700_000_900, 60, key="somebody")
    world.answering.forsake(asked, [1, 3])
    expected = [request_id(asked.id, number, attempt) for number in (1, 3) for attempt in range(MOST_TRIES)]
    assert world.relay.cancelled == expected


def test_what_nobody_wants_is_cancelled() -> None:
    world = World(answer("Hello"))
    world.relay.heard = world.answering.cancel
    assert world.answer() is None
    assert world.relay.cancelled == world.ids


@pytest.mark.parametrize(
    "trouble",
    [LimitReached("enough", retry_after_seconds=9, limit="tokens"), Overloaded("full", retry_after_seconds=1)],
)
def test_a_line_that_is_not_even_in_the_queue_waits_until_it_is(trouble: Exception) -> None:
    world, seen = World(trouble, trouble, answer("Hello")), []
    world.relay.heard = lambda: seen.append(world.answering.waiting)
    assert told(world.answer())[0] == 200
    assert (seen, world.answering.waiting) == ([0, 1, 1], 0)
