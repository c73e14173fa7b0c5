"""/api/create: bodies -> errands and refusals (section 10.1, edge case 26)."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from ollama_scene import LIPS, POCKET, surroundings
from tropilla.api.surface import JSON, ErrandCall
from tropilla.api.surfaces.ollama import OLLAMA
from tropilla.api.surfaces.ollama.create import parse_create
from tropilla.common.catalogue import Definition, Worker, catalogue
from tropilla.common.errands import Create
from tropilla.common.errors import TropillaError
from tropilla.common.generation import Message, ToolCall
from tropilla.common.recipes import Overlay, Recipe

HEX = "0123456789abcdef" * 4
OLD = dataclasses.replace(LIPS, name="Old:latest")
AROUND = dataclasses.replace(
    surroundings(),
    catalogue=catalogue(
        (Worker("a", "cpu", "ready", 8, POCKET), Worker("b", "cpu", "idle", 8, None)),
        (Definition(OLD, Recipe("o", ())),),
    ),
)


def create(**more: Any) -> dict[str, Any]:
    return {"model": "bard", "from": "pocket", **more}


def uploaded(**more: Any) -> dict[str, Any]:
    return {"model": "bard", "files": {"m.gguf": f"sha256:{HEX}"}, **more}


def laid(**overlay: Any) -> Create:
    return Create("", "bard:latest", base="pocket", overlay=Overlay(**overlay))


FILES = Create("", "bard:latest", files=(("m.gguf", HEX),))
CREATED: list[Any] = [
    pytest.param(create(), laid(), id="from"),
    pytest.param({"name": "bard", "FROM": "Pocket:LATEST"}, laid(), id="in-any-case-by-the-older-word"),
    pytest.param(
        create(**{"from": "old"}), dataclasses.replace(laid(), base="Old:latest"), id="row-22-base-in-any-case"
    ),
    pytest.param(
        create(model="OLD"), dataclasses.replace(laid(), name="Old:latest"), id="row-26-the-same-name-in-whatever-case"
    ),
    pytest.param(create(template="{{ .Prompt }}"), laid(template="{{ .Prompt }}"), id="row-26-template"),
    pytest.param(create(system="rhyme"), laid(system="rhyme"), id="system"),
    pytest.param(create(system="", template=None, license=""), laid(), id="empty-is-not-given"),
    pytest.param(create(license="MIT"), laid(licenses=("MIT",)), id="one-license"),
    pytest.param(create(license=["MIT", "Apache"]), laid(licenses=("MIT", "Apache")), id="row-26-licenses"),
    pytest.param(
        create(parameters={"temperature": 0.6, "top_k": 10, "top_p": 0.7, "stop": ["a", "b"]}),
        laid(parameters=(("stop", ("a", "b")), ("temperature", 0.6), ("top_k", 10), ("top_p", 0.7))),
        id="row-26-parameters",
    ),
    pytest.param(
        create(parameters={"num_predict": 5, "num_ctx": 64, "num_keep": 2, "stop": "x", "seed": 42}),
        laid(parameters=(("context", 64), ("keep", 2), ("max_tokens", 5), ("seed", 42), ("stop", ("x",)))),
        id="parameters-by-our-names",
    ),
    pytest.param(
        create(parameters={"num_gpu": 1, "use_mmap": True, "tfs_z": 0.5, "unheard": {}, "top_k": None}),
        laid(),
        id="parameters-that-say-nothing-here",
    ),
    pytest.param(
        create(
            messages=[
                {"role": "USER", "content": "1+1"},
                {
                    "role": "assistant",
                    "content": "2",
                    "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}],
                },
            ]
        ),
        laid(messages=(Message("user", "1+1"), Message("assistant", "2", tool_calls=(ToolCall("f", '{"a":1}'),)))),
        id="row-26-messages",
    ),
    pytest.param(uploaded(), FILES, id="files"),
    pytest.param(
        uploaded(files={"d/m.gguf": f"sha256-{HEX.upper()}"}),
        dataclasses.replace(FILES, files=(("d/m.gguf", HEX),)),
        id="files-in-folders-with-either-digest",
    ),
    pytest.param(
        create(adapters={"l.gguf": f"sha256:{HEX}"}),
        dataclasses.replace(laid(), adapters=(("l.gguf", HEX),)),
        id="an-adapter",
    ),
    pytest.param(create(quantize="Q4_K_M"), dataclasses.replace(laid(), quantization="Q4_K_M"), id="quantize"),
    pytest.param(create(quantization="Q4_0"), dataclasses.replace(laid(), quantization="Q4_0"), id="its-older-word"),
    pytest.param(create(info={}, renderer="", parser=None, requires=""), laid(), id="nothing-of-what-is-not-served"),
]


@pytest.mark.parametrize(("body", "expected"), CREATED)
def test_a_body_becomes_an_errand(body: JSON, expected: Create) -> None:
    call = parse_create(body, AROUND)
    assert isinstance(call, ErrandCall)
    assert dataclasses.replace(call.errand, id="") == expected
    # Two of one name may mean different things: nobody listens to another's.
    assert (call.flight, call.stream, call.wait, call.stops) == ("", True, True, False)


def wrong(field: str, given: str = "number", kind: str = "string") -> str:
    return f"json: cannot unmarshal {given} into Go struct field CreateRequest.{field} of type {kind}"


NEITHER = "neither 'from' or 'files' was specified"
RELATIVE = "file path must be relative"
REFUSED: list[Any] = [
    pytest.param(None, 400, "invalid model name", id="missing"),
    pytest.param({"from": "pocket"}, 400, "invalid model name", id="no-name"),
    pytest.param(create(model="^"), 400, "invalid model name", id="illegal"),
    pytest.param(
        create(model="pocket"), 400, 'model "pocket" belongs to a worker that was started with it', id="a-workers-own"
    ),
    pytest.param({"model": "x"}, 400, NEITHER, id="no-source"),
    pytest.param({"model": "x", "files": {}}, 400, NEITHER, id="no-files"),
    pytest.param({**create(), **uploaded()}, 400, "'from' and 'files' exclude each other", id="two-sources"),
    pytest.param(create(**{"from": "x"}), 404, 'model "x" not found', id="unknown-base"),
    pytest.param(create(**{"from": "^"}), 400, "invalid model name", id="illegal-base"),
    pytest.param(create(**{"from": 1}), 400, wrong("from"), id="base-type"),
    pytest.param(uploaded(files={"m": ""}), 400, "invalid digest format", id="row-26-empty-digest"),
    pytest.param(uploaded(files={"m": None}), 400, "invalid digest format", id="null-digest"),
    pytest.param(uploaded(files={"m": "sha256:x"}), 400, "invalid digest format", id="bad-digest"),
    pytest.param(uploaded(files={"/m": f"sha256:{HEX}"}), 400, RELATIVE, id="absolute"),
    pytest.param(uploaded(files={"a/../m": f"sha256:{HEX}"}), 400, RELATIVE, id="upwards"),
    pytest.param(uploaded(files={"..\\m": f"sha256:{HEX}"}), 400, RELATIVE, id="upwards-on-windows"),
    pytest.param(uploaded(files=[]), 400, wrong("files", "array", "map[string]string"), id="files-type"),
    pytest.param(uploaded(files={"m": 1}), 400, wrong("files", kind="map[string]string"), id="digest-type"),
    pytest.param(create(adapters={"l": ""}), 400, "invalid digest format", id="row-26-adapter-digest"),
    pytest.param(
        create(adapters=dict.fromkeys("ab", f"sha256:{HEX}")),
        400,
        "only one adapter is currently supported",
        id="two-adapters",
    ),
    pytest.param(
        create(template="{{ .Prompt"), 400, "template error: template: :1: unclosed action", id="row-26-unclosed"
    ),
    pytest.param(
        create(template="{{ if .Prompt }}"),
        400,
        "template error: template: :1: unexpected EOF",
        id="row-26-unclosed-if",
    ),
    pytest.param(
        create(template="{{ Prompt }}"),
        400,
        'template error: template: :1: function "Prompt" not defined',
        id="row-26-unknown-function",
    ),
    pytest.param(
        create(parameters=[]), 400, wrong("parameters", "array", "map[string]interface {}"), id="parameters-type"
    ),
    pytest.param(create(parameters={"top_k": "x"}), 400, 'option "top_k" must be of type integer', id="parameter-type"),
    pytest.param(create(license=1), 400, wrong("license", kind="[]string"), id="license-type"),
    pytest.param(create(license=[1]), 400, wrong("license", kind="[]string"), id="licenses-type"),
    pytest.param(
        create(messages=[{"role": "user", "images": ["aGk="]}]),
        400,
        "messages[0].images is not supported yet",
        id="images",
    ),
    pytest.param(create(renderer="qwen3"), 400, "renderer is not supported", id="renderer"),
    pytest.param(create(parser="qwen3"), 400, "parser is not supported", id="parser"),
    pytest.param(create(requires="0.14.0"), 400, "requires is not supported", id="requires"),
    pytest.param(create(info={"model_family": 1}), 400, wrong("info.model_family"), id="row-26-info-text"),
    pytest.param(
        create(info={"capabilities": "x"}), 400, wrong("info.capabilities", "string", "[]string"), id="row-26-info-list"
    ),
    pytest.param(
        create(info={"context_length": "x"}), 400, wrong("info.context_length", "string", "int"), id="row-26-info-int"
    ),
    pytest.param(
        create(info={"context_length": -1}), 400, "info.context_length must not be negative", id="row-26-info-range"
    ),
    pytest.param(
        create(info={"context_length": 5}), 400, "info is not supported: what a model is, its file says", id="info"
    ),
]


@pytest.mark.parametrize(("body", "status", "text"), REFUSED)
def test_a_body_is_refused_before_anybody_is_asked(body: JSON, status: int, text: str) -> None:
    with pytest.raises(TropillaError) as caught:
        parse_create(body, AROUND)
    reply = OLLAMA.fault(caught.value)
    assert (reply.status, reply.body) == (status, {"error": text})
