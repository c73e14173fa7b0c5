"""HTTP to one cluster: JSON in, JSON or lines of JSON out, and every way in which that fails as one of our errors."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import closing
from http import HTTPStatus
from typing import Any

import urllib3
from tropilla.common.settings import PREFIX
from tropilla.compose.client.address import parse_url
from tropilla.compose.client.errors import Misunderstood, Refusal, Unreachable
from urllib3.exceptions import HTTPError

JSON = Any

CONNECT_SECONDS = 5.0
#: For answers that are known at once.
ANSWER_SECONDS = 60.0
#: Streams give a sign of life every 15 s at the most (`heartbeat_seconds`); twice that and more is a dead one.
SILENCE_SECONDS = 60.0
#: A model that is loaded from a slow disk; the cluster's own deadline for any request.
LOAD_SECONDS = 3600.0
#: A longer line is no line of Ollama's, whose own client ends there.
LONGEST_LINE_BYTES = 8_000_000
READ_BYTES = 65_536


class Wire:
    """Every method may raise `Unreachable`, `Refusal` and `Misunderstood`. Nothing is tried twice."""

    def __init__(self, url: str, key: str = "") -> None:
        """key: an API key; who stands in the URL goes before it."""
        self.url, credentials = parse_url(url)
        self._headers = urllib3.make_headers(basic_auth=credentials or None)
        if key and not credentials:
            self._headers["Authorization"] = f"Bearer {key}"
        self._pool = urllib3.PoolManager(retries=False, maxsize=1)

    def ask(self, method: str, path: str, body: JSON = None, *, seconds: float = ANSWER_SECONDS) -> JSON:
        """The answer's JSON; None for an empty body."""
        with closing(self._send(method, path, body, seconds)) as response:
            data = self._rest(response)
        return self._json(data) if data.strip() else None

    def stream(self, path: str, body: JSON) -> Generator[JSON]:
        """Each object as it comes. Closing the iterator hangs up, which the cluster takes for a cancellation."""
        with closing(self._send("POST", path, body, SILENCE_SECONDS)) as response:
            rest = b""
            while data := self._some(response):
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > LONGEST_LINE_BYTES:
                    raise Misunderstood(f"{self.url} sends a line that does not end: is it a Tropilla cluster?")
                # A heartbeat is a space, or several.
                for line in filter(bytes.strip, lines):
                    yield self._item(line)
            if rest.strip():
                yield self._item(rest)

    def _send(self, method: str, path: str, body: JSON, seconds: float) -> urllib3.BaseHTTPResponse:
        data = None if body is None else json.dumps(body).encode()
        headers = self._headers if data is None else {**self._headers, "Content-Type": "application/json"}
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=seconds)
        try:
            response = self._pool.request(
                method,
                self.url + path,
                body=data,
                headers=headers,
                timeout=timeout,
                preload_content=False,
                redirect=False,
            )
        except HTTPError as error:
            raise Unreachable(
                f"no cluster answers at {self.url} ({_reason(error)}): start one with `tropilla up`, or name another "
                "with --url"
            ) from error
        if response.status != 200:
            with closing(response):
                complaint = _complaint(self._rest(response), response.status)
                raise Refusal(self._about_keys(response.status) or complaint, response.status)
        return response

    def _about_keys(self, status: int) -> str:
        """What a person is told whose key is missing, or is not enough; "" where that is not what is wrong."""
        how = f"set {PREFIX}API_KEY to one, `tropilla keys create` makes them"
        match status:
            case HTTPStatus.UNAUTHORIZED if "Authorization" in self._headers:
                return f"the cluster at {self.url} does not take this API key: it is unknown, revoked or has expired"
            case HTTPStatus.UNAUTHORIZED:
                return f"the cluster at {self.url} wants an API key: {how}"
            case _:
                return ""

    def _some(self, response: urllib3.BaseHTTPResponse) -> bytes:
        """What has come, b"" at the end."""
        try:
            return response.read1(READ_BYTES)
        except HTTPError as error:
            raise Unreachable(f"the connection to {self.url} broke in the middle ({_reason(error)})") from error

    def _rest(self, response: urllib3.BaseHTTPResponse) -> bytes:
        return b"".join(iter(lambda: self._some(response), b""))

    def _item(self, line: bytes) -> JSON:
        item = self._json(line)
        if isinstance(item, dict) and (error := item.get("error")):
            raise Refusal(_words(error))
        return item

    def _json(self, data: bytes) -> JSON:
        try:
            return json.loads(data)
        except ValueError as error:
            raise Misunderstood(
                f"{self.url} answers with something else than JSON: is it a Tropilla cluster?"
            ) from error


def _complaint(data: bytes, status: int) -> str:
    """What an error's body says, in whichever dialect it does."""
    try:
        body = json.loads(data)
    except ValueError:
        body = None
    error = body.get("error") if isinstance(body, dict) else None
    return _words(error) if error else f"the cluster answers with HTTP status {status}"


def _words(error: JSON) -> str:
    return str(error.get("message", error) if isinstance(error, dict) else error)


def _reason(error: HTTPError) -> str:
    """The operating system's words where there are some: urllib3's own hold object addresses."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror
        seen = seen.__cause__ or seen.__context__
    return "no answer in time" if isinstance(error, urllib3.exceptions.TimeoutError) else type(error).__name__
