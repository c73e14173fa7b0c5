"""What the document says of the OpenAI routes: their answers, and an example to try."""

from __future__ import annotations

import dataclasses

from tropilla.api.about import (
    COUNT,
    EVENT_STREAM,
    INTEGER,
    LOGPROB,
    NULL,
    NUMBER,
    OBJECT,
    TEXT,
    About,
    Shape,
    either,
    one_of,
    or_null,
    record,
    several,
    there,
)
from tropilla.api.surfaces.openai import schemas

ERROR = record(
    "OpenAIError",
    {
        "error": record(
            "",
            {"message": TEXT, "type": TEXT, "param": or_null(TEXT), "code": or_null(TEXT)},
            {"n_prompt_tokens": COUNT, "n_ctx": COUNT},
        ),
        "error_type": TEXT,
    },
)

_META = dict.fromkeys(("n_vocab", "n_ctx_train", "n_embd", "n_params", "size"), COUNT)
_FACTS: dict[str, Shape] = {
    "max_model_len": COUNT,
    "meta": record("", _META),
    "aliases": several(TEXT),
    "parent": TEXT,
    # Jan's.
    "type": one_of("model"),
    "name": TEXT,
    "format": TEXT,
    "metadata": OBJECT,
}
_MODEL: dict[str, Shape] = {
    "id": TEXT,
    "object": one_of("model"),
    "created": COUNT,
    "owned_by": TEXT,
    "source_url": {**TEXT, "format": "uri"},
}
_STRINGS: Shape = {**OBJECT, "additionalProperties": TEXT}
MODEL_ENTRY = record(
    "OpenAIModel",
    _MODEL,
    {
        **_FACTS,
        "version": TEXT,
        "state": one_of("downloading", "ready", "starting", "stopping"),
        "settings": _STRINGS,
        "parameters": _STRINGS,
        "assets": several(TEXT),
    },
)
MODEL_CARD = record(
    "OpenAIOneModel",
    {**_MODEL, "state": one_of("not_downloaded", "downloaded", "running", "stopped"), "parameters": OBJECT},
    {**_FACTS, "engine_parameters": OBJECT, "model_parameters": OBJECT},
)
_MODEL_LIST = record(
    "OpenAIModelList",
    {"object": one_of("list"), "data": several(MODEL_ENTRY)},
    {"id": TEXT, "created": COUNT, "owned_by": TEXT},
)

USAGE = record(
    "OpenAIUsage",
    {
        "prompt_tokens": COUNT,
        "completion_tokens": COUNT,
        "total_tokens": COUNT,
        "prompt_tokens_details": record("", {"cached_tokens": COUNT}),
        "completion_tokens_details": record("", {"reasoning_tokens": COUNT}),
    },
)
#: By token id.
_SCORES: Shape = {
    **OBJECT,
    "additionalProperties": record("", {"logprob": LOGPROB, "rank": or_null(COUNT), "decoded_token": TEXT}),
}
_IDS: dict[str, Shape] = {"token_ids": several(COUNT)}
_PROMPT: dict[str, Shape] = {"prompt_token_ids": several(COUNT), "prompt_logprobs": several(or_null(_SCORES))}
_HEAD: dict[str, Shape] = {"id": TEXT, "created": COUNT, "model": TEXT, "system_fingerprint": TEXT}

_CANDIDATE: dict[str, Shape] = {"token": TEXT, "logprob": LOGPROB, "bytes": several(COUNT)}
SCORED = record("", {**_CANDIDATE, "top_logprobs": several(record("", _CANDIDATE))})
_LOGPROBS = record("OpenAILogprobs", {"content": several(SCORED), "refusal": NULL})
_CALLED = record("", {"name": TEXT, "arguments": TEXT})
_TOOL_CALL = record("OpenAIToolCall", {"id": TEXT, "type": one_of("function"), "function": _CALLED})
_MESSAGE = record(
    "OpenAIAnswerMessage",
    {"role": one_of("assistant"), "content": or_null(TEXT), "refusal": NULL},
    {
        **dict.fromkeys(("reasoning_content", "reasoning"), TEXT),
        "tool_calls": several(_TOOL_CALL, least=1),
        "function_call": _CALLED,
    },
)
_ENDED = one_of("stop", "length", "tool_calls", "function_call")
_CHAT_CHOICE = record(
    "", {"index": COUNT, "message": _MESSAGE, "logprobs": or_null(_LOGPROBS), "finish_reason": _ENDED}, _IDS
)
_CHAT_ANSWER = record(
    "OpenAIChatAnswer",
    {**_HEAD, "object": one_of("chat.completion"), "choices": several(_CHAT_CHOICE, least=1), "usage": USAGE},
    _PROMPT,
)
_PIECE = record("", {"arguments": TEXT}, {"name": TEXT})
_DELTA = record(
    "OpenAIDelta",
    {},
    {
        "role": one_of("assistant"),
        **dict.fromkeys(("content", "reasoning_content", "reasoning"), TEXT),
        "tool_calls": several(
            record("", {"index": COUNT, "function": _PIECE}, {"id": TEXT, "type": one_of("function")}), least=1
        ),
        "function_call": record("", {"arguments": TEXT}, {"name": TEXT}),
    },
)
_CHAT_CHUNK = record(
    "OpenAIChatChunk",
    {
        **_HEAD,
        "object": one_of("chat.completion.chunk"),
        "choices": several(
            record(
                "",
                {"index": COUNT, "delta": _DELTA, "logprobs": or_null(_LOGPROBS), "finish_reason": or_null(_ENDED)},
                _IDS,
            )
        ),
    },
    {"usage": or_null(USAGE), **_PROMPT},
)

