"""Where requests go, and with what: every hop is looked at (FIELD.md, section 6: model pull SSRF)."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from tropilla.common.hosts import parse_hosts
from tropilla.workers.store.pulling import FetchFailed
from tropilla.workers.store.wire import MAX_REDIRECTS, Forbidden, Unreachable, Wire
from upstream import CERTIFICATE, Asked, Said, Upstream


def wire(hosts: str) -> Wire:
    return Wire(parse_hosts(hosts), connect_seconds=2, stall_seconds=2)


def to(url: str, status: int = 302) -> Callable[[Asked], Said]:
    return lambda _: Said(status, headers={"Location": url})


def refusal(url: str, hosts: str) -> str:
    with pytest.raises(Forbidden) as caught, wire(hosts).ask(url):
        pass
    assert caught.value.refusal == "forbidden"
    return caught.value.message


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_and_the_token_stays_behind(status: int) -> None:
    with Upstream() as away, Upstream() as first:
        away.routes["/x"] = lambda asked: Said(200, asked.headers.get("authorization", "none").encode())
        first.routes.update({"/x": to("/y", status), "/y": to(away.url("/x"), status)})
        with wire(f"{first.place},{away.place}").ask(first.url("/x"), authorization="Bearer secret") as answer:
            assert (answer.status, answer.url, answer.body(100)) == (200, away.url("/x"), b"none")
        assert [asked.headers.get("authorization") for asked in first.asked] == ["Bearer secret"] * 2


def test_the_token_does_not_come_back_with_whoever_sends_us_back() -> None:
    with Upstream() as away, Upstream({"/x": to(away.url("/x"))}) as first:
        away.routes["/x"] = to(first.url("/y"))
        with wire(f"{first.place},{away.place}").ask(first.url("/x"), authorization="Bearer secret") as answer:
            assert answer.status == 404
        assert [asked.headers.get("authorization") for asked in first.asked] == ["Bearer secret", None]


def test_a_redirect_elsewhere_is_the_answer_to_who_stays_here() -> None:
    with (
        Upstream({"/a": to("/b"), "/b": to("https://cdn.example/c")}) as first,
        wire(first.place).ask(first.url("/a"), method="HEAD", follow="here") as answer,
    ):
        assert (answer.status, answer.headers["location"]) == (302, "https://cdn.example/c")


def test_redirects_end_somewhere() -> None:
    with Upstream({"/x": to("/y"), "/y": to("/x")}) as first:
        with pytest.raises(FetchFailed, match="redirects more than"), wire(first.place).ask(first.url("/x")):
            pass
        assert len(first.asked) == MAX_REDIRECTS + 1


def test_private_places_are_not_asked() -> None:
    with Upstream() as inner:
        port = inner.place.rpartition(":")[2]
        for url in (f"https://127.0.0.1:{port}/x", f"https://localhost:{port}/x", f"https://localhost.:{port}/x",
                    f"https://[::ffff:127.0.0.1]:{port}/x", f"https://0.0.0.0:{port}/x", f"https://2130706433:{port}/x",
                    f"https://0x7f.1:{port}/x"):  # fmt: skip
            assert "is no public address" in refusal(url, "*,127.0.0.1:1"), url
        assert "only https" in refusal(inner.url("/x"), "*")
        assert "only https" in refusal(inner.url("/x"), "127.0.0.1:6379,*")
        assert inner.asked == []


def test_a_redirect_to_a_private_place_is_refused() -> None:
    with Upstream() as inner:
        port = inner.place.rpartition(":")[2]
        for location in (
            inner.url("/x"),
            f"https://localhost:{port}/",
            "https://169.254.169.254/latest",
            "file:///etc/passwd",
            "ftp://127.0.0.1/x",
            f"//localhost:{port}/x",
            f"https://user@localhost:{port}/",
            "https://",
            "http://[::1/x",
        ):
            with Upstream({"/x": to(location)}) as outer:
                refusal(outer.url("/x"), f"*,{outer.place}")
        assert inner.asked == []


def test_the_address_that_was_looked_at_is_the_one_that_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the name is public when it is looked at, and would be 127.0.0.1 a moment later."""
    answers = iter([["1.1.1.1"], ["127.0.0.1"]])
    connected: list[str] = []

    def resolve(host: str, port: int, *_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in next(answers)]

    def connect(place: tuple[str, int], *_: object, **__: object) -> socket.socket:
        connected.append(place[0])
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr("tropilla.workers.store.wire.socket.getaddrinfo", resolve)
    monkeypatch.setattr("tropilla.workers.store.wire.create_connection", connect)
    with pytest.raises(Unreachable, match="cannot be read"), wire("*").ask("https://rebind.example/x"):
        pass
    assert connected == ["1.1.1.1"]
    assert "127.0.0.1, which is no public address" in refusal("https://rebind.example/x", "*")
    assert connected == ["1.1.1.1"]


