from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import orjson
import pytest
from fakes import MODEL, WORKER, request
from tropilla.common import codec
from tropilla.common.catalogue import Definition, Trouble
from tropilla.common.errands import (
    Apply,
    Configure,
    Copy,
    Create,
    Delete,
    Done,
    Errand,
    Import,
    Look,
    Progress,
    Pull,
    Refused,
    Word,
)
from tropilla.common.errors import DecodeError
from tropilla.common.generation import (
    BAN,
    Alternative,
    CallDelta,
    ChatPrompt,
    Constraint,
    Embedded,
    EmbeddingRequest,
    Event,
    Failed,
    Finished,
    Fit,
    InfillPrompt,
    Loaded,
    LoadRequest,
    LocalTemplates,
    Message,
    MixedPrompt,
    Prompted,
    PromptToken,
    Request,
    Sampling,
    TextPrompt,
    Timings,
    Token,
    Tokenized,
    TokenizeRequest,
    TokenPrompt,
    Tool,
    ToolCall,
    Usage,
)
from tropilla.common.orders import Order
from tropilla.common.recipes import File, Overlay, Polish, Recipe

EVENTS: list[Event] = [
    Token(0, 0, 17, "naïve 👍"),
    Token(5, 3, 0, "", special=True, last=True),
    Token(
        1, 0, 2, "x", piece=b"\xf0\x9f", logprob=-0.25, top=(Alternative(1, b"\xff", -1.5), Alternative(2, b"", -2.0))
    ),
    Token(1, 0, 2, "", logprob=0.0),
    Finished(9, 1, "eos", Usage(1, 2, 3), 2**32 - 2),
    Token(
        1, 0, 2, "so", piece=b"so", logprob=-1.0, reasoning="because", calls=(CallDelta(0, "f"), CallDelta(0, "", "{"))
    ),
    Token(1, 0, 2, "", reasoning="hm", last=True),
    Token(1, 0, 2, "", calls=(CallDelta(1, arguments='"a"'),)),
    Prompted(0, 1, (PromptToken(5, b"\x80a"), PromptToken(6, b"x", -2.5, (Alternative(7, b"\xff", -0.5),)))),
    Finished(9, 1, "stop", Usage(1, 2, 3, 1), 0, "\n\n", Timings(0.5, 0.25, 1.25, 2.0), "cpu-1@host"),
    Finished(9, 1, "stop", Usage(1, 2, 3), 0, stop_token=17),
    Embedded(2, 1, b"\x00\x00\x80?\x00\x00\x00\xbf", 4, "cpu-1@host", 0.25),
    Tokenized(1, 1, (PromptToken(5, b"\xf0\x9f"), PromptToken(6, b"x", special=True)), "naïve\n", "cpu-1@host"),
    Loaded(0, 0, 1.25, "cpu-1@host"),
    Failed(0, "context_length", 'too "long"\n', {"prompt_tokens": 9, "context": 4}),
    Failed(3, "internal", ""),
]

