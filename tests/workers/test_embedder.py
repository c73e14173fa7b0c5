"""Vectors by real llama.cpp: the built-in model, and tiny ones that are computed by hand beside it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import llama_cpp
import numpy
import pytest
import tiny
from tropilla.common.errors import GenerationFailed
from tropilla.common.generation import Embedded, EmbeddingRequest, Fit, TextPrompt
from tropilla.workers import embeddings, pocket
from tropilla.workers.llama import embedder as embedder_module
from tropilla.workers.llama import library
from tropilla.workers.llama.embedder import Embedder, Vector
from tropilla.workers.llama.vocabulary import Vocabulary
from tropilla.workers.loop import Job

SENTENCES = [
    "The cat is small.",
    "Once upon a time there was a fox who lived in a wood.",
    "What is 2 plus 2?",
    "A dog.",
    "The capital of France is Paris, and the capital of Italy is Rome.",
]
#: llama.cpp looks its GELU up in a table of 16-bit numbers.
TABLE = 5e-3

Make = Callable[..., Embedder]


@pytest.fixture
def make() -> Iterator[Make]:
    """Embedders of a file, closed in the end."""
    library.start()
    with ExitStack() as stack:

        def made(path: Path, *, context: int = 512, **settings: Any) -> Embedder:
            model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
            stack.callback(llama_cpp.llama_model_free, model)
            embedder = Embedder(model, Vocabulary(model), context=context, threads=1, **settings)
            stack.callback(embedder.close)
            return embedder

        yield made


@pytest.fixture(scope="module")
def chat() -> Iterator[tuple[Any, Vocabulary]]:
    library.start()
    model = llama_cpp.llama_model_load_from_file(str(pocket.path()).encode(), llama_cpp.llama_model_default_params())
    yield model, Vocabulary(model)
    llama_cpp.llama_model_free(model)


def tokens(vocabulary: Vocabulary, *texts: str) -> list[list[int]]:
    return [vocabulary.tokenize(text, special=False, start=True) for text in texts]


def some_ids(*sizes: int) -> list[list[int]]:
    draw = numpy.random.default_rng(7)
    words = range(tiny.MASK + 1, len(tiny.TOKENS))
    return [[tiny.CLS, *(int(draw.choice(words)) for _ in range(size - 2)), tiny.SEP] for size in sizes]


def distance(one: Vector, other: Vector) -> float:
    """As a share of the larger one's length."""
    longer = max(float(numpy.linalg.norm(one)), float(numpy.linalg.norm(other)))
    return float(numpy.linalg.norm(one - other)) / longer


def by_llama(model: Any, ids: Sequence[int], pooling: int) -> Vector:
    """One input in one pass of a context of its own, pooled by llama.cpp."""
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 512
    params.embeddings, params.pooling_type, params.n_threads = True, pooling, 1
    params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    context = llama_cpp.llama_init_from_model(model, params)
    array = (llama_cpp.llama_token * len(ids))(*ids)
    assert llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(ids))) == 0
    width = llama_cpp.llama_model_n_embd(model)
    vector = numpy.array(llama_cpp.llama_get_embeddings_seq(context, 0)[:width], numpy.float32)
    llama_cpp.llama_free(context)
    return vector


@pytest.mark.parametrize("pooling", [tiny.Pooling.MEAN, tiny.Pooling.CLS, tiny.Pooling.LAST])
def test_an_encoders_vectors_are_those_computed_by_hand(pooling: tiny.Pooling, make: Make, tmp_path: Path) -> None:
    encoder = tiny.Encoder(pooling=pooling)
    inputs = some_ids(3, 17, 40, 2)
    vectors = make(encoder.write(tmp_path / "m.gguf")).embed(inputs)
    for ids, vector in zip(inputs, vectors, strict=True):
        assert distance(vector, encoder.embed(ids)) < TABLE
    assert distance(vectors[0], vectors[1]) > 10 * TABLE


def test_an_encoder_whose_header_says_nothing_gives_the_mean(make: Make, tmp_path: Path) -> None:
    [ids] = some_ids(12)
    [vector] = make(tiny.Encoder(pooling=None).write(tmp_path / "m.gguf")).embed([ids])
    assert distance(vector, tiny.Encoder().embed(ids)) < TABLE


def test_word_pieces_get_the_encoders_own_markers(make: Make, tmp_path: Path) -> None:
    path = tiny.Encoder().write(tmp_path / "m.gguf")
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    text, empty = tokens(Vocabulary(model), "the old cat sings", "")
    llama_cpp.llama_model_free(model)
    assert [tiny.TOKENS[token] for token in text] == ["[CLS]", "▁the", "▁old", "▁cat", "▁sings", "[SEP]"]
    assert empty == [tiny.CLS, tiny.SEP]


