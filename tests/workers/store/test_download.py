"""One file from a server that misbehaves in every way we know of (contracts, models sheet 5.4 and 5.7)."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tropilla.common.catalogue import TroubleCode
from tropilla.common.errands import Progress
from tropilla.common.hosts import parse_hosts
from tropilla.common.recipes import File
from tropilla.workers.store import patience
from tropilla.workers.store.download import REPORT_SECONDS, download
from tropilla.workers.store.partial import Partial
from tropilla.workers.store.pulling import FetchFailed, Pulling, Stopped
from tropilla.workers.store.wanted import Address, Wanted, action_for
from tropilla.workers.store.wire import Wire
from upstream import Asked, Content, Said, Upstream

DATA = b"GGUF" + bytes(range(256)) * 2000
SHA = hashlib.sha256(DATA).hexdigest()
NAME = "x.gguf"


@dataclass
class Clock:
    """Time that passes only where somebody sleeps, or looks."""

    now: float = 0.0
    per_look: float = 0.0
    naps: list[float] = field(default_factory=list)

    def read(self) -> float:
        self.now += self.per_look
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


@dataclass
class Scene:
    """A server with a file, and everything to fetch it with."""

    upstream: Upstream
    home: Path
    clock: Clock = field(default_factory=Clock)
    said: list[Progress] = field(default_factory=list)
    free: int = 1 << 40
    stall_seconds: float = 0.3

    def serve(self, *turns: str, data: bytes = DATA, **more: object) -> Content:
        content = Content(data, *turns, **more)  # type: ignore[arg-type]
        self.upstream.routes[f"/{NAME}"] = content
        return content

    @property
    def pulling(self) -> Pulling:
        return Pulling(
            self.home,
            stall_seconds=self.stall_seconds,
            free_bytes=lambda _: self.free,
            clock=self.clock.read,
            sleep=self.clock.sleep,
            chance=lambda: 0.5,
        )

    def wanted(self, *urls: str, sha256: str = "", size: int | None = None) -> Wanted:
        places = urls or (self.upstream.url(f"/{NAME}"),)
        return Wanted(NAME, tuple(Address(url, url) for url in places), sha256, size)

    def fetch(
        self, wanted: Wanted | None = None, *, again: bool = False, stopped: Callable[[], bool] = lambda: False
    ) -> File:
        hosts = parse_hosts(self.upstream.place)
        wire = Wire(hosts, connect_seconds=5, stall_seconds=self.pulling.stall_seconds)
        wanted = wanted or self.wanted()
        return download(wanted, self.pulling, wire, again=again, report=self.said.append, stopped=stopped)

    def fails(self, wanted: Wanted | None = None) -> FetchFailed:
        with pytest.raises(FetchFailed) as caught:
            self.fetch(wanted)
        return caught.value

    @property
    def ranges(self) -> list[str]:
        return [asked.headers.get("range", "all") for asked in self.upstream.gets]

    def partials(self) -> list[str]:
        return sorted(path.name for path in (self.home / "models" / "partial").iterdir())

    def leave(self, there: bytes, wanted: Wanted, *, etag: str = '"v1"', size: int = len(DATA)) -> None:
        """What a process that died would have left."""
        self.pulling.blobs.prepare()
        path = self.pulling.blobs.partial(wanted.key)
        path.write_bytes(there)
        record = {
            "url": wanted.addresses[0].shown,
            "validator": etag,
            "size": size,
            "commit": "",
            "sha256": wanted.sha256,
        }
        path.with_name(f"{path.name}.json").write_text(json.dumps(record))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Upstream() as upstream:
        yield Scene(upstream, tmp_path)


def is_there(scene: Scene, file: File, data: bytes = DATA) -> bool:
    return file == File(hashlib.sha256(data).hexdigest(), len(data), NAME) and (
        scene.pulling.blobs.path(file.digest).read_bytes() == data
    )


@pytest.mark.parametrize("known", [False, True])
def test_a_file_is_fetched_and_published(scene: Scene, known: bool) -> None:
    scene.serve()
    wanted = scene.wanted(sha256=SHA, size=len(DATA)) if known else scene.wanted()
    assert is_there(scene, scene.fetch(wanted))
    assert [name for name in scene.partials() if not name.endswith(".json")] == []
    first, last = scene.said[0], scene.said[-1]
    status = f"pulling {SHA[:12]}" if known else f"pulling {NAME}"
    digest = f"sha256:{SHA}" if known else ""
    assert first == Progress(status, digest, len(DATA), 0, NAME)
    assert last == Progress(status, digest, len(DATA), len(DATA), NAME)


@pytest.mark.parametrize(
    ("turns", "ranges"),
    [
        (["drop:1000"], ["all", "bytes=1000-"]),
        (["drop:1000", "drop:5"], ["all", "bytes=1000-", "bytes=1005-"]),
        (["drop:1000", "no-ranges"], ["all", "bytes=1000-"]),
        (["drop:1000", "wrong-start"], ["all", "bytes=1000-", "all"]),
        (["drop:1000", "wrong-total"], ["all", "bytes=1000-", "all"]),
        (["drop:1000", "416"], ["all", "bytes=1000-", "all"]),
        (["drop:1000", "503", "ranges"], ["all", "bytes=1000-", "bytes=1000-"]),
        (["500", "502", "429"], ["all", "all", "all", "all"]),
        (["stall:2000"], ["all", "bytes=2000-"]),
        (["stall:0"], ["all", "all"]),
    ],
)  # fmt: skip
def test_a_transfer_that_breaks_off_goes_on(scene: Scene, turns: list[str], ranges: list[str]) -> None:
    scene.serve(*turns)
    assert is_there(scene, scene.fetch())
    assert scene.ranges == ranges


@pytest.mark.parametrize("etag", ['"v1"', ""])
def test_what_a_dead_process_left_is_gone_on_with_if_the_server_says_it_is_the_same(scene: Scene, etag: str) -> None:
    scene.serve(etag=etag)
    scene.leave(DATA[:3000], scene.wanted(), etag=etag)
    assert is_there(scene, scene.fetch())
    assert scene.ranges == (["bytes=3000-"] if etag else ["all"])
    assert scene.upstream.gets[0].headers.get("if-range") == (etag or None)


def test_a_file_that_changed_meanwhile_is_fetched_anew(scene: Scene) -> None:
    scene.serve(etag='"v2"')
    scene.leave(b"GGUF of yesterday", scene.wanted(), etag='"v1"')
    assert is_there(scene, scene.fetch())
    assert scene.ranges == ["all"]


def test_a_known_sum_goes_on_at_another_address(scene: Scene) -> None:
    scene.upstream.routes["/gone"] = lambda _: Said(404)
    scene.serve(etag="")
    wanted = scene.wanted(scene.upstream.url("/gone"), scene.upstream.url(f"/{NAME}"), sha256=SHA, size=len(DATA))
    scene.leave(DATA[:3000], wanted, etag="")
    assert is_there(scene, scene.fetch(wanted))
    assert scene.ranges == ["bytes=3000-", "bytes=3000-"]


def test_a_partial_that_is_all_there_is_only_verified(scene: Scene) -> None:
    scene.serve()
    wanted = scene.wanted(sha256=SHA, size=len(DATA))
    scene.leave(DATA, wanted)
    assert is_there(scene, scene.fetch(wanted))
    assert scene.upstream.asked == []


def test_a_partial_that_was_spoilt_is_found_out(scene: Scene) -> None:
    scene.serve()
    wanted = scene.wanted(sha256=SHA, size=len(DATA))
    scene.leave(b"GGUF" + b"\1" * 2996, wanted)
    trouble = scene.fails(wanted)
    assert trouble.code == "checksum_mismatch"
    assert scene.partials() == []
    assert is_there(scene, scene.fetch(wanted))


@pytest.mark.parametrize(
    ("turns", "code", "sentence"),
    [
        (["html"], "not_gguf", "x.gguf is not a GGUF file: it is a web page (HTML)"),
        (["short"], "download_failed", "has 511,997 bytes where it is, and 512,004 were announced"),
        (["404"], "download_failed", "there is no such file"),
        (["403"], "download_failed", "it is not for everybody"),
        (["418"], "download_failed", "answers with status 418"),
        (["503"] * 7, "download_failed", "answers with status 503"),
        (["drop:0"] * 7, "download_failed", "127.0.0.1 cannot be read: the connection broke off"),
    ],
)
def test_a_transfer_that_cannot_succeed_says_why(
    scene: Scene, turns: list[str], code: TroubleCode, sentence: str
) -> None:
    content = scene.serve(*turns)
    if turns == ["html"]:
        content.data = b"<!DOCTYPE html><html>Sign in</html>"
    trouble = scene.fails()
    assert (trouble.code, sentence in trouble.message) == (code, True), trouble.message
    assert not any((scene.home / "models" / "blobs").iterdir())


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "it is the pointer that git-lfs leaves in place of a large file",
        ),
        (b'{"error":"no"}', "it is a JSON text"),
        (b"GG", "it does not begin with GGUF"),
        (b"", "it is an empty file"),
    ],
)
def test_what_is_no_gguf_is_called_by_its_name(scene: Scene, data: bytes, what: str) -> None:
    scene.serve(data=data)
    trouble = scene.fails()
    assert (trouble.code, trouble.message) == ("not_gguf", f"x.gguf is not a GGUF file: {what}")
    assert scene.partials() == []


def test_a_wrong_sum_is_refused_and_nothing_kept(scene: Scene) -> None:
    scene.serve()
    trouble = scene.fails(scene.wanted(sha256="0" * 64, size=len(DATA)))
    assert (trouble.code, trouble.message) == ("checksum_mismatch", f"sha256 mismatch: want {'0' * 64} got {SHA}")
    assert scene.partials() == []


def test_waits_grow_and_bytes_bring_patience_back(scene: Scene) -> None:
    scene.serve("503", "503", "503", "drop:10", "503@30", "503")
    scene.fetch()
    waits = (1.5, 2.5, 4.5, 1.5, 30.0, 4.5)
    assert scene.clock.now == pytest.approx(sum(waits))


def test_a_server_without_head_tells_by_its_first_byte(scene: Scene) -> None:
    scene.serve(no_head=True)
    assert is_there(scene, scene.fetch())
    assert scene.ranges == ["bytes=0-0", "all"]


def test_what_is_there_is_not_fetched_again_unless_asked(scene: Scene) -> None:
    scene.serve()
    scene.fetch()
    for wanted in (scene.wanted(), scene.wanted(sha256=SHA, size=len(DATA)), scene.wanted(sha256=SHA)):
        assert is_there(scene, scene.fetch(wanted))
        assert scene.said[-1].completed == len(DATA)
    assert scene.ranges == ["all"]
    scene.fetch(again=True)
    assert scene.ranges == ["all", "all"]


def test_another_content_under_the_same_address_is_another_file(scene: Scene) -> None:
    scene.serve()
    scene.fetch()
    scene.serve(data=DATA[:5000], etag='"v2"')
    assert is_there(scene, scene.fetch(), DATA[:5000])


def test_no_room_on_the_disk_is_said_before_a_byte_moves(scene: Scene) -> None:
    scene.serve()
    scene.free = 537_603
    assert scene.fails().message == "x.gguf needs 537,604 more bytes on the disk, and 537,603 are free"
    assert scene.ranges == []
    scene.free = 537_604
    assert is_there(scene, scene.fetch())


def test_a_file_of_unknown_size_may_not_fill_the_disk(scene: Scene) -> None:
    """Without a length, the end of the connection is the end of the file."""
    scene.upstream.routes[f"/{NAME}"] = lambda _: Said(200, DATA, length=-1)
    assert is_there(scene, scene.fetch())
    scene.free = 200 << 20
    assert "more bytes on the disk" in scene.fails(scene.wanted(sha256="0" * 64)).message


def test_a_signature_that_ran_out_is_asked_for_again(scene: Scene) -> None:
    content = Content(DATA, "drop:1000", "403")
    with Upstream({"/cdn": content}) as cdn:
        scene.upstream.routes[f"/{NAME}"] = lambda _: Said(302, headers={"Location": cdn.url("/cdn")})
        wire = Wire(parse_hosts(f"{scene.upstream.place},{cdn.place}"), connect_seconds=5, stall_seconds=5)
        wanted = scene.wanted(sha256=SHA, size=len(DATA))
        file = download(wanted, scene.pulling, wire, again=False, report=scene.said.append, stopped=lambda: False)
        assert is_there(scene, file)
        assert [asked.headers.get("range") for asked in cdn.asked] == [None, "bytes=1000-", "bytes=1000-"]
    assert len(scene.upstream.asked) == 3


def test_stopping_leaves_what_there_is_to_whoever_goes_on_unless_nobody_will(scene: Scene) -> None:
    scene.serve()
    scene.clock.per_look = 1.0
    with pytest.raises(Stopped) as stop:
        scene.fetch(stopped=lambda: bool(scene.said) and scene.said[-1].completed > 0)
    assert scene.partials() != []
    assert not any((scene.home / "models" / "blobs").iterdir())
    stop.value.discard()
    assert scene.partials() == []


def test_stopping_does_not_wait_for_a_line_that_says_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "GLANCE_SECONDS", 0.01)
    scene.serve("stall:2000")
    scene.stall_seconds = 60
    began = time.monotonic()
    with pytest.raises(Stopped):
        scene.fetch(stopped=lambda: bool(scene.upstream.gets))
    assert time.monotonic() - began < 30


def test_stopping_ends_the_wait_before_a_retry(scene: Scene) -> None:
    scene.serve(*["503"] * 3)
    with pytest.raises(Stopped):
        scene.fetch(stopped=lambda: scene.clock.now > 2)
    assert scene.clock.now < 4


def test_an_exception_of_the_listener_keeps_what_is_there(scene: Scene) -> None:
    """The store's process is told to end: the next one goes on."""
    scene.serve()
    scene.clock.per_look = 1.0

    def report(progress: Progress) -> None:
        if progress.completed:
            raise KeyboardInterrupt

    wire = Wire(parse_hosts(scene.upstream.place), connect_seconds=5, stall_seconds=5)
    with pytest.raises(KeyboardInterrupt):
        download(scene.wanted(), scene.pulling, wire, again=False, report=report, stopped=lambda: False)
    assert scene.pulling.blobs.partial(scene.wanted().key).stat().st_size > 0


