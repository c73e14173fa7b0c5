"""Every error of `common.errors` in TGI's words: `{"error": text, "error_type": slug}` (sheet, section 2).

Clients tell errors apart by four slugs (validation, generation, overloaded, incomplete_generation) and by the status.
503 never leaves here: one client repeats such a request at once, without end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tropilla.api.surface import JSON, Reply
from tropilla.api.surfaces.tgi.limits import max_input_tokens
from tropilla.common.errors import (
    BodyTooLarge,
    Conflict,
    ContextExceeded,
    Expired,
    ForbiddenOrigin,
    GenerationFailed,
    InvalidPrompt,
    LimitReached,
    ModelUnavailable,
    Overloaded,
    RequestError,
    ScopeMissing,
    StoreUnavailable,
    TropillaError,
    Unauthenticated,
    UnknownModel,
    UnknownRoute,
    UnreadableBody,
    UnsupportedBackend,
    WorkerLost,
    WrongMethod,
)


@dataclass(frozen=True, slots=True)
class Words:
    """`text` is a format string that may quote the error's own `message`."""

    status: int
    slug: str
    text: str = "{message}"


_VALIDATION = Words(422, "validation", "Input validation error: {message}")

#: The nearest class counts, so `RequestError` stands for bad JSON and every field.
FAULTS: Mapping[type[TropillaError], Words] = {
    RequestError: _VALIDATION,
    ContextExceeded: _VALIDATION,
    InvalidPrompt: _VALIDATION,
    BodyTooLarge: Words(413, "validation"),
    UnreadableBody: Words(415, "validation"),
    ForbiddenOrigin: Words(403, "forbidden"),
    Unauthenticated: Words(401, "unauthorized"),
    ScopeMissing: Words(403, "forbidden"),
    UnknownRoute: Words(404, "not_found"),
    WrongMethod: Words(405, "method_not_allowed", "Method not allowed"),
    UnknownModel: Words(404, "not_found"),
    Conflict: Words(409, "conflict"),
    Overloaded: Words(429, "overloaded", "Model is overloaded"),
    LimitReached: Words(429, "overloaded"),
    GenerationFailed: Words(424, "generation", "Request failed during generation: {message}"),
    WorkerLost: Words(500, "incomplete_generation", "Incomplete generation"),
    # Its clients have no slug for it, and take the status for their ShardTimeout.
    Expired: Words(504, "timeout"),
    ModelUnavailable: Words(424, "generation"),
    UnsupportedBackend: Words(501, "generation"),
    # Its message is for the operator.
    StoreUnavailable: Words(500, "unavailable", "The request queue cannot be reached"),
    TropillaError: Words(500, "internal", "Internal server error"),
}
#: What has other words once tokens went out.
STREAM_FAULTS: Mapping[type[TropillaError], Words] = {
    **FAULTS,
    WorkerLost: Words(500, "incomplete_generation_stream", "Incomplete generation stream"),
}
#: A template that failed is told from other prompts that a model cannot take by its code.
_TEMPLATE = Words(422, "template_error", "Template error: {message}")
#: Rules 6 and 7 of section 4. litellm knows a full context by the first text; "less than" includes the number itself.
SUM_TOO_LARGE = (
    "`inputs` tokens + `max_new_tokens` must be <= {total}. Given: {given} `inputs` tokens and {asked} `max_new_tokens`"
)
INPUT_TOO_LONG = "`inputs` must have less than {most} tokens. Given: {given}"


def fault(error: TropillaError) -> Reply:
    words = _words(error, FAULTS)
    return Reply(_body(error, words), words.status, _headers(error))


def _headers(error: TropillaError) -> Mapping[str, str]:
    if isinstance(error, ModelUnavailable | StoreUnavailable):
        return error.retry_after
    return {"Retry-After": str(error.retry_after_seconds)} if isinstance(error, Overloaded) else {}


def broken_stream(error: TropillaError) -> JSON:
    """The last event of a stream whose 200 has gone out."""
    return _body(error, _words(error, STREAM_FAULTS))


def _words(error: TropillaError, faults: Mapping[type[TropillaError], Words]) -> Words:
    if isinstance(error, GenerationFailed) and error.code == "template":
        return _TEMPLATE
    return next(faults[kind] for kind in type(error).__mro__ if kind in faults)


def _body(error: TropillaError, words: Words) -> JSON:
    message = _too_long(error.facts) if isinstance(error, ContextExceeded) else error.message
    return {"error": words.text.format(message=message), "error_type": words.slug}


def _too_long(facts: Mapping[str, int]) -> str:
    given, context = facts["prompt_tokens"], facts["context"]
    if "max_tokens" in facts:
        return SUM_TOO_LARGE.format(total=context, given=given, asked=facts["max_tokens"])
    return INPUT_TOO_LONG.format(most=max_input_tokens(context), given=given)
