"""Token ids a caller wrote himself: each must be one of the model's."""

from __future__ import annotations

from collections.abc import Iterable

from tropilla.common.errors import InvalidField
from tropilla.common.generation import MixedPrompt, Prompt, TokenPrompt


def check_ids(param: str, ids: Iterable[int], vocabulary: int) -> None:
    """Raises `InvalidField` for the first token id the model does not have."""
    for token in ids:
        if not 0 <= token < vocabulary:
            text = f"Invalid '{param}': token id {token} is out of vocabulary (the model has {vocabulary} tokens)."
            raise InvalidField(text, param=param, problem="value")


def told_ids(prompt: Prompt) -> tuple[int, ...]:
    """The ids in a prompt of /v1/completions."""
    match prompt:
        case TokenPrompt():
            return prompt.ids
        case MixedPrompt():
            return tuple(part for part in prompt.parts if isinstance(part, int))
        case _:
            return ()
