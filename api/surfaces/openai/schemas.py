"""What the OpenAI routes accept, field by field: types and ranges, in the order in which problems are reported.

Documented OpenAI ranges are refused beyond, the extras of other servers are clamped (sheet, section 11). Rules between
fields stand in `rules`, fields that are not served in `refusals`; what is in neither and not here is harmless.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import Schema, fields
from tropilla.api.about import Shape
from tropilla.api.fields import Array, Boolean, Integer, Number, Object, Strict, Text
from tropilla.api.reading import load
from tropilla.api.surfaces.openai import constraints, responses_fields, thinking, tools
from tropilla.api.surfaces.openai.bias import Bias
from tropilla.api.surfaces.openai.messages import MessageSchema, Said
from tropilla.api.surfaces.openai.prompts import Prompts
from tropilla.api.surfaces.openai.responses_input import Input
from tropilla.api.surfaces.openai.stops import Stops
from tropilla.common.errors import InvalidField, MalformedBody, Problem
from tropilla.common.generation import Sampling
from tropilla.common.settings import Settings
from tropilla.common.terms import Priority

Fields = Mapping[str, fields.Field[Any]]

#: What llama.cpp keeps in 32 bits.
_MAX_INT = 2**31 - 1
#: OpenAI's own bound; the operator's may be lower.
_MAX_N = 128
#: DRY's; llama.cpp has none, but each is compared at every token.
_MAX_BREAKERS = 64
#: Inputs of one embeddings request: OpenAI's own bound.
MAX_INPUTS = 2048
_OFF = Sampling()
#: What OpenAI sells under these names is a place in the queue.
_TIERS: Mapping[str, Priority] = {"priority": "interactive", "auto": "normal", "default": "normal", "flex": "batch"}


class Encoding(Text):
    """How a vector is written, in whatever case (Ollama)."""

    def __init__(self, **more: Any) -> None:
        super().__init__(("float", "base64"), **more)

    def read(self, value: Any) -> str:
        return super().read(value.lower() if isinstance(value, str) else value)


class Tier(Strict[Priority | None]):
    """OpenAI's word for how urgent a request is; of any other value nothing follows."""

    shape: ClassVar[Shape | None] = {"examples": ["auto", "default", "flex", "priority"]}

    def read(self, value: Any) -> Priority | None:
        return _TIERS.get(value) if isinstance(value, str) else None


class StreamOptions(Schema):
    include_usage = Boolean(load_default=False)
    continuous_usage_stats = Boolean(load_default=False)


def _common(settings: Settings) -> Fields:
    """Fields both routes know under the same name."""
    return {
        "model": Text(load_default=""),
        "max_completion_tokens": Integer(0),
        "max_tokens": Integer(0),
        "temperature": Number(0, 2, load_default=1.0),
        "top_p": Number(0, 1, load_default=1.0),
        "n": Integer(1, min(_MAX_N, settings.max_choices), load_default=1),
        "stream": Boolean(load_default=False),
        "service_tier": Tier(load_default=None),
        "stream_options": Object(StreamOptions(), load_default=dict),
        "stop": Stops(settings.max_stop_sequences, load_default=()),
        "presence_penalty": Number(-2, 2, load_default=0.0),
        "frequency_penalty": Number(-2, 2, load_default=0.0),
        "seed": Integer(-(2**63), 2**63 - 1),
        # llama.cpp's word for max_tokens; negative fills the context.
        "n_predict": Integer(-1, _MAX_INT, clamp=True),
        # 0 and -1 are off.
        "top_k": Integer(0, _MAX_INT, clamp=True, load_default=0),
        "min_p": Number(0, 1, clamp=True, load_default=0.0),
        "typical_p": Number(0, 1, clamp=True, load_default=1.0),
        # Divides logits: towards 0 nothing sensible is left, so that it is refused rather than clamped.
        "repetition_penalty": Number(0.01, 100),
        "repeat_penalty": Number(0.01, 100),
        "repeat_last_n": Integer(-1, _MAX_INT, clamp=True),
        "mirostat": Integer(0, 2),
        "mirostat_mode": Integer(0, 2),
        "mirostat_tau": Number(0, 100, clamp=True, load_default=_OFF.mirostat_tau),
        "mirostat_eta": Number(0, 1, clamp=True, load_default=_OFF.mirostat_eta),
        "dynatemp_range": Number(0, 100, clamp=True, load_default=0.0),
        "dynatemp_exponent": Number(0, 100, clamp=True, load_default=_OFF.dynatemp_exponent),
        # Negative is off.
        "top_n_sigma": Number(0, 1000, clamp=True, load_default=0.0),
        "xtc_probability": Number(0, 1, clamp=True, load_default=0.0),
        "xtc_threshold": Number(0, 1, clamp=True, load_default=_OFF.xtc_threshold),
        "dry_multiplier": Number(0, 100, clamp=True, load_default=0.0),
        "dry_base": Number(1, 100, clamp=True, load_default=_OFF.dry_base),
        "dry_allowed_length": Integer(0, _MAX_INT, clamp=True, load_default=_OFF.dry_allowed_length),
        "dry_penalty_last_n": Integer(-1, _MAX_INT, clamp=True, load_default=_OFF.dry_penalty_last_n),
        "dry_sequence_breakers": Array(
            Text(), may_be_empty=False, most=_MAX_BREAKERS, load_default=_OFF.dry_sequence_breakers
        ),
        "logit_bias": Bias(load_default=()),
        "ignore_eos": Boolean(load_default=False),
        "min_tokens": Integer(0, load_default=0),
        "stop_token_ids": Array(Integer(0), load_default=()),
        "skip_special_tokens": Boolean(load_default=True),
        # The prompt's last tokens alone: vLLM's word, and TGI's.
        "truncate_prompt_tokens": Integer(1),
        "truncate": Integer(1),
        "watermark": Boolean(load_default=False),
        "prompt_logprobs": Integer(0, settings.max_top_logprobs),
        "return_token_ids": Boolean(load_default=False),
        "return_tokens_as_token_ids": Boolean(load_default=False),
        "echo": Boolean(load_default=False),
        **constraints.FIELDS,
        "include_stop_str_in_output": Boolean(load_default=False),
    }