@pytest.mark.parametrize("length", [1, 12, 100, 400])
def test_a_chat_models_vector_is_the_mean_as_llama_computes_it(chat: tuple[Any, Vocabulary], length: int) -> None:
    model, vocabulary = chat
    ids = (tokens(vocabulary, " ".join(SENTENCES * 10))[0])[:length]
    embedder = Embedder(model, vocabulary, context=512, threads=1)
    [vector] = embedder.embed([ids])
    embedder.close()
    assert distance(vector, by_llama(model, ids, llama_cpp.LLAMA_POOLING_TYPE_MEAN)) < 5e-3


@pytest.mark.parametrize("pooling", [tiny.Pooling.MEAN, tiny.Pooling.CLS, tiny.Pooling.LAST])
def test_a_decoder_pools_as_its_header_says_also_in_chunks(pooling: tiny.Pooling, make: Make, tmp_path: Path) -> None:
    path = tiny.write_decoder(tmp_path / "m.gguf", pooling=pooling)
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    embedder = make(path, pass_tokens=32)
    for [ids] in ([one] for one in some_ids(5, 32, 33, 90)):
        assert distance(embedder.embed([ids])[0], by_llama(model, ids, int(pooling))) < 1e-4
    llama_cpp.llama_model_free(model)


def test_an_input_has_the_same_vector_alone_and_in_company(chat: tuple[Any, Vocabulary]) -> None:
    model, vocabulary = chat
    embedder = Embedder(model, vocabulary, context=512, threads=1)
    inputs = tokens(vocabulary, *SENTENCES)
    for ids, vector in zip(inputs, embedder.embed(inputs), strict=True):
        assert distance(embedder.embed([ids])[0], vector) < 1e-5
    embedder.close()


def test_so_it_is_with_decoders_that_see_everything(make: Make, tmp_path: Path) -> None:
    whole = make(tiny.write_decoder(tmp_path / "whole.gguf", causal=False))
    causal = make(tiny.write_decoder(tmp_path / "causal.gguf"))
    inputs = some_ids(4, 30, 9)
    vectors = whole.embed(inputs)
    for ids, vector in zip(inputs, vectors, strict=True):
        assert distance(whole.embed([ids])[0], vector) < 1e-5
    assert distance(vectors[1], causal.embed(inputs)[1]) > 0.01


def test_a_t5_encoder_is_encoded(make: Make, tmp_path: Path) -> None:
    embedder = make(tiny.write_t5_encoder(tmp_path / "m.gguf"))
    inputs = some_ids(4, 30, 9)
    for ids, vector in zip(inputs, embedder.embed(inputs), strict=True):
        assert distance(embedder.embed([ids])[0], vector) < 1e-5


def test_nothing_of_one_pass_is_seen_in_the_next(chat: tuple[Any, Vocabulary]) -> None:
    model, vocabulary = chat
    embedder = Embedder(model, vocabulary, context=512, threads=1)
    inputs = tokens(vocabulary, *SENTENCES)
    first = embedder.embed(inputs[:2])
    embedder.embed([(inputs[4] * 40)[:512]])
    assert [numpy.array_equal(a, b) for a, b in zip(first, embedder.embed(inputs[:2]), strict=True)] == [True, True]
    embedder.close()


@pytest.mark.parametrize("size", [tiny.TRAINED, tiny.TRAINED - 1])
def test_an_encoder_takes_inputs_as_long_as_it_was_trained_for(size: int, make: Make, tmp_path: Path) -> None:
    encoder = tiny.Encoder()
    embedder = make(encoder.write(tmp_path / "m.gguf"), context=4096, pass_tokens=32)
    [ids] = some_ids(size)
    assert (embedder.longest, embedder.tokens, embedder.length) == (tiny.TRAINED, 32, tiny.WIDTH)
    assert distance(embedder.embed([ids])[0], encoder.embed(ids)) < TABLE


def test_what_llama_would_end_the_process_for_is_not_asked_of_it(make: Make, tmp_path: Path) -> None:
    embedder = make(tiny.Encoder().write(tmp_path / "m.gguf"), pass_tokens=32)
    for inputs in (some_ids(tiny.TRAINED + 1), some_ids(20, 20), [[]], [], some_ids(*[2] * 65)):
        with pytest.raises(AssertionError):
            embedder.embed(inputs)
    assert not embedder.is_open


