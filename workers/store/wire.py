"""The store's HTTP client: every hop of every request is looked at before a byte is sent there.

What a caller names as a source is asked for by this machine, from inside its network: so neither an address, nor a name
that resolves to one, nor a redirect may lead to what callers could not ask themselves. Names are resolved here, the
addresses are checked, and the socket connects to exactly the address that was checked: a name that means something else
a moment later (DNS rebinding) gains nothing. http.client bounds a header line to 64 KiB and their number to 100.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urljoin, urlsplit

import certifi
import urllib3
from tropilla.common.errors import TropillaError
from tropilla.common.hosts import DEFAULT_PORTS, Hosts, is_public
from tropilla.workers.store.pulling import FetchFailed
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.util import Timeout
from urllib3.util.connection import create_connection

#: The hub takes two hops to its store of content, registries one.
MAX_REDIRECTS = 6
#: A listing of a repository has about 300 bytes a file, in pages of 1000.
MAX_JSON_BYTES = 8 << 20
CHUNK_BYTES = 1 << 20
#: How often it is looked whether anybody still waits for an answer, in seconds.
GLANCE_SECONDS = 0.5
_REDIRECTS = (301, 302, 303, 307, 308)
#: A server that says when to come back is not waited for any longer than this, in seconds.
MAX_RETRY_AFTER = 120.0
#: everywhere: redirects are followed. here: only to the same host, others are the answer.
Follow = Literal["everywhere", "here"]


class Unreachable(TropillaError):
    """Something on the way that may be better the next time. `retry_after` is when the server wants us, in seconds."""

    def __init__(self, message: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Forbidden(FetchFailed):
    """A place that nothing is fetched from."""

    def __init__(self, message: str) -> None:
        super().__init__("download_failed", message, refusal="forbidden")


class _Lines:
    """The connections that one question takes, one a hop. Each is known by another name: TLS and http.client have the first
    one to themselves. `stopped`: nobody waits for the answer any more.
    """

    def __init__(self, stopped: Callable[[], bool]) -> None:
        self._stopped = stopped
        self._cut = False
        self.last: socket.socket | None = None

    def check(self) -> None:
        """Before anything more is asked. Raises `Unreachable`."""
        if self._stopped():
            raise Unreachable("nobody waits for the answer any more")

    def add(self, line: socket.socket) -> None:
        self.last = line
        if self._cut:
            self.cut()

    def cut(self) -> None:
        """From another thread: whoever waits for something on the last one gets nothing."""
        self._cut = True
        if self.last is not None:
            with suppress(OSError):
                self.last.shutdown(socket.SHUT_RDWR)


@contextmanager
def _opening(stopped: Callable[[], bool] | None) -> Iterator[_Lines]:
    """A line that drips keeps nobody longer than he waits."""
    if stopped is None:
        yield _Lines(lambda: False)
        return
    lines, over = _Lines(stopped), threading.Event()

    def watch() -> None:
        while not over.wait(GLANCE_SECONDS):
            if stopped():
                lines.cut()
                return

    watching = threading.Thread(target=watch, name="watching a line", daemon=True)
    watching.start()
    try:
        yield lines
    finally:
        over.set()
        watching.join()


@dataclass(frozen=True)
class Answer:
    """What the last hop said. `headers` by lower-case names; `url` is whose answer it is."""

    url: str
    status: int
    headers: Mapping[str, str]
    _response: urllib3.BaseHTTPResponse
    _line: socket.socket

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives. Raises `Unreachable`."""
        with _trouble(self.url):
            while chunk := self._response.read1(CHUNK_BYTES):
                yield chunk

    def break_off(self) -> None:
        """From another thread: whoever waits for more of the body gets none."""
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_RDWR)

    def body(self, limit: int) -> bytes:
        """The whole body. Raises `Unreachable`, and `FetchFailed` for more than `limit` bytes."""
        found = bytearray()
        for chunk in self.chunks():
            found += chunk
            if len(found) > limit:
                raise FetchFailed("download_failed", f"{self.host} answers with more than {limit} bytes")
        return bytes(found)

    def json(self) -> Any:
        """The body as JSON. Raises `Unreachable` and `FetchFailed`."""
        try:
            return json.loads(self.body(MAX_JSON_BYTES))
        except (ValueError, RecursionError) as error:
            raise FetchFailed("download_failed", f"{self.host} answers with what is not JSON") from error

    @property
    def host(self) -> str:
        return _host(self.url)

    @property
    def retry_after(self) -> float:
        """In seconds; a date says nothing to clocks that disagree."""
        text = self.headers.get("retry-after", "")
        return min(float(text), MAX_RETRY_AFTER) if text.isdecimal() else 0.0


