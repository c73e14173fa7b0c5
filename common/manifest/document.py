"""YAML as a manifest's readers see it: texts, lists and maps; what a text stands for is told by the key it stands under.

YAML's own guesses (`off` is False, `1e10` a number) would lose what was written. Several documents: only the first counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import yaml
from tropilla.common.manifest.faults import ManifestError

MAX_CHARACTERS = 1 << 18
#: Nodes after every alias has been put in; ten lists of ten aliases each are ten thousand million.
MAX_NODES = 20_000
MAX_DEPTH = 32

Value = None | str | list["Value"] | dict[str, "Value"]

_NOTHING = ("", "~", "null", "Null", "NULL")
#: `template: {{.Input}}`, which YAML takes for a map in a map.
_BARE_TEMPLATE = re.compile(r"(?m)^[ \t-]*[\w\"']+[ \t]*:[ \t]*\{\{")
_HINT = "; a template that begins with {{ needs quotes around it, or a block: `template: |`"
_UNENCODABLE = re.compile("[\ud800-\udfff]")


class Quoted(str):
    """A text that stood in quotation marks or in a block: one that cannot be meant as anything else."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Document:
    """`more`: further documents follow, which nobody reads."""

    value: Value
    more: bool = False


def read(text: str, *, where: str = "") -> Document:
    """where: what the text is, when it is no whole manifest. Raises `ManifestError`."""
    prefix = f"{where}: " if where else ""
    if len(text) > MAX_CHARACTERS:
        raise ManifestError(f"{prefix}it has more than {MAX_CHARACTERS} characters", param=where or None)
    if _UNENCODABLE.search(text):
        raise ManifestError(f"{prefix}it is not UTF-8", param=where or None)
    try:
        loader = yaml.BaseLoader(text)
        node = loader.get_node() if loader.check_node() else None
        value = None if node is None else _Reading().value(node, 0)
    except yaml.YAMLError as error:
        hint = _HINT if _BARE_TEMPLATE.search(text) else ""
        raise ManifestError(f"{prefix}{_said(error)}{hint}", param=where or None) from error
    except _Flaw as error:
        hint = _HINT if _BARE_TEMPLATE.search(text) and "key" in str(error) else ""
        raise ManifestError(f"{prefix}{error}{hint}", param=where or None) from error
    except (ValueError, OverflowError, RecursionError) as error:
        # An escape for no character, a version with a thousand digits, a thousand brackets.
        raise ManifestError(f"{prefix}it is no YAML: {error}", param=where or None) from error
    return Document(value, more=_more(loader))


def _more(loader: yaml.BaseLoader) -> bool:
    try:
        return bool(loader.check_node())
    except (yaml.YAMLError, ValueError, RecursionError):
        return True


def _said(error: yaml.YAMLError) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None:
        return f"it is no YAML: {' '.join(str(error).split())}"
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


class _Flaw(Exception):
    pass


class _Reading:
    """One document. Aliases are followed, `<<` merges maps, and no key stands twice."""

    def __init__(self) -> None:
        self._nodes = 0

    def value(self, node: yaml.Node, depth: int) -> Value:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _Flaw(f"it has more than {MAX_NODES} values")
        if depth > MAX_DEPTH:
            raise _Flaw(f"{_line(node)}it is more than {MAX_DEPTH} levels deep")
        if isinstance(node, yaml.ScalarNode):
            text: str = node.value
            if _UNENCODABLE.search(text):
                raise _Flaw(f"{_line(node)}a text is not UTF-8")
            if node.style is not None:
                return Quoted(text)
            return None if text in _NOTHING else text
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, depth + 1) for item in node.value]
        assert isinstance(node, yaml.MappingNode)
        return self._mapping(node, depth)

    def _mapping(self, node: yaml.MappingNode, depth: int) -> dict[str, Value]:
        own: dict[str, Value] = {}
        merged: dict[str, Value] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Flaw(f"{_line(key)}a key is not a text")
            if key.value == "<<" and key.style is None:
                for each in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    inner = self.value(each, depth + 1)
                    if not isinstance(inner, dict):
                        raise _Flaw(f"{_line(key)}only a map can be merged")
                    merged = inner | merged
                continue
            if key.value in own:
                raise _Flaw(f"{_line(key)}duplicate key {key.value!r}")
            own[key.value] = self.value(value, depth + 1)
        return merged | own


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}: "