_OLD_LOGPROBS = record(
    "OpenAICompletionLogprobs",
    {
        "tokens": several(TEXT),
        "token_logprobs": several(or_null(LOGPROB)),
        "top_logprobs": several(or_null({"type": "object", "additionalProperties": LOGPROB})),
        "text_offset": several(INTEGER),
    },
)
_TEXT_CHOICE: dict[str, Shape] = {"index": COUNT, "text": TEXT, "logprobs": or_null(_OLD_LOGPROBS)}
_TEXT_FACTS: dict[str, Shape] = {**_PROMPT, **_IDS}
_TEXT_ENDED = one_of("stop", "length")
_TEXT_HEAD: dict[str, Shape] = {**_HEAD, "object": one_of("text_completion")}
_COMPLETION = record(
    "OpenAICompletionAnswer",
    {
        **_TEXT_HEAD,
        "choices": several(record("", {**_TEXT_CHOICE, "finish_reason": _TEXT_ENDED}, _TEXT_FACTS), least=1),
        "usage": USAGE,
    },
)
_COMPLETION_CHUNK = record(
    "OpenAICompletionChunk",
    {
        **_TEXT_HEAD,
        "choices": several(record("", {**_TEXT_CHOICE, "finish_reason": or_null(_TEXT_ENDED)}, _TEXT_FACTS)),
    },
    {"usage": or_null(USAGE)},
)


def streamed(chunk: Shape) -> Shape:
    """An item of a stream: a chunk, what a stream that broke says, or the end."""
    return either(chunk, ERROR, {"const": "[DONE]"})


CHAT = About(
    "Answer a conversation",
    takes=schemas.chat,
    # Cria's clients say a prompt.
    needs=either(there("messages"), there("prompt")),
    gives=_CHAT_ANSWER,
    streams=streamed(_CHAT_CHUNK),
    example={"model": "pocket", "messages": [{"role": "user", "content": "What is 2 plus 3?"}], "max_tokens": 20},
)
COMPLETIONS = About(
    "Continue a text",
    takes=schemas.completion,
    needs={"required": ["prompt"]},
    gives=_COMPLETION,
    streams=streamed(_COMPLETION_CHUNK),
    example={"model": "pocket", "prompt": "Once upon a time", "max_tokens": 20},
)
_VECTOR = record("", {"object": one_of("embedding"), "index": COUNT, "embedding": either(several(NUMBER), TEXT)})
_VECTORS = record(
    "OpenAIEmbeddings",
    {
        "object": one_of("list"),
        "model": TEXT,
        "data": several(_VECTOR, least=1),
        "usage": record("", {"prompt_tokens": COUNT, "total_tokens": COUNT}),
    },
)
_BYTES: Shape = {"type": "integer", "minimum": 0, "maximum": 255}
_PIECE_OF_TEXT = record("", {"id": COUNT, "piece": either(TEXT, several(_BYTES))})
TOKENS = record("OpenAITokens", {"tokens": either(several(COUNT), several(_PIECE_OF_TEXT))})
SPELLED = record("OpenAIText", {"content": TEXT})
COUNTED = record("OpenAIInputTokens", {"object": one_of("response.input_tokens"), "input_tokens": COUNT})

EMBEDDINGS = About(
    "Turn texts into vectors", takes=schemas.EMBEDDING, gives=_VECTORS, example={"input": ["a cat", "a dog"]}
)
TEMPLATE = dataclasses.replace(
    CHAT,
    summary="Show a conversation as its model sees it",
    gives=record("OpenAIPrompt", {"prompt": TEXT}),
    streams=None,
)
CHAT_TOKENS = dataclasses.replace(CHAT, summary="Count the tokens of a conversation", gives=COUNTED, streams=None)
HEALTH = About("Say whether a model can answer", gives=record("", {"status": one_of("ok")}), also={503: ERROR})
STREAM = About(
    "Go on with a stream that broke off",
    gives=TEXT,
    media=EVENT_STREAM,
    also={400: ERROR},
    query={"from": {"type": "integer", "minimum": 0, "description": "how many events or lines were received"}},
)
MODELS = About("List the models", gives=_MODEL_LIST)
