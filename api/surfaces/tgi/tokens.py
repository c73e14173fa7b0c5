"""POST /tokenize and /chat_tokenize (sheet, section 8): how a prompt looks to the model, token by token.

The first path is llama.cpp's, too: which of the two a body means is told by its key, `inputs` or `content`, and it is
answered in those words, errors too. A chat is a chat of the OpenAI dialect.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from tropilla.api.surface import JSON, Enquiry, Question, Reply, Surroundings
from tropilla.api.surfaces.openai import faults as openai
from tropilla.api.surfaces.openai import tokens as llama_cpp
from tropilla.api.surfaces.tgi import about
from tropilla.api.surfaces.tgi.fault import fault
from tropilla.api.surfaces.tgi.parse import served_model
from tropilla.api.surfaces.tgi.schemas import GENERATE, read
from tropilla.api.surfaces.tgi.spans import spans
from tropilla.common.errors import InvalidPrompt, RequestError, TropillaError
from tropilla.common.generation import TextPrompt, Tokenized, TokenizeRequest, new_request_id


@dataclass(frozen=True, slots=True)
class Inputs:
    """What is remembered of a TGI body: the text whose bytes the tokens are counted in."""

    text: str


def parse_tokenize(body: JSON, surroundings: Surroundings) -> Question | Reply:
    if isinstance(body, dict) and body.get("inputs") is None and body.get("content") is not None:
        try:
            return dataclasses.replace(llama_cpp.parse_tokenize(body, surroundings), fault=openai.fault)
        except RequestError as error:
            return openai.fault(error)
    # The parameters are read, and change nothing; an empty text has its BOS.
    asked = read(GENERATE, body)
    request = TokenizeRequest(new_request_id(), served_model(surroundings).name, (TextPrompt(asked.inputs),))
    return Question(request, surroundings.now, Inputs(asked.inputs), prompt_field="inputs")


def answer_tokenize(question: Question, told: tuple[Tokenized, ...], now: float) -> Reply:
    if not isinstance(question.answer, Inputs):
        return llama_cpp.answer_tokenize(question, told, now)
    return Reply(_tokens(question.answer.text, told[0], markers=False))


def parse_chat_tokenize(body: JSON, surroundings: Surroundings) -> Question:
    return dataclasses.replace(llama_cpp.parse_messages(body, surroundings), fault=chat_fault)


def answer_chat_tokenize(_question: Question, told: tuple[Tokenized, ...], _now: float) -> Reply:
    text = told[0].text
    return Reply({"tokenize_response": _tokens(text, told[0], markers=True), "templated_text": text})


def chat_fault(error: TropillaError) -> Reply:
    """What a template says has a slug of its own."""
    if isinstance(error, InvalidPrompt) and error.code == "template":
        return Reply({"error": f"Template error: {error.message}", "error_type": "template_error"}, 422)
    return fault(error)


def _tokens(text: str, told: Tokenized, *, markers: bool) -> list[JSON]:
    """Offsets are bytes, and so a `text` may begin or end inside a character. Nothing stands where a token was added."""
    data = text.encode()
    places = (span or (0, 0) for span in spans(data, told.tokens, markers=markers))
    return [
        {"id": token.id, "text": data[start:stop].decode(errors="replace"), "start": start, "stop": stop}
        for token, (start, stop) in zip(told.tokens, places, strict=True)
    ]


ROUTES = (
    Enquiry("/tokenize", parse_tokenize, answer_tokenize, about.TOKENIZE),
    Enquiry("/chat_tokenize", parse_chat_tokenize, answer_chat_tokenize, about.CHAT_TOKENIZE),
)
