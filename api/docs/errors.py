"""Which errors a route can answer with: one of each kind, for the dialects to say."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from tropilla.api import idempotency
from tropilla.api.surface import AnyRoute, method_of, scopes_of
from tropilla.common.errors import (
    BodyTooLarge,
    ContextExceeded,
    Expired,
    ForbiddenHost,
    ForbiddenOrigin,
    GenerationFailed,
    InvalidField,
    LimitReached,
    MalformedBody,
    ModelUnavailable,
    Overloaded,
    ScopeMissing,
    StoreUnavailable,
    TropillaError,
    Unauthenticated,
    UnknownModel,
    UnreadableBody,
    UnsupportedBackend,
    WorkerLost,
)
from tropilla.common.settings import Settings

_ANY_ROUTE: tuple[TropillaError, ...] = (
    UnknownModel("nobody"),
    ForbiddenOrigin("https://elsewhere.example"),
    StoreUnavailable("the store cannot be reached"),
    TropillaError("internal error"),
)
_POSTED: tuple[TropillaError, ...] = (
    *_ANY_ROUTE,
    MalformedBody("missing request body"),
    InvalidField("temperature must be a number", param="temperature", problem="type"),
    UnreadableBody("Content-Type 'text/html' is not supported. Expected 'application/json'."),
    BodyTooLarge("the request body is larger than 4194304 bytes"),
    idempotency.conflict(),
    Overloaded("512 requests are waiting", retry_after_seconds=1),
    ContextExceeded("the prompt does not fit", facts={"prompt_tokens": 5000, "context": 4096}),
    GenerationFailed("the engine failed"),
    Expired("no answer within 2.5 s"),
    WorkerLost("the worker died"),
    ModelUnavailable("m is being downloaded: 40 %", retry_after_seconds=10),
    ModelUnavailable("m cannot be loaded: there is not enough memory"),
    UnsupportedBackend("backend 'exllama2' of model 'm' is not supported (supported: llama-cpp)"),
)
#: Beside those, where callers need no key.
_CALLED: tuple[TropillaError, ...] = (ForbiddenHost("elsewhere.example"),)
#: And where they do.
_KEPT: tuple[TropillaError, ...] = (
    Unauthenticated("this API key is not known here"),
    ScopeMissing("this API key may not do that: it needs the scope admin"),
)
_LIMITED: tuple[TropillaError, ...] = (LimitReached("this API key may ask 60 times a minute", retry_after_seconds=12),)
#: 529 is Anthropic's own.
PHRASES: Mapping[int, str] = {529: "Overloaded", **{status.value: status.phrase for status in HTTPStatus}}


def errors_of(route: AnyRoute, settings: Settings) -> tuple[TropillaError, ...]:
    posted = method_of(route) != "GET"
    common = _POSTED if posted else _ANY_ROUTE
    if not settings.keys_on:
        return (*common, *_CALLED)
    if not scopes_of(route):
        return common
    return (*common, *_KEPT, *(_LIMITED if posted else ()))
