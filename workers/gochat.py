"""Messages -> prompt text by a Go template, as Ollama does it (contracts, models sheet 2.2). Pure.

A template that mentions `.Messages` is given all of them. One that does not is one turn: it is written once for each
system, user and assistant text, and the last time only as far as the response.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache
from typing import Any

from tropilla.common.generation import ChatPrompt, Effort, InfillPrompt, Message
from tropilla.common.gotemplate.faults import ExecutionError
from tropilla.common.gotemplate.ollama import OllamaTemplate
from tropilla.common.gotemplate.values import Struct
from tropilla.workers.gotools import call_seen, tools_seen
from tropilla.workers.markers import CUT, Markers
from tropilla.workers.toolless import described, spoken
from tropilla.workers.turns import PROBE, guarded, with_system, without_system

#: Fitting a prompt renders it some times over, and a client's next request brings the same template.
_parsed = lru_cache(maxsize=32)(OllamaTemplate)

#: What `.ThinkLevel` is; where a model has no levels, templates do not ask.
_LEVELS: dict[Effort | None, str] = {
    None: "",
    "off": "",
    "on": "medium",
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
}


class GoChat:
    """One template. Raises `GoTemplateError`s."""

    def __init__(self, source: str, markers: Markers) -> None:
        self._template = _parsed(source)
        self._markers = markers

    @property
    def source(self) -> str:
        return self._template.source

    @property
    def knows_tools(self) -> bool:
        """Whether it shows tools; otherwise they are told in words."""
        return shows_tools(self.source)

    @property
    def thinks(self) -> bool:
        return "thinking" in self._template.mentions

    def chat(self, prompt: ChatPrompt) -> str:
        """The prompt's text, in which what is no marker is guarded."""
        messages, continued = self._guarded(self._told(prompt), prompt)
        data = {**self._variables(prompt.variables), **_thinking(prompt.effort), "Response": ""}
        system, turns = collated(messages)
        if self._template.takes_messages:
            shown = tools_seen(prompt.tools if self.knows_tools else (), self._markers.guard)
            seen = [self._seen(message) for message in turns]
            text = self._template.whole({**data, "System": system, "Messages": seen, "Tools": shown})
        else:
            text = self._by_turns(turns, data)
        # As with a Jinja template: what stands behind a message that is to be continued would end it.
        return text.rpartition(CUT)[0].replace(CUT, "") if continued and CUT in text else text

    def infill(self, prompt: InfillPrompt) -> str:
        guard = self._markers.guard
        data = {"Prompt": guard(prompt.prefix), "Suffix": guard(prompt.suffix), "Response": "", **_thinking(None)}
        return self._template.whole(data)

    @cached_property
    def _takes_system(self) -> bool:
        """Whether a system text reaches the prompt, found out by trying. One that fails at it says nothing of that."""
        try:
            return PROBE in self.chat(ChatPrompt((Message("system", PROBE), Message("user", "Hi"))))
        except ExecutionError:
            return True

    def _told(self, prompt: ChatPrompt) -> tuple[Message, ...]:
        """The messages, with what the template cannot show said in words. Whose system texts a template leaves out is its
        author's choice; but not the tools, which nobody wrote it for: those stand before what the user says.
        """
        messages = prompt.messages
        knows_calls = self._template.takes_messages and "toolcalls" in self._template.mentions
        if any(message.tool_calls or message.role == "tool" for message in messages) and not knows_calls:
            messages = spoken(messages)
        if prompt.tools and not self.knows_tools:
            messages = with_system(messages, described(prompt))
            if not self._takes_system:
                messages = tuple(without_system(messages))
        return messages

    def _guarded(self, messages: tuple[Message, ...], prompt: ChatPrompt) -> tuple[list[Message], bool]:
        """Whether the last one is to be continued. One that is to be closed is followed by a user who says nothing: to a Go
        template a turn ends where the next one begins.
        """
        made = [
            dataclasses.replace(m, role=self._role(m.role), content=self._markers.guard(m.content)) for m in messages
        ]
        last = messages[-1] if messages else Message("user", "")
        if last.role != "assistant" or last.tool_calls or not last.content:
            return made, False
        if not prompt.continue_last:
            return [*made, Message("user", "")], False
        made[-1] = dataclasses.replace(made[-1], content=made[-1].content + CUT)
        return made, True

    def _role(self, role: str) -> str:
        def known(word: str) -> bool:
            return f'"{word}"' in self.source

        return "system" if role == "developer" and not known(role) else self._markers.role(role, known)

    def _seen(self, message: Message) -> Struct:
        guard = self._markers.guard
        calls = [call_seen(call, index, guard) for index, call in enumerate(message.tool_calls)]
        fields = {
            "Role": message.role,
            "Content": message.content,
            "Thinking": guard(message.reasoning),
            # Templates ask whether there are any; where they stand, the content says.
            "Images": [""] * len(message.images),
            "ToolCalls": calls,
            "ToolName": guard(message.name),
            "ToolCallID": guard(message.tool_call_id),
        }
        return Struct("*api.Message", fields)

    def _by_turns(self, messages: Iterable[Message], data: dict[str, Any]) -> str:
        """A turn is written when the next one begins; the last one is left open behind its response."""
        written: list[str] = []
        system = prompt = response = ""

        def turn(write: Callable[[Any], str]) -> None:
            written.append(write({**data, "System": system, "Prompt": prompt, "Response": response}))

        for message in messages:
            if message.role == "assistant":
                response = message.content
                continue
            if response or (message.role == "system" and prompt):
                turn(self._template.whole)
                system = prompt = response = ""
            if message.role == "system":
                system = message.content
            else:
                # Roles of its own making have no place in such a template: what they say is a user's.
                prompt = message.content
        turn(self._template.opening)
        return "".join(written)

    def _variables(self, text: str) -> dict[str, Any]:
        said = json.loads(text)
        if not isinstance(said, dict):
            raise ExecutionError("the template's variables are not a JSON object")
        return dict(guarded(said, self._markers.guard))


def shows_tools(source: str) -> bool:
    """Whether a Go template does. Raises `ParseError`."""
    template = _parsed(source)
    return template.takes_messages and "tools" in template.mentions


def collated(messages: Iterable[Message]) -> tuple[str, list[Message]]:
    """All system texts as one, and the messages, neighbours of one role merged, a blank line between. Results of tools stay
    apart, and so do calls, which merging would lose.
    """
    systems: list[str] = []
    kept: list[Message] = []
    for message in messages:
        if message.role == "system":
            systems.append(message.content)
        if kept and kept[-1].role == message.role != "tool" and not message.tool_calls:
            content, images = f"{kept[-1].content}\n\n{message.content}", kept[-1].images + message.images
            kept[-1] = dataclasses.replace(kept[-1], content=content, images=images)
        else:
            kept.append(message)
    return "\n\n".join(systems), kept


def _thinking(effort: Effort | None) -> dict[str, Any]:
    return {"Think": effort not in (None, "off"), "ThinkLevel": _LEVELS[effort], "IsThinkSet": effort is not None}
