"""Every error of `common.errors` in Ollama's words: a status and `{"error": text}` (sheet, sections 1 and 11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tropilla.api.surface import JSON, Reply
from tropilla.common.errors import (
    ContextExceeded,
    InvalidField,
    LimitReached,
    ModelUnavailable,
    Overloaded,
    StoreClosed,
    StoreUnavailable,
    TropillaError,
    Unauthenticated,
    UnknownRoute,
    WrongMethod,
)

JSON_TYPE = {"Content-Type": "application/json; charset=utf-8"}


class BadTemplate(InvalidField):
    """A request's template that does not parse; the text is Go's."""


@dataclass(frozen=True, slots=True)
class Words:
    """`status` 0 is the error's own. `text` is a format string that may quote the error's own `message`."""

    status: int = 0
    text: str = "{message}"


#: The nearest class counts. Clients match on these texts.
FAULTS: Mapping[type[TropillaError], Words] = {
    TropillaError: Words(),
    UnknownRoute: Words(404, "404 page not found"),
    WrongMethod: Words(405, "405 method not allowed"),
    # The caller's fault, but the sheet's status (section 4.3, step 14).
    BadTemplate: Words(500),
    # Two blanks.
    Overloaded: Words(503, "server busy, please try again.  maximum pending requests exceeded"),
    # Of the caller's own making, not of a server that is busy.
    LimitReached: Words(429),
    # Its clients know what that means by the status.
    Unauthenticated: Words(401, "unauthorized"),
    ContextExceeded: Words(
        400,
        "the prompt is longer than the context length currently available to the model; shorten the prompt, adjust the "
        "context length in settings, or use a model with a longer context length",
    ),
    # Its message is for the operator.
    StoreUnavailable: Words(503, "the request queue cannot be reached"),
    StoreClosed: Words(503),
}


def fault(error: TropillaError) -> Reply:
    status, retry = _words(error).status or error.status, {}
    if isinstance(error, Overloaded):
        retry = {"Retry-After": str(error.retry_after_seconds)}
    elif isinstance(error, StoreUnavailable):
        retry = dict(error.retry_after)
    elif isinstance(error, ModelUnavailable):
        retry = dict(error.retry_after)
        # A model that could not be loaded is a failure; one that may be there soon is a server that is busy.
        status = status if retry or status != 503 else 500
    return Reply(error_body(error), status, {**JSON_TYPE, **retry})


def error_body(error: TropillaError) -> dict[str, JSON]:
    """Also the last line of a stream whose 200 has gone out."""
    return {"error": _words(error).text.format(message=error.message)}


def _words(error: TropillaError) -> Words:
    return next(FAULTS[kind] for kind in type(error).__mro__ if kind in FAULTS)
