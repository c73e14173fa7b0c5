"""The `template` of an entry -> `LocalTemplates`: names are looked up, and every text is tried out before it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tropilla.common.generation import LocalTemplates
from tropilla.common.gotemplate.faults import GoTemplateError
from tropilla.common.gotemplate.localai import call_data, function_data, local_template, message_data, prompt_data
from tropilla.common.manifest.document import Value
from tropilla.common.manifest.fields import flag, text
from tropilla.common.manifest.shell import template_text

#: The keys that name templates, and the fields of `LocalTemplates` they become.
KINDS = ("chat", "chat_message", "completion", "edit", "function")
#: Those that LocalAI also finds by the model file's own name.
_OF_THE_FILE = ("chat", "completion", "edit", "function")
_SAMPLE = "How are you?"


class TemplateTrouble(Exception):
    """Why an entry's templates cannot be used, in one sentence."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What an entry says of its prompts. model: its file, as it writes it. declared: the manifest's templates by name."""

    written: Mapping[str, Value]
    where: str
    model: str
    roles: tuple[tuple[str, str], ...]
    system_prompt: str
    declared: Mapping[str, str]


def templates_of(ask: Ask, warn: Callable[[str], None]) -> LocalTemplates | None:
    """None where it leaves everything to the model's file. Raises `ManifestError` and `TemplateTrouble`."""
    written = dict(ask.written)
    own_template = flag(written.pop("use_tokenizer_template", None), f"{ask.where}.use_tokenizer_template")
    joiner = written.pop("join_chat_messages_by_character", None)
    if text(written.pop("reply_prefix", None), f"{ask.where}.reply_prefix"):
        raise TemplateTrouble("template.reply_prefix is not supported")
    if text(written.pop("multimodal", None), f"{ask.where}.multimodal"):
        warn("template.multimodal has no effect: a picture stands where the message has it")
    found = {kind: _found(ask, kind, written.pop(kind, None), warn) for kind in KINDS}
    for key in written:
        warn(f"template.{key} is not known")
    if own_template:
        # The tokenizer's template is the one in the model's file; plain prompts have nothing to do with it.
        found |= dict.fromkeys(("chat", "chat_message", "function"), "")
    if not (any(found.values()) or ask.roles or ask.system_prompt):
        return None
    templates = LocalTemplates(**found, roles=ask.roles, system_prompt=ask.system_prompt)
    if joiner is not None:
        templates = replace(templates, joiner=text(joiner, f"{ask.where}.join_chat_messages_by_character"))
    _try_out(templates, warn)
    return templates


def _found(ask: Ask, kind: str, value: Value, warn: Callable[[str], None]) -> str:
    """A declared template's text, or the value as one."""
    said = text(value, f"{ask.where}.{kind}")
    if not said:
        return ask.declared.get(ask.model, "") if kind in _OF_THE_FILE else ""
    if said.strip() in ask.declared:
        return ask.declared[said.strip()]
    if not any(sign in said for sign in ("{{", "\n", "<")):
        # LocalAI takes the name for the template: every prompt would be this one word.
        raise TemplateTrouble(f"template '{said}' is not defined")
    source, repaired = template_text(said)
    if repaired:
        warn(f"template.{kind} was read without its backslashes")
    return source


def _try_out(templates: LocalTemplates, warn: Callable[[str], None]) -> None:
    """Raises `TemplateTrouble` for what plain conversations need; what only tools need is warned of."""
    for kind in KINDS:
        source: str = getattr(templates, kind)
        if not source:
            continue
        try:
            template = local_template(source)
            for data in _samples(kind, templates):
                template.render(data)
        except GoTemplateError as error:
            raise TemplateTrouble(f"template.{kind}: {error.message}") from error
        try:
            for data in _samples_with_calls(kind, templates):
                template.render(data)
        except GoTemplateError as error:
            warn(f"template.{kind} fails where functions are called: {error.message}")


def _samples(kind: str, templates: LocalTemplates) -> Iterator[Any]:
    """What such a template may be given, with and without a system prompt."""
    for system_prompt in (templates.system_prompt, ""):
        if kind == "chat_message":
            for index, role in enumerate(("system", "user", "assistant", "user")):
                yield _message(role, index, templates, system_prompt)
        else:
            functions = [_function()] if kind == "function" else []
            instruction = _SAMPLE if kind == "edit" else ""
            yield prompt_data(text=_SAMPLE, system_prompt=system_prompt, functions=functions, instruction=instruction)


def _samples_with_calls(kind: str, templates: LocalTemplates) -> Iterator[Any]:
    if kind == "chat_message":
        call = [call_data(0, "call_1", "weather", '{"city":"Paris"}')]
        yield _message("assistant", 1, templates, templates.system_prompt, content="", call=call)
        yield _message("tool", 2, templates, templates.system_prompt, name="weather", function=True)


def _message(
    role: str, index: int, templates: LocalTemplates, system_prompt: str, *, content: str = _SAMPLE, **more: Any
) -> Any:
    return message_data(
        role=dict(templates.roles).get(role, ""),
        role_name=role,
        content=content,
        index=index,
        last=index == 3,
        system_prompt=system_prompt,
        **more,
    )


def _function() -> Any:
    return function_data("weather", "Tells the weather.", {"type": "object", "properties": {}})
