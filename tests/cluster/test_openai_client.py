"""The official OpenAI client on a live cluster, and what it is sent against the SDK's own types (sheet, section 19)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Literal

import openai
import pytest
from cluster.herd import Herd
from openai.pagination import SyncPage
from openai.types import Completion, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai_strict import strict
from pydantic import BaseModel
from tropilla.workers import pocket

QUESTION: Any = [{"role": "user", "content": "What is the capital of France?"}]
STORY: Any = [{"role": "user", "content": "Tell me a short story."}]
PERSON: Any = [{"role": "user", "content": "Give me a JSON object with the keys name and age: Anna is 7 years old."}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
RAIN: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
NAMED = "lab/pocket:q8"


class Person(BaseModel):
    name: str
    age: int


class Yes(BaseModel):
    answer: Literal["yes"]


@pytest.fixture
def client(herd: Herd) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{herd.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """A model whose name has a slash and a tag, and an alias."""
    herd = Herd(tmp_path_factory.mktemp("named"), model=f"{NAMED}={pocket.path()}", model_aliases=f"gpt-4o={NAMED}")
    try:
        herd.start_worker()
        herd.start_api()
        with openai.OpenAI(base_url=f"{herd.base_url}/v1", api_key="none", max_retries=0) as client:
            yield client
    finally:
        herd.stop()


def chat(client: openai.OpenAI, more: Any = None, **fields: Any) -> Any:
    """A whole answer, checked strictly."""
    body = {"model": "pocket", "messages": QUESTION, "temperature": 0, **fields}
    told = strict(ChatCompletion, client.chat.completions.with_raw_response.create(**body).content, more=more)
    usage = told.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    return told


def chunks(client: openai.OpenAI, **fields: Any) -> list[Any]:
    """A stream's chunks, checked strictly; its end must be `[DONE]`."""
    body = {"model": "pocket", "messages": QUESTION, "temperature": 0, **fields}
    with client.chat.completions.with_streaming_response.create(stream=True, **body) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        *events, end = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data:")]
    assert end == "[DONE]"
    return [strict(ChatCompletionChunk, event.encode()) for event in events]


def complete(client: openai.OpenAI, more: Any = None, **fields: Any) -> Any:
    body = {"model": "pocket", "temperature": 0, **fields}
    return strict(Completion, client.completions.with_raw_response.create(**body).content, more=more)


def text_chunks(client: openai.OpenAI, **fields: Any) -> list[dict[str, Any]]:
    body = {"model": "pocket", "temperature": 0, **fields}
    with client.completions.with_streaming_response.create(stream=True, **body) as answer:
        *events, end = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data:")]
    assert end == "[DONE]"
    told = [json.loads(event) for event in events]
    for chunk in told:
        # OpenAI itself streams null here, for which its type has no word.
        ended = [{**choice, "finish_reason": choice["finish_reason"] or "stop"} for choice in chunk["choices"]]
        strict(Completion, {**chunk, "choices": ended})
    return told


# -- models, headers ---------------------------------------------------------------------------------------------------


def test_models_are_listed_and_found_by_names_with_slashes(named: openai.OpenAI) -> None:
    page = strict(SyncPage[Model], named.models.with_raw_response.list().content)
    assert [model.id for model in page.data] == ["gpt-4o", NAMED]
    for name in (NAMED, "gpt-4o"):
        assert strict(Model, named.models.with_raw_response.retrieve(name).content).id == name
    with pytest.raises(openai.NotFoundError) as unknown:
        named.models.retrieve("lab/none:q8")
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.APIStatusError) as forbidden:
        named.models.delete(NAMED)
    assert forbidden.value.status_code == 409


@pytest.mark.parametrize("name", [NAMED, "gpt-4o", "lab/pocket", "pocket", "tgi", "dummy", "", "http://here/v1"])
def test_a_model_answers_to_all_its_names_and_says_its_own(named: openai.OpenAI, name: str) -> None:
    assert named.chat.completions.create(model=name, messages=QUESTION, max_tokens=1).model == NAMED


