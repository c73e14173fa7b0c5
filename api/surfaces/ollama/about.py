"""What the document says of the Ollama routes: their answers, and an example to try."""

from __future__ import annotations

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
from tropilla.api.surfaces.ollama.schemas import ChatSchema, GenerateSchema

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

_DETAILS = record(
    "OllamaModelDetails",
    {
        **dict.fromkeys(("parent_model", "format", "family", "parameter_size", "quantization_level"), TEXT),
        "families": or_null(several(TEXT)),
    },
    dict.fromkeys(("context_length", "embedding_length"), COUNT),
)
_LISTED = record(
    "OllamaModel",
    {**dict.fromkeys(("name", "model", "modified_at", "digest"), TEXT), "size": COUNT, "details": _DETAILS},
    {"capabilities": several(TEXT)},
)

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
