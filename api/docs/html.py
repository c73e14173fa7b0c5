"""The OpenAPI document -> one HTML page for people: self-contained, without scripts, everything folded until asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

from tropilla.api.docs.style import STYLE

Node = Mapping[str, Any]


def page(document: Node) -> str:
    info = document["info"]
    title = escape(f"{info['title']} {info['version']}")
    return "".join(
        (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{STYLE}</style></head><body><main><h1>{title}</h1>",
            *(f"<p>{escape(paragraph)}</p>" for paragraph in info["description"].split("\n\n")),
            '<p>For programs: <a href="openapi.json">openapi.json</a></p>',
            *(_section(document, tag["name"]) for tag in document["tags"]),
            "<h2>Shapes</h2><p>What has a star is always there.</p>",
            *(_component(name, shape) for name, shape in document["components"]["schemas"].items()),
            "</main></body></html>",
        )
    )


def _section(document: Node, tag: str) -> str:
    told = (
        _operation(path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if tag in operation["tags"]
    )
    return f"<h2>{escape(tag)}</h2>" + "".join(told)


def _operation(path: str, method: str, operation: Node) -> str:
    head = f"<b class={method}>{method.upper()}</b> <code>{escape(path)}</code> <span>{escape(operation['summary'])}</span>"
    taken = operation.get("requestBody", {}).get("content", {})
    parts = (
        *(_taken(path, media) for media in taken.values()),
        "<h3>Answers</h3>",
        *(_answer(status, answer) for status, answer in operation["responses"].items()),
    )
    return f'<details id="{operation["operationId"]}"><summary>{head}</summary>{"".join(parts)}</details>'


def _taken(path: str, media: Node) -> str:
    example = _curl(path, media["example"]) if "example" in media else ""
    return f"<h3>Takes</h3><p>{kind(media['schema'])}</p>{example}"


def _curl(path: str, body: Any) -> str:
    # To be pasted into a shell: a quote inside quotes ends them, says itself, and opens them again.
    text = json.dumps(body, ensure_ascii=False).replace("'", "'\\''")
    command = f"curl -N http://localhost:8000{path} -H 'Content-Type: application/json' -d '{text}'"
    return f"<pre>{escape(command, quote=False)}</pre>"


def _answer(status: str, answer: Node) -> str:
    told = "".join(_media(name, media) for name, media in answer["content"].items())
    return f"<p><b>{status}</b> {escape(answer['description'])}</p><ul>{told}</ul>"


def _media(name: str, media: Node) -> str:
    shape = f"a stream, each item {kind(media['x-item'])}" if "x-item" in media else kind(media["schema"])
    bodies = (json.dumps(example["value"], ensure_ascii=False) for example in media.get("examples", {}).values())
    examples = "".join(f"<pre>{escape(body)}</pre>" for body in bodies)
    return f"<li><code>{escape(name)}</code> {shape}{examples}</li>"


def _component(name: str, shape: Node) -> str:
    head = f"<summary><code>{escape(name)}</code></summary>"
    # A link opens what is folded only where it leads inside.
    told = _fields(shape) if "properties" in shape else kind(shape)
    return f'<details>{head}<div id="{escape(name)}">{told}</div></details>'


def _fields(shape: Node) -> str:
    """A table of an object's fields."""
    required = shape.get("required", ())
    rows = (
        f"<tr><td><code>{escape(name)}</code>{' *' if name in required else ''}<td>{kind(field)}<td>{_bounds(field)}"
        for name, field in shape.get("properties", {}).items()
    )
    return f"<table>{''.join(rows)}</table>"


def kind(shape: Node) -> str:
    """What a shape is, in a few words. That it may be null goes without saying (the page's head says it)."""
    if "$ref" in shape:
        name = escape(shape["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "allOf" in shape or "anyOf" in shape:
        joint, inner = (", ", shape["allOf"]) if "allOf" in shape else (" or ", shape["anyOf"])
        return joint.join(dict.fromkeys(words for each in inner if (words := kind(each))))
    if "enum" in shape or "const" in shape:
        values = shape.get("enum", [shape.get("const")])
        return " or ".join(f"<code>{escape(json.dumps(value))}</code>" for value in values if value is not None)
    return "".join(_by_type(shape))


def _by_type(shape: Node) -> Iterator[str]:
    told = shape.get("type", [])
    types = [each for each in ([told] if isinstance(told, str) else told) if each != "null"]
    if types == ["array"]:
        items = shape.get("items") or {"anyOf": shape.get("prefixItems", [])}
        yield f"list of {kind(items)}"
    elif types == ["object"] and shape.get("properties"):
        yield f"object {_fields(shape)}"
    elif types:
        yield " or ".join(types)
    elif shape.get("required"):
        yield f"with {', '.join(f'<code>{escape(name)}</code>' for name in shape['required'])}"
    elif told != "null":
        yield "anything"


#: How the page writes a bound.
_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} long",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "default": "default {}",
    "description": "{}",
}


def _bounds(shape: Node) -> str:
    return ", ".join(escape(words.format(_value(shape[key]))) for key, words in _BOUNDS.items() if key in shape)


def _value(value: Any) -> str:
    """As JSON says it; text as it stands."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)