def test_headers_come_with_answers_streams_and_errors(client: openai.OpenAI) -> None:
    create = client.chat.completions.with_raw_response.create
    ask: dict[str, Any] = {"model": "pocket", "messages": QUESTION, "max_tokens": 1}
    for stream in (False, True):
        answer = create(**ask, stream=stream, extra_headers={"X-Request-Id": "mine-1"})
        assert answer.headers["x-request-id"] == answer.request_id == "mine-1"
        assert answer.headers["openai-version"] == "2020-10-01"
        assert int(answer.headers["openai-processing-ms"]) >= 0
        answer.http_response.close()
    assert str(client.chat.completions.create(**ask)._request_id).startswith("req_")
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(**{**ask, "max_tokens": -1})
    assert str(refused.value.request_id).startswith("req_")


# -- chat --------------------------------------------------------------------------------------------------------------


def test_a_chat_is_what_the_sdk_declares(client: openai.OpenAI) -> None:
    told = chat(client)
    assert "Paris" in told.choices[0].message.content
    assert told.choices[0].finish_reason == "stop"


def test_a_stream_opens_tells_and_closes_each_choice_once(client: openai.OpenAI) -> None:
    told = chunks(client, messages=STORY, n=3, temperature=1, seed=5, stream_options={"include_usage": True})
    *said, last = told
    assert len({(chunk.id, chunk.created, chunk.model, chunk.system_fingerprint) for chunk in told}) == 1
    assert (last.choices, last.usage is not None) == ([], True)
    assert not any(chunk.usage for chunk in said)
    deltas = [choice for chunk in said for choice in chunk.choices]
    assert [choice.index for choice in deltas if choice.delta.role] == [0, 1, 2]
    assert [choice.index for choice in deltas][:3] == [0, 1, 2]
    ends = [choice for choice in deltas if choice.finish_reason]
    assert sorted(choice.index for choice in ends) == [0, 1, 2]
    assert all(choice.delta.model_fields_set == set() for choice in ends)


def test_continuous_usage_grows_from_the_whole_prompt(client: openai.OpenAI) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    usages = [chunk.usage for chunk in chunks(client, stream_options=options)]
    assert len({usage.prompt_tokens for usage in usages}) == 1
    counts = [usage.completion_tokens for usage in usages]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, chat(client).usage.completion_tokens)


def test_a_stream_says_what_a_whole_answer_says(client: openai.OpenAI) -> None:
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks(client))
    assert said == chat(client).choices[0].message.content


@pytest.mark.parametrize("most", [0, 1])
def test_as_many_tokens_as_wanted(client: openai.OpenAI, most: int) -> None:
    told = chat(client, max_completion_tokens=most)
    assert (told.choices[0].finish_reason, told.usage.completion_tokens) == ("length", most)


def test_seeds_decide(client: openai.OpenAI) -> None:
    # The first answer computes the prompt that the others find: its last bits may be others.
    texts = [chat(client, messages=STORY, temperature=1, seed=seed).choices[0].message.content for seed in (1, 1, 1, 2)]
    assert texts[1] == texts[2] != texts[3]


def test_a_prompt_that_was_seen_is_not_computed_again(client: openai.OpenAI) -> None:
    asked: Any = [{"role": "user", "content": "How many legs does a spider have? Think of the number of legs."}]
    first, second = (chat(client, messages=asked).usage for _ in range(2))
    assert 0 < second.prompt_tokens_details.cached_tokens <= first.prompt_tokens - 1


def test_banned_tokens_never_come(client: openai.OpenAI) -> None:
    more = {"ChatCompletion": {"prompt_token_ids"}, "Choice": {"token_ids"}}
    told = chat(client, more, extra_body={"return_token_ids": True})
    ids = told.choices[0].token_ids
    assert len(ids) == told.usage.completion_tokens
    assert len(told.prompt_token_ids) == told.usage.prompt_tokens
    bias = {str(token): -100 for token in ids[:4]}
    again = chat(client, more, logit_bias=bias, max_tokens=8, extra_body={"return_token_ids": True})
    assert not set(ids[:4]) & set(again.choices[0].token_ids)


