"""What one chat template does with what it is given, found out by trying: each question is a rendering or a few.

Templates do not say what they can do. A text nobody else writes is put where the question is, and looked for.
"""

from __future__ import annotations

import json
from functools import cached_property
from typing import Any

from tropilla.common.generation import Effort, Message, Tool, ToolCall
from tropilla.workers.jinja import Program, TemplateFault
from tropilla.workers.switches import SWITCHES, candidates
from tropilla.workers.turns import PROBE, Manners, tool_entry, turn

#: A second text to look for, where two are to be told apart.
OTHER = "tropillaother"
#: Nine letters, as the strictest templates want them, and as OpenAI writes them.
SHORT, LONG = "probecall", "call_0123456789abcdef01234567"
#: What the reasoning of an earlier turn is called; the first that a template mentions.
REASONING = ("reasoning_content", "reasoning", "thinking", "thought")
#: In the source of a template whose model thinks aloud.
TAGS = (
    "<think>",
    "</think>",
    "[THINK]",
    "<|channel|>",
    "<seed:think>",
    "<|START_THINKING|>",
    "<thinking>",
    "<reasoning>",
)

_PROPERTY = {"type": "string", "description": OTHER}
_TOOL = Tool(PROBE, OTHER, json.dumps({"type": "object", "properties": {OTHER: _PROPERTY}, "required": [OTHER]}))
_HI = Message("user", "Hi")


class Habits:
    """One template's, each found out when first asked for."""

    def __init__(self, program: Program, *, bos: str = "", eos: str = "") -> None:
        self._program = program
        self._tokens = {"bos_token": bos, "eos_token": eos}
        self._efforts: dict[Effort, dict[str, Any]] = {}

    @cached_property
    def manners(self) -> Manners:
        source, words = self._program.source, self._program.words
        return Manners(
            parts=frozenset(role for role, form in self._forms.items() if form == "parts"),
            reasoning=next((key for key in REASONING if key in words), REASONING[0]),
            short_ids=not self._shows_calls(LONG) and self._shows_calls(SHORT),
            developer="<|channel|>" in source,
            either="<|channel|>" in source,
        )

    @cached_property
    def takes_system(self) -> bool:
        """Whether a system message reaches the prompt: some templates raise at one, others drop it without a word."""
        # A template that objects to everything says nothing of system messages.
        return "system" in self._forms or "user" not in self._forms

    @cached_property
    def knows_tools(self) -> bool:
        tools = [tool_entry(_TOOL, str)]
        tries = ((_HI,), (Message("system", "Hi"), _HI))
        return any(PROBE in (self._try(messages, self._content, tools=tools) or "") for messages in tries)

    @cached_property
    def knows_calls(self) -> bool:
        """Whether calls and their results reach the prompt. One that cannot do with three plain turns is not asked."""
        plain = self._try((_HI, Message("assistant", "Hi"), _HI), self._content)
        return plain is None or self._shows_calls(SHORT)

    @cached_property
    def thinks(self) -> bool:
        return bool(self._program.variables & SWITCHES) or any(tag in self._program.source for tag in TAGS)

    def switches(self, effort: Effort) -> dict[str, Any]:
        """The variables that tell the template how hard to think."""
        if effort not in self._efforts:
            found: dict[str, Any] = {}
            for found in candidates(effort, read=self._program.variables, words=self._program.words):
                if self._try((_HI,), self._content, **found) is not None:
                    break
            self._efforts[effort] = found
        return self._efforts[effort]

    @cached_property
    def _forms(self) -> dict[str, str]:
        """role -> "text" or "parts": the form in which its content reaches the prompt; a role that never does is absent."""
        forms: dict[str, str] = {}
        for role, messages in (
            ("user", (Message("user", PROBE),)),
            ("system", (Message("system", PROBE), _HI)),
            ("assistant", (_HI, Message("assistant", PROBE), _HI)),
        ):
            for form in ("text", "parts"):
                parts = frozenset(r for r, f in {**forms, role: form}.items() if f == "parts")
                if role not in forms and PROBE in (self._try(messages, Manners(parts=parts)) or ""):
                    forms[role] = form
        return forms

    @cached_property
    def _content(self) -> Manners:
        """Manners as far as they are known while others are still asked for."""
        return Manners(parts=frozenset(role for role, form in self._forms.items() if form == "parts"))

    def _shows_calls(self, name: str) -> bool:
        call = Message("assistant", "", tool_calls=(ToolCall(PROBE, json.dumps({"key": "value"}), name),))
        result = Message("tool", OTHER, name=PROBE, tool_call_id=name)
        written = self._try((_HI, call, result), self._content, tools=[tool_entry(Tool("f"), str)])
        return written is not None and PROBE in written and OTHER in written

    def _try(self, messages: tuple[Message, ...], manners: Manners, **variables: Any) -> str | None:
        turns = [turn(message, str, role=message.role, manners=manners) for message in messages]
        known = {"tools": None, "documents": None, "add_generation_prompt": True, **self._tokens}
        try:
            return self._program.render({**known, **variables, "messages": turns})
        except TemplateFault:
            return None
