"""Waiting for real processes without sleeping: the kernel tells when one has ended."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator

import pytest
from tropilla.compose.signals import Signals

PATIENCE_SECONDS = 20.0


@pytest.fixture
def ended() -> Callable[[int], bool]:
    """Waits until a process is gone, whoever its parent is."""
    return _ended


def _ended(pid: int) -> bool:
    try:
        watch = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([watch], [], [], PATIENCE_SECONDS)[0])
    finally:
        os.close(watch)


@pytest.fixture
def signals() -> Iterator[Signals]:
    with Signals() as opened:
        yield opened
