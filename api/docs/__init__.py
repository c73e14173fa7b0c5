"""The server's description of itself: GET /openapi.json, TGI's /api-doc/openapi.json, and /docs for people."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from tropilla.api.about import OBJECT, TEXT, About
from tropilla.api.auth import CHALLENGE
from tropilla.api.docs.html import page
from tropilla.api.docs.openapi import document
from tropilla.api.surface import JSON, Dialect, Page, Reply, Surroundings
from tropilla.common.errors import TropillaError, Unauthenticated
from tropilla.common.settings import Settings

HTML_TYPE = "text/html"


def described(dialects: tuple[Dialect, ...]) -> Dialect:
    """A dialect of its own that tells of the others and of itself."""

    # Nothing of it changes while the server runs.
    @functools.cache
    def told(settings: Settings) -> dict[str, JSON]:
        return document((*dialects, itself), settings)

    @functools.cache
    def written(settings: Settings) -> str:
        return page(told(settings))

    def as_json(surroundings: Surroundings, _: Mapping[str, str]) -> Reply:
        return Reply(told(surroundings.settings))

    def as_page(surroundings: Surroundings, _: Mapping[str, str]) -> Reply:
        return Reply(written(surroundings.settings), headers={"Content-Type": f"{HTML_TYPE}; charset=utf-8"})

    about_json = About("Describe every route, as OpenAPI 3.1", gives=OBJECT)
    itself = Dialect(
        name="docs",
        routes=(
            Page("/openapi.json", as_json, about_json),
            Page("/api-doc/openapi.json", as_json, about_json),
            Page("/docs", as_page, About("Describe every route, for people", gives=TEXT, media=HTML_TYPE)),
        ),
        prefixes=("/openapi.json", "/api-doc", "/docs"),
        fault=_fault,
        error=TEXT,
        title="Docs",
    )
    return itself


def _fault(error: TropillaError) -> Reply:
    """In plain words: nobody's protocol is spoken here. A browser asks its reader for a password, which is the key."""
    asks = {CHALLENGE: 'Basic realm="tropilla: the password is an API key"'}
    headers = asks if isinstance(error, Unauthenticated) else {}
    return Reply(error.message, error.status, {"Content-Type": "text/plain; charset=utf-8", **headers})
