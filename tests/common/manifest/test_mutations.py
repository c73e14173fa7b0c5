"""Whatever a manifest looks like, it is read or refused: nothing else happens, and it happens soon."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tropilla.common.manifest.faults import ManifestError
from tropilla.common.manifest.manifest import Manifest
from tropilla.common.manifest.parse import fenced, parse

EXAMPLE = fenced((Path(__file__).parent / "aikit.md").read_text())[1]
#: Everything that some reader looks at, in one manifest.
EVERYTHING = """apiVersion: v1alpha1
debug: "true"
models:
  - name: dir/m
    source: huggingface://o/r/m.gguf
    sha256: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
    promptTemplates:
      - name: completion
          {{.Input}}
      - &chat
        name: chat
        template: "{{range .Functions}}{{toJson .}}{{end}}{{.Input}}"
  - source: oci://registry.ollama.ai/library/llama3:8b
config:
  - name: chat
    backend: llama-cpp
    parameters: {model: m.gguf, top_k: 1, stop: [a, b], tfz: 1, seed: -1}
    context_size: -1
    cache_type_k: q8_0
    cache_type_v: q8_0
    cutstrings: ["(?s)<a>.*?</a>", "[[:space:]]+$"]
    extract_regex: ['\\d{2,3}', '(a|b)+']
    trimspace: [""]
    grammar: 'root ::= "a" | "b"'
    template: {chat: chat, function: chat, completion: completion, join_chat_messages_by_character: ""}
    download_files: [{filename: x, uri: "https://h/x", sha256: ""}]
  - {name: other, alias: chat}
"""
PIECES = [
    *(
        ": ",
        "- ",
        "\n",
        "\n  ",
        "{",
        "}",
        "[",
        "]",
        "{{",
        "}}",
        '"',
        "'",
        '\\"',
        "\\",
        "|",
        ">",
        "&a ",
        "*a",
        "<<: ",
        "#",
    ),
    *(
        "!!int ",
        "null",
        "~",
        "true",
        "-1",
        "0",
        "1e999",
        "99999999999999999999",
        "\0",
        "\t",
        "\r\n",
        "\u2028",
        "\ufdd0",
    ),
    *("\ud800", "%41", "../", "://", "---\n", "...\n", "? ", "name", "alias", "model", "config", "template", "{{end}}"),
    *("(", ")*", "{9999}"),
]


def mutations(text: str, chance: random.Random) -> Iterator[str]:
    while True:
        made = text
        for _ in range(chance.randint(1, 6)):
            at, end = sorted((chance.randint(0, len(made)), chance.randint(0, len(made))))
            end = min(end, at + chance.randint(0, 40))
            piece = chance.choice(PIECES)
            match chance.randrange(4):
                case 0:
                    made = made[:at] + piece + made[at:]
                case 1:
                    made = made[:at] + piece + made[end:]
                case 2:
                    made = made[:at] + made[end:]
                case _:
                    made = made[:end] + made[at:end] + made[end:]
        yield made


def attempt(text: str) -> Manifest | ManifestError:
    try:
        return parse(text)
    except ManifestError as error:
        return error


@pytest.mark.parametrize("text", [EXAMPLE, EVERYTHING], ids=["example", "everything"])
@pytest.mark.parametrize("seed", range(4))
def test_mutations_are_read_or_refused(text: str, seed: int) -> None:
    read = refused = 0
    for _, made in zip(range(150), mutations(text, random.Random(seed)), strict=False):
        match attempt(made):
            case Manifest(entries=entries):
                read += 1
                assert all(entry.name for entry in entries)
                # What is handed on can be written down.
                repr(entries).encode()
            case ManifestError(message=message):
                refused += 1
                assert message
                message.encode()
    assert read > 5
    assert refused > 5


def test_everything_is_fine_as_it_stands() -> None:
    made = parse(EVERYTHING)
    assert [(entry.name, entry.trouble) for entry in made.entries] == [("chat", None), ("other", None)]
    assert len(made.entries[0].overlay.polish.cut + made.entries[0].overlay.polish.extract) == 4


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: v1alpha1\n" + "a" * 200_000,
        "apiVersion: v1alpha1\nx: " + "[" * 100_000,
        "apiVersion: v1alpha1\nx: " + "{a: " * 30_000,
        "apiVersion: v1alpha1\n" + "- " * 60_000,
        "apiVersion: v1alpha1\nx: '" + "''" * 80_000 + "'",
        "apiVersion: v1alpha1\nx: &a [1]\ny: [" + "*a, " * 30_000 + "]",
        "apiVersion: v1alpha1\nmodels: [{source: a.gguf, promptTemplates: [{name: a, template: '"
        + "{{if .A}}" * 3000
        + "'}]}]",
        "".join(f"k{n}: v\n" for n in range(19_000)) + "apiVersion: v2\n",
    ],
    ids=["plain", "brackets", "braces", "dashes", "quotes", "aliases", "template", "keys"],
)
def test_large_ones_take_no_time_to_speak_of(text: str) -> None:
    before = time.process_time()
    attempt(text)
    assert time.process_time() - before < 5
