"""What an answer has to look like: which notation is read out of it, and which grammar binds it.

A chat template gives the notation away (families.py). A grammar is made of the caller's constraint, of calls that must come
or must be well formed, and of the reasoning that may stand before either.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tropilla.common.errors import InvalidPrompt
from tropilla.common.generation import ChatPrompt, GenerationRequest, LocalTemplates, Prompt
from tropilla.common.grammar import grammar_of, thought
from tropilla.workers.calls import grammar as grammar_of_calls
from tropilla.workers.calls import opens_reasoning
from tropilla.workers.families import GENERIC, Family, Tags, family_of, reasoning_tags
from tropilla.workers.gochat import shows_tools
from tropilla.workers.prompt import ChatTemplate
from tropilla.workers.replies import Reply, Shape
from tropilla.workers.sampler import Matcher


class Grammars(Protocol):
    """What compiles grammars for one vocabulary: `constraint.Grammars`."""

    def matcher(self, grammar: str) -> Matcher: ...


@dataclass(frozen=True, slots=True)
class Notation:
    """How calls are written, and what stands around a reasoning."""

    family: Family
    reasoning: Tags | None

    @property
    def tags(self) -> frozenset[str]:
        around = () if self.reasoning is None else (self.reasoning.open, self.reasoning.close)
        return self.family.markers.union(around)


class Answers:
    """For one model. template: its chat template. special: spelling -> id of tokens that no text spells."""

    def __init__(self, template: ChatTemplate, grammars: Grammars, *, special: Mapping[str, int]) -> None:
        source = template.source(tools=True)
        family = family_of(source) if template.knows_tools else GENERIC
        self._own = Notation(family, reasoning_tags(template.source(tools=False)) or reasoning_tags(source))
        self._grammars = grammars
        self._special = special

    def tags(self, prompt: Prompt) -> frozenset[bytes]:
        """Tags that are markers of the vocabulary, and nevertheless part of what is read."""
        return frozenset(tag.encode() for tag in self._notation(prompt).tags if tag in self._special)

    def reply(self, request: GenerationRequest, prompt: Prompt, end: str) -> Reply | None:
        """What reads the answer; None where all of it is text. end: how the rendered prompt ends."""
        if not request.parse_reply:
            return None
        notation = self._notation(prompt)
        inside = opens_reasoning(end, notation.reasoning)
        if not isinstance(prompt, ChatPrompt) or not _calls(prompt):
            return Reply(Shape(reasoning=notation.reasoning, inside=inside))
        shape = Shape(
            family=notation.family,
            tools=frozenset(tool.name for tool in prompt.tools),
            reasoning=notation.reasoning,
            inside=inside,
            forced=prompt.tool_choice == "required",
            several=prompt.parallel_calls,
        )
        return Reply(shape)

    def matcher(self, request: GenerationRequest, prompt: Prompt, end: str) -> Matcher | None:
        """What keeps the answer to its grammar; None where anything may come. Raises `InvalidPrompt`."""
        parts: dict[str, Any] = {}
        if request.constraint is not None:
            parts["answer"] = json.loads(grammar_of(request.constraint))["grammars"][0]
        if request.parse_reply and isinstance(prompt, ChatPrompt) and _calls(prompt):
            calls = self._grammar_of_calls(prompt, beside=bool(parts))
            if calls is not None:
                parts = {"calls": calls} if prompt.tool_choice == "required" else {"calls": calls, **parts}
        return self._grammars.matcher(self._composed(parts, prompt, end)) if parts else None

    def _notation(self, prompt: Prompt) -> Notation:
        """The model's own, unless the prompt's template teaches it another (aikit's llama-3.1 does). Where a template shows
        no tools they are told in words, and so is how to call them.
        """
        template = prompt.template if isinstance(prompt, ChatPrompt) else ""
        if not template:
            return self._own
        if isinstance(template, LocalTemplates):
            taught, reasoning = family_of(template.function + template.chat_message), None
        elif shows_tools(template):
            taught, reasoning = family_of(template), reasoning_tags(template)
        else:
            return Notation(GENERIC, reasoning_tags(template) or self._own.reasoning)
        return Notation(self._own.family if taught is GENERIC else taught, reasoning or self._own.reasoning)

    def _grammar_of_calls(self, prompt: ChatPrompt, *, beside: bool) -> dict[str, str] | None:
        """Calls that must come, or that may; beside a constraint on everything else, the answer may be calls instead."""
        try:
            asked = dataclasses.replace(prompt, tool_choice="required") if beside else prompt
            lark = grammar_of_calls(self._notation(prompt).family, asked, self._special)
        except ValueError as error:
            if prompt.tool_choice == "auto" and not beside:
                # Clients describe arguments in all sorts of ways; unbound, the model may still call.
                return None
            raise InvalidPrompt(str(error), code="constraint") from error
        return None if lark is None else {"lark_grammar": lark}

    def _composed(self, parts: dict[str, Any], prompt: Prompt, end: str) -> str:
        """Either of the parts, behind the reasoning that may or must come first."""
        before, rules = self._thought(prompt, end)
        either = " | ".join(f"@{name}" for name in parts)
        named = [{**grammar, "name": name} for name, grammar in parts.items()]
        lark = "\n".join([f"start: {before} ({either})", *rules])
        return json.dumps({"grammars": [{"lark_grammar": lark}, *named]})

    def _thought(self, prompt: Prompt, end: str) -> tuple[str, list[str]]:
        """What comes before the answer, and the Lark rules it is made of."""
        tags = self._notation(prompt).reasoning
        inside = opens_reasoning(end, tags)
        if tags is None or not (inside or (isinstance(prompt, ChatPrompt) and prompt.effort != "off")):
            return "", []
        opening, closing = self._special.get(tags.open), self._special.get(tags.close)
        if inside or (opening is not None and closing is not None):
            before, rules = thought(tags.close, tag="" if closing is None else f"<[{closing}]>")
            before = f"{before} SPACE?" if inside else f"(<[{opening}]> {before} SPACE?)?"
        else:
            before, rules = thought(tags.close, open_pattern=_escaped(tags.open))
            before = f"({before} SPACE?)?"
        return before, [*rules, _SPACE]


#: Models put a blank line behind their reasoning.
_SPACE = r"SPACE: /\s{1,4}/"


def _calls(prompt: ChatPrompt) -> bool:
    return bool(prompt.tools) and prompt.tool_choice != "none"


def _escaped(text: str) -> str:
    """As a regex. By number: in Rust's, `\\<` is the beginning of a word."""
    return "".join(character if character.isalnum() else f"\\x{{{ord(character):x}}}" for character in text)
