"""Every TGI route over the real application: the bare ones, and those below the root of a model (sheet, sections 1, 11)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from fakes import Clock, FakeAlbum, FakeAnnouncements, FakeBatches, FakeBook, FakeStore, errands, streams
from flask.testing import FlaskClient
from scene import POCKET
from tropilla.api.app import Collaborators, create_app
from tropilla.api.cluster import Cluster
from tropilla.api.inbox import Mailbox
from tropilla.api.relay import Relay
from tropilla.common import codec
from tropilla.common.bus import Delivered
from tropilla.common.catalogue import Lane, Model, State, Worker
from tropilla.common.generation import Event, Failed, Finished, GenerationRequest, Timings, Token, Usage
from tropilla.common.settings import Settings

TINY = replace(POCKET, name="org/tiny:q4", digest="cd" * 32, context_length=64)
VECTORS = replace(POCKET, name="vectors", capabilities=("embedding",))
MESSAGES = [{"role": "user", "content": "Capital?"}]
#: A prompt that breaks in the worker.
POISON = "poison"


def serving(model: Model, state: State = "ready") -> Worker:
    return Worker(f"{model.name}@host", "cpu", state, 4, model)


def said(asked: GenerationRequest) -> Iterator[Event]:
    """ "<model> " and the number of the choice, then the end."""
    if POISON in repr(asked.prompts):
        yield Failed(0, "internal", "it broke")
        return
    for choice in range(asked.choices):
        yield Token(3 * choice, choice, 7, f"{asked.model} ", piece=b"x", logprob=-1.0)
        yield Token(3 * choice + 1, choice, 8, str(choice), last=True, piece=b"y", logprob=-0.5)
        usage, timings = Usage(prompt=5, cached=2, generated=2), Timings(prefill=0.001, decode=0.002)
        yield Finished(3 * choice + 2, choice, "eos", usage, seed=asked.sampling.seed, timings=timings)


class Mailboxes:
    name = "inbox"

    def __init__(self) -> None:
        self.open: dict[str, Mailbox] = {}

    def register(self, request_id: str) -> Mailbox:
        return self.open.setdefault(request_id, Mailbox())

    def forget(self, request_id: str, mailbox: Mailbox) -> None:
        del self.open[request_id]


class World:
    """The whole application; every request is answered as soon as it is submitted, unless it is `mute`."""

    def __init__(self, **settings: Any) -> None:
        self.asked: list[GenerationRequest] = []
        self.mute = False
        self.store, self.mailboxes, self.settings = FakeStore(Clock()), Mailboxes(), Settings(**settings)
        announced = FakeAnnouncements(serving(POCKET), serving(TINY), serving(VECTORS, "loading"))
        cluster = Cluster(announced, announced)
        relay = Relay(self.store, self.store, self.mailboxes, self._submit, cluster.look_again, self.settings)
        self.collaborators = Collaborators(
            self.settings,
            cluster,
            relay,
            self.mailboxes,
            FakeBook(),
            errands(FakeBook()),
            streams(),
            FakeBatches(),
            FakeAlbum(),
        )  # type: ignore[arg-type]
        self.client: FlaskClient = create_app(self.collaborators).test_client()

    def _submit(self, asked: Any, _: Lane) -> None:
        self.asked.append(asked)
        for event in () if self.mute else said(asked):
            delivered = Delivered(asked.id, event.index, codec.encode_event(event))
            self.mailboxes.open[asked.id].put(delivered)

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        return self.client.post(path, json={"inputs": "Capital?"} if body is None else body, **more)

    def metrics(self, path: str = "/metrics") -> dict[str, str]:
        lines = self.client.get(path).text.splitlines()
        return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


@pytest.fixture
def world() -> World:
    return World(default_model="pocket")


def events(response: Any) -> list[Any]:
    told = [
        json.loads(event.partition("\nid: ")[0].removeprefix("data: "))
        for event in response.text.split("\n\n")
        if event
    ]
    response.close()
    return told


# -- the bare routes ---------------------------------------------------------------------------------------------------


def test_every_operation_of_the_seed_that_is_not_an_enquiry_has_its_route(world: World) -> None:
    assert world.post("/").json == [{"generated_text": "Capital?pocket 0"}]
    assert world.post("/generate").json == {"generated_text": "pocket 0"}
    assert [event["index"] for event in events(world.post("/generate_stream"))] == [1, 2]
    assert world.client.get("/health").data == world.client.get("/ping").data == b""
    assert world.client.get("/info").json["model_id"] == "pocket"
    assert "tgi_request_count" in world.metrics()
    assert world.post("/v1/chat/completions", {"messages": MESSAGES}).json["choices"][0]["message"]["content"]
    assert world.post("/v1/completions", {"prompt": "x"}).json["choices"][0]["text"] == "pocket 0"
    assert world.client.get("/v1/models").json["id"] == "pocket"


def test_the_root_shows_the_prompt_unless_the_operator_says_otherwise() -> None:
    assert World(default_model="pocket", echo_prompt="no").post("/").json == [{"generated_text": "pocket 0"}]


@pytest.mark.parametrize("path", ["/", "/generate", "/generate_stream", "/invocations", "/vertex"])
def test_a_body_that_says_it_is_no_json_is_415_and_one_that_says_nothing_is_read(world: World, path: str) -> None:
    for media in ("text/plain", "application/xml", "multipart/form-data; boundary=x"):
        refused = world.client.post(path, data=b'{"inputs": "x"}', headers={"Content-Type": media})
        text = f"Content-Type '{media}' is not supported. Expected 'application/json'."
        assert (refused.status_code, refused.json) == (415, {"error": text, "error_type": "validation"})
    body = b'{"inputs": "x", "instances": [{"inputs": "x"}]}'
    for headers in ({}, {"Content-Type": "application/x-www-form-urlencoded"}, {"Content-Type": "application/ld+json"}):
        assert world.client.post(path, data=body, headers=headers).status_code == 200


def test_a_body_that_is_too_large_is_413_in_the_dialects_words() -> None:
    refused = World(max_body_bytes=1024).post("/generate", {"inputs": "x" * 2000})
    assert (refused.status_code, refused.json["error_type"]) == (413, "validation")


def test_a_wrong_method_is_405_with_the_right_ones(world: World) -> None:
    refused = world.client.get("/generate")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "OPTIONS, POST")
    assert refused.json == {"error": "Method not allowed", "error_type": "method_not_allowed"}


def test_a_failure_before_the_first_token_has_a_real_status(world: World) -> None:
    body = {"inputs": POISON}
    for path in ("/", "/generate", "/generate_stream"):
        failed = world.post(path, body)
        assert failed.status_code == 424
        assert failed.json == {"error": "Request failed during generation: it broke", "error_type": "generation"}


@pytest.mark.parametrize(("errors", "status"), [("openai", 400), ("tgi", 422)])
def test_a_refusal_on_a_shared_path_has_the_status_the_operator_wants(errors: str, status: int) -> None:
    world = World(default_model="pocket", shared_errors=errors)
    for root in ("", "/models/tiny"):
        assert world.post(f"{root}/v1/chat/completions", {"messages": []}).status_code == status
        assert world.post(f"{root}/v1/completions", {"prompt": "x", "model": "nobody"}).status_code == 404
        assert world.post(f"{root}/generate", {}).status_code == 422


# -- below the root of a model -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "root", ["/models/org/tiny:q4", "/models/org%2Ftiny:q4", "/models/org%2Ftiny%3Aq4", "/models/tiny"]
)
def test_a_models_root_is_a_whole_tgi(world: World, root: str) -> None:
    assert world.post(root).json == [{"generated_text": "Capital?org/tiny:q4 0"}]
    assert world.post(f"{root}/").json == [{"generated_text": "Capital?org/tiny:q4 0"}]
    assert world.post(f"{root}/generate").json == {"generated_text": "org/tiny:q4 0"}
    assert events(world.post(f"{root}/generate_stream"))[-1]["generated_text"] == "org/tiny:q4 0"
    assert world.post(f"{root}/invocations").json == [{"generated_text": "Capital?org/tiny:q4 0"}]
    assert world.post(f"{root}/vertex", {"instances": [{"inputs": "x"}]}).json == {"predictions": ["org/tiny:q4 0"]}
    for path in ("", "/health", "/ping"):
        healthy = world.client.get(root + path)
        assert (healthy.status_code, healthy.data) == (200, b"")
    info = world.client.get(f"{root}/info").json
    assert (info["model_id"], info["max_total_tokens"], info["model_sha"]) == ("org/tiny:q4", 64, TINY.digest)
    assert [model["id"] for model in world.client.get(f"{root}/v1/models").json["data"]] == ["org/tiny:q4"]
    for name in ({}, {"model": "tgi"}, {"model": "dummy"}, {"model": "http://h/models/tiny"}, {"model": "tiny"}):
        chat = world.post(f"{root}/v1/chat/completions", {"messages": MESSAGES, **name}).json
        assert (chat["model"], chat["choices"][0]["message"]["content"]) == ("org/tiny:q4", "org/tiny:q4 0")
        assert world.post(f"{root}/v1/completions", {"prompt": "x", **name}).json["model"] == "org/tiny:q4"


def test_the_bounds_below_a_root_are_its_models(world: World) -> None:
    body = {"inputs": "x", "parameters": {"truncate": 64}}
    assert world.post("/generate", body).status_code == 200
    refused = world.post("/models/tiny/generate", body)
    assert "less than 63. Given: 64" in refused.json["error"]


def test_another_model_is_not_found_below_a_root_nor_is_a_root_of_nobody(world: World) -> None:
    other = world.post("/models/tiny/v1/chat/completions", {"messages": MESSAGES, "model": "pocket"})
    assert (other.status_code, other.json["error"]["code"], other.json["error_type"]) == (
        404,
        "model_not_found",
        "not_found",
    )
    for path in ("/models/nobody", "/models/nobody/generate"):
        assert world.post(path).json == {"error": "model 'nobody' not found", "error_type": "not_found"}
    assert world.client.get("/models/nobody/health").status_code == 404


def test_the_root_of_a_model_that_loads_is_unhealthy_and_overloaded(world: World) -> None:
    ill = world.client.get("/models/vectors/health")
    assert (ill.status_code, ill.json) == (503, {"error": "unhealthy", "error_type": "healthcheck"})
    assert world.post("/models/vectors").json == {"error": "Model is overloaded", "error_type": "overloaded"}


def test_the_listing_of_models_stays_openais(world: World) -> None:
    assert [model["id"] for model in world.client.get("/models").json["data"]] == ["org/tiny:q4", "pocket"]
    assert world.post("/models", {}).json["error"]["message"] == "Not allowed to POST on /models."


# -- /invocations --------------------------------------------------------------------------------------------------------


def test_invocations_answer_as_the_route_their_body_belongs_to(world: World) -> None:
    generate = {"inputs": "x", "parameters": {"details": True}}
    assert world.post("/invocations", generate).json[0]["details"]["finish_reason"] == "eos_token"
    streamed = world.post("/invocations", {**generate, "stream": True})
    assert [event["index"] for event in events(streamed)] == [1, 2]
    assert streamed.headers["x-compute-characters"] == "1"
    assert world.post("/invocations", {"messages": MESSAGES}).json["object"] == "chat.completion"
    chat = world.post("/invocations", {"messages": MESSAGES, "stream": True})
    assert "data: [DONE]\nid: " in chat.text
    assert world.post("/invocations", {"prompt": "x", "model": "tiny"}).json["model"] == "org/tiny:q4"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "the body has none of `inputs`, `messages`, `prompt`"),
        ([], "the body must be an object"),
        ({"inputs": "x", "parameters": {"top_k": "many"}}, "`top_k` must be an integer"),
        ({"inputs": 7, "prompt": True}, "`inputs` must be a string"),
        ({"inputs": "x", "parameters": {"top_k": 0}, "prompt": "x"}, "`top_k` must be strictly positive"),
    ],
)
def test_invocations_that_fit_nobody_are_422(world: World, body: Any, text: str) -> None:
    refused = world.post("/invocations", body)
    assert refused.status_code == 422
    assert refused.json == {"error": f"Input validation error: {text}", "error_type": "validation"}


def test_inputs_whose_parameters_have_wrong_types_fall_through_to_the_next_reading(world: World) -> None:
    body = {"inputs": "x", "parameters": {"top_k": "many"}, "prompt": "y"}
    assert world.post("/invocations", body).json["object"] == "text_completion"


# -- /vertex -------------------------------------------------------------------------------------------------------------


def test_vertex_answers_every_instance_in_its_order_with_its_own_parameters(world: World) -> None:
    instances = [
        {"inputs": "a", "parameters": {"max_new_tokens": 3, "seed": 9, "temperature": 0.5}},
        {"messages": MESSAGES, "model": "tiny", "max_tokens": 4},
        {"inputs": "b", "parameters": {"return_full_text": True}},
    ]
    assert world.post("/vertex", {"instances": instances}).json == {
        "predictions": ["pocket 0", "org/tiny:q4 0", "bpocket 0"]
    }
    by_limit = {asked.max_tokens: asked.sampling for asked in world.asked}
    assert (by_limit[3].seed, by_limit[3].temperature) == (9, 0.5)
    assert 4 in by_limit


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "`instances` must be a list"),
        ([], "`instances` must be a list"),
        ({"instances": []}, "`instances` cannot be empty"),
        ({"instances": ["x"]}, "`instances[0]` must be an object"),
        ({"instances": [{"inputs": "x"}, {}]}, "`instances[1]` has neither `inputs` nor `messages`"),
        ({"instances": [{"inputs": ""}]}, "`inputs` cannot be empty"),
        ({"instances": [{"messages": MESSAGES, "n": 2}]}, "`instances[0].n` must be 1: an instance has one prediction"),
        ({"instances": [{"inputs": "x"}] * 17}, "`instances` supports up to 16 instances. Given: 17"),
    ],
)
def test_vertex_refuses_everything_when_anything_is_wrong(world: World, body: Any, text: str) -> None:
    refused = world.post("/vertex", body)
    assert (refused.status_code, refused.json["error"]) == (422, f"Input validation error: {text}")
    assert world.asked == []


def test_one_instance_that_breaks_ends_all_of_them(world: World) -> None:
    failed = world.post("/vertex", {"instances": [{"inputs": "x"}, {"inputs": POISON}]})
    assert (failed.status_code, failed.json["error_type"]) == (424, "generation")
    assert world.mailboxes.open == {}


# -- how many at a time ----------------------------------------------------------------------------------------------------


def test_one_request_too_many_is_refused_at_once_before_it_is_read_and_costs_nothing() -> None:
    world = World(default_model="pocket", max_concurrent_requests=1)
    open_stream = world.client.post("/generate_stream", json={"inputs": "x"}, buffered=False)
    for path in ("/", "/generate", "/generate_stream", "/invocations"):
        refused = world.client.post(path, data=b"{", headers={"Content-Type": "application/json"})
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        assert refused.json == {"error": "Model is overloaded", "error_type": "overloaded"}
    shared = world.post("/v1/completions", {"prompt": "x"})
    assert (shared.status_code, shared.json["error_type"]) == (429, "overloaded")
    assert world.post("/api/generate", {"model": "pocket", "prompt": "x"}).status_code == 503
    assert len(world.asked) == 1
    open_stream.close()
    assert world.post("/generate").status_code == 200
    assert world.client.get("/info").json["max_concurrent_requests"] == 1


def test_whatever_goes_wrong_gives_the_place_back() -> None:
    world = World(default_model="pocket", max_concurrent_requests=2)
    for _ in range(3):
        assert world.post("/generate", {}).status_code == 422
        assert world.post("/generate_stream", {"inputs": POISON}).status_code == 424
        assert world.post("/vertex", {"instances": [{"inputs": "x"}] * 3}).status_code == 429
        assert world.post("/vertex", {"instances": [{"inputs": "x"}] * 2}).status_code == 200


# -- /metrics --------------------------------------------------------------------------------------------------------------


def test_metrics_have_upstreams_names_and_count_every_dialect(world: World) -> None:
    world.post("/generate")
    world.post("/v1/completions", {"prompt": "x", "n": 2})
    assert events(world.post("/generate_stream"))
    world.post("/generate", {"inputs": ""})
    world.post("/generate", {"inputs": POISON})
    counted = world.metrics()
    assert (counted["tgi_request_count"], counted["tgi_request_success"]) == ("5", "3")
    assert counted['tgi_request_failure{err="validation"}'] == "1"
    assert counted['tgi_request_failure{err="generation"}'] == "1"
    for name in ("", "_validation", "_queue", "_inference"):
        assert counted[f"tgi_request{name}_duration_count"] == "3"
    # Choices have their own.
    assert counted["tgi_request_generated_tokens_count"] == "4"
    assert counted["tgi_request_generated_tokens_sum"] == "8"
    assert counted["tgi_request_input_length_sum"] == "20"
    assert counted["tgi_request_skipped_tokens_sum"] == "8"
    assert counted["tgi_queue_size"] == "0"


def test_a_stream_that_its_client_leaves_is_dropped(world: World) -> None:
    response = world.client.post("/generate_stream", json={"inputs": "x"}, buffered=False)
    next(iter(response.response))
    response.close()
    assert world.metrics()['tgi_request_failure{err="dropped"}'] == "1"


def test_a_models_own_metrics_are_below_its_root(world: World) -> None:
    world.post("/models/tiny/generate")
    world.post("/generate")
    assert world.metrics()["tgi_request_count"] == "2"
    tiny = world.metrics("/models/tiny/metrics")
    assert tiny["tgi_request_count"] == "1"
    # Hundredths of its own context.
    assert tiny['tgi_request_generated_tokens_bucket{le="1.92"}'] == "0"
    assert tiny['tgi_request_generated_tokens_bucket{le="2.56"}'] == "1"


def test_what_generates_nothing_is_not_counted(world: World) -> None:
    assert world.post("/api/generate", {"model": "pocket", "keep_alive": 0}).status_code == 200
    assert world.metrics()["tgi_request_count"] == "0"
