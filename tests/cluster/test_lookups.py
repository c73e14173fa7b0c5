"""Routes that ask a model something without generating, by the official clients: vectors, tokens, templates."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator, Sequence
from typing import Any

import numpy
import ollama
import openai
import pytest
import tiny
from cluster.conftest import HerdMaker
from cluster.herd import Herd, wait_for
from cluster.wire import TGI, ask, post
from huggingface_hub import InferenceClient
from numpy.typing import NDArray

#: llama.cpp looks its GELU up in a table of 16-bit numbers.
TABLE = 5e-3
#: The same text alone and in company (workers/llama/embedder.py).
ROUNDING = 1e-4
TEXTS = ["the old cat sings", "a dog", "the house of the river and the green dog runs"]
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
ENCODER = tiny.Encoder()


@pytest.fixture(scope="module")
def herd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Herd]:
    """The built-in chat model and a BERT that is computed by hand beside it, each on a worker of its own."""
    folder = tmp_path_factory.mktemp("lookups")
    herd = Herd(folder, threads=1)
    try:
        herd.start_worker(slots=2, ready=False)
        herd.start_worker(slots=1, model=f"bert={ENCODER.write(folder / 'bert.gguf')}")
        wait_for(lambda: len(herd.bus.catalogue().models) == 2, "both models")
        herd.start_api()
        yield herd
    finally:
        herd.stop()


@pytest.fixture
def openai_client(herd: Herd) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{herd.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def ollama_client(herd: Herd) -> Iterator[ollama.Client]:
    with ollama.Client(host=herd.base_url) as client:
        yield client


def by_hand(text: str) -> NDArray[Any]:
    """The vector as numpy computes it, at its own length."""
    return ENCODER.embed([tiny.CLS, *(tiny.TOKENS.index(f"▁{word}") for word in text.split()), tiny.SEP])


def apart(one: Sequence[float], other: Any) -> float:
    """The distance of two vectors, each brought to length 1."""
    first, second = (numpy.asarray(vector) / numpy.linalg.norm(vector) for vector in (one, other))
    return float(numpy.linalg.norm(first - second))


def length(vector: Sequence[float]) -> float:
    return float(numpy.linalg.norm(vector))


def answered(herd: Herd, path: str, body: Any, status: int = 200) -> Any:
    with post(herd, path, body) as answer:
        assert answer.status == status
        assert answer.request_id
        return answer.json()


# -- OpenAI ------------------------------------------------------------------------------------------------------------


def test_openai_gets_the_vectors_that_the_weights_say_in_the_order_of_its_inputs(openai_client: openai.OpenAI) -> None:
    answer = openai_client.embeddings.create(model="bert", input=TEXTS)
    assert [entry.index for entry in answer.data] == [0, 1, 2]
    for entry, text in zip(answer.data, TEXTS, strict=True):
        assert apart(entry.embedding, by_hand(text)) < TABLE
        assert length(entry.embedding) == pytest.approx(1)
    # Each with its two markers.
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(len(text.split()) + 2 for text in TEXTS)


def test_openai_reads_the_same_numbers_in_either_encoding(openai_client: openai.OpenAI, herd: Herd) -> None:
    body = {"model": "bert", "input": TEXTS[0]}
    packed = answered(herd, "/embeddings", {**body, "encoding_format": "base64"})["data"][0]["embedding"]
    plain = answered(herd, "/v1/embeddings", body)["data"][0]["embedding"]
    assert numpy.frombuffer(base64.b64decode(packed), "<f4").tolist() == plain
    # The client asks for base64 by itself.
    assert openai_client.embeddings.create(**body).data[0].embedding == plain


def test_openai_embeds_token_ids_as_the_text_they_spell(openai_client: openai.OpenAI, herd: Herd) -> None:
    ids = answered(herd, "/tokenize", {"content": TEXTS[0], "add_special": True, "model": "bert"})["tokens"]
    assert (ids[0], ids[-1]) == (tiny.CLS, tiny.SEP)
    mixed: Any = [TEXTS[0], ids, [*ids[:-1], ""]]
    text, tokens, behind = openai_client.embeddings.create(model="bert", input=mixed).data
    assert apart(text.embedding, tokens.embedding) < ROUNDING
    assert apart(behind.embedding, ENCODER.embed(ids[:-1])) < TABLE


def test_openai_may_send_two_thousand_inputs_and_one_that_is_empty(openai_client: openai.OpenAI) -> None:
    inputs = [TEXTS[place % 3] for place in range(2047)] + [""]
    answer = openai_client.embeddings.create(model="bert", input=inputs)
    vectors = numpy.array([entry.embedding for entry in answer.data])
    expected = numpy.array([by_hand(text) / length(by_hand(text)) for text in (*TEXTS, "")])
    wanted = expected[[*(place % 3 for place in range(2047)), 3]]
    assert float(numpy.linalg.norm(vectors - wanted, axis=1).max()) < TABLE


def test_openai_hears_of_an_input_that_is_too_long_or_has_it_cut(openai_client: openai.OpenAI) -> None:
    text = "the old cat sings " * 100
    with pytest.raises(openai.BadRequestError) as refused:
        openai_client.embeddings.create(model="bert", input=[TEXTS[0], text])
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "input")
    assert "This model's maximum context length is 96 tokens" in refused.value.message
    assert "too large" in refused.value.message
    cut = openai_client.embeddings.create(model="bert", input=text, extra_body={"truncate_prompt_tokens": 6})
    assert apart(cut.data[0].embedding, by_hand(TEXTS[0])) < TABLE
    assert cut.usage.prompt_tokens == 6


def test_openai_gets_no_vectors_of_a_chat_model_nor_short_ones(openai_client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="does not support embeddings"):
        openai_client.embeddings.create(model="pocket", input="Hi")
    with pytest.raises(openai.BadRequestError, match="matryoshka"):
        openai_client.embeddings.create(model="bert", input="Hi", dimensions=1)
    with pytest.raises(openai.NotFoundError):
        openai_client.embeddings.create(model="nobody", input="Hi")
    # Nobody's model is the one that was made for it.
    assert openai_client.embeddings.create(model="", input=TEXTS[0]).model == "bert"


def test_openai_embeds_asynchronously(herd: Herd) -> None:
    async def talk() -> list[list[float]]:
        async with openai.AsyncOpenAI(base_url=f"{herd.base_url}/v1", api_key="none", max_retries=0) as client:

            async def one(text: str) -> list[float]:
                return (await client.embeddings.create(model="bert", input=text)).data[0].embedding

            return await asyncio.gather(*(one(TEXTS[place % 3]) for place in range(24)))

    for place, vector in enumerate(asyncio.run(talk())):
        assert apart(vector, by_hand(TEXTS[place % 3])) < TABLE


# -- Ollama ------------------------------------------------------------------------------------------------------------


def test_ollama_embeds_one_text_and_several(ollama_client: ollama.Client) -> None:
    one, several = (ollama_client.embed(model="bert", input=given) for given in (TEXTS[0], TEXTS))
    assert (one.model, len(one.embeddings), len(several.embeddings)) == ("bert", 1, 3)
    for vector, text in zip(several.embeddings, TEXTS, strict=True):
        assert apart(vector, by_hand(text)) < TABLE
        assert length(vector) == pytest.approx(1)
    assert several.prompt_eval_count == sum(len(text.split()) + 2 for text in TEXTS)
    assert several.total_duration
    assert several.load_duration


def test_ollama_shortens_vectors_and_texts(ollama_client: ollama.Client) -> None:
    long = "the old cat sings " * 100
    short = ollama_client.embed(model="bert", input=TEXTS[0], dimensions=8, keep_alive="5m").embeddings[0]
    assert length(short) == pytest.approx(1)
    assert apart(short, by_hand(TEXTS[0])[:8]) < TABLE
    assert len(ollama_client.embed(model="bert", input=TEXTS[0], dimensions=99).embeddings[0]) == tiny.WIDTH
    cut = ollama_client.embed(model="bert", input=long, options={"num_ctx": 6}).embeddings[0]
    assert apart(cut, by_hand(TEXTS[0])) < TABLE
    assert ollama_client.embed(model="bert", input=long).prompt_eval_count == tiny.TRAINED
    for more, text in (
        ({"truncate": False}, "the input length exceeds the context length"),
        ({"options": {"num_ctx": 1}}, "input after truncation exceeds maximum context length"),
    ):
        with pytest.raises(ollama.ResponseError) as refused:
            ollama_client.embed(model="bert", input=["a dog", long], **more)
        assert (refused.value.status_code, refused.value.error) == (400, text)


def test_ollama_loads_with_nothing_to_embed_and_embeds_nothing_as_a_text(ollama_client: ollama.Client) -> None:
    assert ollama_client.embed(model="bert", input=[]).embeddings == []
    assert apart(ollama_client.embed(model="bert", input=[""]).embeddings[0], by_hand("")) < TABLE
    with pytest.raises(ollama.ResponseError, match='model "nobody" not found, try pulling it first'):
        ollama_client.embed(model="nobody", input="a")


def test_ollamas_older_route_gives_the_vector_at_its_own_length(ollama_client: ollama.Client) -> None:
    vector = ollama_client.embeddings(model="bert", prompt=TEXTS[0]).embedding
    assert length(vector) == pytest.approx(length(by_hand(TEXTS[0])), rel=TABLE)
    assert apart(vector, by_hand(TEXTS[0])) < TABLE
    assert ollama_client.embeddings(model="bert", prompt="").embedding == []


def test_ollama_may_ask_a_chat_model_for_the_mean_of_a_text(ollama_client: ollama.Client) -> None:
    sentence, other = "The cat is small.", "The capital of France is Paris."
    one, again, far = ollama_client.embed(model="pocket", input=[sentence, sentence, other]).embeddings
    assert apart(one, again) < ROUNDING < apart(one, far)


def test_ollama_embeds_asynchronously(herd: Herd) -> None:
    async def talk() -> list[ollama.EmbedResponse]:
        async with ollama.AsyncClient(host=herd.base_url) as client:
            return await asyncio.gather(*(client.embed(model="bert", input=TEXTS) for _ in range(8)))

    for answer in asyncio.run(talk()):
        assert apart(answer.embeddings[2], by_hand(TEXTS[2])) < TABLE


# -- tokens ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["The cat is small.", "naïve 日本 🦜\n", "<|im_start|>user"])
def test_tokens_of_a_text_are_told_spelled_and_put_together_again(herd: Herd, text: str) -> None:
    ids = answered(herd, "/tokenize", {"content": text})["tokens"]
    pieces = answered(herd, "/tokenize", {"content": text, "with_pieces": True})["tokens"]
    assert [piece["id"] for piece in pieces] == ids
    spelled = b"".join(p.encode() if isinstance(p, str) else bytes(p) for p in (piece["piece"] for piece in pieces))
    assert spelled.decode() == text
    assert answered(herd, "/detokenize", {"tokens": ids}) == {"content": text}


def test_a_marker_is_one_token_to_llama_cpp_and_text_to_tgi(herd: Herd) -> None:
    marker = "<|im_start|>"
    assert len(answered(herd, "/tokenize", {"content": marker})["tokens"]) == 1
    assert len(answered(herd, "/tokenize", {"content": marker, "parse_special": False})["tokens"]) > 1
    assert len(answered(herd, "/tokenize", {"inputs": marker})) > 1


def test_tgis_tokens_are_slices_of_the_text(herd: Herd) -> None:
    text = "Ein naïver Papagei: 日本 🦜."
    tokens = answered(herd, "/tokenize", {"inputs": text, "parameters": {"truncate": 2}})
    data = text.encode()
    assert b"".join(data[token["start"] : token["stop"]] for token in tokens) == data
    assert [token["text"] for token in tokens] == [
        data[token["start"] : token["stop"]].decode(errors="replace") for token in tokens
    ]


def test_a_chats_tokens_are_those_it_is_charged_for(openai_client: openai.OpenAI, herd: Herd) -> None:
    body = {"model": "pocket", "messages": QUESTION}
    used = openai_client.chat.completions.create(**body, max_tokens=1).usage
    assert used is not None
    counted = answered(herd, "/v1/chat/completions/input_tokens", body)
    assert counted == {"object": "response.input_tokens", "input_tokens": used.prompt_tokens}
    prompt = answered(herd, "/apply-template", body)["prompt"]
    assert QUESTION[0]["content"] in prompt
    told = answered(herd, "/chat_tokenize", body)
    assert told["templated_text"] == prompt
    assert len(told["tokenize_response"]) == used.prompt_tokens
    assert "".join(token["text"] for token in told["tokenize_response"]) == prompt
    assert answered(herd, "/tokenize", {"content": prompt})["tokens"] == [t["id"] for t in told["tokenize_response"]]


@pytest.mark.parametrize(
    ("path", "body", "status", "named"),
    [
        ("/v1/embeddings", b"{", 400, "JSON"),
        ("/v1/embeddings", {"model": "bert", "input": []}, 400, "input"),
        ("/v1/embeddings", {"model": "bert", "input": [999_999]}, 400, "vocabulary"),
        ("/detokenize", {"tokens": [999_999]}, 400, "vocabulary"),
        ("/apply-template", {"messages": []}, 400, "messages"),
        ("/v1/chat/completions/input_tokens", {}, 400, "messages"),
        ("/tokenize", {"content": 5}, 400, "content"),
        ("/tokenize", {"content": "x" * 300_000}, 400, "at most 65536 are told"),
    ],
)
def test_openais_and_llama_cpps_callers_are_refused_in_their_words(
    herd: Herd, path: str, body: Any, status: int, named: str
) -> None:
    said = answered(herd, path, body, status)
    assert named in said["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "status", "named"),
    [
        ("/tokenize", b"{", 422, "JSON"),
        ("/tokenize", {}, 422, "`inputs` is required"),
        ("/tokenize", {"inputs": "x" * 300_000}, 422, "at most 65536 are told"),
        ("/chat_tokenize", {"messages": []}, 422, "messages"),
        ("/api/embed", b"", 400, "missing request body"),
        ("/api/embed", {"model": "bert", "input": 5}, 400, "invalid input type"),
        ("/api/embeddings", {"prompt": "a"}, 400, "model is required"),
    ],
)
def test_tgis_and_ollamas_callers_are_refused_in_theirs(
    herd: Herd, path: str, body: Any, status: int, named: str
) -> None:
    assert named in answered(herd, path, body, status)["error"]


def test_a_question_takes_no_slot_from_whoever_generates(make_herd: HerdMaker) -> None:
    herd = make_herd(slots=1)
    herd.start_worker()
    herd.start_api()
    with post(herd, TGI, ask(TGI, "a", "endless", tokens=5000)) as running:
        tokens = running.items()
        first = next(tokens)["index"]
        assert len(answered(herd, "/tokenize", {"content": "abc"})["tokens"]) == 3
        vectors = answered(herd, "/api/embed", {"model": "endless", "input": ["abc", "d"]})["embeddings"]
        assert len(vectors) == 2
        # The only slot is still the stream's.
        assert [next(tokens)["index"] for _ in range(3)] == [first + 1, first + 2, first + 3]


def test_huggingface_hub_gets_the_features_of_a_model_that_cannot_write(herd: Herd) -> None:
    client = InferenceClient(base_url=f"{herd.base_url}/models/bert")
    features = client.feature_extraction(TEXTS[0])
    assert features.shape == (1, ENCODER.embed([tiny.CLS, tiny.SEP]).size)
    assert apart(features[0].tolist(), by_hand(TEXTS[0])) < TABLE
    raw = client.feature_extraction(TEXTS[0], normalize=False)
    assert length(raw[0].tolist()) == pytest.approx(length(by_hand(TEXTS[0])), rel=TABLE)
    assert length(features[0].tolist()) == pytest.approx(1.0, rel=1e-5)