class Wire:
    """Asks, hop by hop. Cheap: one connection a request, as large files want it."""

    def __init__(self, hosts: Hosts, *, connect_seconds: float, stall_seconds: float) -> None:
        self._hosts = hosts
        self._timeout = Timeout(connect=connect_seconds, read=stall_seconds)
        self._context = ssl.create_default_context()
        if not self._context.cert_store_stats()["x509_ca"]:
            self._context.load_verify_locations(certifi.where())

    @contextmanager
    def ask(
        self,
        url: str,
        *,
        method: Literal["GET", "HEAD"] = "GET",
        headers: Mapping[str, str] | None = None,
        authorization: str = "",
        follow: Follow = "everywhere",
        stopped: Callable[[], bool] | None = None,
    ) -> Iterator[Answer]:
        """The answer, whatever its status. `authorization` is sent to the first host only. `stopped` is asked all the
        while, until the body is read: whether nobody waits any more, and everything is to be broken off.

        Raises `Unreachable` and `Forbidden`.
        """
        origin = _origin(url)
        with _opening(stopped) as lines:
            for _ in range(MAX_REDIRECTS + 1):
                # Once away, always away: a host that sends us back must not get a token onto another path of its choice.
                authorization = authorization if _origin(url) == origin else ""
                sent = {"accept-encoding": "identity", "user-agent": "tropilla", **(headers or {})}
                sent |= {"authorization": authorization} if authorization else {}
                with self._hop(method, url, sent, lines) as answer:
                    with _sensible():
                        moved = answer.status in _REDIRECTS
                        following = urljoin(url, answer.headers.get("location", "")) if moved else url
                    if following == url or (follow == "here" and _origin(following) != origin):
                        yield answer
                        return
                url = following
        raise FetchFailed("download_failed", f"{origin[1]} redirects more than {MAX_REDIRECTS} times")

    @contextmanager
    def _hop(self, method: str, url: str, headers: Mapping[str, str], lines: _Lines) -> Iterator[Answer]:
        (scheme, host, port), parts = _origin(url), urlsplit(url)
        if not host or parts.username is not None:
            raise Forbidden("nothing is fetched from an address without a host, or with a user")
        if refusal := self._hosts.refusal(scheme, host, port):
            raise Forbidden(refusal)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

        def keep(line: socket.socket) -> None:
            lines.add(open_lines.enter_context(line))

        with ExitStack() as open_lines, self._pool(scheme, host, port, lines.check, keep) as pool:
            with _trouble(url):
                response = pool.urlopen(
                    method, target, headers=headers, retries=False, redirect=False, preload_content=False,
                    decode_content=False, assert_same_host=False,
                )  # fmt: skip
            try:
                headers = {name.lower(): value for name, value in response.headers.items()}
                assert lines.last is not None
                yield Answer(url, response.status, headers, response, lines.last)
            finally:
                response.close()

    def _pool(
        self, scheme: str, host: str, port: int, check: Callable[[], None], keep: Callable[[socket.socket], None]
    ) -> urllib3.HTTPConnectionPool:
        trusted = self._hosts.trusts(scheme, host, port)
        if scheme == "https":
            secure = urllib3.HTTPSConnectionPool(
                host, port, timeout=self._timeout, ssl_context=self._context, check=check, keep=keep
            )
            secure.ConnectionCls = _TrustedSecure if trusted else _Secure
            return secure
        plain = urllib3.HTTPConnectionPool(host, port, timeout=self._timeout, check=check, keep=keep)
        plain.ConnectionCls = _TrustedPlain if trusted else _Plain
        return plain


class _Plain(HTTPConnection):
    """Connects to an address that it has looked at. `check` is called before, and may raise; `keep` gets the connection by
    another name.
    """

    trusted = False

    def __init__(
        self, *args: Any, check: Callable[[], None], keep: Callable[[socket.socket], None], **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self._check, self._keep = check, keep

    def _new_conn(self) -> socket.socket:
        trouble: OSError | None = None
        for address in self._addresses():
            self._check()
            try:
                connected = create_connection((address, self.port), self.timeout, socket_options=self.socket_options)
                self._keep(connected.dup())
                return connected
            except OSError as error:
                trouble = error
        assert trouble is not None
        raise trouble

    def _addresses(self) -> list[str]:
        """In the resolver's order, at least one. Raises `FetchFailed`, `Forbidden` and `OSError`."""
        try:
            found = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as error:
            if error.args[0] == socket.EAI_AGAIN:
                raise
            raise FetchFailed("download_failed", f"there is no host {self.host}", refusal="unknown") from error
        addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
        allowed = addresses if self.trusted else [address for address in addresses if is_public(address)]
        if not allowed:
            raise Forbidden(f"{self.host} is at {', '.join(addresses)}, which is no public address: it is not asked")
        return allowed


class _Secure(_Plain, HTTPSConnection):
    pass


class _TrustedPlain(_Plain):
    trusted = True


class _TrustedSecure(_Secure):
    trusted = True


@contextmanager
def _trouble(url: str) -> Iterator[None]:
    """The library's exceptions as ours."""
    try:
        yield
    except (HTTPError, OSError) as error:
        cause = error.args[0] if error.args else None
        if isinstance(cause, ssl.SSLCertVerificationError):
            message = f"{_host(url)} has a certificate that is not trusted: {cause.verify_message}"
            raise FetchFailed("download_failed", message) from error
        raise Unreachable(f"{_host(url)} cannot be read: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError):
        return "it says nothing"
    if isinstance(error, ProtocolError):
        return "the connection broke off"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _origin(url: str) -> tuple[str, str, int]:
    """(scheme, host, port), in lower case. Raises `Forbidden`."""
    with _sensible():
        parts = urlsplit(url)
        return (
            parts.scheme.lower(),
            (parts.hostname or "").rstrip("."),
            parts.port or DEFAULT_PORTS.get(parts.scheme, 0),
        )


@contextmanager
def _sensible() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise Forbidden(f"nothing is fetched from an address that makes no sense: {error}") from error


def _host(url: str) -> str:
    return urlsplit(url).hostname or "an address without a host"
