"""Ollama's names of the parameters that a model brings along, and ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tropilla.common.generation import Sampling
from tropilla.common.recipes import Parameter

#: Ollama's name -> a field of `Sampling`, or one of `recipes.MORE_PARAMETERS`.
NAMES: Mapping[str, str] = MappingProxyType(
    {
        "temperature": "temperature",
        "top_k": "top_k",
        "top_p": "top_p",
        "min_p": "min_p",
        "typical_p": "typical_p",
        "repeat_last_n": "repeat_last_n",
        "repeat_penalty": "repeat_penalty",
        "presence_penalty": "presence_penalty",
        "frequency_penalty": "frequency_penalty",
        "mirostat": "mirostat",
        "mirostat_tau": "mirostat_tau",
        "mirostat_eta": "mirostat_eta",
        "seed": "seed",
        "num_predict": "max_tokens",
        "num_keep": "keep",
        "num_ctx": "context",
        "stop": "stop",
    }
)
#: Nobody samples by the first two any more; the others say how a model is loaded on the machine of whoever wrote them.
IDLE = frozenset(
    {"tfs_z", "penalize_newline", "num_batch", "num_gpu", "main_gpu", "low_vram", "f16_kv", "use_mmap", "use_mlock",
     "num_thread", "numa", "vocab_only", "num_gqa", "rope_frequency_base", "rope_frequency_scale", "draft_num_predict"}
)  # fmt: skip
#: What they are by themselves says their type.
_LIKE: Mapping[str, Parameter] = MappingProxyType({"max_tokens": 0, "keep": 0, "context": 0, "stop": ("",)})
#: An int of C, which llama.cpp has for all of them.
_LARGEST = 2**31 - 1


def read_parameters(options: Mapping[str, Any]) -> tuple[tuple[tuple[str, Parameter], ...], tuple[str, ...]]:
    """(parameters of an `Overlay`, Ollama's names that mean nothing here or have a value that makes no sense).

    Numbers are kept as Ollama has them: `max_tokens` and `keep` may be negative. A seed of -1 is no seed.
    """
    read: dict[str, Parameter] = {}
    strange: list[str] = []
    for name, value in options.items():
        parameter = NAMES.get(name)
        if parameter is None:
            if name not in IDLE:
                strange.append(name)
            continue
        found = _read(value, like=_LIKE.get(parameter, getattr(_SAMPLING, parameter, 0)))
        if found is None:
            strange.append(name)
        elif (parameter, found) != ("seed", -1):
            read[parameter] = found
    return tuple(read.items()), tuple(strange)


_SAMPLING = Sampling()


def _read(value: Any, *, like: Parameter) -> Parameter | None:
    """The value in the type of `like`; Ollama cuts fractions off where it wants an integer."""
    if isinstance(like, tuple):
        stops = [value] if isinstance(value, str) else value
        fine = isinstance(stops, list) and all(isinstance(stop, str) for stop in stops)
        return tuple(stop for stop in stops if stop) if fine else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if abs(value) > _LARGEST:
        return None
    return float(value) if isinstance(like, float) else int(value)