def _chat(settings: Settings) -> Fields:
    return {
        "messages": Array(Object(MessageSchema()), may_be_empty=False),
        "prompt": Said(),
        **_common(settings),
        "logprobs": Boolean(load_default=False),
        "top_logprobs": Integer(0, settings.max_top_logprobs),
        **tools.FIELDS,
        # TGI's: what is said about them at the end of the last message.
        "tool_prompt": Text(load_default=""),
        **thinking.FIELDS,
        "add_generation_prompt": Boolean(),
        "continue_final_message": Boolean(),
    }


def _completion(settings: Settings) -> Fields:
    return {
        # null is the start of a document; `parse` has seen whether the key was there at all.
        "prompt": Prompts(load_default=Prompts.NOTHING),
        **_common(settings),
        # 0 is what the SDK's own suite sends: no choice of ours.
        "best_of": Integer(0, 20, load_default=0),
        "logprobs": Integer(0, settings.max_top_logprobs),
        "suffix": Text(load_default=""),
        # What @huggingface/inference posts here, in TGI's words.
        "max_new_tokens": Integer(0),
        "do_sample": Boolean(load_default=True),
        "return_full_text": Boolean(load_default=False),
    }


_EMBEDDING: Fields = {
    "input": Prompts(most=MAX_INPUTS, required=True),
    "model": Text(load_default=""),
    "encoding_format": Encoding(load_default="float"),
    "dimensions": Integer(1),
    # vLLM's; -1 is as much as the model reads.
    "truncate_prompt_tokens": Integer(-1),
    # vLLM's, then llama.cpp's, whose 2 is the Euclidean norm and -1 none.
    "normalize": Boolean(),
    "embd_normalize": Integer(),
}
EMBEDDING = Schema.from_dict(dict(_EMBEDDING), name="Embedding")()
#: What the Responses API says otherwise, or not at all (`responses` refuses those that somebody else says there).
_NOT_OF_RESPONSES = frozenset(
    {
        *("max_completion_tokens", "max_tokens", "n", "n_predict", "stream_options", "echo", "response_format"),
        *("return_token_ids", "return_tokens_as_token_ids", "prompt_logprobs"),
    }
)


def _responses(settings: Settings) -> Fields:
    common = {name: field for name, field in _common(settings).items() if name not in _NOT_OF_RESPONSES}
    return {
        "input": Input(required=True),
        "instructions": Text(),
        **common,
        # An answer repeats it, and 64 bits are all that can be written.
        "max_output_tokens": Integer(0, 2**63 - 1),
        "top_logprobs": Integer(0, settings.max_top_logprobs),
        **responses_fields.FIELDS,
        **thinking.FIELDS,
    }


@functools.cache
def chat(settings: Settings) -> Schema:
    return Schema.from_dict(dict(_chat(settings)), name="Chat")()


@functools.cache
def completion(settings: Settings) -> Schema:
    return Schema.from_dict(dict(_completion(settings)), name="Completion")()


@functools.cache
def responses(settings: Settings) -> Schema:
    return Schema.from_dict(dict(_responses(settings)), name="Responses")()


#: OpenAI's error codes tell integers from decimals.
INTEGERS = frozenset(
    name
    for table in (_chat(Settings()), _completion(Settings()), _responses(Settings()), _EMBEDDING)
    for name, field in table.items()
    if isinstance(field, Integer)
)

#: Where an error's path stands in its sentence.
_SENTENCES: Mapping[Problem, str] = {
    "missing": "Missing required parameter: '{param}'.",
    "type": "Invalid type for '{param}': {detail}",
    "rule": "{detail}",
}
_SENTENCE = "Invalid '{param}': {detail}"


def invalid(param: str | None, detail: str, problem: Problem) -> InvalidField:
    """The error, with its path in the sentence."""
    text = _SENTENCES.get(problem, _SENTENCE).format(param=param, detail=detail)
    return InvalidField(text, param=param, problem=problem)


def missing(param: str) -> InvalidField:
    return invalid(param, "", "missing")


def an_object(body: Any) -> Mapping[str, Any]:
    if not isinstance(body, dict):
        raise MalformedBody("The request body must be a JSON object.")
    return body


def checked(schema: Schema, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body's known fields. Raises `InvalidField` for the first problem."""
    try:
        return load(schema, body)
    except InvalidField as error:
        raise invalid(error.param, error.message, error.problem) from error
