"""Every error as OpenAI says it, with TGI's slug beside it: one body that both kinds of client understand.

{"error": {"message", "type", "param", "code"}, "error_type"}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tropilla.api.batches.wishes import UnknownObject
from tropilla.api.surface import Reply
from tropilla.api.surfaces.openai.refusals import PARTLY_SERVED
from tropilla.api.surfaces.openai.schemas import INTEGERS
from tropilla.common.errors import (
    BodyTooLarge,
    Conflict,
    ContextExceeded,
    Expired,
    ForbiddenOrigin,
    GenerationFailed,
    InvalidField,
    InvalidPrompt,
    LimitReached,
    ModelUnavailable,
    Overloaded,
    Problem,
    RequestError,
    ScopeMissing,
    StoreUnavailable,
    TropillaError,
    Unauthenticated,
    UnknownModel,
    UnknownRoute,
    UnknownStream,
    UnreadableBody,
    UnsupportedBackend,
    WorkerLost,
    WrongMethod,
)
from tropilla.common.generation import FailureCode
from tropilla.common.settings import Settings

#: SDKs retry every 5xx twice unless told that it would come out the same.
_FINAL = {"x-should-retry": "false"}


@dataclass(frozen=True, slots=True)
class _Said:
    """What an error says beside its status. `facts` are extra keys of the error object."""

    message: str
    code: str | None = None
    param: str | None = None
    facts: Mapping[str, int] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Form:
    """How one class of errors is answered. `error_type` is TGI's; a slug its clients do not know means the status."""

    status: int
    say: Callable[[Any], _Said]
    type: str = "invalid_request_error"
    error_type: str = "validation"


def fault(error: TropillaError) -> Reply:
    """The answer to any error: the form of its class, or of the nearest one above it."""
    form = next(_FORMS[kind] for kind in type(error).__mro__ if kind in _FORMS)
    said = form.say(error)
    body = {"message": said.message, "type": form.type, "param": said.param, "code": said.code, **said.facts}
    slug = "template_error" if isinstance(error, InvalidPrompt) and error.code == "template" else form.error_type
    return Reply({"error": body, "error_type": slug}, form.status, said.headers)


def refused_status(settings: Settings) -> int:
    """Of a body that is not as it should be."""
    return 422 if settings.shared_errors == "tgi" else 400


def _plain(error: RequestError) -> _Said:
    return _Said(error.message, param=error.param)


_CODES: Mapping[Problem, str | None] = {
    "missing": "missing_required_parameter",
    "type": "invalid_type",
    "value": "invalid_value",
    "above": "above_max_value",
    "below": "below_min_value",
    "too_long": "array_above_max_length",
    "empty": "empty_array",
    "rule": None,
    "unsupported": "unsupported_parameter",
}


def _field(error: InvalidField) -> _Said:
    root = (error.param or "").split("[")[0].split(".")[0]
    code = _CODES[error.problem]
    if error.problem in ("above", "below"):
        # Token ids are the only integers below another name.
        whole = root in INTEGERS or root in ("prompt", "stop_token_ids", "input", "tokens")
        code = f"{'integer' if whole else 'decimal'}_{code}"
    elif error.problem == "unsupported" and root in PARTLY_SERVED:
        code = "unsupported_value"
    return _Said(error.message, code, error.param)


def _model(error: UnknownModel) -> _Said:
    text = f"The model `{error.model}` does not exist or you do not have access to it."
    return _Said(text if error.model else "No model is being served.", "model_not_found", "model")


def _route(error: UnknownRoute) -> _Said:
    return _Said(f"Invalid URL ({error.method} {error.path})")


def _method(error: WrongMethod) -> _Said:
    return _Said(f"Not allowed to {error.method} on {error.path}.")


def _conflict(error: Conflict) -> _Said:
    # SDKs repeat a 409, too.
    return _Said(error.message, "conflict", error.param, headers=_FINAL)


def _overloaded(error: Overloaded) -> _Said:
    text = f"The server is overloaded: {error.message}."
    return _Said(text, "rate_limit_exceeded", headers={"Retry-After": str(error.retry_after_seconds)})


def _limit(error: LimitReached) -> _Said:
    later = {"Retry-After": str(error.retry_after_seconds)}
    if error.limit == "tokens":
        # Hours from now: no SDK is to try until then.
        return _Said(f"You exceeded your current quota: {error.message}.", "insufficient_quota", headers=later | _FINAL)
    return _Said(f"Rate limit reached: {error.message}.", "rate_limit_exceeded", headers=later)


