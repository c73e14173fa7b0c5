"""Everything that can go wrong for a caller or an operator, as one tree.

    TropillaError
    ├── ConfigurationError      a setting, flag or file that start-up refuses (operators)
    ├── DecodeError             bytes that are not a message of ours
    │   └── NewerMessage        a message of a newer release
    ├── StoreUnavailable        Redis cannot be reached or refuses                       503
    │   └── StoreClosed         no process is there to change which models there are     503
    └── RequestError            a request that cannot be served
        ├── MalformedBody       not JSON, not an object                                  400
        ├── BodyTooLarge        more bytes than the server takes                         413
        ├── UnreadableBody      a content type or an encoding that is not read           415
        ├── ForbiddenOrigin     a web page of a site that the operator does not trust    403
        │   └── ForbiddenHost   or whose name was made to point to this machine          403
        ├── Unauthenticated     no API key, or one that does not count                   401
        ├── ScopeMissing        an API key that does not open this route                 403
        ├── UnknownRoute        no such path                                             404
        │   └── UnknownStream   no stream of this id (any more)                          404
        ├── WrongMethod         the path knows other methods                             405
        ├── InvalidField        a field that is missing, of a wrong type or out of range 400
        │   └── UnsupportedField  a field that would change the answer and is not served 400
        ├── UnknownModel        no worker serves this model                              404
        ├── Conflict            it does not go together with how things stand            409
        ├── Overloaded          the queue is full, or too long for a deadline            429
        │   └── LimitReached    the caller's API key may ask for no more just now        429
        └── GenerationFailed    accepted, and failed later                               500
            ├── ContextExceeded   the prompt (and what was asked for) does not fit       400
            ├── InvalidPrompt     a prompt this model cannot take: token ids, template   400
            ├── ModelUnavailable  the model is known, and nobody can serve it now        503
            │   └── UnsupportedBackend  or ever: it is none for llama.cpp                501
            ├── Expired           its time was over before its answer was there          504
            └── WorkerLost        the worker died or stopped                             500

An error carries facts and a status hint. The surface chooses the words and may choose another status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from tropilla.common.catalogue import Trouble, TroubleCode
from tropilla.common.generation import Failed, FailureCode


class TropillaError(Exception):
    """Root of the tree."""

    status: ClassVar[int] = 500

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class ConfigurationError(TropillaError):
    """One sentence for the operator: what is wrong, and where."""


class DecodeError(TropillaError):
    """Bytes that `codec` could not read; `data` keeps them for the log."""

    def __init__(self, message: str, data: bytes) -> None:
        super().__init__(message)
        self.data = data


class NewerMessage(DecodeError):
    """Written by a newer release than this one: not ours to judge."""


class StoreUnavailable(TropillaError):
    status = 503
    #: A Redis that starts again is back by then, and one that is away for longer is asked for by nobody all the while.
    retry_after: ClassVar[Mapping[str, str]] = {"Retry-After": "5"}


class StoreClosed(StoreUnavailable):
    pass


class RequestError(TropillaError):
    """A request that cannot be served. `param` is the dotted path of the field at fault, `messages[0].content`."""

    status = 400

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class MalformedBody(RequestError):
    pass


class BodyTooLarge(RequestError):
    status = 413


class UnreadableBody(RequestError):
    status = 415


class ForbiddenOrigin(RequestError):
    status = 403

    def __init__(self, origin: str, how: str = "") -> None:
        super().__init__(f"pages of {origin} may not use this server{how}")


class ForbiddenHost(ForbiddenOrigin):
    def __init__(self, host: str) -> None:
        RequestError.__init__(
            self,
            f"this server is not called {host!r}: where callers need no key it answers to addresses and names of its own "
            "machine alone, and to those in TROPILLA_HOSTS",
        )


class Unauthenticated(RequestError):
    status = 401


class ScopeMissing(RequestError):
    status = 403


class UnknownRoute(RequestError):
    status = 404

    def __init__(self, method: str, path: str) -> None:
        super().__init__(f"unknown route {method} {path}")
        self.method, self.path = method, path


class UnknownStream(UnknownRoute):
    """No stream of this id is known, or not any more."""

    def __init__(self, stream: str) -> None:
        super().__init__("GET", f"/v1/streams/{stream}")
        self.message = f"there is no stream {stream!r}, or not any more"


class WrongMethod(UnknownRoute):
    status = 405


#: What is wrong with a field. The order is the order in which a body's problems are reported.
Problem = Literal["missing", "type", "value", "above", "below", "too_long", "empty", "rule", "unsupported"]


class InvalidField(RequestError):
    def __init__(self, message: str, *, param: str | None, problem: Problem = "value") -> None:
        super().__init__(message, param=param)
        self.problem = problem


class UnsupportedField(InvalidField):
    def __init__(self, message: str, *, param: str) -> None:
        super().__init__(message, param=param, problem="unsupported")


class UnknownModel(RequestError):
    status = 404

    def __init__(self, model: str) -> None:
        super().__init__(f"model '{model}' not found", param="model")
        self.model = model


class Conflict(RequestError):
    status = 409


class Overloaded(RequestError):
    status = 429

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class LimitReached(Overloaded):
    """`limit`: of what there was too much, requests in a minute or tokens in a day."""

    def __init__(
        self, message: str, *, retry_after_seconds: int, limit: Literal["requests", "tokens"] = "requests"
    ) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.limit = limit


class GenerationFailed(RequestError):
    """A `Failed` event as an exception; `facts` are its numbers."""

    status = 500

    def __init__(self, message: str, *, code: FailureCode = "internal", facts: Mapping[str, int] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.facts = dict(facts or {})


class ContextExceeded(GenerationFailed):
    """Facts: prompt_tokens, context; and max_tokens when prompt + max_tokens was the sum that did not fit."""

    status = 400


class InvalidPrompt(GenerationFailed):
    status = 400


#: What passes by itself, and after how many seconds a caller may look again.
PASSING: Mapping[TroubleCode, int] = {"downloading": 10, "no_worker": 10}


class ModelUnavailable(GenerationFailed):
    """Said before a request is accepted, or of one that has waited; `retry_after_seconds` is None where the trouble does
    not pass by itself.
    """

    status = 503

    def __init__(
        self,
        message: str,
        *,
        code: FailureCode = "model_unavailable",
        facts: Mapping[str, int] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message, code=code, facts=facts)
        self.param = "model"
        self.retry_after_seconds = retry_after_seconds

    @property
    def retry_after(self) -> Mapping[str, str]:
        """As a header."""
        return {} if self.retry_after_seconds is None else {"Retry-After": str(self.retry_after_seconds)}


class UnsupportedBackend(ModelUnavailable):
    status = 501


def unavailable(trouble: Trouble) -> ModelUnavailable:
    """The exception that says what is the matter with a model."""
    kind = UnsupportedBackend if trouble.code == "backend_unsupported" else ModelUnavailable
    return kind(trouble.message, retry_after_seconds=PASSING.get(trouble.code))


class Expired(GenerationFailed):
    status = 504


class WorkerLost(GenerationFailed):
    pass


#: Which class a failure code becomes in the API.
CODES: Mapping[FailureCode, type[GenerationFailed]] = {
    "context_length": ContextExceeded,
    "invalid_prompt": InvalidPrompt,
    "constraint": InvalidPrompt,
    "unsupported": InvalidPrompt,
    "template": InvalidPrompt,
    "model_unavailable": ModelUnavailable,
    "worker_lost": WorkerLost,
    "worker_crashed": WorkerLost,
    "shutting_down": WorkerLost,
    "expired": Expired,
    "cancelled": GenerationFailed,
    "internal": GenerationFailed,
}


def from_failed(event: Failed) -> GenerationFailed:
    """The exception that says what the event says."""
    # A newer worker may know codes that this process does not.
    kind = CODES.get(event.code, GenerationFailed)
    return kind(event.message, code=event.code, facts=event.facts)


def to_failed(error: GenerationFailed, index: int) -> Failed:
    """The event that says what the exception says."""
    return Failed(index=index, code=error.code, message=error.message, facts=error.facts)
