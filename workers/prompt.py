"""Messages -> prompt text, by the GGUF's own Jinja template, in the environment its author tested against.

What goes in is normalised as llama.cpp does it (contracts, models sheet 3.3), so that templates which insist on strings,
lists, objects or alternating roles get them, and tools reach models whose template knows nothing of tools.

Nobody may write a marker (`<|im_end|>`) into a prompt through a message, a tool or a variable: every marker's spelling in
them is split (`markers`); `segments` cuts the rendered text there, and neither half is a marker.
"""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from tropilla.common.errors import InvalidPrompt
from tropilla.common.generation import ChatPrompt, InfillPrompt, LocalTemplates, Message, TextPrompt
from tropilla.common.gotemplate.faults import GoTemplateError
from tropilla.workers.gochat import GoChat
from tropilla.workers.habits import Habits
from tropilla.workers.jinja import RESERVED, Clock, Program, TemplateFault
from tropilla.workers.localchat import LocalChat, chats, completed, with_system_prompt
from tropilla.workers.markers import CUT, SPLIT, Markers
from tropilla.workers.toolless import described, spoken
from tropilla.workers.turns import alternating, guarded, tool_entry, turn, with_system, without_system

log = logging.getLogger(__name__)

#: For a GGUF that brings no template: the markers most chat models know.
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
#: The named template that is for prompts with tools.
WITH_TOOLS = "tool_use"


def templated(prompt: ChatPrompt | TextPrompt) -> bool:
    """Whether a template writes it: every conversation, and texts that bring one for plain prompts."""
    return isinstance(prompt, ChatPrompt) or (prompt.template is not None and bool(prompt.template.completion))


class ChatTemplate:
    """One model's template. One that does not compile is refused when it is used.

    named: further templates of the same file; `tool_use` serves prompts with tools. markers: the spellings of the model's
    control tokens. adds_bos: tokenizing puts a BOS in front. now: for templates that write the date. go: a template in Go's
    language, which then serves every prompt instead, as one that a prompt brings does.
    """

    def __init__(
        self,
        source: str,
        *,
        bos: str = "",
        eos: str = "",
        adds_bos: bool = True,
        markers: Iterable[str] = (),
        named: Mapping[str, str] | None = None,
        now: Clock = datetime.datetime.now,
        go: str = "",
    ) -> None:
        self._bos, self._eos = bos, eos
        self._dropped = bos if adds_bos else ""
        self._markers = Markers(markers)
        self._broken = ""
        self._go: GoChat | None = None
        self._programs: dict[bool, tuple[Program, Habits]] = {}
        if go:
            with self._broken_if_refused():
                self._go = GoChat(go, self._markers)
            return
        for with_tools, text in ((True, (named or {}).get(WITH_TOOLS, "")), (False, source or CHATML)):
            with self._broken_if_refused():
                if text:
                    program = Program(text, now=now)
                    self._programs[with_tools] = program, Habits(program, bos=bos, eos=eos)

    @contextmanager
    def _broken_if_refused(self) -> Iterator[None]:
        """Raw prompts can be served all the same: who chats is told."""
        try:
            yield
        except (TemplateFault, GoTemplateError) as error:
            self._broken = f"the model's chat template does not compile: {error}"
            log.error("%s", self._broken)

    def source(self, *, tools: bool) -> str:
        """The template that serves prompts with or without tools; "" when it does not compile."""
        if self._go is not None:
            return self._go.source
        program, _ = self._serving(tools=tools) or (None, None)
        return program.source if program else ""

    @cached_property
    def knows_tools(self) -> bool:
        """Whether the template itself shows tools; otherwise they are told in a system text (`toolless`)."""
        if self._go is not None:
            return self._go.knows_tools
        serving = self._serving(tools=True)
        return serving is not None and serving[1].knows_tools

    @cached_property
    def thinks(self) -> bool:
        """Whether the model writes a reasoning block, or can be told to."""
        if self._go is not None:
            return self._go.thinks
        return any(habits.thinks for _, habits in self._programs.values())

    def segments(self, prompt: ChatPrompt | InfillPrompt | TextPrompt) -> list[str]:
        """The prompt, cut wherever a message tried to spell a marker: each part is tokenized for itself.

        A BOS the template wrote is dropped where tokenizing adds one. Raises `InvalidPrompt` with what the template says.
        Of texts and of prompts to fill in those that bring a template.
        """
        try:
            text = self._text(prompt)
        except GoTemplateError as error:
            raise InvalidPrompt(error.message, code="template") from error
        except (TemplateFault, ValueError, RecursionError) as error:
            refusal = f"the model's chat template refuses these messages: {error}"
            raise InvalidPrompt(refusal, code="template") from error
        return text.removeprefix(self._dropped).split(SPLIT)

    def _text(self, prompt: ChatPrompt | InfillPrompt | TextPrompt) -> str:
        given = prompt.template
        if isinstance(prompt, TextPrompt):
            assert isinstance(given, LocalTemplates), "a text without a template is itself"
            return completed(given, prompt.text if prompt.special else self._markers.guard(prompt.text))
        if isinstance(given, LocalTemplates):
            assert isinstance(prompt, ChatPrompt)
            if chats(given):
                return LocalChat(prompt, given, self._markers).text()
            prompt, given = with_system_prompt(prompt, given), ""
        go = GoChat(given, self._markers) if given else self._go
        if isinstance(prompt, InfillPrompt):
            assert go is not None, "a model's own tokens for filling in are no template's"
            return go.infill(prompt)
        if go is not None:
            return go.chat(prompt)
        serving = self._serving(tools=bool(prompt.tools))
        if serving is None:
            raise InvalidPrompt(self._broken, code="template")
        role, guard = self._role, self._markers.guard
        return _Rendering(prompt, *serving, role=role, guard=guard, tokens=(self._bos, self._eos)).text()

    def _serving(self, *, tools: bool) -> tuple[Program, Habits] | None:
        return self._programs.get(tools) or self._programs.get(False)

    def _role(self, role: str) -> str:
        return self._markers.role(
            role, lambda word: any(word in program.words for program, _ in self._programs.values())
        )


