"""SECURITY.md says what shows each of its claims: those tests exist. And what no other test is there for."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from tropilla.common.generation import new_request_id

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TEXT)
ROWS = [line.split(" | ") for line in TEXT.splitlines() if line.startswith("| ") and "CVE-" in line]

#: The last release of each that had a hole we know of.
HOLED = {
    "celery": "5.2.1",
    "gunicorn": "21.2.0",
    "flower": "1.1.0",
    "jinja2": "3.1.5",
    "urllib3": "2.4.0",
    "llama-cpp-python": "0.2.71",
    "flask": "2.3.1",
    "redis": "4.5.3",
    "PyYAML": "5.3.1",
}


@cache
def shown_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_there_is_something_to_look_at() -> None:
    assert len(SHOWN) > 40
    assert len(ROWS) > 10


@pytest.mark.parametrize(("path", "name"), sorted(set(SHOWN)), ids=lambda part: part or "file")
def test_what_shows_a_claim_is_there(path: str, name: str) -> None:
    assert (ROOT / path).is_file()
    assert not name or name in shown_in(path)


def test_every_threat_has_something_that_shows_it() -> None:
    assert [row[0] for row in ROWS if "`tests/" not in row[-1]] == []


@pytest.mark.parametrize("package", HOLED)
def test_releases_with_known_holes_cannot_be_installed(package: str) -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (wanted,) = [each for each in map(Requirement, asked) if each.name.lower() == package.lower()]
    assert not wanted.specifier.contains(HOLED[package])
    assert wanted.specifier.contains(metadata.version(package))


def test_an_id_has_128_bits() -> None:
    ids = {new_request_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in ids)
    # Each bit is drawn: none of them is the same in all.
    numbers = [int(each, 16) for each in ids]
    assert all(0 < sum(number >> bit & 1 for number in numbers) < 1000 for bit in range(128))


def test_llama_cpp_serves_nobody_but_its_worker() -> None:
    """Neither its RPC nor its own server is ever started."""
    sources = [path for room in ("api", "common", "compose", "workers") for path in (ROOT / room).rglob("*.py")]
    words = re.compile(r"rpc_server|ggml_rpc|rpc-server|llama_cpp\.server")
    assert [path.name for path in sources if words.search(path.read_text(encoding="utf-8"))] == []
