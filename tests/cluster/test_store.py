"""The store process: errands through the real queue, and what a kill in the middle of one leaves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import tiny
from cluster.herd import Herd, wait_for
from tropilla.common import names
from tropilla.common.blobs import Blobs
from tropilla.common.catalogue import Definition
from tropilla.common.errands import Copy, Create, Delete, Done, Errand, Import, Progress, Refused, Word
from tropilla.common.recipes import Overlay
from tropilla.common.registry import Registry
from tropilla.common.settings import Settings
from tropilla.common.tasks import create_celery, submit_errand


class Counter:
    """Where errands are handed in."""

    def __init__(self, herd: Herd) -> None:
        self.registry = Registry(herd.bus)
        self._celery = create_celery(Settings(redis_url=herd.redis_url))

    def begin(self, errand: Errand) -> str:
        self.registry.begin(errand, errand.id)
        submit_errand(self._celery, errand, errand.id)
        return errand.id

    def words(self, errand_id: str) -> Iterator[Word]:
        """To the last one."""
        after = "0"
        while True:
            for place, word in self.registry.hear(errand_id, after, wait_seconds=30):
                after = place
                yield word
                if isinstance(word, Done | Refused):
                    return

    def ask(self, errand: Errand) -> Word:
        return list(self.words(self.begin(errand)))[-1]

    def definition(self, name: str) -> Definition | None:
        return next((each for each in self.registry.shelf().definitions if each.model.name == name), None)


@pytest.fixture
def herd(tmp_path: Path) -> Iterator[Herd]:
    herd = Herd(tmp_path, visibility_seconds=3)
    try:
        yield herd
    finally:
        herd.stop()


def some_id() -> str:
    return uuid4().hex


def test_errands_go_through_the_queue_to_their_last_word(herd: Herd) -> None:
    herd.start_store()
    counter, blobs = Counter(herd), Blobs.below(herd.folder)
    path = tiny.write_decoder(herd.folder / "some.gguf")
    assert counter.ask(Import(some_id(), "tiny", str(path), link=True)) == Done("tiny")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    created = Create(some_id(), "pirate:latest", "tiny", overlay=Overlay(system="Arr."))
    said = list(counter.words(counter.begin(created)))
    assert [word.status for word in said if isinstance(word, Progress)] == [
        "reading model metadata",
        "creating system layer",
        f"using already created layer sha256:{digest}",
        "writing manifest",
    ]
    assert said[-1] == Done("pirate:latest")
    tiny_one, pirate = counter.definition("tiny"), counter.definition("pirate:latest")
    assert tiny_one is not None
    assert pirate is not None
    assert pirate.recipe == tiny_one.recipe
    assert (pirate.model.overlay.system, pirate.model.parent) == ("Arr.", "tiny")
    assert counter.ask(Copy(some_id(), "PIRATE", "second:latest")) == Done("second:latest")
    for name in ("tiny", "pirate"):
        counter.ask(Delete(some_id(), name))
        assert blobs.has(digest)
    assert counter.ask(Delete(some_id(), "second")) == Done("second:latest")
    assert not blobs.has(digest)
    assert path.is_file(), "a link leaves the original"
    refused = counter.ask(Delete(some_id(), "second"))
    assert refused == Refused("unknown", "model 'second' not found", "name")


def test_a_ticket_that_waits_is_done_by_the_store_that_comes(herd: Herd) -> None:
    counter = Counter(herd)
    path = tiny.write_decoder(herd.folder / "some.gguf")
    errand_id = counter.begin(Import(some_id(), "tiny", str(path)))
    herd.start_store()
    assert list(counter.words(errand_id))[-1] == Done("tiny")


def test_one_store_works_and_the_next_one_waits_for_its_end(herd: Herd) -> None:
    first = herd.start_store()
    second = herd.start_store(ready=False)
    wait_for(lambda: "another store is running" in second.log, "the second one to wait")
    first.stop()
    assert first.wait() == 0
    wait_for(lambda: Registry(herd.bus).staffed(names.STORE_OFFICE), "the second one to take over")
    path = tiny.write_decoder(herd.folder / "some.gguf")
    assert Counter(herd).ask(Import(some_id(), "tiny", str(path))) == Done("tiny")
    assert second.alive
