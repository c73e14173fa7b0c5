"""POST /tokenize, shared with llama.cpp, and /chat_tokenize; and where in a text its tokens stand."""

from __future__ import annotations

from typing import Any

import pytest
from openai_events import HELLO, NOW, surroundings
from tropilla.api.surface import Question, Reply
from tropilla.api.surfaces.tgi.fault import fault
from tropilla.api.surfaces.tgi.spans import spans
from tropilla.api.surfaces.tgi.tokens import (
    answer_chat_tokenize,
    answer_tokenize,
    parse_chat_tokenize,
    parse_tokenize,
)
from tropilla.common.errors import InvalidPrompt, TropillaError, WorkerLost
from tropilla.common.generation import PromptToken, TextPrompt, Tokenized, TokenizeRequest

BOS = PromptToken(0, b"<s>", special=True)
END = PromptToken(1, b"</s>", special=True)


def question(parse: Any, body: Any) -> Question:
    parsed = parse(body, surroundings())
    assert isinstance(parsed, Question)
    return parsed


def refusal(parse: Any, body: Any) -> Reply:
    try:
        reply = parse(body, surroundings())
    except TropillaError as error:
        return fault(error)
    assert isinstance(reply, Reply)
    return reply


def told(text: str, *tokens: PromptToken) -> tuple[Tokenized, ...]:
    return (Tokenized(0, 0, tokens, text, "w"),)


# -- spans -------------------------------------------------------------------------------------------------------------

#: (text, what the tokens spell, each one's part of the text). `<s>` and `</s>` are markers.
SPELLINGS: list[tuple[str, list[bytes], list[str | None]]] = [
    ("", [], []),
    ("", [b"<s>"], [None]),
    ("Hello you", [b"<s>", b"Hel", b"lo", b" you"], [None, "Hel", "lo", " you"]),
    ("<s>a</s>", [b"<s>", b"<", b"s", b">", b"a", b"</", b"s>"], [None, "<", "s", ">", "a", "</", "s>"]),
    # A vocabulary that puts a space in front of every text.
    ("Hello you", [b"<s>", b" Hello", b" you"], [None, "Hello", " you"]),
    # One that drops spaces and writes small letters.
    ("The  CAT\ns.", [b"<s>", b" the", b" cat", b" s", b" .", b"</s>"], [None, "The", "CAT", "s", ".", None]),
    # One that takes accents off: the word is lost, whatever its pieces, and the next one is not.
    ("a café is old", [b" a", b" ca", b"fe", b" is", b" old"], ["a", " ca", None, " is", " old"]),
    ("é è a", [b" e", b" e", b" a"], [None, None, "a"]),
    # Words it does not know, as markers between.
    ("cat xyz zyx dog", [b"<s>", b" cat", b"<s>", b"<s>", b" dog", b"</s>"], [None, "cat", None, None, "dog", None]),
    # Something that is nowhere in the text at all.
    ("abc", [b"zzz", b"abc"], [None, None]),
    ("abc", [b"", b"abc"], [None, "abc"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "pieces", "parts"), SPELLINGS)
def test_a_token_stands_where_the_text_spells_it(text: str, pieces: list[bytes], parts: list[str | None]) -> None:
    tokens = [PromptToken(at, piece, special=piece in (b"<s>", b"</s>")) for at, piece in enumerate(pieces)]
    found = list(spans(text.encode(), tokens, markers=False))
    data = text.encode()
    assert [None if span is None else data[span[0] : span[1]].decode().lstrip() for span in found] == [
        None if part is None else part.lstrip() for part in parts
    ]
    places = [span for span in found if span]
    assert places == sorted(places)


def test_a_marker_that_a_template_wrote_stands_in_its_text() -> None:
    tokens = [BOS, PromptToken(5, b"Hi"), END]
    assert list(spans(b"<s>Hi</s>", tokens, markers=True)) == [(0, 3), (3, 5), (5, 9)]
    assert list(spans(b"Hi</s>", tokens, markers=True)) == [None, (0, 2), (2, 6)]


def test_a_long_text_is_searched_once() -> None:
    text = b"A B " * 50_000
    tokens = [PromptToken(1, b" a"), PromptToken(2, b" b")] * 50_000
    *_, last = spans(text, tokens, markers=False)
    assert last == (len(text) - 2, len(text) - 1)


# -- TGI's tokenize ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": "Hi"},
        {"inputs": "Hi", "content": "Ho", "parameters": {"truncate": 1}},
        {"inputs": "Hi", "parameters": {"temperature": 0}},
    ],
)
def test_inputs_are_tokenized_with_what_the_model_adds(body: Any) -> None:
    asked = question(parse_tokenize, body)
    assert asked.request == TokenizeRequest(asked.request.id, "pocket", (TextPrompt("Hi"),), opens=True)
    assert (asked.prompt_field, asked.fault) == ("inputs", None)


