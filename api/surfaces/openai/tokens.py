"""How a prompt looks to the model, in llama.cpp's words (sheet, section 1): nothing is generated.

POST /tokenize                          {content}   -> {tokens}         the path is TGI's, too: see `tgi.tokens`
POST /detokenize                        {tokens}    -> {content}
POST /apply-template                    {messages}  -> {prompt}         the body of a chat
POST /v1/chat/completions/input_tokens  {messages}  -> {input_tokens}   the body of a chat
"""

from __future__ import annotations

from marshmallow import Schema
from tropilla.api.about import About
from tropilla.api.fields import Array, Boolean, Integer, Text
from tropilla.api.surface import JSON, Enquiry, Question, Reply, Surroundings
from tropilla.api.surfaces.openai import about, schemas
from tropilla.api.surfaces.openai.chat import parse as parse_chat
from tropilla.api.surfaces.openai.models import resolve
from tropilla.api.surfaces.openai.token_ids import check_ids
from tropilla.common.generation import (
    Prompt,
    PromptToken,
    TextPrompt,
    Tokenized,
    TokenizeRequest,
    TokenPrompt,
    new_request_id,
)


class TokenizeSchema(Schema):
    content = Text(required=True)
    model = Text(load_default="")
    #: The model's BOS in front.
    add_special = Boolean(load_default=False)
    #: Markers that the text spells become markers: it is the caller's own text, and nothing is generated from it.
    parse_special = Boolean(load_default=True)
    with_pieces = Boolean(load_default=False)


class DetokenizeSchema(Schema):
    tokens = Array(Integer(0), required=True)
    model = Text(load_default="")


_TOKENIZE, _DETOKENIZE = TokenizeSchema(), DetokenizeSchema()


def parse_tokenize(body: JSON, surroundings: Surroundings) -> Question:
    fields = schemas.checked(_TOKENIZE, schemas.an_object(body))
    model = resolve(surroundings, fields["model"])
    prompt = TextPrompt(fields["content"], special=fields["parse_special"])
    request = TokenizeRequest(new_request_id(), model.name, (prompt,), opens=fields["add_special"])
    return Question(request, surroundings.now, fields["with_pieces"], prompt_field="content")


def answer_tokenize(question: Question, told: tuple[Tokenized, ...], _: float) -> Reply:
    (prompt,) = told
    with_pieces: bool = question.answer
    return Reply({"tokens": [_with_piece(token) if with_pieces else token.id for token in prompt.tokens]})


def _with_piece(token: PromptToken) -> JSON:
    """A piece that is no text by itself is told byte by byte."""
    try:
        piece: str | list[int] = token.piece.decode()
    except UnicodeDecodeError:
        piece = list(token.piece)
    return {"id": token.id, "piece": piece}


def parse_detokenize(body: JSON, surroundings: Surroundings) -> Question:
    fields = schemas.checked(_DETOKENIZE, schemas.an_object(body))
    model = resolve(surroundings, fields["model"])
    ids = tuple(fields["tokens"])
    check_ids("tokens", ids, model.vocabulary)
    return _question(surroundings, model.name, TokenPrompt(ids), "tokens")


def answer_detokenize(_: Question, told: tuple[Tokenized, ...], __: float) -> Reply:
    return Reply({"content": told[0].text})


def parse_messages(body: JSON, surroundings: Surroundings) -> Question:
    """The body of a chat, understood as the chat would understand it; only its prompt is asked for."""
    call = parse_chat(body, surroundings)
    (prompt,) = call.request.prompts
    return _question(surroundings, call.request.model, prompt, call.prompt_field)


def answer_template(_: Question, told: tuple[Tokenized, ...], __: float) -> Reply:
    return Reply({"prompt": told[0].text})


def answer_count(_: Question, told: tuple[Tokenized, ...], __: float) -> Reply:
    return Reply({"object": "response.input_tokens", "input_tokens": len(told[0].tokens)})


def _question(surroundings: Surroundings, model: str, prompt: Prompt, field: str) -> Question:
    return Question(TokenizeRequest(new_request_id(), model, (prompt,)), surroundings.now, prompt_field=field)


#: Of a path that is TGI's, too.
TOKENIZE = About(
    "Split a text into tokens", takes=_TOKENIZE, gives=about.TOKENS, example={"content": "Once upon a time"}
)
_DETOKENIZED = About(
    "Put tokens together", takes=_DETOKENIZE, gives=about.SPELLED, example={"model": "pocket", "tokens": [300, 301]}
)

ROUTES = (
    Enquiry("/detokenize", parse_detokenize, answer_detokenize, _DETOKENIZED),
    Enquiry("/apply-template", parse_messages, answer_template, about.TEMPLATE),
    Enquiry("/v1/chat/completions/input_tokens", parse_messages, answer_count, about.CHAT_TOKENS),
    Enquiry("/chat/completions/input_tokens", parse_messages, answer_count, about.CHAT_TOKENS),
)