class _Rendering:
    """One prompt by one template."""

    def __init__(
        self, prompt: ChatPrompt, program: Program, habits: Habits, *, role: Any, guard: Any, tokens: tuple[str, str]
    ) -> None:
        self._prompt, self._program, self._habits = prompt, program, habits
        self._role, self._guard, self._tokens = role, guard, tokens
        last = prompt.messages[-1] if prompt.messages else Message("user", "")
        self._continued = prompt.continue_last and last.role == "assistant" and not last.tool_calls

    def text(self) -> str:
        messages = self._messages()
        try:
            return self._render(messages)
        except TemplateFault:
            # Many templates insist on alternating roles. Ollama merges neighbours; a template that still objects means it.
            merged = alternating(messages)
            if merged == messages:
                raise
            return self._render(merged)

    def _messages(self) -> tuple[Message, ...]:
        prompt, messages = self._prompt, self._prompt.messages
        if any(message.tool_calls or message.role == "tool" for message in messages) and not self._habits.knows_calls:
            messages = spoken(messages)
        if prompt.tools and not self._habits.knows_tools:
            messages = with_system(messages, described(prompt))
        return messages if self._habits.takes_system else tuple(without_system(messages))

    def _render(self, messages: tuple[Message, ...]) -> str:
        manners, last = self._habits.manners, len(messages) - 1
        turns = [
            turn(
                message,
                self._guard,
                role=self._role(message.role),
                manners=manners,
                end=CUT if self._continued and place == last else "",
            )
            for place, message in enumerate(messages)
        ]
        bos, eos = self._tokens
        text = self._program.render(
            {
                **self._variables(),
                "messages": turns,
                "tools": self._tools() or None,
                "bos_token": bos,
                "eos_token": eos,
                "add_generation_prompt": not self._continued,
            }
        )
        # Some templates look at a content before they write it.
        return text.rpartition(CUT)[0].replace(CUT, "") if self._continued and CUT in text else text

    def _tools(self) -> list[dict[str, Any]]:
        shown = self._prompt.tools if self._habits.knows_tools else ()
        return [tool_entry(tool, self._guard) for tool in shown]

    def _variables(self) -> dict[str, Any]:
        """Without those that make the prompt: nobody takes the messages' place by naming a variable like them."""
        said = json.loads(self._prompt.variables)
        if not isinstance(said, dict):
            raise ValueError("the template's variables are not a JSON object")
        own = {name: value for name, value in guarded(said, self._guard).items() if name not in RESERVED}
        switches = self._habits.switches(self._prompt.effort) if self._prompt.effort else {}
        return {"documents": None, "continue_final_message": self._continued, **switches, **own}