def test_offsets_count_bytes_and_halves_of_characters_are_told_as_such() -> None:
    asked = question(parse_tokenize, {"inputs": "né!"})
    reply = answer_tokenize(asked, told("né!", BOS, PromptToken(7, b"n\xc3"), PromptToken(8, b"\xa9!")), NOW)
    assert reply.body == [
        {"id": 0, "text": "", "start": 0, "stop": 0},
        {"id": 7, "text": "n\ufffd", "start": 0, "stop": 2},
        {"id": 8, "text": "\ufffd!", "start": 2, "stop": 4},
    ]


def test_an_empty_text_has_only_what_is_added() -> None:
    asked = question(parse_tokenize, {"inputs": ""})
    assert answer_tokenize(asked, told("", BOS), NOW).body == [{"id": 0, "text": "", "start": 0, "stop": 0}]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ([], "the body must be an object"),
        ({}, "`inputs` is required"),
        ({"prompt": "Hi"}, "`inputs` is required"),
        ({"inputs": None, "content": None}, "`inputs` is required"),
        ({"inputs": 5}, "`inputs` must be a string"),
        ({"inputs": 5, "content": "Hi"}, "`inputs` must be a string"),
        ({"inputs": "Hi", "parameters": {"seed": "x"}}, "`seed` must be an integer"),
    ],
)
def test_tgi_hears_of_a_wrong_body_in_its_own_words(body: Any, text: str) -> None:
    reply = refusal(parse_tokenize, body)
    assert (reply.status, reply.body["error_type"]) == (422, "validation")
    assert text in reply.body["error"]


# -- llama.cpp's tokenize ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "special", "opens"),
    [
        ({}, True, False),
        ({"add_special": True}, True, True),
        ({"parse_special": False, "add_special": None}, False, False),
        ({"inputs": None, "model": "pocket"}, True, False),
    ],
)
def test_content_is_tokenized_as_llama_cpp_would(more: dict[str, Any], special: bool, opens: bool) -> None:
    asked = question(parse_tokenize, {"content": "Hi", **more})
    assert asked.request == TokenizeRequest(
        asked.request.id, "pocket", (TextPrompt("Hi", special=special),), opens=opens
    )


def test_content_is_told_as_ids_or_with_pieces_byte_by_byte_where_they_are_no_text() -> None:
    tokens = told("é", PromptToken(5, b"\xc3"), PromptToken(6, b" a"))
    plain, pieces = ({"content": "é"}, {"content": "é", "with_pieces": True})
    assert answer_tokenize(question(parse_tokenize, plain), tokens, NOW).body == {"tokens": [5, 6]}
    assert answer_tokenize(question(parse_tokenize, pieces), tokens, NOW).body == {
        "tokens": [{"id": 5, "piece": [0xC3]}, {"id": 6, "piece": " a"}]
    }


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"content": 5}, 400, "content"),
        ({"content": ["a"]}, 400, "content"),
        ({"content": "a", "with_pieces": "yes"}, 400, "with_pieces"),
        ({"content": "a", "model": "nobody"}, 404, "model"),
    ],
)
def test_llama_cpp_hears_of_a_wrong_body_in_openais_words(body: Any, status: int, param: str) -> None:
    reply = refusal(parse_tokenize, body)
    assert (reply.status, reply.body["error"]["param"]) == (status, param)


def test_what_goes_wrong_later_is_told_in_the_words_of_whoever_asked() -> None:
    lost = WorkerLost("gone", code="worker_lost")
    asked = question(parse_tokenize, {"content": "Hi"})
    assert asked.fault is not None
    assert isinstance(asked.fault(lost).body["error"], dict)


# -- chat_tokenize -----------------------------------------------------------------------------------------------------


def test_a_chat_is_told_as_text_and_as_tokens_in_it() -> None:
    asked = question(parse_chat_tokenize, {**HELLO, "model": "tgi"})
    text = "<|im|>Hi"
    reply = answer_chat_tokenize(
        asked, told(text, BOS, PromptToken(3, b"<|im|>", special=True), PromptToken(5, b"Hi")), NOW
    )
    assert reply.body["templated_text"] == text
    assert [(token["text"], token["start"], token["stop"]) for token in reply.body["tokenize_response"]] == [
        ("", 0, 0),
        ("<|im|>", 0, 6),
        ("Hi", 6, 8),
    ]


def test_a_chat_that_is_wrong_is_refused_in_tgis_words_and_a_templates_own_have_a_slug() -> None:
    reply = refusal(parse_chat_tokenize, {"messages": []})
    assert (reply.status, reply.body["error_type"]) == (422, "validation")
    asked = question(parse_chat_tokenize, HELLO)
    assert asked.fault is not None
    template = asked.fault(InvalidPrompt("roles must alternate", code="template"))
    assert (template.status, template.body) == (
        422,
        {"error": "Template error: roles must alternate", "error_type": "template_error"},
    )
    assert asked.fault(InvalidPrompt("no", code="invalid_prompt")).body["error_type"] == "validation"
    assert asked.fault(WorkerLost("gone")).status == 500
