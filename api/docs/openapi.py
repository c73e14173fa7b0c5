"""Every dialect's route table -> one OpenAPI 3.1 document.

What a body may hold comes from the marshmallow schema that checks it; what is answered from the routes' `About`; which
errors there are, and how they look, from the dialect's own `fault`.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable, Mapping
from typing import Any

import marshmallow
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from apispec.ext.marshmallow.openapi import OpenAPIConverter
from tropilla.api.about import EVENT_STREAM, FORM_TYPE, JSON_TYPE, TEXT, About, Shape, either, or_null, record, shape_of
from tropilla.api.docs.errors import PHRASES, errors_of
from tropilla.api.docs.headers import HEADERS, WAITING
from tropilla.api.framing import NDJSON
from tropilla.api.owners import Owners
from tropilla.api.surface import JSON, AnyRoute, Chore, Desk, Dialect, Enquiry, Route, method_of, scopes_of
from tropilla.common.errors import ForbiddenOrigin
from tropilla.common.settings import Settings

VERSION = "3.1.0"
DESCRIPTION = """A cluster for GGUF language models that speaks the protocols of OpenAI, Anthropic, Ollama and TGI at once.

In a request null means the same as leaving the field out, and a field that is not named here is ignored."""

#: How a key is given (keys.py).
_SCHEMES: Mapping[str, Mapping[str, str]] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "basic": {"type": "http", "scheme": "basic", "description": "The password is the key; any user will do."},
}
#: What stands for a variable of a Werkzeug rule: `<path:id>` or `<id>`.
_VARIABLE = re.compile(r"<(?:[^:>]+:)?([^>]+)>")


def document(dialects: tuple[Dialect, ...], settings: Settings) -> dict[str, JSON]:
    """The document of a server with these settings, as JSON values. Raises `TypeError` for a field nobody described."""
    plugin = MarshmallowPlugin()
    spec = APISpec(
        title="Tropilla",
        version=importlib.metadata.version("tropilla"),
        openapi_version=VERSION,
        info={"description": DESCRIPTION, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        servers=[{"url": "/", "description": "This server"}],
        tags=[{"name": name} for name in dict.fromkeys(_title(dialect) for dialect in dialects)],
        plugins=[plugin],
    )
    for name, header in HEADERS.items():
        spec.components.parameter(name, "header", {"name": name, **header})
    for name, scheme in _SCHEMES.items() if settings.keys_on else ():
        spec.components.security_scheme(name, dict(scheme))
    told = _Told(spec, settings, Owners(dialects))
    for dialect in dialects:
        plugin.converter = told.converter(dialect)
        for route in dialect.routes:
            method = method_of(route).lower()
            spec.path(path=template(route.path), operations={method: told.operation(dialect, route, method)})
    return spec.to_dict()


def _title(dialect: Dialect) -> str:
    return dialect.title or dialect.name


def template(rule: str) -> str:
    """A Werkzeug rule as OpenAPI writes it."""
    return _VARIABLE.sub(r"{\1}", rule)


class _Converter(OpenAPIConverter):
    """apispec's, with our fields' own words for what they take in place of guesses from their classes.

    `lifted` puts references in place of shapes with a title.
    """

    lifted: Callable[[Shape], Any]

    def field2property(self, field: marshmallow.fields.Field[Any]) -> dict[str, Any]:
        """null is absent everywhere, so that only what is required cannot be null."""
        shape = dict(shape_of(field, self.resolve_nested_schema))
        if isinstance(field.load_default, bool | int | float | str) and field.load_default != "":
            shape["default"] = field.load_default
        told: dict[str, Any] = self.lifted(shape if field.required else or_null(shape))
        return told

    def schema2jsonschema(self, schema: marshmallow.Schema) -> dict[str, Any]:
        """Whoever loads a schema drops unknown fields, whatever it says itself."""
        found: dict[str, Any] = super().schema2jsonschema(schema)  # type: ignore[no-untyped-call]
        found.pop("additionalProperties", None)
        return {**found, **getattr(schema, "needs", {})}


class _Told:
    """The document as it grows: shapes and schemas with a name are told once, among its components."""

    def __init__(self, spec: APISpec, settings: Settings, owners: Owners) -> None:
        self._spec, self._settings, self._owners = spec, settings, owners
        self._titles: dict[str, Any] = {}
        #: Which component a schema has become.
        self._schemas: dict[Any, str] = {}

    def converter(self, dialect: Dialect) -> OpenAPIConverter:
        """Private schemas have no name: they are part of those they stand in. Others have that of the dialect which is the
        first to take them.
        """

        def name(schema: Any) -> str:
            own: str = type(schema).__name__
            return "" if own.startswith("_") else _title(dialect) + own.removesuffix("Schema")

        converter = _Converter(VERSION, name, self._spec)
        converter.refs = self._schemas
        converter.lifted = self.shape
        return converter

    def operation(self, dialect: Dialect, route: AnyRoute, method: str) -> dict[str, Any]:
        about = route.surface.about if isinstance(route, Route) else route.about
        framing = route.surface.framing if isinstance(route, Route) else NDJSON
        if isinstance(route, Chore):
            framing = route.framing
        stream = framing.headers["Content-Type"]
        found: dict[str, Any] = {
            "operationId": re.sub(r"\W+", "_", f"{method} {route.path}").strip("_"),
            "summary": about.summary,
            "tags": [_title(dialect)],
            "parameters": [
                *(_variable(name) for name in _VARIABLE.findall(route.path)),
                *({"name": name, "in": "query", "schema": shape} for name, shape in about.query.items()),
                # By name: they are told once, among the components.
                *(HEADERS if isinstance(route, WAITING) else ()),
            ],
            "responses": {"200": self._ok(about, stream), **self._failures(dialect, route, about)},
        }
        if self._settings.keys_on:
            # One way to give a key, with one scope that opens the route.
            scopes = sorted(scopes_of(route))
            found["security"] = [{name: [scope]} for name in _SCHEMES for scope in scopes]
        if about.takes is not None:
            body = {"schema": self._taken(about), **({} if about.example is None else {"example": about.example})}
            needed = not (isinstance(route, Chore | Enquiry) and route.bodiless)
            media = FORM_TYPE if isinstance(route, Desk) and route.form else JSON_TYPE
            found["requestBody"] = {"required": needed, "content": {media: body}}
        return found

    def _taken(self, about: About) -> Any:
        takes = about.takes
        if isinstance(takes, tuple):
            schema = either(*(self._taken(each) for each in takes))
        else:
            plugin: Any = self._spec.plugins[0]
            asked = takes(self._settings) if callable(takes) else takes
            schema = plugin.converter.resolve_nested_schema(asked)
        whole = {"allOf": [schema, self.shape(about.needs)]} if about.needs else schema
        return self.shape(about.around(whole, self._settings)) if about.around else whole

    def _ok(self, about: About, stream: str) -> dict[str, Any]:
        content: dict[str, Any] = {}
        if about.gives is not None:
            content[about.media] = {"schema": self.shape(about.gives)}
        if about.streams is not None:
            item, media = self.shape(about.streams), stream.partition(";")[0]
            # OpenAPI 3.2 has a word for an item; 3.1 allows our own.
            content[media] = {"schema": _event(item) if media == EVENT_STREAM else TEXT, "x-item": item}
        return {"description": "OK", "content": content}

    def _failures(self, dialect: Dialect, route: AnyRoute, about: About) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for error in errors_of(route, self._settings):
            # A page of another server is turned away before the route is looked at.
            speaker = self._owners.of(route.path) if isinstance(error, ForbiddenOrigin) else dialect
            shape = about.error if about.error is not None and speaker is dialect else speaker.error
            reply = speaker.fault(error)
            status = dialect.refused_status(self._settings) if reply.status == 400 else reply.status
            kind = reply.headers.get("Content-Type", JSON_TYPE).partition(";")[0]
            answer = found.setdefault(str(status), self._failure(status, shape, kind))["content"][kind]
            # A page of another server may be refused in another dialect than a key.
            told = either(answer["schema"], self.shape(shape))["anyOf"]
            answer["schema"] = told[0] if len(told) == 1 else {"anyOf": told}
            answer.setdefault("examples", {})[type(error).__name__] = {"value": reply.body}
        for status, shape in about.also.items():
            found.setdefault(str(status), self._failure(status, shape, JSON_TYPE))
        return dict(sorted(found.items()))

    def _failure(self, status: int, shape: Mapping[str, Any], kind: str) -> dict[str, Any]:
        return {"description": PHRASES[status], "content": {kind: {"schema": self.shape(shape)}}}

    def shape(self, shape: Any) -> Any:
        """The shape with references in place of what has a title."""
        if isinstance(shape, Mapping):
            found = {key: self.shape(value) for key, value in shape.items()}
            title = shape.get("title")
            if not isinstance(title, str):
                return found
            if self._titles.setdefault(title, shape) != shape:
                raise ValueError(f"two shapes are called {title}")
            if title not in self._spec.components.schemas:
                self._spec.components.schema(title, found)
            return {"$ref": f"#/components/schemas/{title}"}
        if isinstance(shape, list):
            return [self.shape(item) for item in shape]
        return shape


def _event(item: Any) -> dict[str, Any]:
    """A server-sent event around an item, as OpenAPI 3.2 writes one: JSON in a string, or text as it stands."""
    alternatives = item.get("anyOf", [item])
    told = [each for each in alternatives if "const" in each]
    written = {"anyOf": [each for each in alternatives if "const" not in each]}
    data = either(*told, {**TEXT, "contentMediaType": JSON_TYPE, "contentSchema": written})
    return dict(record("", {"data": data}, {"event": TEXT}))


def _variable(name: str) -> dict[str, Any]:
    """Werkzeug finds no route for a name of several lines."""
    return {"name": name, "in": "path", "required": True, "schema": {**TEXT, "pattern": r"^[^\n]+$"}}