def _key(error: Unauthenticated) -> _Said:
    return _Said(f"Incorrect API key provided: {error.message}.", "invalid_api_key")


def _scope(error: ScopeMissing) -> _Said:
    return _Said(f"You have insufficient permissions for this operation: {error.message}.", "insufficient_permissions")


def _context(error: ContextExceeded) -> _Said:
    """litellm looks for the first sentence, llama.cpp's clients for "exceeds the available context size", and where vectors
    are wanted for "too large".
    """
    context, prompt = error.facts.get("context", 0), error.facts.get("prompt_tokens", 0)
    wanted = error.facts.get("max_tokens")
    request, ending = f"your request has {prompt} input tokens", ": it is too large"
    if wanted is not None:
        ending = ""
        request = f"you requested {prompt + wanted} tokens ({prompt} in the input, {wanted} for the completion)"
    text = (
        f"This model's maximum context length is {context} tokens. However, {request}, "
        f"which exceeds the available context size{ending}."
    )
    facts = {"n_prompt_tokens": prompt, "n_ctx": context}
    return _Said(text, "context_length_exceeded", error.param, facts)


_PROMPT_CODES: Mapping[FailureCode, str] = {
    "invalid_prompt": "invalid_value",
    "constraint": "invalid_value",
    "unsupported": "unsupported_value",
}


def _prompt(error: InvalidPrompt) -> _Said:
    # The field a prompt came from is not at fault where the worker refused something else.
    param = error.param if error.code in ("invalid_prompt", "template") else None
    return _Said(error.message, _PROMPT_CODES.get(error.code), param)


def _lost(error: WorkerLost) -> _Said:
    text = f"The answer was lost: {error.message}."
    # Asked for again it would cost as many workers once more.
    return _Said(text, error.code, headers=_FINAL) if error.code == "worker_crashed" else _Said(text)


def _unavailable(error: ModelUnavailable) -> _Said:
    return _Said(error.message, "model_unavailable", "model", headers=error.retry_after or _FINAL)


def _unsupported(error: UnsupportedBackend) -> _Said:
    return _Said(error.message, "backend_unsupported", "model", headers=_FINAL)


def _failed(error: GenerationFailed) -> _Said:
    return _Said(f"The generation failed: {error.message}.", headers=_FINAL)


def _expired(error: Expired) -> _Said:
    return _Said(f"The request has expired: {error.message}.", "deadline_exceeded", headers=_FINAL)


def _store(error: StoreUnavailable) -> _Said:
    # What Redis said is for the log.
    return _Said("The server cannot reach its queue. Please try again.", headers=error.retry_after)


def _internal(_: TropillaError) -> _Said:
    return _Said("The server had an error while processing your request.", headers=_FINAL)


#: Never 503: @huggingface/inference repeats such a request without limit (sheet, section 3).
_FORMS: Mapping[type, _Form] = {
    InvalidField: _Form(400, _field),
    UnknownModel: _Form(404, _model, error_type="not_found"),
    UnknownRoute: _Form(404, _route, error_type="not_found"),
    UnknownStream: _Form(404, _plain, error_type="not_found"),
    UnknownObject: _Form(404, _plain, error_type="not_found"),
    WrongMethod: _Form(405, _method, error_type="method_not_allowed"),
    BodyTooLarge: _Form(413, _plain),
    UnreadableBody: _Form(415, _plain),
    ForbiddenOrigin: _Form(403, _plain, error_type="forbidden"),
    Unauthenticated: _Form(401, _key, error_type="unauthorized"),
    ScopeMissing: _Form(403, _scope, error_type="forbidden"),
    Conflict: _Form(409, _conflict, error_type="conflict"),
    Overloaded: _Form(429, _overloaded, "rate_limit_error", "overloaded"),
    LimitReached: _Form(429, _limit, "rate_limit_error", "overloaded"),
    ContextExceeded: _Form(400, _context),
    InvalidPrompt: _Form(400, _prompt),
    # What depended on it failed: no client repeats a 424 by itself.
    ModelUnavailable: _Form(424, _unavailable, "server_error", "generation"),
    UnsupportedBackend: _Form(501, _unsupported, "server_error", "generation"),
    # TGI's clients know it by its status.
    Expired: _Form(504, _expired, "server_error", "timeout"),
    WorkerLost: _Form(500, _lost, "server_error", "generation"),
    GenerationFailed: _Form(500, _failed, "server_error", "generation"),
    StoreUnavailable: _Form(500, _store, "server_error", "generation"),
    RequestError: _Form(400, _plain),
    TropillaError: _Form(500, _internal, "server_error", "generation"),
}
