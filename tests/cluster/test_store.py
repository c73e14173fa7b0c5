"""The store process: errands through the real queue, and what a kill in the middle of one leaves."""

from __future__ import annotations

import hashlib
import io
import signal
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import tiny
from cluster.herd import Herd, wait_for
from PIL import Image as Pillow
from tropilla.common import names
from tropilla.common.blobs import Blobs
from tropilla.common.catalogue import Definition, Trouble
from tropilla.common.errands import Copy, Create, Delete, Done, Errand, Import, Look, Progress, Pull, Refused, Word
from tropilla.common.pictures import Pictures
from tropilla.common.recipes import Overlay
from tropilla.common.registry import Registry
from tropilla.common.settings import Settings
from tropilla.common.tasks import create_celery, submit_errand
from tropilla.workers import pocket
from tropilla.workers.store.app import ERRANDS
from upstream import Content, Said, Upstream


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
            for place, word in self.registry.hear(errand_id, after, wait_seconds=5):
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
    first, registry = herd.start_store(), Registry(herd.bus)
    path = tiny.write_decoder(herd.folder / "some.gguf")
    # It has begun to work, and so has looked for what is interrupted.
    assert Counter(herd).ask(Import(some_id(), "tiny", str(path))) == Done("tiny")
    registry.trouble("coming", Trouble("downloading", "coming is being downloaded"))
    second = herd.start_store(ready=False)
    wait_for(lambda: "another store is running" in second.log, "the second one to wait")
    # It is not for a store that only waits to say that this has been interrupted.
    assert registry.shelf().troubles["coming"].code == "downloading"
    first.stop()
    assert first.wait() == 0
    wait_for(lambda: Registry(herd.bus).staffed(names.STORE_OFFICE), "the second one to take over")
    wait_for(lambda: registry.shelf().troubles["coming"].code == "download_failed", "what was interrupted to be said")
    assert Counter(herd).ask(Import(some_id(), "again", str(path))) == Done("again")
    assert second.alive


def test_an_image_waits_for_no_pull(herd: Herd) -> None:
    counter, image = Counter(herd), picture()
    digest = hashlib.sha256(image).hexdigest()
    routes = {f"/{n}.gguf": Content(b"GGUF" + bytes(100), "stall:10") for n in range(ERRANDS)}
    with Upstream({**routes, "/red.png": lambda _: Said(200, image)}) as upstream:
        herd.start_store(image_urls="on", pull_hosts=upstream.place)
        pulls = [counter.begin(Pull(some_id(), upstream.url(path), f"m{n}")) for n, path in enumerate(routes)]
        wait_for(lambda: len([each for each in upstream.gets if each.path in routes]) == ERRANDS, "every pull to begin")
        look = Look(some_id(), upstream.url("/red.png"), 1 << 20)
        counter.registry.begin(look, look.id)
        counter.registry.queue_look(look, look.id)
        assert list(counter.words(look.id)) == [Done(digest)]
        assert not any(isinstance(word, Done | Refused) for pull in pulls for _, word in counter.registry.hear(pull))
    assert Pictures(herd.bus, Settings()).read(digest) == image


def picture() -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", (8, 8), "red").save(buffer, "PNG")
    return buffer.getvalue()


# -- kills -------------------------------------------------------------------------------------------------------------

#: Bytes of the file that is half fetched: more than are read at a time.
HALF = 2_500_000


@pytest.fixture
def upstream() -> Iterator[tuple[Upstream, bytes]]:
    """A server that falls silent half-way, once; and the file that it has."""
    data = pocket.path().read_bytes()
    assert len(data) > HALF
    with Upstream({"/m.gguf": Content(data, f"stall:{HALF}")}) as upstream:
        yield upstream, data