def test_words_come_five_times_a_second_at_the_most(scene: Scene) -> None:
    scene.serve(data=b"GGUF" + bytes(8 << 20))
    scene.clock.per_look = 0.01
    scene.fetch()
    # The first and the last one are said whenever it is.
    assert len(scene.said) <= 3 + scene.clock.now / REPORT_SECONDS
    assert scene.said[-1].completed == scene.said[-1].total == 4 + (8 << 20)


def test_a_second_process_waits_for_the_first_and_has_its_file(scene: Scene) -> None:
    scene.serve()
    # How long the file is, only the first one knows.
    wanted = scene.wanted(sha256=SHA)
    scene.leave(DATA[:3000], wanted)
    held = Partial(scene.pulling.blobs, wanted.key)
    with held.locked(lambda: None):
        with pytest.raises(Stopped):
            scene.fetch(wanted, stopped=lambda: scene.clock.now > 3)
        assert (scene.said[-1].completed, scene.said[-1].total) == (3000, len(DATA))
        # What belongs to the other process is still its own.
        assert scene.pulling.blobs.partial(wanted.key).stat().st_size == 3000
    assert is_there(scene, scene.fetch(wanted))


def test_a_disk_that_takes_no_more_is_no_network_trouble(scene: Scene) -> None:
    scene.serve()
    scene.pulling.blobs.prepare()
    scene.pulling.blobs.partial(scene.wanted().key).mkdir()
    assert "cannot be kept" in scene.fails().message