def test_a_full_pass_of_many_inputs(make: Make, tmp_path: Path) -> None:
    encoder = tiny.Encoder()
    embedder = make(encoder.write(tmp_path / "m.gguf"))
    inputs = some_ids(*[2] * embedder.sequences)
    assert len(embedder.embed(inputs)) == embedder.sequences == 64
    inputs = some_ids(64, 64)
    assert sum(map(len, inputs)) == embedder.tokens
    assert distance(embedder.embed(inputs)[1], encoder.embed(inputs[1])) < TABLE


def test_a_large_vocabulary_gets_smaller_passes(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder_module, "LOGITS_BYTES", 4 * len(tiny.TOKENS) * 50)
    assert make(tiny.Encoder().write(tmp_path / "m.gguf")).tokens == 50


def test_a_model_that_ranks_is_refused(make: Make, tmp_path: Path) -> None:
    embedder = make(tiny.write_decoder(tmp_path / "m.gguf", pooling=tiny.Pooling.RANK))
    with pytest.raises(GenerationFailed) as refused:
        embedder.embed(some_ids(3))
    assert refused.value.code == "unsupported"
    assert not embedder.is_open


def test_what_llama_refuses_is_said_and_the_next_pass_is_fine(make: Make, tmp_path: Path) -> None:
    encoder = tiny.Encoder()
    embedder = make(encoder.write(tmp_path / "m.gguf"))
    [ids] = some_ids(5)
    with pytest.raises(GenerationFailed, match="llama_decode answered -1 for 2 tokens"):
        embedder.embed([[tiny.CLS, len(tiny.TOKENS)]])
    assert distance(embedder.embed([ids])[0], encoder.embed(ids)) < TABLE


def test_no_memory_for_a_context_is_said(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = make(tiny.Encoder().write(tmp_path / "m.gguf"))
    monkeypatch.setattr(llama_cpp, "llama_init_from_model", lambda *_: None)
    with pytest.raises(GenerationFailed, match="no memory"):
        embedder.embed(some_ids(3))


def resident_bytes() -> int:
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from Linux's /proc")
def test_memory_is_taken_by_the_first_input_and_given_back_by_close(chat: tuple[Any, Vocabulary]) -> None:
    model, vocabulary = chat
    inputs = tokens(vocabulary, *SENTENCES)
    embedder = Embedder(model, vocabulary, context=16_384, threads=1, pass_tokens=512)
    embedder.longest = 16_384
    before = resident_bytes()
    assert not embedder.is_open
    vectors = embedder.embed(inputs)
    taken = resident_bytes() - before
    embedder.close()
    assert not embedder.is_open
    assert taken > 8 * 2**20
    assert resident_bytes() - before < taken / 4
    again = embedder.embed(inputs)
    embedder.close()
    assert all(numpy.array_equal(one, other) for one, other in zip(vectors, again, strict=True))


def test_from_text_to_a_finished_vector(make: Make, tmp_path: Path) -> None:
    encoder = tiny.Encoder()
    path = encoder.write(tmp_path / "m.gguf")
    embedder = make(path)
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    long = " ".join(["the cat sings"] * 50)
    prompts = tuple(TextPrompt(text) for text in ("the green house", "", long))
    request = EmbeddingRequest("r", "m", prompts, dimensions=16, fit=Fit(overlong="shorten"))
    ids = embeddings.inputs(request, Vocabulary(model), longest=embedder.longest, length=embedder.length)
    llama_cpp.llama_model_free(model)
    assert [(len(one), one[-1]) for one in ids] == [(5, tiny.SEP), (2, tiny.SEP), (tiny.TRAINED, tiny.SEP)]
    desk = embeddings.Desk(embedder, worker="w")
    desk.add(Job("r", 1, 3), ids, dimensions=request.dimensions, normalize=request.normalize)
    events = [said.event for _ in range(2) for said in desk.step()]
    assert desk.idle
    for one, event in zip(ids, events, strict=True):
        assert isinstance(event, Embedded)
        wanted = encoder.embed(one)[:16]
        assert distance(numpy.array(event.floats, numpy.float32), wanted / numpy.linalg.norm(wanted)) < TABLE


def test_two_threads_may_use_the_same_weights_each_through_a_context_of_its_own(chat: tuple[Any, Vocabulary]) -> None:
    model, vocabulary = chat
    ids = tokens(vocabulary, *SENTENCES)
    embedders = [Embedder(model, vocabulary, context=512, threads=1) for _ in range(2)]
    alone = embedders[0].embed(ids)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda embedder: [embedder.embed(ids) for _ in range(20)], embedders))
    for vectors in (one for thread in both for one in thread):
        assert [numpy.array_equal(a, b) for a, b in zip(alone, vectors, strict=True)] == [True] * len(ids)
    for embedder in embedders:
        embedder.close()