CHAT = ChatPrompt(
    (
        Message("system", "be"),
        Message("user", "\u2028 \x00 '\"", name="n"),
        Message("assistant", "", tool_calls=(ToolCall("f", '{"a": 1}', "c1"), ToolCall("g", ""))),
        Message("tool", "7", tool_call_id="c1", reasoning="because"),
    ),
    (Tool("f", "does", '{"type":"object"}'), Tool("g")),
    (1, 2, 3),
    tool_choice="required",
    named_tool="f",
    parallel_calls=False,
    effort="low",
    variables='{"documents": []}',
    continue_last=False,
    template="{{ .Prompt }}",
)
LOCAL = LocalTemplates("a", "b", "c", "d", "e", (("user", "USER:"), ("system", "")), "be", "")
REQUESTS: list[Request] = [
    request(),
    request(prompts=(CHAT, TextPrompt("x", True, (4,)), TokenPrompt((5, 6)), TokenPrompt(()))),
    request(
        sampling=Sampling(
            temperature=0.0,
            top_k=40,
            top_p=0.9,
            min_p=0.1,
            typical_p=0.5,
            repeat_penalty=1.1,
            repeat_last_n=-1,
            presence_penalty=0.5,
            frequency_penalty=-0.5,
            top_n_sigma=1.5,
            dynatemp_range=0.5,
            dynatemp_exponent=2.0,
            xtc_probability=0.5,
            xtc_threshold=0.2,
            dry_multiplier=0.8,
            dry_base=2.0,
            dry_allowed_length=3,
            dry_penalty_last_n=64,
            dry_sequence_breakers=("\n", "\u2028"),
            mirostat=2,
            mirostat_tau=4.0,
            mirostat_eta=0.2,
            logit_bias=((17, -100.0), (" word", BAN)),
            watermark_delta=2.0,
            watermark_gamma=0.25,
            seed=2**32 - 2,
        ),
        n=3,
        max_tokens=0,
        stop=("a", "\n"),
        keep_stop=True,
        logprobs=5,
        want_prompt=True,
        prompt_logprobs=2,
        min_tokens=2,
        stop_tokens=(4, 5),
        ignore_eos=True,
        constraint=Constraint("schema", '{"type": "object"}'),
        parse_reply=True,
        fit=Fit("shorten", 4, 100, "refuse", True, 512),
        adapter="org/poet:v2",
    ),
    request(prompts=(InfillPrompt("def add(", "return c"), InfillPrompt("a", "b", "{{ .Suffix }}"))),
    request(prompts=(MixedPrompt((1, "a", 2)),), show_markers=True),
    EmbeddingRequest("e1", "pocket", (TextPrompt("x"), TokenPrompt((1,))), 64, False, Fit("shorten")),
    TokenizeRequest("k1", "pocket", (CHAT, TokenPrompt((1, 2))), opens=False),
    request(prompts=(replace(CHAT, template=LOCAL), TextPrompt("x", template=LOCAL)), keep_alive=-1.0),
    LoadRequest("l1", "pocket", keep_alive=2.5),
]


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_comes_back_as_it_was(event: Event) -> None:
    data = codec.encode_event(event)
    assert codec.decode_event(event.index, data) == event
    assert b"\n" not in data


def test_every_type_of_event_is_in_the_table_of_cases() -> None:
    assert {type(event) for event in EVENTS} == {kind for kind, _, _ in codec.EVENTS.values()}


@pytest.mark.parametrize("asked", REQUESTS)
def test_every_request_comes_back_as_it_was(asked: Request) -> None:
    back = codec.decode_request(codec.encode_request(asked))
    assert back == asked
    assert hash(back) == hash(asked)


FILE = File("a" * 64, 7, "x-00001-of-00002.gguf", "/models/x")
OVERLAY = Overlay(
    "{{ .Prompt }}", "be", (Message("user", "hi", tool_calls=(ToolCall("f", "{}"),)),),
    (("temperature", 0.5), ("stop", ("a", "b"))), ("MIT",),
    "root ::= [0-9]", Polish(("a",), ("b",), ("c",), ("d",)),
)  # fmt: skip
DEFINITIONS = [
    Definition(MODEL, Recipe("m@abc", (FILE,))),
    Definition(
        replace(MODEL, adapters=("poet", "org/cook:v2"), pinned_as="m@abc", overlay=OVERLAY, parent="base"),
        Recipe("m@abc", (FILE, FILE), (("poet", FILE),), FILE, 4096, 2, 3, 0, "q8_0", ("gpu",), "avx2", True),
        "https://example.org/m.gguf",
        preload=True,
        keeps=True,
        hidden=True,
    ),
    Definition(replace(MODEL, overlay=replace(OVERLAY, template=LOCAL)), Recipe("m", (FILE,))),
]
WORKERS = [
    WORKER,
    replace(WORKER, model=None, state="idle", own=DEFINITIONS[1], features=("avx", "avx2")),
    replace(WORKER, ordered=True, running=2, idle_seconds=1.5, expires_in=3.5, progress=0.5, next_pin="n", gpu_bytes=7),
    replace(WORKER, state="draining", returns=True),
]
ERRANDS: list[Errand] = [
    Pull("e", "hf.co/o/r:Q4_0", "m", "a" * 64, insecure=True, again=True, projector="hf.co/o/r/mmproj.gguf"),
    Create("e", "m", "base", (("x.gguf", "a" * 64),), (("l.gguf", "b" * 64),), OVERLAY, True, True, "Q4_0"),
    Copy("e", "a", "b"),
    Delete("e", "a"),
    Import("e", "a", "/x.gguf", link=True, projector="/y.gguf"),
    Configure("e", "a", DEFINITIONS[1].recipe, OVERLAY, "/y.gguf"),
    Configure("e", "a"),
    Apply("e", "apiVersion: v1alpha1", "/x"),
    Look("e", "https://example.org/cat.png", 20 << 20),
]
WORDS: list[Word] = [
    Progress("pulling manifest"),
    Progress("pulling", "a" * 64, 10, 5, "m"),
    Done("m", ("careful",)),
    Refused("unknown", "no such model", "model"),
]


