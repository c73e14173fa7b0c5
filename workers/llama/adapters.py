"""LoRA adapters on a loaded model: all in memory at once, at most one applied to a context at a time."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import llama_cpp
from tropilla.common.errors import ConfigurationError


class Adapters:
    """Raises `ConfigurationError` when llama.cpp will not load one. They are freed with the model.

    files: by name, of adapters that fit the model (`workers.adapters`). To be made before the context, which makes room in
    its graphs for those that the model has by then. No adapter, "", is what a context starts with.
    """

    def __init__(self, model: Any, files: Mapping[str, Path]) -> None:
        self._adapters = {name: _load(model, path) for name, path in files.items()}
        self._applied = ""

    def __contains__(self, name: str) -> bool:
        return name in self._adapters

    def apply(self, context: Any, name: str) -> bool:
        """From the next pass on; how strongly is what the adapter's own alpha says. False: llama.cpp refuses."""
        if name == self._applied:
            return True
        pointers = [self._adapters[name]] if name else []
        array = (llama_cpp.llama_adapter_lora_p_ctypes * len(pointers))(*pointers)
        scales = (ctypes.c_float * len(pointers))(*[1.0 for _ in pointers])
        if llama_cpp.llama_set_adapters_lora(context, array, len(pointers), scales) != 0:
            return False
        self._applied = name
        return True


def _load(model: Any, path: Path) -> Any:
    adapter = llama_cpp.llama_adapter_lora_init(model, str(path).encode())
    if not adapter:
        raise ConfigurationError(f"{path} could not be loaded by llama.cpp as an adapter; its log lines above say why")
    return adapter
