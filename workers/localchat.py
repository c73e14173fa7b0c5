"""Messages -> prompt text by LocalAI's set of templates (contracts, models sheet 1.10). Pure.

Each message is written by `chat_message`, or as its role's prefix and its content; then all of them together by `chat`, or
where functions may be called by `function`. Where LocalAI logs that a template failed and goes on with garbage, the caller
is told; and no message and no system prompt is lost without a word:

A template may show its system prompt in place of what a message says (aikit's own llama-2 template does, on every message).
Such a message is written without one, and the system prompt becomes a message of its own, unless there is a system message.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from tropilla.common.generation import ChatPrompt, LocalTemplates, Message, Tool, ToolCall
from tropilla.common.gotemplate.faults import ExecutionError
from tropilla.common.gotemplate.localai import call_data, function_data, local_template, message_data, prompt_data
from tropilla.common.gotemplate.values import Struct
from tropilla.common.gotemplate.writing import json_text
from tropilla.workers.markers import CUT, Markers
from tropilla.workers.toolless import described, spoken
from tropilla.workers.turns import SYSTEM_ROLES, guarded, with_system

#: What stands behind a content to see whether a template shows it. A Unicode noncharacter, as `SPLIT` is.
_PROBE = "\ufdd4"
_CALLER = "assistant_function_call"


def chats(templates: LocalTemplates) -> bool:
    """Whether they write conversations; otherwise the model's own template does."""
    return bool(templates.chat or templates.chat_message or templates.function)


def with_system_prompt(prompt: ChatPrompt, templates: LocalTemplates) -> ChatPrompt:
    """For the model's own template: the system prompt as a message, unless the conversation has one."""
    if not templates.system_prompt or _has_system(prompt.messages):
        return prompt
    return dataclasses.replace(prompt, messages=(Message("system", templates.system_prompt), *prompt.messages))


def completed(templates: LocalTemplates, text: str) -> str:
    """A plain prompt, which is guarded as far as it must be. Raises `GoTemplateError`."""
    return local_template(templates.completion).render(prompt_data(text=text, system_prompt=templates.system_prompt))


