"""Values -> the documents that `helm install` would send to Kubernetes."""

from __future__ import annotations

import copy
import datetime
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from tropilla.common.gotemplate.builtins import BUILTINS, Function
from tropilla.common.gotemplate.evaluate import Rendering
from tropilla.common.gotemplate.faults import Refusal
from tropilla.common.gotemplate.parser import parse
from tropilla.common.gotemplate.sprig import sprig
from tropilla.common.gotemplate.tree import Body
from tropilla.common.gotemplate.values import Struct
from tropilla.common.gotemplate.writing import NO_VALUE

from chart.functions import as_helm, functions

CHART = Path(__file__).parents[2] / "compose" / "helm" / "tropilla"
#: Not sent to Kubernetes: what templates share, and what is shown to who installs.
PARTIALS, NOTES = "_", "NOTES.txt"

Document = dict[str, Any]
#: libyaml's, where PyYAML has it: ten times as fast.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Release:
    """One `helm install`. `cluster` is what `lookup` finds: secrets by their names; `files` lie beside the chart's own."""

    name: str = "tropilla"
    namespace: str = "llm"
    cluster: Mapping[str, Document] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@functools.cache
def sources() -> Mapping[str, str]:
    return {path.name: path.read_text() for path in sorted((CHART / "templates").iterdir())}


def defaults() -> Document:
    return copy.deepcopy(_read("values.yaml"))


@functools.cache
def _read(name: str) -> Document:
    found = yaml.load((CHART / name).read_text(), _Loader)
    assert isinstance(found, dict)
    return found


def values_with(given: Mapping[str, Any]) -> Document:
    """values.yaml with those of a person laid over it: maps are merged, lists replaced, null takes away."""
    return _laid_over(defaults(), given)


def _laid_over(base: Document, given: Mapping[str, Any]) -> Document:
    laid = copy.deepcopy(base)
    for name, value in given.items():
        if value is None:
            laid.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(laid.get(name), dict):
            laid[name] = _laid_over(laid[name], value)
        else:
            laid[name] = value
    return laid


class Chart:
    """Parsed once. `render` raises `ExecutionError`, whose last words are those of `fail` and `required`."""

    def __init__(self) -> None:
        self._trees: dict[str, Body] = {}
        known = {**_fixed(), "include": Function(_nowhere, "sa"), "lookup": Function(_nowhere, "ssss")}
        for name, source in sources().items():
            self._trees.update(parse(source, known, name))

    def render(self, given: Mapping[str, Any], release: Release = Release()) -> list[Document]:
        """Every document of every file, in order."""
        found = []
        for name in sources():
            if not name.startswith(PARTIALS) and name != NOTES:
                found += [each for each in yaml.load_all(self.text(name, given, release), _Loader) if each]
        return found

    def text(self, name: str, given: Mapping[str, Any], release: Release = Release()) -> str:
        """One file."""
        data = {
            "Values": as_helm(values_with(given)),
            "Chart": Struct("chart", {key[0].upper() + key[1:]: value for key, value in _read("Chart.yaml").items()}),
            "Release": {"Name": release.name, "Namespace": release.namespace, "Service": "Helm"},
            "Template": {"BasePath": "", "Name": name},
            "Files": Struct("engine.files", {"Get": Function(lambda path: _file(release, path), "s")}),
        }
        return self._run(name, data, release)

    def _run(self, name: str, data: Any, release: Release) -> str:
        # include (print .Template.BasePath "/settings.yaml")
        name = name.removeprefix("/")
        if name not in self._trees:
            raise Refusal(f"template {name} not defined")
        known = {
            **_fixed(),
            "include": Function(lambda inner, dot: self._run(inner, dot, release), "sa"),
            "lookup": Function(lambda _, kind, space, called: _looked_up(release, kind, space, called), "ssss"),
        }
        rendering = Rendering(self._trees, known, name=name, source=sources().get(name, ""), strict=True)
        return rendering.text(self._trees[name], data).replace(NO_VALUE, "")


@functools.cache
def _fixed() -> Mapping[str, Function]:
    return {**BUILTINS, **sprig(lambda: datetime.datetime(2026, 1, 1)), **functions()}


def _nowhere(*_: Any) -> Any:
    raise AssertionError("only its name is needed to parse")


def _file(release: Release, name: str) -> str:
    """Nothing, of one that is not there."""
    path = CHART / name
    return release.files.get(name) or (path.read_text() if path.is_file() else "")


def _looked_up(release: Release, kind: str, namespace: str, name: str) -> Document:
    assert kind == "Secret"
    return release.cluster.get(name, {}) if namespace == release.namespace else {}
