"""The Flask application over fake collaborators and a dialect of a dozen lines."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from fakes import (
    MODEL,
    WORKER,
    Clock,
    FakeAlbum,
    FakeAnnouncements,
    FakeBatches,
    FakeBook,
    FakeInbox,
    FakeStore,
    answer,
    errands,
    request,
    streams,
)
from flask.testing import FlaskClient
from tropilla.api.app import Collaborators, create_app
from tropilla.api.cluster import Cluster
from tropilla.api.framing import SSE
from tropilla.api.inbox import CLOSING, GONE
from tropilla.api.liveness import GRACE_SECONDS, WEDGED_SECONDS, Liveness
from tropilla.api.relay import Relay
from tropilla.api.surface import (
    Call,
    Dialect,
    Enquiry,
    Frame,
    Page,
    Question,
    Reply,
    Resumption,
    Route,
    Surface,
    Surroundings,
)
from tropilla.common.catalogue import Lane
from tropilla.common.errors import InvalidField, StoreUnavailable, TropillaError, UnknownModel
from tropilla.common.generation import (
    Completion,
    Embedded,
    EmbeddingRequest,
    Event,
    Failed,
    TextPrompt,
    Token,
    Tokenized,
    TokenizeRequest,
)
from tropilla.common.metrics import Key
from tropilla.common.settings import Settings
from tropilla.common.terms import Terms

# -- a dialect ---------------------------------------------------------------------------------------------------------


def parse(body: Any, surroundings: Surroundings) -> Call | Reply:
    if body == {"bug": True}:
        raise RuntimeError("a bug")
    if body == {"nothing": "to generate"}:
        return Reply({"done": True}, 200)
    if not isinstance(body, dict) or "prompt" not in body:
        raise InvalidField("prompt is missing", param="prompt", problem="missing")
    if surroundings.catalogue.find(body.get("model", "m")) is None:
        raise UnknownModel(body["model"])
    # Two requests with one body have an id each.
    name = body.get("id") or surroundings.headers.get("id", "r")
    return Call(request(name, model=body.get("model", "m")), bool(body.get("stream")), surroundings.now)


class Words:
    def __init__(self, call: Call, clock: Any) -> None:
        pass

    def feed(self, event: Event) -> Iterable[Frame]:
        match event:
            case Token(text="~"):
                return []
            case Token(text="!"):
                raise RuntimeError("a bug that quotes what was said")
            case Token():
                return [Frame({"word": event.text})]
            case Failed():
                return [Frame({"oops": event.message}, "error")]
            case _:
                return [Frame("[DONE]")]


def whole(call: Call, completion: Completion, now: float) -> Reply:
    told = {"x-words": "1", "x-call": f"{call.request.id} {call.received}"}
    return Reply({"text": completion.choices[0].text}, 200, told)


def fault(error: TropillaError) -> Reply:
    return Reply({"oops": error.message, "kind": type(error).__name__}, error.status)


def about(surroundings: Surroundings, variables: Mapping[str, str]) -> Reply:
    name = variables.get("name", "m")
    if surroundings.catalogue.find(name) is None:
        raise UnknownModel(name)
    return Reply({"model": name})


def count(body: Any, surroundings: Surroundings) -> Question | Reply:
    if body == {"nothing": "to ask"}:
        return Reply({"done": True}, 200)
    texts, name = tuple(map(TextPrompt, body["texts"])), surroundings.headers.get("id", "r")
    asked = EmbeddingRequest(name, "m", texts) if body.get("embed") else TokenizeRequest(name, "m", texts)
    own = (lambda error: Reply({"own": error.message}, 418)) if body.get("own") else None
    return Question(asked, surroundings.now, fault=own)


def counted(question: Question, told: tuple[Any, ...], now: float) -> Reply:
    if isinstance(question.request, EmbeddingRequest):
        return Reply({"vectors": [each.choice for each in told], "id": question.request.id, "at": question.received})
    return Reply({"texts": [each.text for each in told]})


SAY = Surface("say", parse, Words, whole, SSE, lambda call: {"x-say": "streamed"})
WORDY = Dialect(
    "wordy",
    (
        Route("/say", SAY),
        Enquiry("/count", count, counted),
        Resumption("/again/<id>"),
        Page("/about", about),
        Page("/about/<path:name>", about),
        Page("/text", lambda s, v: Reply("hi")),
        Page("/how", lambda s, v: Reply({"models": len(s.catalogue.models)}), vital=True),
    ),
    ("",),
    fault,
)
TERSE = Dialect(
    "terse", (Page("/terse/ok", lambda s, v: Reply(None, 204)),), ("/terse",), lambda e: Reply(None, e.status)
)


# -- the rest of the world ---------------------------------------------------------------------------------------------


class World:
    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.settings = Settings(max_body_bytes=1024, **settings)
        self.store = FakeStore(self.clock)
        self.inbox = FakeInbox(self.clock)
        self.announcements = FakeAnnouncements(WORKER)
        cluster = Cluster(self.announcements, self.announcements, self.clock)
        self.lanes: list[str] = []
        self.calls = self.store.calls
        relay = Relay(self.store, self.store, self.inbox, self._submit, cluster.look_again, self.settings, self.clock)
        self.collaborators = Collaborators(
            self.settings,
            cluster,
            relay,
            self.inbox,
            FakeBook(),
            errands(FakeBook()),
            streams(self.calls),
            FakeBatches(),
            FakeAlbum(),
        )  # type: ignore[arg-type]
        self.app = create_app(self.collaborators, (WORDY, TERSE))
        self.client: FlaskClient = self.app.test_client()

    def _submit(self, generation: Any, lane: Lane) -> None:
        self.lanes.append(lane.name)

    def will_say(self, *events: Event, then: Iterable[Any] = ()) -> None:
        self.inbox.script = [*self.store.write(*events), *then]

    def say(self, **body: Any) -> Any:
        return self.client.post("/say", json={"prompt": "hello", **body})

    @property
    def at_rest(self) -> bool:
        return self.inbox.registered == []


@pytest.fixture
def world() -> World:
    return World()


def frames(body: bytes) -> list[str]:
    """Without their places; each comment by itself."""
    parted = re.sub(r"(?m)^(:.*)$", r"\1\n", body.decode())
    return [frame.partition("\nid: ")[0] for frame in parted.split("\n\n") if frame]


# -- answers -----------------------------------------------------------------------------------------------------------


def test_a_whole_answer_is_one_object(world: World) -> None:
    world.will_say(*answer("hello"))
    response = world.say()
    assert (response.status_code, response.json) == (200, {"text": "hello"})
    assert (response.headers["x-words"], response.headers["Content-Type"]) == ("1", "application/json")
    assert (world.lanes, world.store.cancelled, world.at_rest) == (["m.cpu"], [], True)


def test_a_streamed_answer_is_a_frame_for_each_event(world: World) -> None:
    world.will_say(*answer("hi"))
    response = world.say(stream=True)
    assert frames(response.data) == ['data: {"word":"h"}', 'data: {"word":"i"}', "data: [DONE]"]
    assert (response.headers["x-say"], response.headers["Content-Type"]) == ("streamed", SSE.headers["Content-Type"])
    assert (world.store.cancelled, world.at_rest) == ([], True)


def test_an_operator_may_have_no_places_in_events() -> None:
    world = World(stream_ids="no")
    world.will_say(*answer("hi"))
    assert b"id: " not in world.say(stream=True).data


ID = "0" * 32


def again(world: World, *, heard: int | None, header: bool = False) -> Any:
    """The stream once more, at another process: what the first one heard is known from the journal only."""
    world.inbox.script = []
    if header:
        return world.client.post("/say", json={}, headers={"Last-Event-ID": f"{ID}.{heard}"})
    return world.client.get(f"/again/{ID}" + ("" if heard is None else f"?from={heard}"))


def test_a_stream_says_how_to_go_on_with_it(world: World) -> None:
    world.will_say(*answer("hi"))
    response = world.say(stream=True, id=ID)
    assert response.headers["x-stream-id"] == ID
    assert [line for line in response.data.decode().split("\n") if line.startswith("id")] == [
        f"id: {ID}.{number}" for number in (1, 2, 3)
    ]


@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("heard", range(5))
def test_a_stream_goes_on_behind_what_was_heard(world: World, heard: int, header: bool) -> None:
    world.will_say(*answer("hi"))
    whole = world.say(stream=True, id=ID)
    rest = again(world, heard=heard, header=header)
    assert (rest.status_code, rest.headers["x-stream-id"]) == (200, ID)
    assert rest.data == b"".join(frame + b"\n\n" for frame in whole.data.split(b"\n\n")[heard:-1])
    assert (world.lanes, world.store.inbox, world.at_rest) == (["m.cpu"], "here", True)


def test_without_a_number_the_whole_stream_is_told_again(world: World) -> None:
    world.will_say(*answer("hi"))
    assert world.say(stream=True, id=ID).data == again(world, heard=None).data


def test_a_stream_that_nobody_knows_is_a_404(world: World) -> None:
    for unknown in (ID, "x", "0" * 33):
        response = world.client.get(f"/again/{unknown}")
        assert (response.status_code, "there is no stream" in response.text) == (404, True)
    assert again(world, heard=1, header=True).status_code == 404


def test_a_stream_whose_state_has_gone_is_a_404(world: World) -> None:
    world.will_say(*answer("hi"))
    world.say(stream=True, id=ID)
    world.store.attempt = None
    assert again(world, heard=0).status_code == 404


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "", "9" * 10])
def test_a_place_that_is_none_is_refused(world: World, text: str) -> None:
    assert world.client.get(f"/again/{ID}?from={text}").status_code == 400


def test_what_is_kept_of_a_call_holds_no_secret(world: World) -> None:
    world.will_say(*answer("hi"))
    secret = {"Authorization": "Bearer hush", "X-Api-Key": "hush", "Cookie": "hush"}
    assert world.client.post("/say", json={"prompt": "x", "stream": True, "id": ID}, headers=secret).status_code == 200
    assert b"hush" not in world.calls.kept[ID]


def test_of_a_whole_answer_nothing_is_kept(world: World) -> None:
    world.will_say(*answer("hi"))
    world.say()
    assert world.calls.kept == {}


# -- asked for again -----------------------------------------------------------------------------------------------------


def once(world: World, path: str = "/say", *, word: str = "one", name: str = ID, key: str = "", **body: Any) -> Any:
    headers = {"Idempotency-Key": word, "id": name, **({"x-api-key": key} if key else {})}
    return world.client.post(path, json={"prompt": "hello", **body}, headers=headers)


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_was_asked_for_before_has_the_same_answer(world: World, stream: bool) -> None:
    world.will_say(*answer("hi"))
    first = once(world, stream=stream)
    world.inbox.script = []
    again = once(world, name="1" * 32, stream=stream)
    assert (again.status_code, again.data) == (200, first.data)
    for header in ("x-stream-id", "x-call", "x-request-id"):
        assert again.headers.get(header) == first.headers.get(header)
    assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")
    assert (world.lanes, world.store.joined, world.at_rest) == (["m.cpu"], [ID], True)


def test_vectors_that_were_asked_for_before_are_the_same(world: World) -> None:
    world.will_say(Embedded(0, 0, b"", 3), Embedded(1, 1, b"", 3))
    first = once(world, "/count", texts=["a", "b"], embed=True)
    world.inbox.script = []
    again = once(world, "/count", name="1" * 32, texts=["a", "b"], embed=True)
    assert (again.status_code, again.json) == (200, first.json)
    assert (again.headers["Idempotent-Replayed"], world.lanes, world.store.released) == ("true", ["m.cpu"], [])


def test_counting_tokens_needs_no_word(world: World) -> None:
    world.will_say(Tokenized(0, 0, (), "a"))
    assert once(world, "/count", texts=["a"]).status_code == 200
    assert (world.store.words, world.store.released) == ({}, [ID])


def test_whoever_names_his_request_keeps_that_name(world: World) -> None:
    world.will_say(*answer("hi"))
    once(world)
    headers = {"Idempotency-Key": "one", "X-Request-Id": "mine"}
    assert world.client.post("/say", json={"prompt": "hello"}, headers=headers).headers["x-request-id"] == "mine"


@pytest.mark.parametrize("other", [{"prompt": "bye"}, {"stream": True}, {"n": 1}])
def test_something_else_by_the_same_word_is_a_conflict(world: World, other: dict[str, Any]) -> None:
    world.will_say(*answer("hi"))
    assert once(world).status_code == 200
    response = once(world, name="1" * 32, **other)
    assert (response.status_code, response.json["kind"]) == (409, "Conflict")
    assert (world.lanes, world.at_rest) == (["m.cpu"], True)


def test_another_key_has_its_own_words(world: World) -> None:
    world.will_say(*answer("hi"))
    once(world, key="a")
    assert "Idempotent-Replayed" not in once(world, key="b", name="1" * 32).headers
    assert world.lanes == ["m.cpu", "m.cpu"]


def test_what_nobody_knows_any_more_is_asked_for_anew(world: World) -> None:
    world.will_say(*answer("hi"))
    first = once(world)
    joins = iter([None, 60.0])
    world.store.join = lambda request_id, *, inbox, listener: next(joins)  # type: ignore[method-assign]
    assert once(world, name="1" * 32).data == first.data
    joins = iter([None] * 3)
    assert once(world, name="1" * 32).status_code == 503
    assert world.at_rest


def test_a_refusal_keeps_nothing(world: World) -> None:
    world.store.room = False
    assert once(world, stream=True).status_code == 429
    assert (world.store.words, world.calls.kept) == ({}, {})


def test_a_whole_answer_that_is_kept_is_no_stream(world: World) -> None:
    world.will_say(*answer("hi"))
    once(world)
    assert list(world.calls.kept) == [ID]
    assert again(world, heard=0).status_code == 404


@pytest.mark.parametrize("path", ["/say", "/count"])
@pytest.mark.parametrize("word", ["", "x" * 256, "\u00e9"])
def test_a_word_that_is_none_costs_no_place(world: World, path: str, word: str) -> None:
    response = once(world, path, word=word, texts=["a"], embed=True)
    assert (response.status_code, response.json["kind"]) == (400, "InvalidField")
    assert "Idempotency-Key" in response.json["oops"]
    assert (world.lanes, world.at_rest) == ([], True)


def test_whoever_has_a_word_may_hang_up_and_come_back(world: World) -> None:
    first, *rest = answer("hi")
    world.inbox.script = [*world.store.write(first), GONE]
    assert once(world).status_code == 499
    world.inbox.script = world.store.write(*rest)
    assert once(world, name="1" * 32).json == {"text": "hi"}
    assert (world.store.cancelled, world.lanes) == ([], ["m.cpu"])


def test_what_is_told_again_is_on_the_books_once(world: World) -> None:
    world.will_say(*answer("hi"))
    for stream in (False, True):
        world.store.words.clear()
        for number in range(3):
            # A stream is on the books once it is closed.
            with once(world, name=str(number) * 32, stream=stream) as response:
                assert response.data
    counts: dict[Key, float] = {}
    world.app.extensions["tropilla"].counters.tally.flush(counts.update)
    assert sum(amount for key, amount in counts.items() if key.name == "request_success") == 2
    assert not [key for key in counts if key.name == "request_failure"]


def test_silence_is_filled_with_heartbeats(world: World) -> None:
    first, *rest = answer("hi")
    silence = [None] * 11
    world.inbox.script = [
        world.store.claim,
        *world.store.write(first),
        *silence,
        lambda: world.store.write(*rest),
    ]
    response = world.say(stream=True)
    assert [frame for frame in frames(response.data) if frame == ": "] == [": "]


def test_a_stream_that_waits_is_told_its_place_and_has_its_headers(world: World) -> None:
    world.store.before, world.store.pace = 3, 1.4
    world.inbox.script = [None, None, world.store.claim, lambda: world.store.write(*answer("hi"))]
    response = world.say(stream=True)
    assert frames(response.data) == [
        ": queued, 3 before you, about 4 s",
        'data: {"word":"h"}',
        'data: {"word":"i"}',
        "data: [DONE]",
    ]
    assert response.headers["x-queue-position"] == "3"


@pytest.mark.parametrize("path", ["/say", "/count"])
def test_every_answer_says_how_many_went_before_it(world: World, path: str) -> None:
    world.store.before = 2
    world.will_say(*(answer("hi") if path == "/say" else [Tokenized(0, 0, (), "x")]))
    response = world.client.post(path, json={"prompt": "hello", "texts": ["a"]})
    assert (response.status_code, response.headers["x-queue-position"]) == (200, "2")
    assert "x-queue-position" not in world.client.get("/about").headers


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_expires_before_anything_was_said_has_its_own_status(world: World, stream: bool) -> None:
    headers = {"X-Request-Deadline": "0.5"}
    response = world.client.post("/say", json={"prompt": "x", "stream": stream}, headers=headers)
    assert response.json is not None
    assert (response.status_code, response.json["kind"]) == (504, "Expired")


def test_tokens_that_show_nothing_are_silence_too() -> None:
    world = World(heartbeat_seconds=0)
    world.will_say(*answer("h~i"))
    assert frames(world.say(stream=True).data) == ['data: {"word":"h"}', ": ", 'data: {"word":"i"}', "data: [DONE]"]


def test_a_whole_answer_waits_through_silence(world: World) -> None:
    world.inbox.script = [world.store.claim, *[None] * 20, lambda: world.store.write(*answer("late"))]
    assert world.say().json == {"text": "late"}


def test_a_parser_may_answer_at_once(world: World) -> None:
    response = world.client.post("/say", json={"nothing": "to generate"})
    assert (response.json, world.lanes) == ({"done": True}, [])


def test_the_content_type_is_no_gate(world: World) -> None:
    world.will_say(*answer("hello"))
    response = world.client.post("/say", data=b'{"prompt": "x"}', headers={"Content-Type": "text/plain"})
    assert response.json == {"text": "hello"}


def asks(world: World, *events: Event, **body: Any) -> Any:
    world.will_say(*events)
    return world.client.post("/count", json={"texts": ["a", "b"], **body})


def test_an_enquiry_is_answered_in_the_order_of_its_prompts(world: World) -> None:
    response = asks(world, Tokenized(0, 1, (), "b"), Tokenized(1, 0, (), "a"))
    assert (response.status_code, response.json) == (200, {"texts": ["a", "b"]})
    assert (world.lanes, world.store.cancelled, world.at_rest) == (["m.cpu"], [], True)


def test_an_enquiry_may_be_answered_at_once(world: World) -> None:
    response = world.client.post("/count", json={"nothing": "to ask"})
    assert (response.json, world.lanes) == ({"done": True}, [])


@pytest.mark.parametrize(("own", "status", "body"), [(False, 400, {"oops": "long"}), (True, 418, {"own": "long"})])
def test_an_enquiry_that_fails_is_told_in_the_dialects_words_or_the_routes(
    world: World, own: bool, status: int, body: dict[str, str]
) -> None:
    response = asks(world, Tokenized(0, 0, (), "a"), Failed(1, "context_length", "long"), own=own)
    assert response.status_code == status
    assert body.items() <= response.json.items()
    assert (world.store.cancelled, world.at_rest) == ([], True)


def test_a_full_queue_is_told_in_the_routes_words(world: World) -> None:
    world.store.room = False
    assert asks(world, own=True).status_code == 418


def test_a_page_shows_what_has_just_happened(world: World) -> None:
    assert world.client.get("/about").status_code == 200
    world.announcements.workers.clear()
    assert world.client.get("/about").status_code == 404


def test_a_model_that_was_made_a_moment_ago_at_another_process_is_found(world: World) -> None:
    made = replace(WORKER, name="v@host", model=replace(MODEL, name="made"))
    assert world.say(model="made").status_code == 404
    world.announcements.workers.append(made)
    world.will_say(*answer("hello"))
    assert world.say(model="made").json == {"text": "hello"}


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"{", 400, "MalformedBody"),
        (b"", 400, "MalformedBody"),
        (b"\xff\xfe", 400, "MalformedBody"),
        (b'{"a": NaN}', 400, "MalformedBody"),
        (b"[]", 400, "InvalidField"),
        (b'{"prompt": "x", "model": "nobody"}', 404, "UnknownModel"),
        (b'{"prompt": "%s"}' % (b"x" * 1025), 413, "BodyTooLarge"),
    ],
)
def test_what_is_wrong_before_the_queue_is_told_in_the_dialects_words(
    world: World, body: bytes, status: int, kind: str
) -> None:
    response = world.client.post("/say", data=body)
    assert (response.status_code, response.json["kind"]) == (status, kind)
    assert (world.lanes, world.at_rest) == ([], True)


def test_headers_say_on_which_terms_a_request_waits(world: World) -> None:
    world.will_say(*answer("hi"))
    headers = {"Authorization": "Bearer secret", "X-Priority": "batch", "X-Request-Deadline": "1500ms"}
    assert world.client.post("/say", json={"prompt": "hello"}, headers=headers).status_code == 200
    assert world.store.terms == Terms(hashlib.sha256(b"secret").hexdigest()[:16], "batch", 1.5)
    assert world.store.deadline_seconds == 1.5


@pytest.mark.parametrize("path", ["/say", "/count"])
@pytest.mark.parametrize(("header", "value"), [("X-Priority", "now"), ("X-Request-Deadline", "0")])
def test_a_header_that_says_nothing_sensible_costs_no_place(world: World, path: str, header: str, value: str) -> None:
    body = {"prompt": "hello", "texts": ["a"]}
    response = world.client.post(path, json=body, headers={header: value})
    assert (response.status_code, response.json["kind"]) == (400, "InvalidField")
    assert response.json["oops"].startswith(header)
    assert (world.lanes, world.at_rest) == ([], True)


def test_a_full_queue_is_told_with_its_status(world: World) -> None:
    world.store.room = False
    for stream in (False, True):
        response = world.say(stream=stream)
        assert (response.status_code, response.json["kind"]) == (429, "Overloaded")


def test_a_redis_that_is_away_is_told_with_its_status(world: World) -> None:
    world.store.down_until = float("inf")
    assert world.say(stream=True).status_code == 503
    world.announcements.down = True
    world.clock.advance(1)
    assert world.say().json["kind"] == StoreUnavailable.__name__


def test_a_full_redis_takes_no_new_request_and_goes_on_telling(world: World) -> None:
    world.will_say(*answer("hi"))
    told = iter(world.say(stream=True).response)
    next(told)
    world.announcements.full = 95.0
    world.clock.advance(1)
    assert b"i" in b"".join(told)
    for stream in (False, True):
        response = world.say(stream=stream)
        assert (response.status_code, response.json["kind"]) == (429, "Overloaded")
    assert world.client.get("/about").status_code == 200


def test_pages_that_say_how_things_are_answer_without_redis(world: World) -> None:
    world.announcements.down = True
    assert world.client.get("/how").json == {"models": 0}
    assert world.client.get("/about").status_code == 503


@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_before_the_first_event_has_a_real_status(world: World, stream: bool) -> None:
    world.will_say(Failed(0, "context_length", "too long"))
    response = world.say(stream=stream)
    assert (response.status_code, response.json) == (400, {"oops": "too long", "kind": "ContextExceeded"})
    assert (world.store.cancelled, world.at_rest) == ([], True)


def test_a_failure_after_the_first_event_is_told_in_the_stream(world: World) -> None:
    world.will_say(answer("hi")[0], Failed(1, "internal", "broken"))
    response = world.say(stream=True)
    assert response.status_code == 200
    assert frames(response.data) == ['data: {"word":"h"}', 'event: error\ndata: {"oops":"broken"}']


def test_a_stream_that_a_bug_of_ours_breaks_is_written_down_as_failed(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="tropilla.api.diary")
    world.will_say(*answer("h!i"))
    response = world.say(stream=True)
    assert frames(response.data)[-1].startswith("event: error")
    response.close()
    (line,) = [record.facts["request"] for record in caplog.records if hasattr(record, "facts")]
    assert line["outcome"] == "failed:runtime_error"


def test_a_failure_after_the_first_event_is_an_error_when_nothing_is_streamed(world: World) -> None:
    world.will_say(answer("hi")[0], Failed(1, "internal", "broken"))
    assert (world.say().status_code, world.at_rest) == (500, True)


def test_a_server_that_shuts_down_ends_its_streams_in_their_own_words(world: World) -> None:
    world.will_say(answer("hi")[0], then=[CLOSING])
    said = world.say(stream=True).data.decode().split("\n\n")
    assert "shutting down" in said[-2]
    # A client that says where it was gets what should have stood there.
    assert (said[0].endswith(".1"), "id: " in said[-2]) == (True, False)
    assert (world.store.cancelled, world.at_rest) == ([], True)


def test_a_whole_answer_that_a_server_does_not_wait_for_is_cancelled(world: World) -> None:
    world.will_say(answer("hi")[0], then=[CLOSING])
    assert world.say().status_code == 500
    assert world.store.cancelled == ["r"]


def test_a_server_that_leaves_is_not_ready(world: World) -> None:
    client = create_app(world.collaborators).test_client()
    assert (client.get("/readyz").status_code, client.get("/readyz").json["status"]) == (200, "ready")
    world.collaborators.departure.drain(0)
    told = client.get("/readyz")
    assert (told.status_code, told.json["status"], told.json["models"]) == (503, "draining", ["m"])
    assert client.get("/health").status_code == 200


def test_whether_a_process_turns_is_told_without_asking_redis(world: World) -> None:
    asked: list[str] = []
    world.announcements.catalogue = lambda: asked.append("catalogue")  # type: ignore[assignment]
    client = create_app(world.collaborators).test_client()
    assert (client.get("/livez").status_code, client.get("/livez").json["status"]) == (200, "alive")
    assert client.head("/livez").status_code == 200
    clock = Clock(WEDGED_SECONDS + 1)
    wedged = replace(world.collaborators, liveness=Liveness({"inbox": lambda: 0.0}, clock))
    client = create_app(wedged).test_client()
    assert client.get("/livez").status_code == 200
    clock.advance(GRACE_SECONDS)
    told = client.get("/livez")
    assert (told.status_code, told.json["threads"]) == (503, {"inbox": "has not turned for 41 s"})
    assert asked == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_has_gone_cancels_its_request(world: World, stream: bool) -> None:
    world.inbox.script = [GONE]
    assert world.say(stream=stream).status_code == 499
    assert (world.store.cancelled, world.at_rest) == (["r"], True)


def test_a_client_that_goes_while_it_is_streamed_to_ends_the_stream(world: World) -> None:
    world.will_say(answer("hi")[0], then=[GONE])
    assert frames(world.say(stream=True).data) == ['data: {"word":"h"}']
    assert (world.store.cancelled, world.at_rest) == (["r"], True)


def test_a_stream_that_is_closed_early_closes_its_conversation(world: World) -> None:
    world.will_say(*answer("hello"))
    response = world.client.post("/say", json={"prompt": "x", "stream": True}, buffered=False)
    body: Iterator[bytes] = iter(response.response)
    assert next(body) == b'data: {"word":"h"}\nid: r.1\n\n'
    assert not world.at_rest
    response.close()
    assert (world.store.cancelled, world.at_rest) == (["r"], True)


def test_a_stream_that_is_closed_before_its_first_byte_closes_its_conversation(world: World) -> None:
    world.will_say(*answer("hello"))
    with world.app.test_request_context("/say", method="POST", json={"prompt": "x", "stream": True}):
        response = world.app.full_dispatch_request()
        assert not world.at_rest
        response.close()
    assert (world.store.cancelled, world.at_rest) == (["r"], True)


def test_a_bug_of_ours_is_told_in_the_dialects_words(world: World) -> None:
    response = world.client.post("/say", json={"bug": True})
    assert response.status_code == 500
    assert response.json["oops"]
    assert "a bug" not in response.text


# -- request ids -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["abc-123_X.y", "a" * 128])
def test_a_sane_request_id_is_handed_back(world: World, given: str) -> None:
    assert world.client.get("/about", headers={"X-Request-Id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a" * 129, "a b", "ä", "<script>"])
def test_any_other_request_id_is_replaced(world: World, given: str) -> None:
    found = world.client.get("/about", headers={"X-Request-Id": given}).headers["x-request-id"]
    assert found != given
    assert re.fullmatch(r"req_[0-9a-f]{32}", found)


def test_a_generations_own_id_is_its_request_id(world: World) -> None:
    world.will_say(*answer("hello"))
    assert world.say(stream=True).headers["x-request-id"] == "req_r"


def test_errors_have_a_request_id_too(world: World) -> None:
    for response in (world.client.get("/nowhere"), world.client.post("/say", data=b"{"), world.client.get("/say")):
        assert response.headers["x-request-id"] == response.headers["request-id"] != ""


# -- routes ------------------------------------------------------------------------------------------------------------


def test_pages_answer_from_what_is_known(world: World) -> None:
    assert world.client.get("/about").json == {"model": "m"}
    assert world.client.get("/about/m").json == {"model": "m"}
    response = world.client.get("/about/x/y")
    assert (response.status_code, response.json["oops"]) == (404, "model 'x/y' not found")


def test_text_goes_out_as_text(world: World) -> None:
    response = world.client.get("/text")
    assert (response.data, response.headers["Content-Type"]) == (b"hi", "text/plain; charset=utf-8")


def test_head_is_get_without_a_body(world: World) -> None:
    head, get = world.client.head("/about"), world.client.get("/about")
    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


def test_unknown_paths_answer_in_the_dialect_that_owns_them(world: World) -> None:
    response = world.client.get("/nowhere")
    assert (response.status_code, response.json["oops"]) == (404, "unknown route GET /nowhere")
    for path in ("/terse/nowhere", "/terse"):
        response = world.client.get(path)
        assert (response.status_code, response.data) == (404, b"")
    assert world.client.get("/tersest").json


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("GET", "/say", "POST"), ("HEAD", "/say", "POST"), ("POST", "/about", "GET"), ("DELETE", "/about", "GET")],
)
def test_a_wrong_method_is_told_which_are_right(world: World, method: str, path: str, allow: str) -> None:
    response = world.client.open(path, method=method)
    assert response.status_code == 405
    assert allow in response.headers["Allow"].split(", ")
    if method != "HEAD":
        assert response.json["kind"] == "WrongMethod"


def test_a_request_goes_to_the_gpu_lane_while_a_gpu_worker_lives(world: World) -> None:
    world.announcements.workers.append(replace(WORKER, name="g", flavour="gpu"))
    world.will_say(*answer("hello"))
    world.say()
    assert world.lanes == ["m.gpu"]
