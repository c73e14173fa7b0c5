"""Fields that would change the answer and are not served: refused by name, unless their value means "off"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError
from tropilla.api.surfaces.openai.wrong import json_text
from tropilla.common.errors import UnsupportedField

#: Off everywhere; False equals 0.
_OFF: tuple[Any, ...] = (None, False, "", [], {})
_NEVER: tuple[Any, ...] = (None,)

#: Refused on both routes. A field that has an off of its own names it.
_BOTH: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("guided_whitespace_pattern", "bad_words", "allowed_token_ids"), _OFF),
    **dict.fromkeys(("dynatemp_range", "samplers", "post_sampling_probs", "n_probs"), _OFF),
    **dict.fromkeys(("return_token_ids", "return_tokens_as_token_ids", "use_beam_search"), _OFF),
    **dict.fromkeys(("lora", "lora_request"), _OFF),
    "adapter_id": (*_OFF, "tgi"),
    # 0 asks for the prompt's own log-probabilities.
    "prompt_logprobs": _NEVER,
    "skip_special_tokens": (None, True),
}
CHAT: Mapping[str, tuple[Any, ...]] = {
    "modalities": (None, [], ["text"]),
    **dict.fromkeys(("chat_template", "documents", "add_special_tokens"), _OFF),
    **dict.fromkeys(("truncate", "truncate_prompt_tokens", "watermark"), _OFF),
    **_BOTH,
}
COMPLETION: Mapping[str, tuple[Any, ...]] = {"add_special_tokens": (None, True), **_BOTH}
EMBEDDING: Mapping[str, tuple[Any, ...]] = {
    "add_special_tokens": (None, True),
    "embd_normalize": (None, 2, -1),
    "embed_dtype": (None, "float32"),
    "endianness": (None, "native", "little"),
    **dict.fromkeys(("chat_template", "lora", "lora_request"), _OFF),
}

#: Fields whose other values are served: OpenAI says `unsupported_value` for them.
PARTLY_SERVED = frozenset({"modalities", "messages", "structured_outputs", "model", "input", "embd_normalize"})
#: As much of a refused value as its error shows, in characters.
_SHOWN = 80


def refuse(table: Mapping[str, tuple[Any, ...]], body: Mapping[str, Any]) -> None:
    """Raises `UnsupportedField` for the first field, in the table's order, that is not off."""
    for name, off in table.items():
        value = body.get(name)
        if value not in off:
            text = f"Unsupported parameter: '{name}' with the value {_shown(value)} is not served."
            raise UnsupportedField(text, param=name)


def _shown(value: Any) -> str:
    try:
        text = json_text(value)
    except ValidationError:
        return "given"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
