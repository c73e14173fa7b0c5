"""TGI's clients over a real socket: huggingface_hub's and text-generation's, waiting and asynchronous ones."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterator
from typing import Any

import huggingface_hub
import pytest
import text_generation
from cluster.herd import Herd
from huggingface_hub import errors as hub_errors
from text_generation import errors

PROMPT = "The capital of France is"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
SECONDS = 60

# text-generation was written for pydantic 1.
pytestmark = pytest.mark.filterwarnings("ignore:The `dict` method is deprecated")


@pytest.fixture(params=["", "/models/pocket"], ids=["bare", "root"])
def url(request: pytest.FixtureRequest, herd: Herd) -> str:
    """What a client is given: the server, or the root of a model on it."""
    return f"{herd.base_url}{request.param}"


@pytest.fixture
def client(url: str) -> text_generation.Client:
    return text_generation.Client(url, timeout=SECONDS)


@pytest.fixture
def hub(url: str) -> Iterator[huggingface_hub.InferenceClient]:
    with huggingface_hub.InferenceClient(base_url=url, timeout=SECONDS) as client:
        yield client


# -- text-generation -----------------------------------------------------------------------------------------------------


def test_generate_is_greedy_and_has_details(client: text_generation.Client) -> None:
    answer = client.generate(PROMPT, max_new_tokens=4, decoder_input_details=True)
    details = answer.details
    assert "Paris" in answer.generated_text
    assert (details.finish_reason, details.generated_tokens, details.seed) == ("length", 4, None)
    assert details.prefill[0].logprob is None
    assert "".join(token.text for token in details.prefill).endswith(PROMPT)
    assert "".join(token.text for token in details.tokens) == answer.generated_text
    assert client.generate(PROMPT, max_new_tokens=4).details.prefill == []


def test_the_best_of_two_is_told_with_the_other(client: text_generation.Client) -> None:
    answer = client.generate(PROMPT, max_new_tokens=3, best_of=2, do_sample=True)
    (other,) = answer.details.best_of_sequences
    assert answer.details.seed is not None
    assert other.seed not in (None, answer.details.seed)

    def mean(tokens: list[Any]) -> float:
        return sum(token.logprob for token in tokens) / len(tokens)

    assert mean(answer.details.tokens) >= mean(other.tokens)


def test_a_stop_word_stays_and_everything_asked_for_is_told(client: text_generation.Client) -> None:
    answer = client.generate(
        PROMPT,
        do_sample=True,
        max_new_tokens=20,
        repetition_penalty=1.01,
        frequency_penalty=0.1,
        return_full_text=True,
        seed=7,
        stop_sequences=["Paris"],
        temperature=0.01,
        top_k=5,
        top_p=0.9,
        truncate=3,
        typical_p=0.95,
        watermark=True,
        decoder_input_details=True,
        top_n_tokens=3,
    )
    details = answer.details
    assert answer.generated_text.startswith(PROMPT)
    assert len(details.prefill) == 3
    assert details.prefill[0].logprob is None
    assert details.seed == 7
    assert all(len(top) >= 3 for top in details.top_tokens)
    assert all(a.logprob >= b.logprob for top in details.top_tokens for a, b in itertools.pairwise(top))


def test_a_stop_word_ends_the_text(client: text_generation.Client) -> None:
    answer = client.generate(PROMPT, max_new_tokens=20, stop_sequences=["Par", "Paris"])
    assert answer.details.finish_reason == "stop_sequence"
    assert answer.generated_text.endswith("Par") or answer.generated_text.endswith("Paris")


@pytest.mark.parametrize(
    ("grammar", "fits"),
    [
        ({"type": "regex", "value": "[0-9]{3}-[0-9]{2}"}, r"\d{3}-\d{2}"),
        (
            {
                "type": "json",
                "value": {"properties": {"n": {"type": "integer", "maximum": 9, "minimum": 0}}, "required": ["n"]},
            },
            r'\{\s*"n"\s*:\s*[0-9]\s*(,.*)?\}',
        ),
    ],
)
def test_a_grammar_binds_the_whole_text(client: text_generation.Client, grammar: dict[str, Any], fits: str) -> None:
    answer = client.generate("A number:", max_new_tokens=60, grammar=grammar)
    assert re.fullmatch(fits, answer.generated_text, re.DOTALL)


def test_a_stream_is_one_event_per_token(client: text_generation.Client) -> None:
    whole = client.generate(PROMPT, max_new_tokens=8)
    parts = list(client.generate_stream(PROMPT, max_new_tokens=8, top_n_tokens=2))
    assert "".join(part.token.text for part in parts if not part.token.special) == whole.generated_text
    assert parts[-1].generated_text == whole.generated_text
    assert parts[-1].details.generated_tokens == len(parts) == whole.details.generated_tokens
    assert all(len(part.top_tokens) >= 2 for part in parts)
    assert all(part.generated_text is None and part.details is None for part in parts[:-1])


def test_errors_are_the_clients_own(client: text_generation.Client, herd: Herd) -> None:
    with pytest.raises(errors.ValidationError, match="max_new_tokens"):
        client.generate("x", max_new_tokens=10_000)
    with pytest.raises(errors.ValidationError, match="max_new_tokens"):
        list(client.generate_stream("x", max_new_tokens=10_000))
    with pytest.raises(errors.NotFoundError):
        text_generation.Client(f"{herd.base_url}/models/nobody").generate("x")
    with pytest.raises(errors.NotFoundError):
        text_generation.Client(f"{herd.base_url}/nowhere").generate("x")


def test_a_chat_is_answered(client: text_generation.Client) -> None:
    answer = client.chat(QUESTION, temperature=0.01, max_tokens=40)
    assert "Paris" in answer.choices[0].message.content
    assert answer.system_fingerprint


def test_the_asynchronous_client_does_the_same(url: str) -> None:
    async def talk() -> None:
        client = text_generation.AsyncClient(url, timeout=SECONDS)
        answer = await client.generate(PROMPT, max_new_tokens=4)
        parts = [part async for part in client.generate_stream(PROMPT, max_new_tokens=4)]
        assert parts[-1].generated_text == answer.generated_text
        chat = await client.chat(QUESTION, temperature=0.01, max_tokens=40)
        assert "Paris" in chat.choices[0].message.content
        with pytest.raises(errors.ValidationError):
            await client.generate("x", max_new_tokens=10_000)
        with pytest.raises(errors.ValidationError):
            [part async for part in client.generate_stream("x", max_new_tokens=10_000)]
        same = await asyncio.gather(*(client.generate(PROMPT, max_new_tokens=8) for _ in range(4)))
        assert len({one.generated_text for one in same}) == 1

    asyncio.run(talk())


# -- huggingface_hub -------------------------------------------------------------------------------------------------------


def test_text_generation_in_its_four_forms(hub: huggingface_hub.InferenceClient) -> None:
    """This client does not say `return_full_text`, so that the whole answers begin with the prompt (section 7)."""
    text = hub.text_generation(PROMPT, max_new_tokens=4)
    assert text.startswith(PROMPT)
    detailed = hub.text_generation(PROMPT, max_new_tokens=4, details=True, return_full_text=False)
    assert PROMPT + detailed.generated_text == text
    assert detailed.details is not None
    assert (detailed.details.finish_reason, detailed.details.seed, detailed.details.prefill) == ("length", None, [])
    pieces = list(hub.text_generation(PROMPT, max_new_tokens=4, stream=True))
    assert "".join(pieces) == detailed.generated_text
    parts = list(hub.text_generation(PROMPT, max_new_tokens=4, stream=True, details=True))
    assert [part.index for part in parts] == [1, 2, 3, 4]
    assert parts[-1].details is not None
    assert parts[-1].details.input_length
    assert parts[-1].generated_text == text


def test_text_generation_passes_every_parameter_on(hub: huggingface_hub.InferenceClient) -> None:
    answer = hub.text_generation(
        PROMPT,
        details=True,
        best_of=1,
        decoder_input_details=True,
        do_sample=True,
        frequency_penalty=0.1,
        grammar={"type": "json_schema", "value": {"name": "n", "schema": {"properties": {"n": {"type": "boolean"}}}}},  # type: ignore[arg-type]
        max_new_tokens=30,
        repetition_penalty=1.01,
        return_full_text=False,
        seed=3,
        stop=["never ever"],
        temperature=0.5,
        top_k=20,
        top_n_tokens=2,
        top_p=0.9,
        truncate=4,
        typical_p=0.9,
        watermark=True,
    )
    assert answer.details is not None
    assert (answer.details.seed, len(answer.details.prefill)) == (3, 4)
    assert answer.generated_text.startswith("{")


def test_the_hubs_errors_are_typed(hub: huggingface_hub.InferenceClient) -> None:
    for stream in (False, True):
        with pytest.raises(hub_errors.ValidationError, match="top_p"):
            list(hub.text_generation("x", top_p=1.0, stream=stream))
        with pytest.raises(hub_errors.ValidationError, match="max_new_tokens"):
            list(hub.text_generation("x", max_new_tokens=10_000, stream=stream))


def test_chat_completion_in_its_forms(hub: huggingface_hub.InferenceClient) -> None:
    answer = hub.chat_completion(QUESTION, temperature=0.01, max_tokens=40, logprobs=True, top_logprobs=2)
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.choices[0].logprobs is not None
    pieces = list(hub.chat.completions.create(QUESTION, temperature=0.01, max_tokens=40, stream=True))
    # As upstream's own examples add it up, the last chunk included.
    text = ""
    for piece in pieces:
        text += piece.choices[0].delta.content  # type: ignore[operator]
    assert text == answer.choices[0].message.content


def test_the_hubs_json_schema_binds_a_chat(hub: huggingface_hub.InferenceClient) -> None:
    """The client rewrites it into `{"type": "json_object", "value": <schema>}`."""
    schema = {
        "type": "object",
        "properties": {"n": {"type": "boolean"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    asked: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    answer = hub.chat_completion(QUESTION, max_tokens=40, response_format=asked)
    assert (answer.choices[0].message.content or "").replace(" ", "").replace("\n", "") in ('{"n":true}', '{"n":false}')


def test_the_hub_reads_info_and_health(url: str) -> None:
    # The client offers these two for its own provider only.
    native = huggingface_hub.InferenceClient(model=url, provider="hf-inference")
    info = native.get_endpoint_info()
    assert (info["model_id"], info["max_total_tokens"], info["router"]) == ("pocket", 4096, "text-generation-router")
    assert native.health_check()


def test_the_asynchronous_hub_does_the_same(url: str) -> None:
    async def talk() -> None:
        async with huggingface_hub.AsyncInferenceClient(base_url=url, timeout=SECONDS) as hub:
            text = await hub.text_generation(PROMPT, max_new_tokens=4, return_full_text=False)
            stream = await hub.text_generation(PROMPT, max_new_tokens=4, stream=True)
            assert "".join([piece async for piece in stream]) == text
            answer = await hub.chat_completion(QUESTION, temperature=0.01, max_tokens=40)
            assert "Paris" in (answer.choices[0].message.content or "")
            chunks = await hub.chat_completion(QUESTION, temperature=0.01, max_tokens=40, stream=True)
            told = "".join([chunk.choices[0].delta.content or "" async for chunk in chunks])
            assert told == answer.choices[0].message.content
            with pytest.raises(hub_errors.ValidationError):
                await hub.text_generation("x", max_new_tokens=10_000)
        async with huggingface_hub.AsyncInferenceClient(model=url, provider="hf-inference") as native:
            assert (await native.get_endpoint_info())["model_id"] == "pocket"
            assert await native.health_check()

    asyncio.run(talk())