def test_a_chat_can_be_scored(client: openai.OpenAI) -> None:
    told = chat(client, {"ChatCompletion": {"prompt_logprobs"}}, max_tokens=1, extra_body={"prompt_logprobs": 1})
    first, *rest = told.prompt_logprobs
    assert first is None
    assert len(rest) == told.usage.prompt_tokens - 1
    assert all(1 <= len(scores) <= 2 and all(s["logprob"] <= 0 for s in scores.values()) for scores in rest)


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_spell_the_content(client: openai.OpenAI, stream: bool) -> None:
    if stream:
        parts = [chunk.choices[0] for chunk in chunks(client, logprobs=True, top_logprobs=5)]
        text = "".join(part.delta.content or "" for part in parts)
        entries = [entry for part in parts if part.logprobs for entry in part.logprobs.content]
    else:
        choice = chat(client, logprobs=True, top_logprobs=5).choices[0]
        text, entries = choice.message.content, choice.logprobs.content
    assert "".join(entry.token for entry in entries) == text
    assert all(entry.logprob <= 0 and len(entry.top_logprobs) == 5 for entry in entries)


def test_a_last_assistant_message_is_continued(client: openai.OpenAI) -> None:
    said: Any = [*QUESTION, {"role": "assistant", "content": "The capital of"}]
    assert "Paris" in chat(client, messages=said).choices[0].message.content


# -- form --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ({"type": "json_object", "schema": {"const": "42"}}, '"42"'),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"const": "foooooo"}}}, '"foooooo"'),
        ({"type": "regex", "value": "[0-9]{4}"}, None),
    ],
)
def test_an_answer_has_its_form(client: openai.OpenAI, form: dict[str, Any], text: str | None) -> None:
    said = chat(client, response_format=form).choices[0].message.content
    assert said == text if text else (len(said) == 4 and said.isdigit())