def test_a_host_that_is_listed_by_name_may_be_private() -> None:
    with Upstream({"/x": lambda _: Said(200, b"fine")}) as inner:
        place = f"localhost:{inner.place.rpartition(':')[2]}"
        with wire(place).ask(f"http://{place}/x?a=b") as answer:
            assert answer.body(10) == b"fine"
        assert inner.asked[0].path == "/x?a=b"
        assert inner.asked[0].headers["accept-encoding"] == "identity"


def test_certificates_are_checked_against_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with Upstream({"/x": lambda _: Said(200, b"fine")}, tls=True) as upstream:
        place = f"localhost:{upstream.place.rpartition(':')[2]}"
        hosts = f"{place},{upstream.place}"
        with pytest.raises(FetchFailed, match="localhost has a certificate that is not trusted"):
            wire(hosts).ask(f"https://{place}/x").__enter__()
        # What the system trusts is trusted here.
        monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
        with wire(hosts).ask(f"https://{place}/x") as answer:
            assert answer.body(10) == b"fine"
        # The same server by a name that its certificate does not know.
        with pytest.raises(FetchFailed, match=r"127\.0\.0\.1 has a certificate that is not trusted"):
            wire(hosts).ask(f"https://{upstream.place}/x").__enter__()


def test_hosts_that_are_not_among_those_allowed_are_not_even_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tropilla.workers.store.wire.socket.getaddrinfo", None)
    assert "TROPILLA_PULL_HOSTS" in refusal("https://elsewhere.example/x", "huggingface.co,*.hf.co")


def test_an_answer_has_a_bound() -> None:
    with Upstream({"/x": lambda _: Said(200, bytes(1000))}) as upstream:
        with (
            pytest.raises(FetchFailed, match="more than 999 bytes"),
            wire(upstream.place).ask(upstream.url("/x")) as answer,
        ):
            answer.body(999)
        with (
            wire(upstream.place).ask(upstream.url("/x")) as answer,
            pytest.raises(FetchFailed, match="what is not JSON"),
        ):
            answer.json()


@pytest.mark.parametrize(("text", "seconds"), [("7", 7.0), ("999999", 120.0), ("soon", 0.0), ("-1", 0.0), ("", 0.0)])
def test_when_to_come_back(text: str, seconds: float) -> None:
    upstream = Upstream({"/x": lambda _: Said(429, headers={"Retry-After": text})})
    with upstream, wire(upstream.place).ask(upstream.url("/x")) as answer:
        assert answer.retry_after == seconds


def test_a_name_that_nobody_has_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("tropilla.workers.store.wire.socket.getaddrinfo", unknown)
    with (
        pytest.raises(FetchFailed, match="there is no host nowhere") as caught,
        wire("*").ask("https://nowhere.example/x"),
    ):
        pass
    assert caught.value.refusal == "unknown"


def test_headers_without_end_are_not_read() -> None:
    many = {f"X-{n}": "y" * 100 for n in range(1000)}
    upstream = Upstream({"/x": lambda _: Said(200, headers=many)})
    with upstream, pytest.raises(Unreachable), wire(upstream.place).ask(upstream.url("/x")):
        pass
