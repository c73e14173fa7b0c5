"""Fields that would change the answer and are not served: refused by name, unless their value means "off"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError
from tropilla.api.surfaces.openai.wrong import json_text
from tropilla.common.errors import UnsupportedField

#: Off everywhere; False equals 0.
_OFF: tuple[Any, ...] = (None, False, "", [], {})

#: Refused on both routes. A field that has an off of its own names it.
_BOTH: Mapping[str, tuple[Any, ...]] = {
    # The draw knows bans of single tokens (`logit_bias`), none of sequences and no list of what alone may come; there is
    # one order of samplers, and one form of white space in constrained JSON.
    **dict.fromkeys(("bad_words", "allowed_token_ids", "samplers", "guided_whitespace_pattern"), _OFF),
    **dict.fromkeys(("logits_processors", "use_beam_search"), _OFF),
    # Log-probabilities are the model's own, before anything is done to them.
    **dict.fromkeys(("post_sampling_probs", "n_probs"), _OFF),
    # No adapter is ever loaded.
    **dict.fromkeys(("lora", "lora_request"), _OFF),
    "adapter_id": (*_OFF, "tgi"),
}
#: A template is compiled by the worker that trusts it, its file's; and it writes the markers itself.
CHAT: Mapping[str, tuple[Any, ...]] = {
    "modalities": (None, [], ["text"]),
    **dict.fromkeys(("chat_template", "add_special_tokens"), _OFF),
    **_BOTH,
}
#: A BOS comes where the model was trained with one; who wants none sends token ids.
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