class LocalChat:
    """One conversation by one set of templates. Raises `GoTemplateError`s."""

    def __init__(self, prompt: ChatPrompt, templates: LocalTemplates, markers: Markers) -> None:
        self._templates, self._markers = templates, markers
        self._roles = dict(templates.roles)
        self._tools = bool(prompt.tools) and prompt.tool_choice != "none"
        self._prompt = prompt
        self._told = "functions" in self._mentioned(self._around)
        self._messages = self._sayable(prompt)
        last = self._messages[-1] if self._messages else Message("user", "")
        self._continued = (
            prompt.continue_last and last.role == "assistant" and not last.tool_calls and bool(last.content)
        )

    def text(self) -> str:
        """The prompt's text, in which what is no marker is guarded."""
        written = [self._written(message, place) for place, message in enumerate(self._messages)]
        pieces = [text for text, _ in written if text is not None]
        if self._owes_system(owed=any(owed for _, owed in written)):
            system = Message("system", self._templates.system_prompt)
            told = self._message(system, 0, content=system.content, system_prompt="")
            pieces = [told, *pieces] if told else pieces
        text = self._surrounded(self._templates.joiner.join(pieces))
        # What stands behind a message that is to be continued would end it.
        return text.rpartition(CUT)[0].replace(CUT, "") if self._continued and CUT in text else text

    def _sayable(self, prompt: ChatPrompt) -> tuple[Message, ...]:
        """The messages, with what the templates cannot show said in words."""
        messages, template = prompt.messages, self._templates.chat_message
        if template and "functioncall" not in self._mentioned(template):
            calls = any(message.tool_calls or message.role == "tool" for message in messages)
            messages = spoken(messages) if calls else messages
        return with_system(messages, described(prompt)) if prompt.tools and not self._told else messages

    @property
    def _around(self) -> str:
        """The template around all messages."""
        return self._templates.function if self._tools and self._templates.function else self._templates.chat

    @staticmethod
    def _mentioned(source: str) -> frozenset[str]:
        return local_template(source).mentions if source else frozenset()

    def _owes_system(self, *, owed: bool) -> bool:
        """Whether the system prompt must be told in a message: a template left it out, or none of them shows it."""
        if not self._templates.system_prompt or _has_system(self._prompt.messages):
            return False
        shown = (self._mentioned(source) for source in (self._templates.chat_message, self._around))
        return owed or not any("systemprompt" in names for names in shown)

    def _written(self, message: Message, place: int) -> tuple[str | None, bool]:
        """A message's text, None to leave it out; and whether the system prompt had to be left out of it."""
        content = self._markers.guard(message.content).replace(_PROBE, "")
        if self._continued and place == len(self._messages) - 1:
            content += CUT
        prompt = self._templates.system_prompt
        text = self._message(message, place, content=content, system_prompt=prompt)
        owed = bool(
            prompt
            and content
            and "systemprompt" in self._mentioned(self._templates.chat_message)
            and not self._shows(message, place, content, prompt)
            and self._shows(message, place, content, "")
        )
        if owed:
            text = self._message(message, place, content=content, system_prompt="")
        return text or (None if self._templates.chat_message else ""), owed

    def _shows(self, message: Message, place: int, content: str, system_prompt: str) -> bool:
        text = self._message(message, place, content=content + _PROBE, system_prompt=system_prompt)
        return _PROBE in text

    def _message(self, message: Message, place: int, *, content: str, system_prompt: str) -> str:
        role = self._role_of(message)
        prefix = self._roles.get(role, "")
        if not self._templates.chat_message:
            return self._plain(message, prefix, content)
        guard, last = self._markers.guard, self._messages[place:] == (message,)
        data = message_data(
            role=prefix,
            role_name=self._markers.role("assistant" if role == _CALLER else role, self._known),
            content=content,
            index=place,
            last=last,
            system_prompt=system_prompt,
            name=guard(message.name),
            function=self._tools and last,
            call=self._calls(message.tool_calls) or None,
        )
        return local_template(self._templates.chat_message).render(data)

    def _plain(self, message: Message, prefix: str, content: str) -> str:
        """Without a template: prefix and content, with nothing between them, then what was called."""
        lines = [prefix + content] if content else []
        if message.tool_calls:
            calls = json_text(self._calls(message.tool_calls))
            lines.append(f"{prefix} {calls}" if prefix else calls)
        return "\n".join(lines)

    def _role_of(self, message: Message) -> str:
        """Whose prefix it gets. OpenAI's roles have younger names than these templates'."""
        role = message.role
        if role == "assistant" and message.tool_calls and _CALLER in self._roles:
            return _CALLER
        older = {"developer": "system", "tool": "function"}.get(role, role)
        return role if self._known(role) or not self._known(older) else older

    def _known(self, role: str) -> bool:
        return role in self._roles or f'"{role}"' in self._templates.chat_message or role == "system"

    def _calls(self, calls: tuple[ToolCall, ...]) -> list[Struct]:
        guard = self._markers.guard
        return [call_data(at, guard(c.id), guard(c.name), guard(c.arguments)) for at, c in enumerate(calls)]

    def _surrounded(self, text: str) -> str:
        if not self._around:
            return text
        plain = not self._templates.chat_message and any(m.role == "system" and m.content for m in self._messages)
        data = prompt_data(
            text=text,
            system_prompt=self._templates.system_prompt,
            suppress=plain,
            functions=[self._function(tool) for tool in self._prompt.tools],
            effort=self._prompt.effort or "",
            metadata=self._metadata(),
        )
        return local_template(self._around).render(data)

    def _function(self, tool: Tool) -> Struct:
        guard, schema = self._markers.guard, json.loads(tool.parameters)
        parameters = guarded(schema, guard) if isinstance(schema, dict) else {}
        return function_data(guard(tool.name), guard(tool.description), parameters)

    def _metadata(self) -> dict[str, Any]:
        said = json.loads(self._prompt.variables)
        if not isinstance(said, dict):
            raise ExecutionError("the template's variables are not a JSON object")
        return dict(guarded(said, self._markers.guard))


def _has_system(messages: tuple[Message, ...]) -> bool:
    return any(message.role in SYSTEM_ROLES for message in messages)
