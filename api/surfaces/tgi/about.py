"""What the document says of the TGI routes: their answers, and an example to try."""

from __future__ import annotations

import dataclasses

from tropilla.api.about import (
    COUNT,
    FLAG,
    LOGPROB,
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
from tropilla.api.surfaces.openai import about as openai
from tropilla.api.surfaces.openai import tokens as llama_cpp
from tropilla.api.surfaces.tgi.schemas import COMPAT as COMPAT_SCHEMA
from tropilla.api.surfaces.tgi.schemas import GENERATE as GENERATE_SCHEMA

ERROR = record("ErrorResponse", {"error": TEXT, "error_type": TEXT})

_PREFILL_TOKEN = record("PrefillToken", {"id": COUNT, "text": TEXT, "logprob": or_null(LOGPROB)})
_TOKEN = record("Token", {"id": COUNT, "text": TEXT, "logprob": or_null(LOGPROB), "special": FLAG})
_ENDED: dict[str, Shape] = {
    "finish_reason": one_of("length", "eos_token", "stop_sequence"),
    "generated_tokens": COUNT,
    "seed": or_null(COUNT),
}
_TOKENS: dict[str, Shape] = {**_ENDED, "prefill": several(_PREFILL_TOKEN), "tokens": several(_TOKEN)}
_TOP: dict[str, Shape] = {"top_tokens": several(several(_TOKEN))}
_SEQUENCE = record("BestOfSequence", {"generated_text": TEXT, **_TOKENS}, _TOP)
_DETAILS = record("Details", _TOKENS, {**_TOP, "best_of_sequences": several(_SEQUENCE, least=1)})
GENERATE_RESPONSE = record("GenerateResponse", {"generated_text": TEXT}, {"details": _DETAILS})
STREAM_RESPONSE = record(
    "StreamResponse",
    {
        "index": {"type": "integer", "minimum": 1},
        "token": _TOKEN,
        "generated_text": or_null(TEXT),
        "details": or_null(record("StreamDetails", {**_ENDED, "input_length": COUNT})),
    },
    {"top_tokens": several(_TOKEN)},
)
_LIMITS = ("max_concurrent_requests", "max_best_of", "max_stop_sequences", "max_input_tokens", "max_total_tokens",
           "validation_workers", "max_client_batch_size", "max_top_n_tokens")  # fmt: skip
_INFO = record(
    "Info",
    {
        **dict.fromkeys(("model_id", "router", "version"), TEXT),
        **dict.fromkeys(("model_sha", "model_pipeline_tag", "sha", "docker_label"), or_null(TEXT)),
        **dict.fromkeys(_LIMITS, COUNT),
        "adapters": several(TEXT),
    },
)
_STREAMED = either(STREAM_RESPONSE, ERROR)
_EXAMPLE = {"inputs": "Once upon a time", "parameters": {"max_new_tokens": 20}}

GENERATE = About("Continue a text", takes=GENERATE_SCHEMA, gives=GENERATE_RESPONSE, example=_EXAMPLE)
GENERATE_STREAM = About("Continue a text, token by token", takes=GENERATE_SCHEMA, streams=_STREAMED, example=_EXAMPLE)
COMPAT = About(
    "Continue a text, in one piece or token by token",
    takes=COMPAT_SCHEMA,
    gives={**several(GENERATE_RESPONSE, least=1), "maxItems": 1},
    streams=_STREAMED,
    example=_EXAMPLE,
)


def _shape(shape: Shape | None) -> Shape:
    assert shape is not None
    return shape


#: A body's kind is told by the name that says something, and so a chat's prompt is a completion's here.
_CHAT = dataclasses.replace(openai.CHAT, needs=there("messages"))
_INVOKED = (COMPAT, _CHAT, dataclasses.replace(openai.COMPLETIONS, needs=there("prompt")))
INVOCATIONS = About(
    "Answer whatever body other routes take, as they would",
    takes=_INVOKED,
    gives=either(*(_shape(each.gives) for each in _INVOKED)),
    streams=either(*(_shape(each.streams) for each in _INVOKED)),
    example=_EXAMPLE,
)
_MESSAGES = {"messages": openai.CHAT.example["messages"], "max_tokens": 20}
VERTEX = About(
    "Answer several texts and conversations",
    takes=(GENERATE, _CHAT),
    around=lambda instance, settings: record("", {"instances": several(instance, least=1, most=settings.max_choices)}),
    gives=record("Predictions", {"predictions": several(TEXT, least=1)}),
    example={"instances": [_EXAMPLE, _MESSAGES]},
)
_SIMPLE_TOKEN = record("SimpleToken", {"id": COUNT, "text": TEXT, "start": COUNT, "stop": COUNT})
#: A body of llama.cpp's is answered in its words, errors too.
TOKENIZE = About(
    "Split a text into tokens",
    takes=(GENERATE, llama_cpp.TOKENIZE),
    gives=either(several(_SIMPLE_TOKEN), openai.TOKENS),
    also={400: openai.ERROR},
    error=either(ERROR, openai.ERROR),
    example={"inputs": "Once upon a time"},
)
CHAT_TOKENIZE = dataclasses.replace(
    openai.CHAT,
    summary="Show a conversation as its model sees it, token by token",
    gives=record("ChatTokenizeResponse", {"tokenize_response": several(_SIMPLE_TOKEN), "templated_text": TEXT}),
    streams=None,
)
METRICS = About("Tell what was counted, for Prometheus", gives=TEXT, media=TEXT_TYPE)
HEALTH = About("Say whether a model can answer", gives=TEXT, media=TEXT_TYPE, also={503: ERROR})
#: 429 while the model is loading.
INFO = About("Tell the model and its limits", gives=_INFO, also={429: ERROR})
