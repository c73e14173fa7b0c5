"""Unknown paths and methods, and whatever else Werkzeug refuses, answered by the dialect that owns the path."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, request
from tropilla.api.conversation import respond
from tropilla.api.owners import Owners
from tropilla.common.errors import RequestError, TropillaError, UnknownRoute, WrongMethod
from werkzeug.exceptions import HTTPException, MethodNotAllowed


def misrouted(owners: Owners) -> Callable[[HTTPException], Response]:
    def answer(error: HTTPException) -> Response:
        response = error.get_response()
        if response.status_code < 400:
            # A path with doubled slashes is sent to the proper one.
            return response  # type: ignore[return-value]
        response = respond(owners.of(request.path).fault(_misroute(error)))
        if isinstance(error, MethodNotAllowed):
            response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        return response

    return answer


def _misroute(error: HTTPException) -> TropillaError:
    if isinstance(error, MethodNotAllowed):
        return WrongMethod(request.method, request.path)
    if error.code == 404:
        return UnknownRoute(request.method, request.path)
    if (error.code or 500) >= 500:
        return TropillaError("internal error")
    return RequestError(error.description or error.name)
