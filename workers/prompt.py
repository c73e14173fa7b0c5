"""Messages -> prompt text, by the GGUF's own Jinja template, in the environment its author tested against.

That environment is Hugging Face transformers': an immutable sandbox, trimmed blocks, `tojson` without HTML escaping,
`raise_exception`, `strftime_now`, `{% generation %}`. What goes in is normalised as llama.cpp does it (contracts, models
sheet 3.3), so that templates which insist on strings, objects or alternating roles get them.

Nobody may write a marker (`<|im_end|>`) into a prompt through a message or a tool: every marker's spelling in them is
split by a character that Unicode promises never to assign; `segments` cuts the rendered text there, and neither half is
a marker.
"""

from __future__ import annotations

import datetime
import functools
import json
import logging
import re
from collections.abc import Iterable
from typing import Any, NoReturn

import jinja2
import jinja2.ext
import jinja2.sandbox
from jinja2 import nodes
from jinja2.parser import Parser
from tropilla.common.errors import InvalidPrompt
from tropilla.common.generation import ChatPrompt, Message
from tropilla.workers.turns import merged, tool_entry, turn, without_system

log = logging.getLogger(__name__)

#: For a GGUF that brings no template: the markers most chat models know.
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
#: A Unicode noncharacter: no text has it, and whoever sends it anyway loses it.
SPLIT = "\ufdd0"
#: Marks where the last assistant message ends, so that what a template puts behind it can be cut off.
CUT = "\ufdd1"
#: A system text nobody else writes, to see whether a template shows one.
PROBE = "tropilla system probe"
#: More than any template has a reason to write.
MAX_RENDERED_CHARACTERS = 4 << 20


class _Generation(jinja2.ext.Extension):
    """`{% generation %}...{% endgeneration %}` marks assistant text for training; here it just renders."""

    tags = {"generation"}  # noqa: RUF012 -- jinja2 declares it as a plain set

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _to_json(value: Any, **options: Any) -> str:
    allowed = {key: options[key] for key in ("indent", "sort_keys", "separators", "ensure_ascii") if key in options}
    return json.dumps(value, **{"ensure_ascii": False, **allowed})


def _strftime_now(form: str) -> str:
    return datetime.datetime.now().strftime(form)


def _environment() -> jinja2.Environment:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


class ChatTemplate:
    """One model's template. One that does not compile is refused when it is used.

    markers: the spellings of the model's control tokens. adds_bos: tokenizing puts a BOS in front.
    """

    def __init__(
        self, source: str, *, bos: str = "", eos: str = "", adds_bos: bool = True, markers: Iterable[str] = ()
    ) -> None:
        self._bos, self._eos = bos, eos
        self._dropped = bos if adds_bos else ""
        spellings = sorted((marker for marker in markers if len(marker) > 1), key=len, reverse=True)
        self._markers = re.compile("|".join(map(re.escape, spellings)) or r"(?!)")
        self._broken: str = ""
        try:
            self._template = _environment().from_string(source or CHATML)
        except jinja2.TemplateError as error:
            # Raw prompts can be served all the same: who chats is told.
            self._broken = f"the model's chat template does not compile: {error}"
            log.error("%s", self._broken)

    def segments(self, prompt: ChatPrompt) -> list[str]:
        """The prompt, cut wherever a message tried to spell a marker: each part is tokenized for itself.

        A last assistant message is continued: nothing stands behind its content. A BOS the template wrote is dropped
        where tokenizing adds one.
        """
        if self._broken:
            raise InvalidPrompt(self._broken, code="template")
        messages = prompt.messages if self._takes_system_text else tuple(without_system(prompt.messages))
        try:
            text = self._render(prompt, messages)
        except jinja2.TemplateError as error:
            # Many templates insist on alternating roles. Ollama merges neighbours; a template that still objects means it.
            alternating = tuple(merged(messages))
            if alternating == messages:
                raise _refusal(error) from error
            try:
                text = self._render(prompt, alternating)
            except jinja2.TemplateError as second:
                raise _refusal(second) from second
        if len(text) > MAX_RENDERED_CHARACTERS:
            raise InvalidPrompt(
                f"the chat template wrote more than {MAX_RENDERED_CHARACTERS} characters", code="template"
            )
        return text.removeprefix(self._dropped).split(SPLIT)

    @functools.cached_property
    def _takes_system_text(self) -> bool:
        """Whether a system message reaches the prompt: some templates raise at one, others drop it without a word."""
        user, system = Message("user", "Hi"), Message("system", PROBE)
        try:
            self._render(ChatPrompt((user,)), (user,))
        except jinja2.TemplateError:
            # It objects to something else; then nothing is known about system messages.
            return True
        try:
            return PROBE in self._render(ChatPrompt((system, user)), (system, user))
        except jinja2.TemplateError:
            return False

    def _render(self, prompt: ChatPrompt, messages: tuple[Message, ...]) -> str:
        continued = bool(messages) and messages[-1].role == "assistant" and not messages[-1].tool_calls
        turns = [turn(message, self._guard) for message in messages]
        if continued:
            turns[-1]["content"] += CUT
        try:
            text = self._template.render(
                messages=turns,
                tools=[tool_entry(tool, self._guard) for tool in prompt.tools] or None,
                bos_token=self._bos,
                eos_token=self._eos,
                add_generation_prompt=not continued,
            )
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
            # What a template does to data it did not expect comes out as Python's own errors.
            raise jinja2.TemplateError(str(error)) from error
        return text.split(CUT)[0] if continued else text

    def _guard(self, text: str) -> str:
        clean = text.replace(SPLIT, "").replace(CUT, "")
        return self._markers.sub(lambda found: found[0][0] + SPLIT + found[0][1:], clean)


def _refusal(error: jinja2.TemplateError) -> InvalidPrompt:
    return InvalidPrompt(f"the model's chat template refuses these messages: {error}", code="template")