@pytest.mark.parametrize(
    ("status", "content_range", "have", "size", "action"),
    [
        (206, "bytes 10-99/100", 10, 100, "append"),
        (206, "bytes 10-99/*", 10, 100, "append"),
        (206, "bytes 10-99/100", 10, None, "append"),
        (206, "bytes 0-99/100", 10, 100, "restart"),
        (206, "bytes 10-98/99", 10, 100, "restart"),
        (206, "", 10, 100, "restart"),
        (206, "lines 10-99/100", 10, 100, "restart"),
        (200, "", 10, 100, "replace"),
        (200, "", 0, None, "replace"),
        (416, "", 100, 100, "finish"),
        (416, "bytes */100", 100, None, "finish"),
        (416, "bytes */100", 90, None, "restart"),
        (416, "", 90, 100, "restart"),
        (404, "", 0, 100, "fail"),
        (500, "", 10, 100, "fail"),
    ],
)
def test_the_table_of_answers(status: int, content_range: str, have: int, size: int | None, action: str) -> None:
    assert action_for(status, {"content-range": content_range}, have=have, size=size) == action


def test_a_range_is_never_asked_of_another_version(scene: Scene) -> None:
    """The server's file changes between two requests of one transfer: If-Range makes it say all of the new one."""
    content = scene.serve("drop:1000")

    def changing(asked: Asked) -> Said:
        said = content(asked)
        if asked.method == "GET" and not content.turns:
            content.etag = '"v2"'
        return said

    scene.upstream.routes[f"/{NAME}"] = changing
    assert is_there(scene, scene.fetch())
    assert scene.ranges == ["all", "bytes=1000-"]
