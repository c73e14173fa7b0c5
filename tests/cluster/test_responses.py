"""/v1/responses through the official client, over a real socket, each answer and event read strictly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from cluster.herd import Herd
from cluster.wire import post
from openai.types.responses import Response, ResponseStreamEvent
from openai_strict import strict
from pydantic import BaseModel

QUESTION = "What is the capital of France?"
WEATHER: dict[str, Any] = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather for a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}
#: What we say beside OpenAI's models.
MORE = {"ResponseFunctionCallArgumentsDoneEvent": {"name"}, "Logprob": {"bytes"}, "LogprobTopLogprob": {"bytes"}}


class Person(BaseModel):
    name: str
    age: int


@pytest.fixture
def client(herd: Herd) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{herd.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


def events(herd: Herd, path: str = "/v1/responses", **body: Any) -> list[dict[str, Any]]:
    """A stream as it comes over the wire: every event named as its data says, read strictly."""
    with post(herd, path, {"model": "pocket", "temperature": 0, "stream": True, **body}) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        lines = [line.decode() for line in answer.lines() if not line.startswith((b":", b"id:"))]
    names, datas = lines[::2], [json.loads(line.removeprefix("data: ")) for line in lines[1::2]]
    assert names == [f"event: {data['type']}" for data in datas]
    for data in datas:
        strict(ResponseStreamEvent, data, more=MORE)
    return datas


def test_a_response_says_what_was_asked_and_answered(herd: Herd, client: openai.OpenAI) -> None:
    answer = client.responses.create(
        model="pocket", input=QUESTION, temperature=0, metadata={"a": "b"}, store=True, user="me"
    )
    assert "Paris" in answer.output_text
    assert (answer.status, answer.metadata, answer.temperature) == ("completed", {"a": "b"}, 0)
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    with post(herd, "/responses", {"input": QUESTION, "temperature": 0}) as raw:
        strict(Response, raw.json())


def test_instructions_and_a_history_of_items_are_read(client: openai.OpenAI) -> None:
    answer = client.responses.create(
        model="pocket",
        instructions="You are a helpful assistant.",
        input=[
            {"role": "user", "content": QUESTION},
            {
                "type": "message",
                "id": "msg_1",
                "status": "completed",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "The capital of France is Paris.", "annotations": []}],
            },
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "And of Italy?"}]},
        ],
        temperature=0,
    )
    assert "Rome" in answer.output_text


def test_a_stream_spells_the_whole_answer(herd: Herd) -> None:
    told = events(herd, input=QUESTION)
    kinds = [event["type"].removeprefix("response.") for event in told]
    deltas = [event["delta"] for event in told if event["type"] == "response.output_text.delta"]
    assert [kind for kind in kinds if kind != "output_text.delta"] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    with post(herd, "/v1/responses", {"input": QUESTION, "temperature": 0}) as raw:
        whole = raw.json()
    assert "".join(deltas) == whole["output"][0]["content"][0]["text"]
    assert told[-1]["response"]["output"][0]["content"] == whole["output"][0]["content"]


def test_the_stream_helper_adds_up(client: openai.OpenAI) -> None:
    with client.responses.stream(model="pocket", input=QUESTION, temperature=0) as stream:
        spelled = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert "Paris" in spelled
    assert final.output_text == spelled


def test_parse_reads_a_schema_bound_answer(client: openai.OpenAI) -> None:
    answer = client.responses.parse(
        model="pocket",
        input="Give me a JSON object with name and age for Anna, who is 9 years old.",
        text_format=Person,
        temperature=0,
    )
    assert isinstance(answer.output_parsed, Person)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "get_weather"}])
def test_a_forced_call_fits_its_schema_streamed_and_whole(herd: Herd, client: openai.OpenAI, choice: Any) -> None:
    asked = {"input": "What is the weather in Berlin?", "tools": [WEATHER], "tool_choice": choice}
    answer = client.responses.create(model="pocket", temperature=0, **asked)
    (call,) = answer.output
    assert call.type == "function_call"
    assert isinstance(json.loads(call.arguments)["city"], str)
    told = events(herd, **asked)
    pieces = [event["delta"] for event in told if event["type"] == "response.function_call_arguments.delta"]
    assert "".join(pieces) == call.arguments
    assert told[-1]["response"]["output"][0]["name"] == "get_weather"


def test_a_calls_result_is_spoken_of(client: openai.OpenAI) -> None:
    history: list[Any] = [
        {"role": "user", "content": "What is the weather in Berlin?"},
        {
            "type": "function_call",
            "call_id": "call_123456789",
            "name": "get_weather",
            "arguments": '{"city": "Berlin"}',
        },
        {
            "type": "function_call_output",
            "call_id": "call_123456789",
            "output": '{"city": "Berlin", "temperature": 21, "sky": "sunny"}',
        },
    ]
    answer = client.responses.create(model="pocket", input=history, tools=[WEATHER], temperature=0)
    assert "Berlin" in answer.output_text


def test_a_cut_answer_is_incomplete(herd: Herd, client: openai.OpenAI) -> None:
    answer = client.responses.create(model="pocket", input="Tell me a short story.", max_output_tokens=3)
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.usage is not None
    assert answer.usage.output_tokens == 3
    assert events(herd, input="Tell me a short story.", max_output_tokens=3)[-1]["type"] == "response.incomplete"


def test_logprobs_spell_the_text_whole_and_streamed(herd: Herd) -> None:
    asked = {"input": QUESTION, "include": ["message.output_text.logprobs"], "top_logprobs": 2}
    told = events(herd, **asked)
    (message,) = told[-1]["response"]["output"]
    part = message["content"][0]
    assert b"".join(bytes(entry["bytes"]) for entry in part["logprobs"]).decode() == part["text"]
    assert all(len(entry["top_logprobs"]) == 2 for entry in part["logprobs"])
    deltas = [event for event in told if event["type"] == "response.output_text.delta"]
    assert [entry for event in deltas for entry in event["logprobs"]] == part["logprobs"]


def test_the_input_is_counted_as_the_answer_counts_it(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "pocket", "input": QUESTION, "instructions": "Be brief.", "tools": [WEATHER]}
    counted = client.responses.input_tokens.count(**asked)
    answer = client.responses.create(**asked, max_output_tokens=1)
    assert answer.usage is not None
    assert (counted.object, counted.input_tokens) == ("response.input_tokens", answer.usage.input_tokens)


def test_errors_have_their_classes_and_fields(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.responses.create(model="nobody", input=QUESTION)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as stored:
        client.responses.create(model="pocket", input=QUESTION, previous_response_id="resp_1")
    assert stored.value.param == "previous_response_id"
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as too_long:
            client.responses.create(model="pocket", input="word " * 20_000, stream=stream)
        assert (too_long.value.code, too_long.value.param) == ("context_length_exceeded", "input")


def test_it_works_asynchronously(herd: Herd) -> None:
    async def talk() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{herd.base_url}/v1", api_key="none", max_retries=0) as client:

            async def one() -> str:
                stream = await client.responses.create(model="pocket", input=QUESTION, temperature=0, stream=True)
                deltas = [event.delta async for event in stream if event.type == "response.output_text.delta"]
                return "".join(deltas)

            async def other() -> str:
                return (await client.responses.create(model="pocket", input=QUESTION, temperature=0)).output_text

            return await asyncio.gather(*(one() for _ in range(6)), *(other() for _ in range(6)))

    assert all("Paris" in text for text in asyncio.run(talk()))
