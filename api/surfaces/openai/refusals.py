"""Fields that would change the answer and are not served yet: refused by name, unless their value means "off"."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tropilla.common.errors import UnsupportedField

#: Off everywhere; False equals 0.
_OFF: tuple[Any, ...] = (None, False, "", [], {})
_NEVER: tuple[Any, ...] = (None,)

#: Refused on both routes. A field that has an off of its own names it.
_BOTH: Mapping[str, tuple[Any, ...]] = {
    "logit_bias": _OFF,
    "response_format": (*_OFF, {"type": "text"}),
    **dict.fromkeys(("grammar", "json_schema", "structured_outputs"), _OFF),
    **dict.fromkeys(
        ("guided_json", "guided_regex", "guided_choice", "guided_grammar", "guided_whitespace_pattern"), _OFF
    ),
    **dict.fromkeys(("ignore_eos", "min_tokens", "stop_token_ids", "bad_words", "allowed_token_ids"), _OFF),
    **dict.fromkeys(("xtc_probability", "dry_multiplier", "dynatemp_range", "samplers", "post_sampling_probs"), _OFF),
    **dict.fromkeys(("n_probs", "return_token_ids", "return_tokens_as_token_ids", "use_beam_search"), _OFF),
    **dict.fromkeys(("truncate", "truncate_prompt_tokens", "watermark"), _OFF),
    **dict.fromkeys(("lora", "lora_request"), _OFF),
    "adapter_id": (*_OFF, "tgi"),
    # 0 asks for the prompt's own log-probabilities.
    "prompt_logprobs": _NEVER,
    "skip_special_tokens": (None, True),
    "echo": _OFF,
}
CHAT: Mapping[str, tuple[Any, ...]] = {
    "tools": _OFF,
    # Without tools these change nothing; any other choice needs them.
    "tool_choice": (None, "none", "auto"),
    "functions": _OFF,
    "function_call": (None, "none", "auto"),
    "modalities": (None, [], ["text"]),
    **dict.fromkeys(("chat_template", "chat_template_kwargs", "documents", "add_special_tokens"), _OFF),
    **_BOTH,
}
COMPLETION: Mapping[str, tuple[Any, ...]] = {
    "suffix": _OFF,
    # TGI's word for echo.
    "return_full_text": _OFF,
    "add_special_tokens": (None, True),
    **_BOTH,
}

#: Fields whose other values are served: OpenAI says `unsupported_value` for them.
PARTLY_SERVED = frozenset({"response_format", "modalities", "tool_choice", "function_call", "messages", "best_of"})
#: As much of a refused value as its error shows, in characters.
_SHOWN = 80


def refuse(table: Mapping[str, tuple[Any, ...]], body: Mapping[str, Any]) -> None:
    """Raises `UnsupportedField` for the first field, in the table's order, that is not off."""
    for name, off in table.items():
        value = body.get(name)
        if value not in off:
            shown = json.dumps(value, ensure_ascii=False)
            shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
            raise UnsupportedField(f"Unsupported parameter: '{name}' with the value {shown} is not served.", param=name)
