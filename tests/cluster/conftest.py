"""Shared herds for tests that only ask; tests that break things start their own with `make_herd`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import endless
import pytest
from cluster.herd import Herd

HerdMaker = Callable[..., Herd]


@pytest.fixture(scope="session")
def herd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Herd]:
    """The built-in model on one worker with 8 slots, behind one API process."""
    herd = Herd(tmp_path_factory.mktemp("herd"), cors_origins="*")
    try:
        herd.start_worker(slots=8)
        herd.start_api()
        yield herd
    finally:
        herd.stop()


@pytest.fixture(scope="session")
def endless_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """NAME=PATH of a model that never stops by itself, some milliseconds a token."""
    return f"endless={endless.write(tmp_path_factory.mktemp('models') / 'endless.gguf')}"


@pytest.fixture
def make_herd(tmp_path: Path, endless_model: str) -> Iterator[HerdMaker]:
    """Makes herds of which only Redis runs yet, for the endless model on one thread, quick to notice a loss."""
    made: list[Herd] = []

    def make(**settings: object) -> Herd:
        folder = tmp_path / f"herd-{len(made)}"
        folder.mkdir()
        quick = {
            "model": endless_model,
            "context": 8192,
            "threads": 1,
            "slots": 2,
            # Half floats would turn the last bits of another batch shape into other words, once in a while.
            "cache_type": "f32",
            "lease_seconds": 1,
            "stall_seconds": 0.3,
        }
        made.append(Herd(folder, **{**quick, **settings}))
        return made[-1]

    yield make
    for herd in made:
        herd.stop()
