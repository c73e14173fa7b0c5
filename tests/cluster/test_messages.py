"""/v1/messages through Anthropic's official client, over a real socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from cluster.conftest import HerdMaker
from cluster.herd import Herd
from cluster.wire import get, post
from openai_strict import strict

QUESTION: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
STORY: list[Any] = [{"role": "user", "content": "Tell me a short story."}]
RAIN: list[Any] = [{"role": "user", "content": "What is the weather in Berlin?"}]
WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "Get the weather for a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
#: As the client wants it: it has a word for temperature no more, though the protocol does.
GREEDY: dict[str, Any] = {"model": "pocket", "max_tokens": 200, "extra_body": {"temperature": 0}}
WIRED: dict[str, Any] = {"model": "pocket", "max_tokens": 200, "temperature": 0}
MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"


@pytest.fixture
def client(herd: Herd) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=herd.base_url, api_key="none", max_retries=0) as client:
        yield client


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def events(herd: Herd, **body: Any) -> list[dict[str, Any]]:
    """A stream as it comes over the wire: every event named as its data says, read strictly."""
    with post(herd, MESSAGES, {**WIRED, "stream": True, **body}) as answer:
        assert answer.status == 200
        lines = [line.decode() for line in answer.lines() if not line.startswith(b"id:")]
    names, datas = lines[::2], [json.loads(line.removeprefix("data: ")) for line in lines[1::2]]
    assert names == [f"event: {data['type']}" for data in datas]
    told = [data for data in datas if data["type"] != "ping"]
    for data in told:
        strict(RawMessageStreamEvent, data)
    return told


def test_a_message_is_answered(herd: Herd, client: anthropic.Anthropic) -> None:
    answer = client.messages.create(**GREEDY, messages=QUESTION, system="You are a helpful assistant.")
    assert "Paris" in text_of(answer)
    assert (answer.stop_reason, answer.stop_sequence, answer.model) == ("end_turn", None, "pocket")
    assert answer.usage.output_tokens > 0
    assert answer._request_id
    with post(herd, MESSAGES, {**WIRED, "messages": QUESTION}) as raw:
        strict(Message, raw.json())


def test_tokens_that_were_resident_count_apart(herd: Herd, client: anthropic.Anthropic) -> None:
    asked: dict[str, Any] = {**GREEDY, "messages": [{"role": "user", "content": "Who painted the Mona Lisa?"}]}
    counted = client.messages.count_tokens(model="pocket", messages=asked["messages"])
    first, second = client.messages.create(**asked), client.messages.create(**asked)
    for usage in (first.usage, second.usage):
        assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == counted.input_tokens
        assert usage.cache_creation_input_tokens == 0
    assert (second.usage.cache_read_input_tokens or 0) > 0
    with post(herd, COUNT, {"model": "pocket", "messages": asked["messages"]}) as raw:
        assert raw.json() == {"input_tokens": counted.input_tokens}


def test_a_stream_spells_the_whole_answer(herd: Herd, client: anthropic.Anthropic) -> None:
    told = events(herd, messages=QUESTION)
    deltas = [event["delta"]["text"] for event in told if event["type"] == "content_block_delta"]
    assert [event["type"] for event in told if event["type"] != "content_block_delta"] == [
        "message_start",
        "content_block_start",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert "".join(deltas) == text_of(client.messages.create(**GREEDY, messages=QUESTION))


def test_the_stream_helper_adds_up(client: anthropic.Anthropic) -> None:
    with client.messages.stream(**GREEDY, messages=QUESTION) as stream:
        spelled = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert "Paris" in spelled
    assert text_of(final) == spelled
    assert final.stop_reason == "end_turn"
    assert final.usage.input_tokens + (final.usage.cache_read_input_tokens or 0) > 0


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
def test_a_forced_call_fits_its_schema_streamed_and_whole(client: anthropic.Anthropic, choice: Any) -> None:
    asked: dict[str, Any] = {**GREEDY, "messages": RAIN, "tools": [WEATHER], "tool_choice": choice}
    answer = client.messages.create(**asked)
    (call,) = answer.content
    assert call.type == "tool_use"
    assert isinstance(call.input["city"], str)
    assert answer.stop_reason == "tool_use"
    with client.messages.stream(**asked) as stream:
        (streamed,) = stream.get_final_message().content
    assert streamed.type == "tool_use"
    assert (streamed.name, streamed.input) == (call.name, call.input)


def test_a_calls_result_is_spoken_of(client: anthropic.Anthropic) -> None:
    asked: dict[str, Any] = {**GREEDY, "tools": [WEATHER]}
    called = client.messages.create(**asked, messages=RAIN, tool_choice={"type": "any"})
    (call,) = called.content
    assert call.type == "tool_use"
    result = {
        "type": "tool_result",
        "tool_use_id": call.id,
        "content": [{"type": "text", "text": '{"city": "Berlin", "temperature": 21, "sky": "sunny"}'}],
    }
    history = [*RAIN, {"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
    assert "Berlin" in text_of(client.messages.create(**asked, messages=history))


def test_a_stop_sequence_is_named(client: anthropic.Anthropic) -> None:
    answer = client.messages.create(**GREEDY, messages=QUESTION, stop_sequences=["Paris", "London"])
    assert (answer.stop_reason, answer.stop_sequence) == ("stop_sequence", "Paris")
    assert "Paris" not in text_of(answer)


def test_a_cut_answer_says_so(client: anthropic.Anthropic) -> None:
    answer = client.messages.create(model="pocket", max_tokens=3, messages=STORY)
    assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 3)


def test_an_assistants_last_words_are_continued(client: anthropic.Anthropic) -> None:
    begun: list[Any] = [*QUESTION, {"role": "assistant", "content": "The capital of France"}]
    assert text_of(client.messages.create(**GREEDY, messages=begun)).strip().startswith("is")


def test_a_schema_binds_the_text(client: anthropic.Anthropic) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    answer = client.messages.create(
        **GREEDY, messages=STORY, output_config={"format": {"type": "json_schema", "schema": schema}}
    )
    assert isinstance(json.loads(text_of(answer))["age"], int)


def test_errors_have_their_classes_and_words(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        client.messages.create(model="nobody", max_tokens=5, messages=QUESTION)
    assert unknown.value.body == {"type": "error", "error": {"type": "not_found_error", "message": "model: nobody"}}
    assert unknown.value.request_id
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        client.messages.create(model="pocket", max_tokens=5, messages=QUESTION, extra_body={"temperature": 1.5})
    for stream in (False, True):
        with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
            client.messages.create(
                model="pocket", max_tokens=5, messages=[{"role": "user", "content": "word " * 20_000}], stream=stream
            )


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        (MESSAGES, b"{", 400, "invalid_request_error"),
        (MESSAGES, b"[]", 400, "invalid_request_error"),
        (MESSAGES, {"messages": QUESTION}, 400, "invalid_request_error"),
        (COUNT, {"messages": []}, 400, "invalid_request_error"),
        (COUNT, {"messages": QUESTION, "model": "nobody"}, 404, "not_found_error"),
        (f"{MESSAGES}/batches", {}, 404, "not_found_error"),
        (MESSAGES, b" " * (4 << 20) + b"{}", 413, "request_too_large"),
    ],
)
def test_refusals_are_anthropics(herd: Herd, path: str, body: Any, status: int, kind: str) -> None:
    with post(herd, path, body) as answer:
        assert answer.status == status
        assert answer.headers["request-id"] == answer.headers["x-request-id"]
        said = answer.json()
    assert (said["type"], said["error"]["type"]) == ("error", kind)


def test_another_method_is_refused_in_its_words(herd: Herd) -> None:
    with get(herd, MESSAGES) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "OPTIONS, POST")
        assert answer.json()["type"] == "error"


def test_silence_is_pinged(make_herd: HerdMaker) -> None:
    """With nobody to answer but a worker that is busy with somebody else, the stream is kept alive in Anthropic's way."""
    herd = make_herd(slots=1, heartbeat_seconds=0.5)
    herd.start_worker()
    herd.start_api()
    body = {"model": "endless", "max_tokens": 4000, "messages": STORY, "stream": True}
    with post(herd, MESSAGES, body) as busy, post(herd, MESSAGES, body) as waiting:
        assert next(busy.lines()) == b"event: message_start"
        first, second, *_ = (line for line, _ in zip(waiting.lines(), range(2), strict=False))
    assert (first, second) == (b"event: ping", b'data: {"type":"ping"}')


def test_it_works_asynchronously(herd: Herd) -> None:
    async def talk() -> list[str]:
        async with anthropic.AsyncAnthropic(base_url=herd.base_url, api_key="none", max_retries=0) as client:

            async def one() -> str:
                async with client.messages.stream(**GREEDY, messages=QUESTION) as stream:
                    return "".join([text async for text in stream.text_stream])

            async def other() -> str:
                return text_of(await client.messages.create(**GREEDY, messages=QUESTION))

            return await asyncio.gather(*(one() for _ in range(6)), *(other() for _ in range(6)))

    assert all("Paris" in text for text in asyncio.run(talk()))
