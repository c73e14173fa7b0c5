"""Unknown paths and methods, answered by the dialect that owns the path."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, request
from tropilla.api.conversation import respond
from tropilla.api.surface import Dialect
from tropilla.common.errors import TropillaError, UnknownRoute, WrongMethod
from werkzeug.exceptions import HTTPException, MethodNotAllowed


def misrouted(dialects: tuple[Dialect, ...]) -> Callable[[HTTPException], Response]:
    owned = sorted(((prefix, dialect) for dialect in dialects for prefix in dialect.prefixes), key=lambda o: -len(o[0]))

    def answer(error: HTTPException) -> Response:
        dialect = next(owner for prefix, owner in owned if _below(request.path, prefix))
        if isinstance(error, MethodNotAllowed):
            response = respond(dialect.fault(WrongMethod(request.method, request.path)))
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
            return response
        if error.code == 404:
            return respond(dialect.fault(UnknownRoute(request.method, request.path)))
        if error.code == 500:
            return respond(dialect.fault(TropillaError("internal error")))
        return error.get_response()  # type: ignore[return-value]

    return answer


def _below(path: str, prefix: str) -> bool:
    return not prefix or path == prefix or path.startswith(prefix.rstrip("/") + "/")
