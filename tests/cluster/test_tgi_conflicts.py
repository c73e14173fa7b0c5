"""Where TGI and OpenAI want different things of one path: what is shipped, seen by the clients of both (section 15)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import huggingface_hub
import openai
import pytest
import text_generation
from cluster.herd import Herd
from cluster.wire import get, post
from huggingface_hub import errors as hub_errors
from text_generation import errors

# text-generation was written for pydantic 1.
pytestmark = pytest.mark.filterwarnings("ignore:The `dict` method is deprecated")

QUESTION: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture
def client(herd: Herd) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{herd.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def hub(herd: Herd) -> Iterator[huggingface_hub.InferenceClient]:
    with huggingface_hub.InferenceClient(base_url=herd.base_url) as client:
        yield client


@pytest.fixture
def native(herd: Herd) -> text_generation.Client:
    return text_generation.Client(herd.base_url, timeout=60)


def chat(herd: Herd, **more: Any) -> Any:
    with post(herd, CHAT, {"model": "tgi", "messages": QUESTION, "max_tokens": 20, "temperature": 0, **more}) as answer:
        return answer.json()


def chunks(herd: Herd, path: str = CHAT, **more: Any) -> list[Any]:
    body = {"model": "pocket", "messages": QUESTION, "max_tokens": 20, "temperature": 0, "stream": True, **more}
    with post(herd, path, body) as answer:
        return list(answer.items())


def test_an_error_is_both_an_object_and_a_slug(
    herd: Herd, client: openai.OpenAI, hub: huggingface_hub.InferenceClient, native: text_generation.Client
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model="tgi", messages=QUESTION, temperature=99)
    assert refused.value.param == "temperature"
    with pytest.raises(hub_errors.HfHubHTTPError):
        hub.chat_completion(QUESTION, temperature=99)
    # This client's own types refuse a temperature like that, but not such a number of tokens.
    with pytest.raises(errors.ValidationError, match="max_tokens"):
        native.chat([text_generation.types.Message(**QUESTION[0])], max_tokens=-5)
    with post(herd, CHAT, {"messages": QUESTION, "temperature": 99}) as answer:
        assert answer.status == 400
        said = answer.json()
    assert set(said["error"]) == {"message", "type", "param", "code"}
    assert said["error_type"] == "validation"


def test_native_routes_keep_the_string_and_422(herd: Herd) -> None:
    with post(herd, "/generate", {"inputs": "x", "parameters": {"temperature": 0}}) as answer:
        assert answer.status == 422
        assert set(answer.json()) == {"error", "error_type"}


def test_tools_and_a_response_format_go_together(client: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "boolean"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    form: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    answer = client.chat.completions.create(
        model="tgi", messages=QUESTION, tools=[TOOL], tool_choice="none", response_format=form, max_tokens=30
    )
    assert (answer.choices[0].message.content or "").startswith("{")


def test_the_role_is_told_once_and_a_helper_that_adds_up_gets_it_right(client: openai.OpenAI, herd: Herd) -> None:
    roles = [choice["delta"].get("role") for chunk in chunks(herd)[:-1] for choice in chunk["choices"]]
    assert roles == ["assistant"] + [None] * (len(roles) - 1)
    with client.chat.completions.stream(model="tgi", messages=QUESTION, max_tokens=20) as stream:
        assert stream.get_final_completion().choices[0].message.role == "assistant"


def test_a_calls_name_and_id_are_told_once(client: openai.OpenAI) -> None:
    told = client.chat.completions.create(
        model="tgi", messages=QUESTION, tools=[TOOL], tool_choice="required", stream=True, max_tokens=60, temperature=0
    )
    calls = [call for chunk in told for choice in chunk.choices for call in choice.delta.tool_calls or ()]
    assert [bool(call.id) for call in calls] == [True] + [False] * (len(calls) - 1)
    assert [call.function.name for call in calls if call.function and call.function.name] == ["weather"]


@pytest.mark.parametrize(
    ("model", "agent", "delta"),
    [
        ("pocket", "", {}),
        ("tgi", "", {"content": ""}),
        ("pocket", "unknown/None; hf_hub/2.4.0; python/3.11", {"content": ""}),
        ("pocket", "OpenAI/Python 2.0", {}),
    ],
)
def test_the_last_delta_has_content_for_those_who_add_it_up_unseen(
    herd: Herd, client: openai.OpenAI, model: str, agent: str, delta: Any
) -> None:
    told = list(
        client.chat.completions.create(
            model=model, messages=QUESTION, max_tokens=5, stream=True, extra_headers={"User-Agent": agent}
        )
    )
    assert told[-1].choices[0].finish_reason
    assert told[-1].choices[0].delta.model_dump(exclude_unset=True) == delta
    first = told[0].choices[0].delta
    assert (first.role, first.content) == ("assistant", "")


def test_finish_reasons_are_openais_on_shared_and_tgis_on_native_paths(
    herd: Herd, client: openai.OpenAI, native: text_generation.Client
) -> None:
    for limit, reason in ((2, "length"), (60, "stop")):
        answer = client.chat.completions.create(model="tgi", messages=QUESTION, max_tokens=limit, temperature=0)
        assert answer.choices[0].finish_reason == reason
    called = client.chat.completions.create(model="tgi", messages=QUESTION, tools=[TOOL], tool_choice="weather")  # type: ignore[call-overload]
    assert called.choices[0].finish_reason == "tool_calls"
    stopped = native.generate("The capital of France is", max_new_tokens=10, stop_sequences=["Par"])
    assert stopped.details.finish_reason == "stop_sequence"


def test_stop_text_stays_on_native_and_goes_on_shared_paths(
    client: openai.OpenAI, native: text_generation.Client
) -> None:
    prompt = "The capital of France is"
    kept = native.generate(prompt, max_new_tokens=10, stop_sequences=["Paris"])
    cut = client.completions.create(model="tgi", prompt=prompt, max_tokens=10, stop="Paris", temperature=0)
    assert kept.generated_text == cut.choices[0].text + "Paris"


def test_ids_and_fingerprints_are_openais(herd: Herd) -> None:
    answer = chat(herd)
    assert answer["id"].startswith("chatcmpl-")
    assert answer["system_fingerprint"].startswith("b")
    with post(herd, COMPLETIONS, {"prompt": "x", "max_tokens": 1}) as told:
        assert told.json()["id"].startswith("cmpl-")


def test_an_answer_without_a_bound_is_long_everywhere(herd: Herd) -> None:
    """1024 tokens or the end, not OpenAI's 16."""
    prompt = "one two three four five six seven eight nine ten " * 3
    with post(herd, COMPLETIONS, {"prompt": prompt, "ignore_eos": True}) as answer:
        assert answer.json()["usage"]["completion_tokens"] == 1024


