"""Rules between fields (sheet, section 17)."""

from __future__ import annotations

from typing import Any

from tropilla.api.fields import too_long
from tropilla.api.surfaces.openai.schemas import invalid
from tropilla.common.errors import InvalidField, UnsupportedField
from tropilla.common.generation import Message
from tropilla.common.settings import Settings


def check_chat(fields: dict[str, Any], messages: tuple[Message, ...]) -> None:
    if "top_logprobs" in fields and not fields["logprobs"]:
        raise _rule("top_logprobs", "'top_logprobs' is only allowed when 'logprobs' is true.")
    _check_ending(fields, messages)


def check_completion(fields: dict[str, Any], settings: Settings) -> None:
    best_of, n, prompts = fields["best_of"], fields["n"], len(fields["prompt"])
    if prompts * n > settings.max_choices:
        raise invalid("prompt", str(too_long(settings.max_choices // n, prompts)), "too_long")
    if 0 < best_of < n:
        raise _rule("best_of", f"'best_of' ({best_of}) must be at least 'n' ({n}).")
    if best_of > 1 and fields["stream"]:
        raise _rule("best_of", "'best_of' greater than 1 cannot be streamed.")
    if best_of > n:
        raise UnsupportedField(
            f"Unsupported value: 'best_of' ({best_of}) greater than 'n' is not served.", param="best_of"
        )


def _check_ending(fields: dict[str, Any], messages: tuple[Message, ...]) -> None:
    """A last assistant message is continued, whether that is asked for or not; nothing else can be."""
    last = messages[-1]
    continued = last.role == "assistant" and not last.tool_calls
    if len(messages) > 1 and last.role == messages[-2].role == "assistant":
        raise _rule(f"messages[{len(messages) - 1}]", "'messages' may end with only one message of role 'assistant'.")
    continues, opens_turn = fields.get("continue_final_message"), fields.get("add_generation_prompt")
    if continues and opens_turn:
        text = "'continue_final_message' and 'add_generation_prompt' cannot both be true."
        raise _rule("continue_final_message", text)
    if continues and not continued:
        raise _rule("continue_final_message", "'continue_final_message' needs a last message of role 'assistant'.")
    if opens_turn is False and not continued:
        text = "Unsupported value: 'add_generation_prompt' can be false only where the last message is continued."
        raise UnsupportedField(text, param="add_generation_prompt")


def _rule(param: str, text: str) -> InvalidField:
    return invalid(param, text, "rule")
