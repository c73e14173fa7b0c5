"""The official clients, over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import huggingface_hub
import ollama
import openai
import pytest
from cluster.herd import Herd
from huggingface_hub.errors import ValidationError

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture
def openai_client(herd: Herd) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{herd.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def ollama_client(herd: Herd) -> Iterator[ollama.Client]:
    with ollama.Client(host=herd.base_url) as client:
        yield client


@pytest.fixture
def hub_client(herd: Herd) -> huggingface_hub.InferenceClient:
    return huggingface_hub.InferenceClient(base_url=herd.base_url)


def test_openai_answers_a_chat(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(model="pocket", messages=QUESTION, temperature=0)
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_openai_streams_a_chat_with_usage(openai_client: openai.OpenAI) -> None:
    chunks = list(
        openai_client.chat.completions.create(
            model="pocket", messages=QUESTION, temperature=0, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert "Paris" in text
    roles = [choice.delta.role for chunk in chunks for choice in chunk.choices if choice.delta.role]
    assert roles == ["assistant"]
    assert [chunk.usage is not None for chunk in chunks].count(True) == 1
    assert chunks[-1].usage is not None


def test_openai_stream_helper_adds_up(openai_client: openai.OpenAI) -> None:
    with openai_client.chat.completions.stream(model="pocket", messages=QUESTION, temperature=0) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.role == "assistant"
    assert "Paris" in (final.choices[0].message.content or "")


def test_openai_chat_logprobs_spell_the_content(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(
        model="pocket", messages=QUESTION, temperature=0, logprobs=True, top_logprobs=3
    )
    choice = answer.choices[0]
    assert choice.logprobs is not None
    assert choice.logprobs.content is not None
    spelled = b"".join(bytes(entry.bytes or []) for entry in choice.logprobs.content)
    assert spelled.decode() == choice.message.content
    assert all(len(entry.top_logprobs) == 3 and entry.logprob <= 0 for entry in choice.logprobs.content)


def test_openai_several_choices_are_several(openai_client: openai.OpenAI) -> None:
    answer = openai_client.chat.completions.create(
        model="pocket", messages=[{"role": "user", "content": "Tell me a short story."}], n=3, temperature=1.2, seed=3
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) == 3


def test_openai_completes_text_from_token_ids_and_from_text_alike(openai_client: openai.OpenAI) -> None:
    text = openai_client.completions.create(
        model="pocket", prompt="The capital of France is", temperature=0, max_tokens=4
    )
    assert "Paris" in text.choices[0].text


def test_openai_lists_and_retrieves_models(openai_client: openai.OpenAI) -> None:
    assert [model.id for model in openai_client.models.list()] == ["pocket"]
    assert openai_client.models.retrieve("pocket").id == "pocket"


def test_openai_errors_have_their_classes_and_fields(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        openai_client.chat.completions.create(model="nobody", messages=QUESTION)
    assert unknown.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as too_long:
        openai_client.chat.completions.create(model="pocket", messages=[{"role": "user", "content": "word " * 20_000}])
    assert (too_long.value.code, too_long.value.param) == ("context_length_exceeded", "messages")
    with pytest.raises(openai.BadRequestError) as hot:
        openai_client.chat.completions.create(model="pocket", messages=QUESTION, temperature=99)
    assert hot.value.param == "temperature"
    with pytest.raises(openai.BadRequestError):
        openai_client.chat.completions.create(
            model="pocket", messages=[{"role": "user", "content": "word " * 20_000}], stream=True
        )


def test_openai_works_asynchronously(herd: Herd) -> None:
    async def talk() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{herd.base_url}/v1", api_key="none", max_retries=0) as client:

            async def one() -> str:
                stream = await client.chat.completions.create(
                    model="pocket", messages=QUESTION, temperature=0, stream=True
                )
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

            return await asyncio.gather(*(one() for _ in range(12)))

    assert all("Paris" in text for text in asyncio.run(talk()))


def test_ollama_generates(ollama_client: ollama.Client) -> None:
    answer = ollama_client.generate("pocket", "What is the capital of France?", options={"temperature": 0})
    assert "Paris" in answer.response
    assert (answer.done, answer.done_reason) == (True, "stop")
    assert answer.context
    assert all((answer.total_duration, answer.load_duration, answer.eval_duration, answer.eval_count))


def test_ollama_context_continues_the_conversation(ollama_client: ollama.Client) -> None:
    first = ollama_client.generate("pocket", "What is the capital of France?", options={"temperature": 0})
    second = ollama_client.generate("pocket", "And of Italy?", context=first.context, options={"temperature": 0})
    assert "Rome" in second.response
    assert (second.prompt_eval_count or 0) > (first.prompt_eval_count or 0)


def test_ollama_streams_a_chat(ollama_client: ollama.Client) -> None:
    parts = list(ollama_client.chat("pocket", QUESTION, stream=True, options={"temperature": 0}))
    assert "Paris" in "".join(part.message.content or "" for part in parts)
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]


def test_ollama_lists_models(ollama_client: ollama.Client) -> None:
    (model,) = ollama_client.list().models
    assert (model.model, model.details and model.details.family) == ("pocket:latest", "llama")


def test_ollama_errors_have_their_status(ollama_client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError) as unknown:
        ollama_client.chat("nobody", QUESTION)
    assert unknown.value.status_code == 404
    with pytest.raises(ollama.ResponseError) as streaming:
        list(ollama_client.generate("nobody", "x", stream=True))
    assert streaming.value.status_code == 404


def test_ollama_shortens_a_conversation_that_is_too_long(ollama_client: ollama.Client) -> None:
    history = [{"role": "user", "content": "word " * 600}, {"role": "assistant", "content": "Yes."}] * 10
    answer = ollama_client.chat("pocket", [*history, *QUESTION], options={"temperature": 0})
    assert answer.done
    assert (answer.prompt_eval_count or 0) < 4096


def test_ollama_works_asynchronously(herd: Herd) -> None:
    async def talk() -> str:
        async with ollama.AsyncClient(host=herd.base_url) as client:
            stream = await client.chat("pocket", QUESTION, stream=True, options={"temperature": 0})
            return "".join([part.message.content or "" async for part in stream])

    assert "Paris" in asyncio.run(talk())


def test_the_hub_client_generates(hub_client: huggingface_hub.InferenceClient) -> None:
    answer = hub_client.text_generation("The capital of France is", details=True, max_new_tokens=4)
    assert "Paris" in answer.generated_text
    assert answer.details is not None
    assert len(answer.details.tokens) == answer.details.generated_tokens


def test_the_hub_client_streams_details(hub_client: huggingface_hub.InferenceClient) -> None:
    parts = list(hub_client.text_generation("The capital of France is", stream=True, details=True, max_new_tokens=8))
    assert [part.index for part in parts] == list(range(1, len(parts) + 1))
    assert parts[-1].details is not None
    assert parts[-1].generated_text is not None
    assert all(part.generated_text is None for part in parts[:-1])


def test_the_hub_client_chats(hub_client: huggingface_hub.InferenceClient) -> None:
    answer = hub_client.chat_completion(QUESTION, temperature=0.01, max_tokens=40)
    assert "Paris" in (answer.choices[0].message.content or "")
    pieces = hub_client.chat_completion(QUESTION, temperature=0.01, max_tokens=40, stream=True)
    assert "Paris" in "".join(piece.choices[0].delta.content or "" for piece in pieces)


def test_the_hub_client_knows_our_errors(hub_client: huggingface_hub.InferenceClient) -> None:
    with pytest.raises(ValidationError, match="max_new_tokens"):
        hub_client.text_generation("x", max_new_tokens=10_000)
    with pytest.raises(ValidationError, match="temperature"):
        hub_client.text_generation("x", temperature=-1.0, stream=False)


def test_the_hub_client_reads_info_and_health(herd: Herd) -> None:
    # The client offers these two for its own provider only.
    native = huggingface_hub.InferenceClient(model=herd.base_url, provider="hf-inference")
    assert native.get_endpoint_info()["model_id"] == "pocket"
    assert native.health_check()
