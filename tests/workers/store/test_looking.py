"""Images at addresses that callers name: fetched behind the guards of a pull, in little time, and told of in few words."""

from __future__ import annotations

import hashlib
import io
import re
import socket
from collections.abc import Callable, Iterable
from itertools import count

import pytest
from PIL import Image as Pillow
from tropilla.common.errands import Done, Look
from tropilla.common.errors import DecodeError, Overloaded, StoreUnavailable
from tropilla.common.generation import Image
from tropilla.common.settings import Settings
from tropilla.workers.store.looking import Looking
from tropilla.workers.store.looks import Looks
from tropilla.workers.store.refusals import Refusal
from upstream import Asked, Said, Upstream


def png(side: int = 8) -> bytes:
    buffer = io.BytesIO()
    Pillow.new("RGB", (side, side), "red").save(buffer, "PNG")
    return buffer.getvalue()


RED = png()


def saying(said: Said) -> Callable[[Asked], Said]:
    return lambda _: said


def to(url: str) -> Callable[[Asked], Said]:
    return saying(Said(302, headers={"Location": url}))


class Keeper:
    """Keeps what `Pictures` would, or has no room."""

    def __init__(self, *, full: bool = False) -> None:
        self.full = full
        self.kept: dict[str, bytes | None] = {}

    def keep(self, images: Iterable[Image]) -> None:
        if self.full:
            raise Overloaded(
                "the images of the requests that wait fill the 1 MB there are for them", retry_after_seconds=1
            )
        self.kept |= {image.digest: image.data for image in images}


def looking(hosts: str, keeper: Keeper, **changed: object) -> Looking:
    settings = Settings(image_urls="on", pull_hosts=hosts, max_image_bytes=100_000, max_image_pixels=10_000)
    made = Looking.of(settings, keeper.keep)
    for name, value in changed.items():
        object.__setattr__(made, name, value)
    return made


def refused(url: str, hosts: str, *, most_bytes: int = 100_000, keeper: Keeper | None = None, **changed: object) -> str:
    keeper = keeper or Keeper()
    with pytest.raises(Refusal) as caught:
        looking(hosts, keeper, **changed).look(Look("l", url, most_bytes), lambda: False)
    assert caught.value.field == "url"
    assert keeper.kept == {}
    return f"{caught.value.code}: {caught.value.message}"


def test_an_image_is_kept_under_its_digest_and_nothing_of_ours_is_sent_along() -> None:
    keeper = Keeper()
    with Upstream({"/cat.png": saying(Said(200, RED))}) as away, Upstream() as first:
        first.routes["/x"] = to(away.url("/cat.png"))
        done = looking(f"{first.place},{away.place}", keeper).look(
            Look("l", first.url("/x?size=s"), 100_000), lambda: False
        )
        assert first.asked[0].path == "/x?size=s"
        assert not {"authorization", "cookie", "referer"} & {
            key for a in (*first.asked, *away.asked) for key in a.headers
        }
    digest = hashlib.sha256(RED).hexdigest()
    assert (done, keeper.kept) == (Done(digest), {digest: RED})


def test_switched_off_nothing_is_asked() -> None:
    with Upstream({"/x": saying(Said(200, RED))}) as upstream:
        assert "TROPILLA_IMAGE_URLS" in refused(upstream.url("/x"), upstream.place, on=False)
        assert upstream.asked == []


