"""Rules between fields (sheet, section 17)."""

from __future__ import annotations

from typing import Any

from tropilla.api.fields import too_long
from tropilla.api.surfaces.openai import constraints
from tropilla.api.surfaces.openai.schemas import invalid
from tropilla.api.surfaces.openai.tools import Toolbox
from tropilla.common.catalogue import Model
from tropilla.common.errors import InvalidField, UnsupportedField
from tropilla.common.generation import Constraint, Message, Prompt, TextPrompt
from tropilla.common.settings import Settings


def check_chat(fields: dict[str, Any], messages: tuple[Message, ...]) -> None:
    _check_prompt_logprobs(fields)
    if "top_logprobs" in fields and not fields["logprobs"]:
        raise _rule("top_logprobs", "'top_logprobs' is only allowed when 'logprobs' is true.")
    _check_ending(fields, messages)
    if fields["echo"] and fields["stream"] and not continues(fields, messages):
        raise _rule("echo", "'echo' can be streamed only where the last message is continued.")


def check_completion(fields: dict[str, Any], model: Model, settings: Settings) -> None:
    _check_prompt_logprobs(fields)
    best_of, n, prompts = fields["best_of"], fields["n"], len(fields["prompt"])
    if prompts * n > settings.max_choices:
        raise invalid("prompt", str(too_long(settings.max_choices // n, prompts)), "too_long")
    if 0 < best_of < n:
        raise _rule("best_of", f"'best_of' ({best_of}) must be at least 'n' ({n}).")
    if best_of > 1 and fields["stream"]:
        raise _rule("best_of", "'best_of' greater than 1 cannot be streamed.")
    if prompts * best_of > settings.max_choices:
        text = f"'best_of' ({best_of}) for each of {prompts} prompts is more than {settings.max_choices} choices."
        raise _rule("best_of", text)
    if fields["suffix"]:
        _check_suffix(fields, model)


def sole_constraint(fields: dict[str, Any], box: Toolbox | None = None) -> Constraint | None:
    """What the text must look like; a call that must come has a form of its own. The constraint is not yet checked."""
    given = constraints.given(fields)
    if len(given) > 1:
        first, second, *_ = given
        raise _rule(second, f"'{first}' and '{second}' cannot both be given: the answer has one form.")
    calls = box is not None and box.choice == "required"
    for name, constraint in given.items():
        if box is not None and box.named and name in constraints.GUIDES:
            raise _rule(name, f"'{name}' cannot be given together with a named tool choice.")
        return None if calls else constraint
    return None


def continues(fields: dict[str, Any], messages: tuple[Message, ...]) -> bool:
    """A last assistant message is continued unless the caller wants a new turn; nothing else can be."""
    last = messages[-1]
    if last.role != "assistant" or last.tool_calls:
        return False
    return bool(fields.get("continue_final_message", not fields.get("add_generation_prompt", False)))


def _check_prompt_logprobs(fields: dict[str, Any]) -> None:
    """vLLM's rule: they belong to no chunk of an answer."""
    if fields["stream"] and "prompt_logprobs" in fields:
        raise _rule("prompt_logprobs", "'prompt_logprobs' cannot be streamed.")


def _check_ending(fields: dict[str, Any], messages: tuple[Message, ...]) -> None:
    last = messages[-1]
    if len(messages) > 1 and last.role == messages[-2].role == "assistant":
        raise _rule(f"messages[{len(messages) - 1}]", "'messages' may end with only one message of role 'assistant'.")
    continued, opens_turn = fields.get("continue_final_message"), fields.get("add_generation_prompt")
    if continued and opens_turn:
        text = "'continue_final_message' and 'add_generation_prompt' cannot both be true."
        raise _rule("continue_final_message", text)
    if continued and not continues(fields, messages):
        raise _rule("continue_final_message", "'continue_final_message' needs a last message of role 'assistant'.")
    if opens_turn is False and not continues(fields, messages):
        text = "Unsupported value: 'add_generation_prompt' can be false only where the last message is continued."
        raise UnsupportedField(text, param="add_generation_prompt")


def _check_suffix(fields: dict[str, Any], model: Model) -> None:
    prompts: tuple[Prompt, ...] = fields["prompt"]
    if "insert" not in model.capabilities:
        text = f"Unsupported parameter: 'suffix' is not supported by the model '{model.name}'."
        raise UnsupportedField(text, param="suffix")
    for name in ("echo", "return_full_text"):
        if fields[name]:
            raise _rule("suffix", f"'suffix' and '{name}' cannot both be given.")
    if not all(isinstance(prompt, TextPrompt) for prompt in prompts):
        raise UnsupportedField("Unsupported parameter: 'suffix' needs a prompt of text.", param="suffix")


def _rule(param: str, text: str) -> InvalidField:
    return invalid(param, text, "rule")
