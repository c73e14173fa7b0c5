"""POST /api/embed and the older /api/embeddings (sheet, section 8).

Ollama asks no model whether it was made for this, and neither do we: one that says nothing of pooling gives the mean of
its last layer (`workers/llama/embedder.py`). OpenAI's callers are refused then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from tropilla.api.about import TEXT, About, either, several
from tropilla.api.reading import load, without_nulls
from tropilla.api.surface import JSON, Enquiry, Question, Reply, Surroundings
from tropilla.api.surfaces.ollama import about
from tropilla.api.surfaces.ollama.answer import nanoseconds
from tropilla.api.surfaces.ollama.fault import JSON_TYPE, fault
from tropilla.api.surfaces.ollama.fields import Anything, Boolean, Integer, Struct, Text
from tropilla.api.surfaces.ollama.keep_alive import KeepAlive
from tropilla.api.surfaces.ollama.loading import load_of
from tropilla.api.surfaces.ollama.names import resolve
from tropilla.api.surfaces.ollama.options import OPTIONS, parameters_of
from tropilla.api.surfaces.ollama.schemas import GivenOptions, read_body
from tropilla.common.catalogue import Model
from tropilla.common.errors import ContextExceeded, GenerationFailed, InvalidField, TropillaError, UnknownModel
from tropilla.common.generation import EmbeddingRequest, Fit, LoadRequest, Overlong, TextPrompt, new_request_id

#: Ollama has no bound; each is an event of the journal.
MAX_INPUTS = 2048

_TOO_LONG = "the input length exceeds the context length"
_NO_ROOM = "input after truncation exceeds maximum context length"
_UNKNOWN = 'model "{typed}" not found, try pulling it first'


class _Input(Anything):
    """A text or several: `_texts` looks at them."""

    shape = either(TEXT, several(TEXT, most=MAX_INPUTS))


class EmbedSchema(Struct):
    go_name = "EmbedRequest"

    model = Text(load_default="")
    input = _Input(load_default="")
    truncate = Boolean(load_default=True)
    dimensions = Integer(load_default=0)
    options = GivenOptions(load_default=dict)
    keep_alive = KeepAlive(load_default=None)


class EmbeddingsSchema(Struct):
    go_name = "EmbeddingRequest"

    model = Text(load_default="")
    prompt = Text(load_default="")
    options = GivenOptions(load_default=dict)
    keep_alive = KeepAlive(load_default=None)


_EMBED, _EMBEDDINGS = EmbedSchema(), EmbeddingsSchema()


def parse_embed(body: JSON, surroundings: Surroundings) -> Question:
    """No input at all is a load."""
    given = read_body(_EMBED, body)
    texts = _texts(given["input"])
    if not given["model"]:
        raise UnknownModel("")
    model = _resolve(surroundings, given["model"])
    fit = _fit(given, model, "shorten" if given["truncate"] else "refuse")
    if not texts:
        return replace(load_of(given, surroundings, model), fault=_FAULT)
    wanted: int = given["dimensions"]
    request = EmbeddingRequest(
        id=new_request_id(),
        model=model.name,
        prompts=tuple(map(TextPrompt, texts)),
        dimensions=wanted if 0 < wanted < model.embedding_length else None,
        fit=fit,
        keep_alive=given["keep_alive"],
    )
    return Question(request, surroundings.now, given["model"], fault=_NO_ROOM_FAULT if given["truncate"] else _FAULT)


def answer_embed(question: Question, vectors: tuple[Any, ...], now: float) -> Reply:
    """Without numbers where there was nothing to compute."""
    if isinstance(question.request, LoadRequest):
        return _reply({"model": question.answer, "embeddings": []})
    total, computing = now - question.received, max(vector.seconds for vector in vectors)
    body = {
        "model": question.answer,
        "embeddings": [vector.floats for vector in vectors],
        "total_duration": nanoseconds(total),
        # As with a generation: whatever the worker did not compute in was spent on the way.
        "load_duration": nanoseconds(total - computing),
        "prompt_eval_count": sum(vector.tokens for vector in vectors),
    }
    return _reply(body)


def parse_embeddings(body: JSON, surroundings: Surroundings) -> Question:
    """One vector, of whatever length the model gives it."""
    given = read_body(_EMBEDDINGS, body)
    if not given["model"]:
        raise InvalidField("model is required", param="model")
    model = _resolve(surroundings, given["model"])
    fit = _fit(given, model, "refuse")
    if not given["prompt"]:
        return replace(load_of(given, surroundings, model), fault=_OLD_FAULT)
    prompts = (TextPrompt(given["prompt"]),)
    request = EmbeddingRequest(
        new_request_id(), model.name, prompts, normalize=False, fit=fit, keep_alive=given["keep_alive"]
    )
    return Question(request, surroundings.now, given["model"], prompt_field="prompt", fault=_OLD_FAULT)


def answer_embeddings(question: Question, vectors: tuple[Any, ...], _now: float) -> Reply:
    return _reply({"embedding": [] if isinstance(question.request, LoadRequest) else vectors[0].floats})


def _texts(value: JSON) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidField("invalid input type", param="input", problem="type")
    if len(value) > MAX_INPUTS:
        raise InvalidField(f"input has {len(value)} texts; at most {MAX_INPUTS} are taken", param="input")
    return value


def _resolve(surroundings: Surroundings, typed: str) -> Model:
    try:
        return resolve(surroundings, typed, "embedding")
    except UnknownModel as error:
        error.message = _UNKNOWN.format(typed=typed)
        raise


def _fit(given: dict[str, Any], model: Model, overlong: Overlong) -> Fit:
    """Of the options only `num_ctx` says something here. A small one is not raised, as it is for an answer: where it has no
    room for what the tokenizer adds the input is refused.
    """
    limit: int | None = load(OPTIONS, {**parameters_of(model.overlay), **without_nulls(given["options"])}).get(
        "num_ctx"
    )
    return Fit(overlong=overlong, context_limit=None if limit is None else min(max(limit, 1), model.context_length))


def _reply(body: dict[str, JSON]) -> Reply:
    return Reply(body, headers=JSON_TYPE)


def _told(too_long: str, error: TropillaError, *, failed: int = 400) -> Reply:
    """failed: the status of what the worker could not compute, which Ollama's two routes see differently."""
    if isinstance(error, ContextExceeded):
        return Reply({"error": too_long}, 400, JSON_TYPE)
    if type(error) is GenerationFailed:
        return Reply({"error": error.message}, failed, JSON_TYPE)
    return fault(error)


_Fault = Callable[[TropillaError], Reply]
_FAULT: _Fault = partial(_told, _TOO_LONG)
_NO_ROOM_FAULT: _Fault = partial(_told, _NO_ROOM)
_OLD_FAULT: _Fault = partial(_told, _TOO_LONG, failed=500)

_EMBEDDED = About(
    "Turn texts into vectors",
    takes=_EMBED,
    needs=about.MODEL,
    gives=about.VECTORS,
    example={"model": "pocket", "input": ["a cat", "a dog"]},
)
_EMBEDDED_ONE = About(
    "Turn a text into a vector",
    takes=_EMBEDDINGS,
    needs=about.MODEL,
    gives=about.VECTOR,
    example={"model": "pocket", "prompt": "a cat"},
)

ROUTES = (
    Enquiry("/api/embed", parse_embed, answer_embed, _EMBEDDED),
    Enquiry("/api/embeddings", parse_embeddings, answer_embeddings, _EMBEDDED_ONE),
)
