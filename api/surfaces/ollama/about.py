"""What the document says of the Ollama routes: their answers, and an example to try."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tropilla.api.about import (
    COUNT,
    FLAG,
    LOGPROB,
    NUMBER,
    OBJECT,
    TEXT,
    TEXT_TYPE,
    About,
    Shape,
    either,
    one_of,
    or_null,
    record,
    several,
    there,
)
from tropilla.api.surfaces.ollama.fields import Struct
from tropilla.api.surfaces.ollama.schemas import ChatSchema, GenerateSchema
from tropilla.common.names import MODEL_NAME

ERROR = record("OllamaError", {"error": TEXT}, {"error_type": TEXT})

_CANDIDATE: dict[str, Shape] = {"token": TEXT, "logprob": LOGPROB}
_BYTES: dict[str, Shape] = {"bytes": several(COUNT)}
_LOGPROBS = several(record("", _CANDIDATE, {**_BYTES, "top_logprobs": several(record("", _CANDIDATE, _BYTES))}))
_NANOSECONDS: Shape = {"type": "integer", "minimum": 1, "description": "nanoseconds"}
_CALL = record(
    "OllamaAnswerCall",
    {"id": TEXT, "function": record("", {"index": COUNT, "name": TEXT, "arguments": OBJECT})},
)
_MESSAGE = record(
    "OllamaAnswerMessage",
    {"role": one_of("assistant"), "content": TEXT},
    {"thinking": TEXT, "tool_calls": several(_CALL, least=1)},
)
_HEAD: dict[str, Shape] = {"model": TEXT, "created_at": {**TEXT, "format": "date-time"}, "done": FLAG}
_METRICS: dict[str, Shape] = {
    **dict.fromkeys(("total_duration", "load_duration", "prompt_eval_duration", "eval_duration"), _NANOSECONDS),
    **dict.fromkeys(("prompt_eval_count", "eval_count"), COUNT),
}
#: Of the last line; a load or unload has the reason alone.
_END: dict[str, Shape] = {
    "done_reason": one_of("stop", "length", "load", "unload"),
    "context": several(COUNT),
    **_METRICS,
    # Of a prompt that is only shown.
    "_debug_info": record("", {"rendered_template": TEXT}),
}
_RESPONSE = record(
    "OllamaGenerateAnswer", {**_HEAD, "response": TEXT}, {"thinking": TEXT, "logprobs": _LOGPROBS, **_END}
)
_REPLY = record("OllamaChatAnswer", {**_HEAD, "message": _MESSAGE}, {"logprobs": _LOGPROBS, **_END})

_FACTS: dict[str, Shape] = {
    **dict.fromkeys(("parent_model", "format", "family", "parameter_size", "quantization_level"), TEXT),
    "families": or_null(several(TEXT)),
}
_DETAILS = record("OllamaModelDetails", _FACTS, dict.fromkeys(("context_length", "embedding_length"), COUNT))
_NAMED: dict[str, Shape] = dict.fromkeys(("name", "model", "digest"), TEXT)
_LISTED = record(
    "OllamaModel",
    {**_NAMED, "modified_at": TEXT, "size": COUNT, "details": _DETAILS},
    {"capabilities": several(TEXT)},
)
_LOADED = record(
    "OllamaLoadedModel",
    {
        **_NAMED,
        "details": record("", _FACTS),
        "expires_at": {**TEXT, "format": "date-time"},
        **dict.fromkeys(("size", "size_vram", "context_length"), COUNT),
    },
)
_SHOWN = record(
    "OllamaModelShown",
    {
        "modelfile": TEXT,
        "details": record("", _FACTS),
        "model_info": OBJECT,
        "capabilities": several(TEXT),
        "modified_at": TEXT,
    },
    {
        **dict.fromkeys(("license", "parameters", "template", "system"), TEXT),
        "messages": several(record("", {"role": TEXT, "content": TEXT})),
        "projector_info": OBJECT,
        "tensors": several(record("", {"name": TEXT, "type": TEXT, "shape": several(COUNT)})),
    },
)
_PROGRESS = record("OllamaProgress", {"status": TEXT}, {"digest": TEXT, "total": COUNT, "completed": COUNT})
#: Of what is done there is nothing to say.
_NOTHING: Shape = {**TEXT, "maxLength": 0}

MODEL = there("model", {**TEXT, "minLength": 1})
VECTOR = record("OllamaEmbedding", {"embedding": several(NUMBER)})
VECTORS = record(
    "OllamaEmbeddingList",
    {"model": TEXT, "embeddings": several(several(NUMBER))},
    {**dict.fromkeys(("total_duration", "load_duration"), _NANOSECONDS), "prompt_eval_count": COUNT},
)

GENERATE = About(
    "Continue a prompt",
    takes=GenerateSchema(),
    needs=MODEL,
    gives=_RESPONSE,
    streams=either(_RESPONSE, ERROR),
    example={"model": "pocket", "prompt": "What is 2 plus 3?", "stream": False, "options": {"num_predict": 20}},
)
CHAT = About(
    "Answer a conversation",
    takes=ChatSchema(),
    needs=MODEL,
    gives=_REPLY,
    streams=either(_REPLY, ERROR),
    example={
        "model": "pocket",
        "messages": [{"role": "user", "content": "What is 2 plus 3?"}],
        "stream": False,
        "options": {"num_predict": 20},
    },
)
ROOT = About("Say that the server runs", gives=TEXT, media=TEXT_TYPE, also={503: ERROR})
VERSION = About("Tell which Ollama this behaves like", gives=record("OllamaVersion", {"version": TEXT}))
TAGS = About("List the models", gives=record("OllamaModelList", {"models": several(_LISTED)}))
STATUS = About(
    "Say that nothing here runs elsewhere",
    gives=record("OllamaStatus", {"cloud": record("", {"disabled": FLAG, "source": TEXT})}),
)
LOADED = About("List the models that are loaded", gives=record("OllamaLoadedList", {"models": several(_LOADED)}))

#: `name` is the older word for it.
_ANY_NAME: Shape = {"anyOf": [MODEL, there("name", {**TEXT, "minLength": 1})]}


_NEW_NAME: Shape = {**TEXT, "pattern": f"^{MODEL_NAME.pattern}$"}


def show(takes: Struct) -> About:
    return About(
        "Tell everything about a model", takes=takes, needs=_ANY_NAME, gives=_SHOWN, example={"model": "pocket"}
    )


def pull(takes: Struct) -> About:
    example = {"model": "pocket", "stream": False}
    return _changing("Fetch a model", takes, _ANY_NAME, example)


def push(takes: Struct) -> About:
    also = {501: ERROR}
    example = {"model": "pocket", "stream": False}
    return replace(_changing("Refuse to publish a model", takes, _ANY_NAME, example), also=also)


def create(takes: Struct) -> About:
    example = {"model": "bard", "from": "pocket", "system": "You speak in verse.", "stream": False}
    nothing = {"properties": {"info": {"maxProperties": 0}}}
    sources = {"oneOf": [there("from", _NEW_NAME), there("files", {**OBJECT, "minProperties": 1})]}
    needs = {"allOf": [there("model", _NEW_NAME), sources, nothing]}
    return _changing("Make a model of another one, or of uploaded files", takes, needs, example)


def copy(takes: Struct) -> About:
    example = {"source": "pocket", "destination": "bard"}
    needs = {"allOf": [there(field, {**TEXT, "minLength": 1}) for field in ("source", "destination")]}
    return About(
        "Give a model a second name", takes=takes, needs=needs, gives=_NOTHING, media=TEXT_TYPE, example=example
    )


def delete(takes: Struct) -> About:
    example = {"model": "pocket"}
    return About("Forget a model", takes=takes, needs=_ANY_NAME, gives=_NOTHING, media=TEXT_TYPE, example=example)


def _changing(summary: str, takes: Struct, needs: Shape, example: dict[str, Any]) -> About:
    return About(summary, takes=takes, needs=needs, gives=_PROGRESS, streams=either(_PROGRESS, ERROR), example=example)
