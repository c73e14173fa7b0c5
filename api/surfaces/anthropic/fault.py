"""Every error as Anthropic says it: {"type": "error", "error": {"type", "message"}}."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tropilla.api.surface import Reply
from tropilla.common.errors import (
    BodyTooLarge,
    Conflict,
    ContextExceeded,
    Expired,
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
    WorkerLost,
    WrongMethod,
)

#: The SDK retries every 5xx twice unless told that it would come out the same.
_FINAL = {"x-should-retry": "false"}


@dataclass(frozen=True, slots=True)
class _Form:
    """How one class of errors is answered; `say` finds the words."""

    status: int
    type: str
    say: Callable[[Any], str] = lambda error: error.message
    headers: Callable[[Any], Mapping[str, str]] = lambda error: {}


def fault(error: TropillaError) -> Reply:
    """The answer to any error: the form of its class, or of the nearest one above it."""
    form = next(_FORMS[kind] for kind in type(error).__mro__ if kind in _FORMS)
    if isinstance(error, ModelUnavailable) and error.retry_after:
        form = _SOON
    body = {"type": "error", "error": {"type": form.type, "message": form.say(error)}}
    return Reply(body, form.status, form.headers(error))


def _context(error: ContextExceeded) -> str:
    """Claude Code looks for the first words."""
    prompt, context = error.facts.get("prompt_tokens", 0), error.facts.get("context", 0)
    return f"prompt is too long: {prompt} tokens > {context} maximum"


def _prompt(error: InvalidPrompt) -> str:
    # The field a prompt came from is not at fault where the worker refused something else.
    at_fault = error.param and error.code in ("invalid_prompt", "template")
    return f"{error.param}: {error.message}" if at_fault else error.message


def _limit(error: LimitReached) -> Mapping[str, str]:
    """A day's quota is hours from now: the SDK is not to try until then."""
    later = {"Retry-After": str(error.retry_after_seconds)}
    return later | _FINAL if error.limit == "tokens" else later


#: A model that may be there when it is asked for again.
_SOON = _Form(529, "overloaded_error", headers=lambda error: error.retry_after)
_FORMS: Mapping[type, _Form] = {
    UnknownModel: _Form(404, "not_found_error", lambda error: f"model: {error.model or 'no model is being served'}"),
    UnknownRoute: _Form(404, "not_found_error", lambda error: f"there is no {error.method} {error.path}"),
    WrongMethod: _Form(405, "invalid_request_error", lambda error: f"not allowed to {error.method} {error.path}"),
    BodyTooLarge: _Form(413, "request_too_large"),
    # As it says of every other fault of the caller's; the SDK repeats a 409, too.
    Conflict: _Form(409, "invalid_request_error", headers=lambda error: _FINAL),
    Overloaded: _Form(529, "overloaded_error", headers=lambda error: {"Retry-After": str(error.retry_after_seconds)}),
    LimitReached: _Form(429, "rate_limit_error", headers=_limit),
    Unauthenticated: _Form(401, "authentication_error"),
    ScopeMissing: _Form(403, "permission_error"),
    ContextExceeded: _Form(400, "invalid_request_error", _context),
    InvalidPrompt: _Form(400, "invalid_request_error", _prompt),
    ModelUnavailable: _Form(500, "api_error", headers=lambda error: _FINAL),
    Expired: _Form(
        504, "timeout_error", lambda error: f"the request has expired: {error.message}", lambda error: _FINAL
    ),
    # What has cost several workers would cost as many again.
    WorkerLost: _Form(
        500,
        "api_error",
        lambda error: f"the answer was lost: {error.message}",
        lambda error: _FINAL if error.code == "worker_crashed" else {},
    ),
    GenerationFailed: _Form(
        500, "api_error", lambda error: f"the generation failed: {error.message}", lambda error: _FINAL
    ),
    # What Redis said is for the log.
    StoreUnavailable: _Form(
        500,
        "api_error",
        lambda error: "the server cannot reach its queue; please try again",
        lambda error: error.retry_after,
    ),
    RequestError: _Form(400, "invalid_request_error"),
    TropillaError: _Form(500, "api_error", lambda error: "the server failed", lambda error: _FINAL),
}