def half_fetched(herd: Herd) -> None:
    """Waits until half of the file is on the disk."""
    partial = herd.folder / "models" / "partial"
    wait_for(lambda: any(path.stat().st_size > HALF // 2 for path in partial.iterdir()), "half a download")


def assert_resumed(server: Upstream) -> None:
    first, second = (asked.start for asked in server.gets)
    assert first is None
    assert second is not None
    assert 0 < second <= HALF


def test_a_pull_that_is_killed_goes_on_where_it_was(herd: Herd, upstream: tuple[Upstream, bytes]) -> None:
    server, data = upstream
    store = herd.start_store(pull_hosts=server.place)
    counter = Counter(herd)
    pull = counter.begin(Pull(some_id(), server.url("/m.gguf"), "m:latest"))
    half_fetched(herd)
    assert counter.registry.shelf().troubles["m:latest"].code == "downloading"
    store.kill()
    herd.start_store(pull_hosts=server.place)
    assert list(counter.words(pull))[-1] == Done("m:latest")
    assert_resumed(server)
    definition = counter.definition("m:latest")
    assert definition is not None
    assert definition.model.digest == hashlib.sha256(data).hexdigest()
    assert not counter.registry.shelf().troubles
    assert Blobs.below(herd.folder).path(definition.model.digest).read_bytes() == data


def test_a_store_that_is_told_to_stop_leaves_its_ticket_to_the_next_one(
    herd: Herd, upstream: tuple[Upstream, bytes]
) -> None:
    server, _ = upstream
    # Long enough that it is not the ticket's time that runs out.
    settings = {"pull_hosts": server.place, "visibility_seconds": 600}
    store = herd.start_store(**settings)
    counter = Counter(herd)
    pull = counter.begin(Pull(some_id(), server.url("/m.gguf"), "m:latest"))
    half_fetched(herd)
    store.kill(signal.SIGTERM)
    assert store.wait(5) == 0
    assert not counter.registry.staffed(names.STORE_OFFICE), "whoever asks now is told at once"
    herd.start_store(**settings)
    assert list(counter.words(pull))[-1] == Done("m:latest")
    assert_resumed(server)


def test_a_pull_that_is_stopped_says_so_and_leaves_nothing(herd: Herd, upstream: tuple[Upstream, bytes]) -> None:
    server, _ = upstream
    counter = Counter(herd)
    pull = counter.begin(Pull(some_id(), server.url("/m.gguf"), "m:latest"))
    counter.registry.stop_errand(pull, discard=True)
    herd.start_store(pull_hosts=server.place)
    last = list(counter.words(pull))[-1]
    assert isinstance(last, Refused)
    assert last.code == "cancelled"
    assert not counter.registry.shelf().troubles
    assert not list((herd.folder / "models" / "partial").iterdir())


def test_a_create_that_is_killed_is_done_again(herd: Herd) -> None:
    store = herd.start_store()
    counter = Counter(herd)
    # A vocabulary that takes seconds to read.
    path = tiny.write_wordy(herd.folder / "wordy.gguf", words=250_000)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.rename(Blobs.below(herd.folder).path(digest))
    create = counter.begin(Create(some_id(), "m:latest", files=(("wordy.gguf", digest),)))
    first = next(counter.words(create))
    assert first == Progress("parsing GGUF")
    store.kill()
    store.wait()
    assert counter.definition("m:latest") is None
    second = herd.start_store()
    said = list(counter.words(create))
    assert f"create {create} is taken up again" in second.log
    assert said.count(Progress("parsing GGUF")) == 2
    assert said[-1] == Done("m:latest")
    assert counter.definition("m:latest") is not None


def test_definitions_and_orders_follow_the_disk(herd: Herd) -> None:
    store = herd.start_store()
    counter = Counter(herd)
    path = tiny.write_decoder(herd.folder / "some.gguf")
    counter.ask(Import(some_id(), "tiny", str(path), link=True))
    store.stop()
    path.unlink()
    herd.start_store()
    wait_for(lambda: counter.registry.shelf().troubles, "the store to see what is gone")
    catalogue = counter.registry.catalogue()
    trouble = catalogue.trouble("tiny")
    assert trouble is not None
    assert trouble.code == "file_missing"
    assert catalogue.find("tiny") is None
    tiny.write_decoder(path)
    assert counter.ask(Import(some_id(), "tiny", str(path), link=True)) == Done("tiny")
    assert not counter.registry.shelf().troubles