@pytest.mark.parametrize(
    ("url", "hosts", "said"),
    [
        ("https://elsewhere.example/x", "*.hf.co", "forbidden: .*elsewhere.example is not among the hosts"),
        ("http://elsewhere.example/x", "*", "forbidden: .*only https is fetched"),
        ("ftp://elsewhere.example/x", "*", "forbidden: .*only https is fetched"),
        ("https://user:secret@elsewhere.example/x", "*", "invalid: .*no user"),
        ("https:///x", "*", "invalid: .*must have a host"),
        ("https://[::1/x", "*", "invalid: .*makes no sense"),
        ("https://a:port/x", "*", "invalid: .*makes no sense"),
    ],
)
def test_addresses_that_are_not_asked(url: str, hosts: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tropilla.workers.store.wire.socket.getaddrinfo", None)
    found = refused(url, hosts)
    assert re.match(said, found), found
    assert "secret" not in found


def test_private_places_are_not_asked_and_their_addresses_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def inside(host: str, port: int, *_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.11.12.13", port))]

    with monkeypatch.context() as patched:
        patched.setattr("tropilla.workers.store.wire.socket.getaddrinfo", inside)
        found = refused("https://intranet.example/x", "*")
    assert found.startswith("forbidden: ")
    assert "10.11" not in found
    for location in ("https://127.0.0.1:1/x", "http://169.254.169.254/latest", "file:///etc/passwd"):
        with Upstream({"/x": to(location)}) as outer:
            found = refused(outer.url("/x"), f"*,{outer.place}")
            assert found.startswith("forbidden: ")
            assert not any(word in found for word in ("127.0", "169.254", "passwd"))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (Said(404, b"nothing"), "unknown: its server answers with status 404"),
        (Said(503, b"later"), "unknown: its server answers with status 503"),
        (Said(200, RED, length=len(RED) + 9), "failed: its server does not answer"),
        (Said(200, b"<html>no cat</html>"), "invalid: what is at the URL of the image is not a PNG, JPEG, WebP or GIF"),
        (Said(200, RED[:50]), "invalid: what is at the URL of the image is broken or cut off"),
        (Said(200, png(101)), "invalid: what is at the URL of the image has 101 x 101 pixels"),
        (Said(200, bytes(100_001)), "invalid: the image at its URL has more than 100000 bytes"),
        (Said(200, bytes(100_001), length=-1), "invalid: the image at its URL has more than 100000 bytes"),
    ],
)
def test_answers_that_are_no_image(said: Said, told: str) -> None:
    with Upstream({"/x": saying(said)}) as upstream:
        assert refused(upstream.url("/x"), upstream.place).startswith(told)


def test_a_caller_may_want_less_than_the_store_would_read() -> None:
    with Upstream({"/x": saying(Said(200, RED))}) as upstream:
        assert f"more than {len(RED) - 1} bytes" in refused(upstream.url("/x"), upstream.place, most_bytes=len(RED) - 1)


def test_it_is_over_after_a_while_however_much_comes() -> None:
    with Upstream({"/x": saying(Said(200, RED[:10], length=len(RED), stall=True))}) as upstream:
        told = refused(upstream.url("/x"), upstream.place, seconds=0.2)
    assert told == "failed: it is not there after 0 s"


def test_nobody_is_asked_for_who_has_left() -> None:
    with Upstream({"/x": saying(Said(200, RED))}) as upstream:
        with pytest.raises(Refusal):
            looking(upstream.place, Keeper()).look(Look("l", upstream.url("/x"), 100_000), lambda: True)
        assert upstream.asked == []


def test_where_there_is_no_room_it_is_said() -> None:
    with Upstream({"/x": saying(Said(200, RED))}) as upstream:
        told = refused(upstream.url("/x"), upstream.place, keeper=Keeper(full=True))
    assert told.startswith("conflict: the images of the requests that wait")


def test_a_host_that_nobody_has_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("tropilla.workers.store.wire.socket.getaddrinfo", unknown)
    assert refused("https://nowhere.example/x", "*").startswith("unknown: its server is not found")


def test_looks_are_taken_one_after_the_other_whatever_happens() -> None:
    look, turn = Look("l", "https://x.example/", 1), count()
    served: list[tuple[Look, str]] = []
    paused: list[float] = []

    class Queue:
        def next_look(self, *, wait_seconds: float) -> tuple[Look, str] | None:
            match next(turn):
                case 0:
                    raise StoreUnavailable("Redis cannot serve")
                case 1:
                    raise DecodeError("not an errand", b"")
                case 2:
                    return None
            return look, "flight"

    def serve(asked: Look, flight: str) -> None:
        served.append((asked, flight))

    looks = Looks(Queue(), serve, paused.append)
    for _ in range(4):
        looks.take()
    assert served == [(look, "flight")]
    assert len(paused) == 1
