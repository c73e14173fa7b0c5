"""The grammar that makes a model's tool calls come out right, in its own notation.

A forced call is all there is to the answer. Where the model decides by itself, text is free until the family's tag; from
there on a call has a known name and arguments that fit the tool's schema. Whitespace is the model's own choice throughout:
what it was trained on differs in that between releases. The grammar binds behind the reasoning block.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from tropilla.common.generation import ChatPrompt, Constraint, Tool
from tropilla.common.grammar import WHITESPACE, refusal
from tropilla.workers.families import Family, Tags

#: Between any two words of a notation. Bounded: a weak model may find no end.
SPACE = r"SPACE: /[ \t\r\n]{1,8}/"
GUIDANCE = {"whitespace_pattern": WHITESPACE}
#: Keywords that may allow members besides `properties`.
OPEN_ENDED = frozenset(
    {"additionalProperties", "patternProperties", "unevaluatedProperties", "$ref", "allOf", "anyOf", "oneOf", "if"}
)


def grammar(family: Family, prompt: ChatPrompt, special: Mapping[str, int]) -> str | None:
    """Lark for llguidance; None where nothing needs to be said. ValueError: a tool's parameters cannot be compiled.

    special: spelling -> id of every control token. Text in a grammar never matches those.
    """
    if not prompt.tools or prompt.tool_choice == "none":
        return None
    forced = prompt.tool_choice == "required"
    if not forced and not family.tag:
        return None
    named = prompt.named_tool if forced else ""
    tools = [tool for tool in prompt.tools if named in ("", tool.name)]
    if not tools:
        raise ValueError(f"there is no tool named {named!r}")
    several = family.several and prompt.parallel_calls and not named
    words = _Words(special)
    lines = words.forced(family, several) if forced else words.free(family, several)
    # Behind a tag that opens each call, only the rest of `before` is the call's own.
    before = family.before.removeprefix(family.tag) if not (forced or family.head) else family.before
    lines.append("call: " + " | ".join(f"call_{at}" for at in range(len(tools))))
    for at, tool in enumerate(tools):
        name = json.dumps(tool.name, ensure_ascii=False)
        # In JSON the name stands between quotes of its own.
        name = name[1:-1] if before.endswith('"') else tool.name
        rule = (words.of(before), _quoted(name), words.of(family.between), f"arguments_{at}", words.of(family.after))
        lines += [f"call_{at}: " + " ".join(filter(None, rule)), f"arguments_{at}: %json {_schema(tool)}"]
    return "\n".join((*lines, SPACE, ""))


def opens_reasoning(prompt_text_end: str, tags: Tags | None) -> bool:
    """Whether a prompt that ends so has opened the reasoning block already."""
    return tags is not None and prompt_text_end.rstrip().endswith(tags.open)


class _Words:
    """A notation's texts as parts of rules."""

    def __init__(self, special: Mapping[str, int]) -> None:
        self._special = special
        spellings = sorted(filter(None, special), key=len, reverse=True)
        self._parts = re.compile("(" + "|".join([*map(re.escape, spellings), r"\s+"]) + ")")

    def of(self, text: str) -> str:
        return " ".join(map(self._part, filter(None, self._parts.split(text))))

    def _part(self, text: str) -> str:
        if text in self._special:
            return f"<[{self._special[text]}]>"
        return "SPACE?" if text.isspace() else _quoted(text)

    def forced(self, family: Family, several: bool) -> list[str]:
        """Calls, and nothing else."""
        more = f"({self.of(family.joint)} call)*" if several else ""
        return [_rule("start", "SPACE?", self.of(family.head), "call", more, self.of(family.tail))]

    def free(self, family: Family, several: bool) -> list[str]:
        """Text, with calls behind the tag."""
        more = f"({self.of(family.joint)} call)*" if several and family.head else ""
        rest = self.of(family.head.removeprefix(family.tag))
        made = _rule("made", "opened", rest, "call", more, self.of(family.tail))
        if family.tag in self._special:
            token = self._special[family.tag]
            start = "(other | made)*" if several else "other* (made SPACE?)?"
            return [f"start: {start}", made, f"opened: <[{token}]>", f"other: <[^{token}]>"]
        # Lazy: it ends at the first tag there is, so that no tag is ever part of the text.
        start = "made* rest" if several else "rest | made SPACE?"
        lazy = f"opened[lazy]: TEXT {_quoted(family.tag)}"
        return [f"start: {start}", made, lazy, "rest: TEXT", r"TEXT: /(.|\n)*/"]


def _rule(name: str, *parts: str) -> str:
    return f"{name}: " + " ".join(filter(None, parts))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _schema(tool: Tool) -> str:
    """What the tool's arguments must look like: always an object, and without parameters an empty one."""
    try:
        schema: Any = json.loads(tool.parameters or "{}")
    except ValueError as error:
        raise ValueError(f"tool {tool.name!r}: its parameters are no JSON: {error}") from error
    if not isinstance(schema, dict):
        raise ValueError(f"tool {tool.name!r}: its parameters are no JSON schema of an object")
    kind = schema.get("type", "object")
    if "object" not in ([kind] if isinstance(kind, str) else _items(kind)):
        raise ValueError(f"tool {tool.name!r}: its parameters must be of type object, not {kind!r}")
    closed = not schema or ("properties" in schema and not OPEN_ENDED & schema.keys())
    # Models told nothing about further members should not make them up.
    closing = {"additionalProperties": False} if closed else {}
    # Names the draft, and by that keywords to ignore.
    schema.pop("$schema", None)
    source = json.dumps({**schema, **closing, "type": "object", "x-guidance": GUIDANCE})
    if reason := refusal(Constraint("schema", source)):
        raise ValueError(f"tool {tool.name!r}: {reason}")
    return source


def _items(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else ()
