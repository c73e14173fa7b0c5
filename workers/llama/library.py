"""The library as such: which release, what it was built for, and where its log lines go."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import llama_cpp
from llama_cpp import mtmd_cpp
from tropilla.common.catalogue import Flavour
from tropilla.common.errors import ConfigurationError

log = logging.getLogger(__name__)

PINNED_VERSION = "0.3.36"
#: llama.cpp's log levels, see ggml_log_level. Its warnings are about what is meant here: one pool of cells that is larger
#: than any one sequence may be.
_LOG_LEVELS = {1: logging.DEBUG, 2: logging.DEBUG, 3: logging.DEBUG, 4: logging.ERROR}


def installed_version() -> str:
    return metadata.version("llama-cpp-python")


def check_version(found: str) -> None:
    """Raises `ConfigurationError` unless llama-cpp-python is the release this file was written against."""
    if found != PINNED_VERSION:
        raise ConfigurationError(
            f"llama-cpp-python is {found}; this release of Tropilla needs exactly {PINNED_VERSION}"
        )


def check_flavour(flavour: Flavour) -> None:
    """Raises `ConfigurationError` for `gpu` when this build of llama.cpp cannot use one: never a silent fall-back."""
    if flavour == "gpu" and not llama_cpp.llama_supports_gpu_offload():
        raise ConfigurationError(
            "a gpu worker needs a GPU and a llama-cpp-python built for it "
            "(CMAKE_ARGS=-DGGML_CUDA=on make up); this build runs on the CPU only"
        )


class _Complaints(logging.Handler):
    """Keeps what llama.cpp says that went wrong."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@contextmanager
def complaints() -> Iterator[list[str]]:
    """The errors that llama.cpp logs meanwhile, the first first, which mostly is the one that the others follow from."""
    handler = _Complaints()
    log.addHandler(handler)
    try:
        yield handler.lines
    finally:
        log.removeHandler(handler)


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _forward_log(level: int, text: bytes, _: Any) -> None:
    line = text.decode("utf-8", errors="replace").strip()
    if line and level in _LOG_LEVELS:
        log.log(_LOG_LEVELS[level], "llama.cpp: %s", line)


def start() -> None:
    """Before anything else is asked of it; as often as one likes. Raises `ConfigurationError`."""
    check_version(installed_version())
    llama_cpp.llama_log_set(_forward_log, ctypes.c_void_p(0))
    # What reads images has a logger of its own.
    mtmd_cpp.mtmd_helper_log_set(_forward_log, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