def test_the_parse_helper_gets_its_model(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(model="pocket", messages=PERSON, response_format=Person, temperature=0)
    assert isinstance(answer.choices[0].message.parsed, Person)


def test_the_stream_helper_gets_its_model(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="pocket", messages=PERSON, response_format=Person, temperature=0
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert isinstance(final.choices[0].message.parsed, Person)
    assert final.choices[0].message.role == "assistant"


def test_a_form_that_was_cut_is_told_by_the_helper(client: openai.OpenAI) -> None:
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model="pocket", messages=PERSON, response_format=Person, max_tokens=2)


# -- tools -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
def test_a_call_that_must_come_comes_and_fits_its_schema(client: openai.OpenAI, choice: Any) -> None:
    told = chat(client, messages=RAIN, tools=[WEATHER], tool_choice=choice).choices[0]
    (call,) = told.message.tool_calls
    assert (told.finish_reason, told.message.content, call.function.name) == ("tool_calls", None, "get_weather")
    assert set(json.loads(call.function.arguments)) == {"city"}
    assert len(call.id) >= 9


def test_the_stream_helper_adds_calls_up(client: openai.OpenAI) -> None:
    whole = chat(client, messages=RAIN, tools=[WEATHER], tool_choice="required").choices[0].message.tool_calls[0]
    with client.chat.completions.stream(
        model="pocket", messages=RAIN, tools=[WEATHER], tool_choice="required", temperature=0
    ) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
        (call,) = stream.get_final_completion().choices[0].message.tool_calls or []
    assert [event.name for event in done] == ["get_weather"]
    assert (call.type, call.function.name, call.function.arguments) == (
        "function",
        "get_weather",
        whole.function.arguments,
    )


def test_call_deltas_say_who_and_what_once(client: openai.OpenAI) -> None:
    told = chunks(client, messages=RAIN, tools=[WEATHER], tool_choice="required")
    deltas = [call for chunk in told for call in chunk.choices[0].delta.tool_calls or []]
    first, *rest = deltas
    assert (first.index, first.type, first.function.name, first.function.arguments) == (
        0,
        "function",
        "get_weather",
        "",
    )
    assert all(call.model_fields_set == {"index", "function"} and call.index == 0 for call in rest)
    assert all(call.function.model_fields_set == {"arguments"} for call in rest)
    assert json.loads("".join(call.function.arguments for call in deltas))


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_cut_short_is_no_call(client: openai.OpenAI, stream: bool) -> None:
    fields = {"messages": RAIN, "tools": [WEATHER], "tool_choice": "required", "max_tokens": 1}
    if stream:
        assert chunks(client, **fields)[-1].choices[0].finish_reason == "length"
    else:
        choice = chat(client, **fields).choices[0]
        assert (choice.finish_reason, choice.message.tool_calls) == ("length", None)


def test_a_result_is_told(client: openai.OpenAI) -> None:
    called = chat(client, messages=RAIN, tools=[WEATHER], tool_choice="required").choices[0].message
    result = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": '{"sky": "sunny", "temperature": 20}'}
    spoken = called.model_dump(exclude_none=True)
    told = chat(client, messages=[*RAIN, spoken, result], tools=[WEATHER]).choices[0]
    assert told.finish_reason == "stop"
    assert "sunny" in told.message.content


def test_functions_are_still_called(client: openai.OpenAI) -> None:
    fields = {"messages": RAIN, "functions": [WEATHER["function"]], "function_call": {"name": "get_weather"}}
    told = chat(client, **fields).choices[0]
    assert (told.finish_reason, told.message.function_call.name) == ("function_call", "get_weather")
    streamed = chunks(client, **fields)
    pieces = [c.choices[0].delta.function_call for c in streamed if c.choices[0].delta.function_call]
    assert "".join(piece.arguments or "" for piece in pieces) == told.message.function_call.arguments
    assert streamed[-1].choices[0].finish_reason == "function_call"


# -- completions -------------------------------------------------------------------------------------------------------

FRANCE, ITALY = "The capital of France is", "The capital of Italy is"


def test_several_prompts_have_several_choices_each_in_order(client: openai.OpenAI) -> None:
    told = complete(client, prompt=[FRANCE, ITALY], n=2, max_tokens=4)
    assert [choice.index for choice in told.choices] == [0, 1, 2, 3]
    assert "Paris" in told.choices[0].text
    assert "Rome" in told.choices[2].text
    streamed = text_chunks(client, prompt=[FRANCE, ITALY], n=2, max_tokens=4)
    for choice in told.choices:
        parts = [each for chunk in streamed for each in chunk["choices"] if each["index"] == choice.index]
        assert "".join(part["text"] for part in parts) == choice.text
        assert [part["finish_reason"] for part in parts if part["finish_reason"]] == [choice.finish_reason]


def test_a_prompt_may_be_ids_or_ids_and_text(client: openai.OpenAI) -> None:
    more = {"CompletionChoice": {"prompt_token_ids", "token_ids"}}
    ids_too = {"return_token_ids": True}
    (text,) = complete(client, more, prompt=FRANCE, max_tokens=4, extra_body=ids_too).choices
    ids = text.prompt_token_ids
    forms = [ids, [ids, ids], [ids, FRANCE], [*ids[:-1], " is"]]
    for prompt in forms:
        for choice in complete(client, more, prompt=prompt, max_tokens=4, extra_body=ids_too).choices:
            assert (choice.prompt_token_ids, choice.text) == (ids, text.text)
    for wrong in ([999_999_999], [-1], [[-1]]):
        with pytest.raises(openai.BadRequestError, match="out of vocabulary"):
            client.completions.create(model="pocket", prompt=wrong)


def test_a_prompt_can_be_scored_without_going_on(client: openai.OpenAI) -> None:
    # Not strictly: the first token has no log-probability, and the type has no word for that.
    (choice,) = client.completions.create(model="pocket", prompt=FRANCE, echo=True, logprobs=1, max_tokens=0).choices
    logprobs = choice.logprobs
    assert (choice.text, choice.finish_reason) == (FRANCE, "length")
    assert logprobs is not None
    tokens, scores, tops, offsets = (
        logprobs.tokens or [],
        logprobs.token_logprobs or [],
        logprobs.top_logprobs or [],
        logprobs.text_offset or [],
    )
    assert len(tokens) == len(scores) == len(tops) == len(offsets)
    assert "".join(tokens).strip() == FRANCE
    assert (scores[0], tops[0], offsets[0]) == (None, None, 0)
    assert all(score <= 0 and 1 <= len(top) <= 2 for score, top in zip(scores[1:], tops[1:], strict=True))


@pytest.mark.parametrize("logprobs", [0, 5])
def test_legacy_log_probabilities_are_the_same_streamed_and_whole(client: openai.OpenAI, logprobs: int) -> None:
    fields = {"prompt": FRANCE, "logprobs": logprobs, "max_tokens": 6, "stop": ["zzz"]}
    (whole,) = complete(client, **fields).choices
    parts = [choice["logprobs"] for chunk in text_chunks(client, **fields) for choice in chunk["choices"]]
    streamed = {key: [entry for part in parts if part for entry in part[key]] for key in parts[0]}
    assert (streamed["tokens"], streamed["text_offset"]) == (whole.logprobs.tokens, whole.logprobs.text_offset)
    assert streamed["token_logprobs"] == pytest.approx(whole.logprobs.token_logprobs, abs=0.01)
    assert [set(top) for top in streamed["top_logprobs"]] == [set(top) for top in whole.logprobs.top_logprobs]
    assert whole.logprobs.text_offset[0] == len(FRANCE)
    assert all(max(1, logprobs) <= len(top) <= logprobs + 1 for top in whole.logprobs.top_logprobs)


def test_the_best_of_several_is_one_of_them(client: openai.OpenAI) -> None:
    fields = {"prompt": "Once upon a time", "temperature": 1, "seed": 3, "max_tokens": 12}
    complete(client, **fields)
    best = complete(client, best_of=3, **fields)
    several = complete(client, n=3, **fields)
    assert best.choices[0].text in [choice.text for choice in several.choices]
    assert best.usage.completion_tokens == several.usage.completion_tokens


def test_a_gap_is_filled(client: openai.OpenAI) -> None:
    (choice,) = complete(client, prompt="The capital of France", suffix=" Paris.", max_tokens=8).choices
    assert choice.finish_reason in ("stop", "length")
    with pytest.raises(openai.BadRequestError) as refused:
        client.completions.create(model="pocket", prompt="a", suffix="b", echo=True)
    assert refused.value.param == "suffix"


def test_a_length_can_be_forced(client: openai.OpenAI) -> None:
    told = complete(client, prompt="Hello", max_tokens=40, extra_body={"ignore_eos": True})
    assert (told.usage.completion_tokens, told.choices[0].finish_reason) == (40, "length")


# -- errors ------------------------------------------------------------------------------------------------------------

LONG = "word " * 20_000


@pytest.mark.parametrize(
    ("kind", "code", "fields"),
    [
        (openai.NotFoundError, "model_not_found", {"model": "nobody"}),
        (openai.BadRequestError, "context_length_exceeded", {"messages": [{"role": "user", "content": LONG}]}),
        (openai.BadRequestError, "missing_required_parameter", {"messages": None}),
        (openai.BadRequestError, "integer_above_max_value", {"logprobs": True, "top_logprobs": 21}),
        (openai.BadRequestError, "array_above_max_length", {"stop": list("abcde")}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_is_an_error_of_its_class_before_a_stream_begins(
    client: openai.OpenAI, stream: bool, kind: type[openai.APIStatusError], code: str, fields: dict[str, Any]
) -> None:
    body = {"model": "pocket", "messages": QUESTION, "stream": stream, **fields}
    with pytest.raises(kind) as refused:
        client.post("/chat/completions", body=body, cast_to=ChatCompletion)
    error = refused.value
    assert error.code == code
    assert set(error.response.json()["error"]) >= {"message", "type", "param", "code"}
    assert error.request_id


# -- asynchronously ----------------------------------------------------------------------------------------------------


def test_everything_works_asynchronously(herd: Herd) -> None:
    async def one(client: openai.AsyncOpenAI) -> str:
        async with client.chat.completions.stream(model="pocket", messages=QUESTION, temperature=0) as stream:
            async for _ in stream:
                pass
            return (await stream.get_final_completion()).choices[0].message.content or ""

    async def talk() -> tuple[list[str], Any, list[str]]:
        async with openai.AsyncOpenAI(base_url=f"{herd.base_url}/v1", api_key="none", max_retries=0) as client:
            texts = await asyncio.gather(*(one(client) for _ in range(64)))
            parsed = await client.chat.completions.parse(
                model="pocket", messages=PERSON, response_format=Yes, temperature=0
            )
            names = [model.id async for model in client.models.list()]
            return texts, parsed.choices[0].message.parsed, names

    texts, parsed, names = asyncio.run(talk())
    assert all("Paris" in text for text in texts)
    assert (parsed, names) == (Yes(answer="yes"), ["pocket"])