def test_a_prompt_is_a_text_or_ids_or_several(client: openai.OpenAI) -> None:
    prompts: list[Any] = ["one two", ["one two", "three"], [5, 6, 7], [[5, 6], [7]]]
    for prompt in prompts:
        several = isinstance(prompt, list) and not isinstance(prompt[0], int)
        answer = client.completions.create(model="tgi", prompt=prompt, max_tokens=1)
        assert [choice.index for choice in answer.choices] == list(range(len(prompt) if several else 1))


def test_four_prompts_streamed_say_what_four_prompts_waited_for_say(client: openai.OpenAI) -> None:
    asked: Any = {"model": "tgi", "prompt": ["one", "two", "three", "four"], "max_tokens": 5, "temperature": 0}
    whole = client.completions.create(**asked)
    texts = [""] * 4
    for chunk in client.completions.create(**asked, stream=True):
        assert chunk.choices
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == [choice.text for choice in whole.choices]


def test_the_listing_is_a_list_with_tgis_object_around_it(herd: Herd, client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["pocket"]
    with get(herd, "/v1/models") as answer:
        said = answer.json()
    assert (said["object"], said["id"], said["owned_by"]) == ("list", "pocket", "tropilla")
    assert isinstance(said["created"], int)


def test_what_tgi_ignores_or_rejects_works_as_openai_says(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tgi", messages=QUESTION, n=2, logprobs=True, top_logprobs=8, presence_penalty=0.5,
        logit_bias={"5": -100}, top_p=1.0, max_tokens=3,
    )  # fmt: skip
    assert len(answer.choices) == 2
    assert answer.choices[0].logprobs is not None
    assert len((answer.choices[0].logprobs.content or [])[0].top_logprobs) == 8


@pytest.mark.parametrize(("options", "told"), [(None, 0), ({"include_usage": False}, 0), ({"include_usage": True}, 1)])
def test_usage_comes_only_when_asked_for_and_last(herd: Herd, options: Any, told: int) -> None:
    for path, question in ((CHAT, {}), (COMPLETIONS, {"prompt": ["one", "two"]})):
        *parts, done = chunks(herd, path, stream_options=options, **question)
        assert done == "[DONE]"
        usages = [part for part in parts if part.get("usage")]
        assert len(usages) == told
        if told:
            assert parts[-1] is usages[0]
            assert parts[-1]["choices"] == []


def test_the_root_is_healthy_in_ollamas_words(herd: Herd) -> None:
    with get(herd, "/") as answer:
        assert (answer.status, answer.text()) == (200, "Ollama is running")


def test_a_temperature_of_nothing_is_greedy_on_shared_and_refused_on_native_paths(
    client: openai.OpenAI, hub: huggingface_hub.InferenceClient
) -> None:
    one, other = (
        client.chat.completions.create(model="tgi", messages=QUESTION, temperature=0, max_tokens=20) for _ in range(2)
    )
    assert one.choices[0].message.content == other.choices[0].message.content
    with pytest.raises(hub_errors.ValidationError, match="temperature"):
        hub.text_generation("x", temperature=0, stream=False)


def test_log_probabilities_of_completions_are_openais_object(client: openai.OpenAI) -> None:
    # A model may have nothing more to say after one word.
    more = {"ignore_eos": True}
    answer = client.completions.create(model="tgi", prompt="one", max_tokens=2, logprobs=1, extra_body=more)
    assert answer.choices[0].logprobs is not None
    assert len(answer.choices[0].logprobs.token_logprobs or []) == 2


@pytest.mark.parametrize("model", ["tgi", "dummy", "", None, "http://127.0.0.1/models/x"])
def test_what_clients_send_who_mean_no_model_is_the_default_one(herd: Herd, model: str | None) -> None:
    assert chat(herd, model=model)["model"] == "pocket"


def test_javascripts_text_generation_posts_tgis_words_to_the_shared_path(herd: Herd) -> None:
    body = {
        "model": herd.base_url, "prompt": "The capital of France is", "max_tokens": 6, "do_sample": False, "top_k": 5,
        "typical_p": 0.95, "repetition_penalty": 1.01, "truncate": 3, "watermark": False, "return_full_text": True,
        "details": True, "stop": ["Paris"],
    }  # fmt: skip
    with post(herd, COMPLETIONS, body) as answer:
        said = answer.json()
    assert said["choices"][0]["text"].startswith("The capital of France is")
    assert said["usage"]["prompt_tokens"] == 3


def test_shared_paths_say_where_the_time_went_as_native_ones_do(herd: Herd) -> None:
    numbers = {"x-total-time", "x-validation-time", "x-queue-time", "x-inference-time", "x-time-per-token"}
    numbers |= {"x-prompt-tokens", "x-generated-tokens", "x-compute-characters"}
    for path, body in (
        (CHAT, {"messages": QUESTION, "max_tokens": 3}),
        (COMPLETIONS, {"prompt": ["ab", "c"], "max_tokens": 3}),
        ("/generate", {"inputs": "abc", "parameters": {"max_new_tokens": 3}}),
    ):
        with post(herd, path, body) as answer:
            assert all(int(answer.headers[name]) >= 0 for name in numbers)
            assert answer.headers["x-compute-type"] == "gpu+optimized"
            assert ("x-compute-time" in answer.headers) is (path != COMPLETIONS)
            if path != CHAT:
                assert answer.headers["x-compute-characters"] == "3"
        with post(herd, path if path != "/generate" else "/generate_stream", {**body, "stream": True}) as stream:
            assert set(stream.headers) & numbers == {"x-compute-characters"}
            assert stream.headers["X-Accel-Buffering"] == "no"