def test_control_messages_come_back_as_they_were() -> None:
    for worker in WORKERS:
        assert codec.decode_worker(codec.encode_worker(worker)) == worker
    for definition in DEFINITIONS:
        assert codec.decode_definition(codec.encode_definition(definition)) == definition
        assert codec.decode_order(codec.encode_order(Order(definition))) == Order(definition)
    assert codec.decode_order(codec.encode_order(Order(None))) == Order(None)
    trouble = Trouble("not_gguf", "it is no GGUF file")
    assert codec.decode_trouble(codec.encode_trouble(trouble)) == trouble
    for errand in ERRANDS:
        assert codec.decode_errand(codec.encode_errand(errand)) == errand
    for word in WORDS:
        assert codec.decode_word(codec.encode_word(word)) == word


def test_every_errand_and_word_is_in_the_table_of_cases() -> None:
    assert {type(errand) for errand in ERRANDS} == set(codec.ERRANDS.values())
    assert {type(word) for word in WORDS} == set(codec.WORDS.values())


def test_a_neighbouring_release_may_know_more_fields() -> None:
    told = orjson.loads(codec.encode_worker(WORKER))
    told["model"]["mood"] = told["weather"] = "fine"
    assert codec.decode_worker(orjson.dumps(told)) == WORKER


JUNK = [
    b"", b"\xff", b"null", b"7", b'"t"', b"[]", b"{}", b"[[]]", b"[{}]", b'["?"]', b"[" * 5000,
    b'["t"]', b'["t",0,1,"x"]', b'["t",0,1,"x",null]', b'["t",0,1,"x",0,1,2,3]', b'["t",0,1,"x",4,"\xe2\x82\xac",-1.0,[]]',
    b'["f",0,"eos"]', b'["f",0,"eos",[1],0,"",[],"",[]]', b'["x"]', b'["x","internal"]', b'{"model":null}',
    b'{"version":1}', b'{"version":1,"request":null,"prompts":[]}', b'{"version":1,"request":{"sampling":[]},"prompts":[]}',
]  # fmt: skip


@pytest.mark.parametrize("data", JUNK)
def test_junk_is_a_decode_error_that_keeps_the_bytes(data: bytes) -> None:
    read_event: Callable[[bytes], object] = lambda d: codec.decode_event(0, d)  # noqa: E731
    others = (codec.decode_worker, codec.decode_order, codec.decode_errand, codec.decode_word)
    for read in (read_event, codec.decode_request, *others):
        with pytest.raises(DecodeError) as caught:
            read(data)
        assert caught.value.data == data


def test_a_request_with_a_piece_missing_or_too_many_is_a_decode_error() -> None:
    whole = orjson.loads(codec.encode_request(request(prompts=(CHAT,))))
    for part in ("request", "prompts"):
        with pytest.raises(DecodeError):
            codec.decode_request(orjson.dumps({key: value for key, value in whole.items() if key != part}))
    for change in ({"sampling": {"warmth": 1}}, {"unknown": 1}, {"fit": None}):
        with pytest.raises(DecodeError):
            codec.decode_request(orjson.dumps({**whole, "request": {**whole["request"], **change}}))
    with pytest.raises(DecodeError):
        codec.decode_request(orjson.dumps({**whole, "prompts": [{"kind": "song", "prompt": {}}]}))


def test_no_mutation_of_an_event_gets_past_as_another_exception() -> None:
    chance = random.Random(5)
    for _ in range(3000):
        data = bytearray(codec.encode_event(chance.choice(EVENTS)))
        for _ in range(chance.randint(1, 3)):
            data[chance.randrange(len(data))] = chance.choice(b'[]{}",:019tfx-.\\null\xff')
        with suppress(DecodeError):
            codec.decode_event(0, bytes(data))


def test_a_newer_ticket_is_refused_by_its_version() -> None:
    newer = {**orjson.loads(codec.encode_request(request())), "version": codec.VERSION + 1}
    with pytest.raises(DecodeError, match=f"version {codec.VERSION + 1}"):
        codec.decode_request(orjson.dumps(newer))
