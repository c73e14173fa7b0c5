"""Which web pages may use this server, and what browsers are told about it (CORS).

A browser names the page's origin. Pages of this machine and of desktop shells may always use the server, others as the
operator says; a request from anywhere else is refused, since its sender could not be stopped by an absent header.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Everywhere: `*` stands for anything, once an entry.
ANYWHERE = "*"
#: Ollama's list (sheet, section 10).
_LOCAL = (
    *(f"{scheme}://{host}" for scheme in ("http", "https") for host in ("localhost", "127.0.0.1", "0.0.0.0", "[::1]")),
    *(
        f"{scheme}://{host}:*"
        for scheme in ("http", "https")
        for host in ("localhost", "127.0.0.1", "0.0.0.0", "[::1]")
    ),
    *(f"{scheme}://*" for scheme in ("app", "file", "tauri", "vscode-webview", "vscode-file")),
)
_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
#: Where a browser does not say which it wants; else it is given what it asks for, as nothing rests on headers here.
_HEADERS = (
    "Authorization, Content-Type, X-Api-Key, anthropic-version, anthropic-beta, x-request-id, User-Agent, Accept, "
    "X-Priority, X-Request-Deadline, Idempotency-Key"
)
#: How long a browser need not ask again, in seconds.
_MAX_AGE = 12 * 3600


@dataclass(frozen=True, slots=True)
class Origins:
    """`patterns`: origins, each with one `*` at the most, beside those of this machine."""

    patterns: tuple[str, ...]

    @classmethod
    def read(cls, setting: str) -> Origins:
        """From a list with commas."""
        return cls(tuple(entry.strip() for entry in setting.split(",") if entry.strip()))

    def allow(self, origin: str, *, by_name: bool = False) -> bool:
        """by_name: only one that somebody had in mind."""
        patterns = (*_LOCAL, *self.patterns)
        return any(_matches(pattern, origin) for pattern in patterns if not (by_name and pattern == ANYWHERE))

    def headers(self, origin: str) -> Mapping[str, str]:
        """What an answer to a page of an allowed origin carries."""
        shared = {"Access-Control-Expose-Headers": "*"}
        if ANYWHERE in self.patterns:
            return {"Access-Control-Allow-Origin": ANYWHERE, **shared}
        return {"Access-Control-Allow-Origin": origin, "Vary": "Origin", **shared}


def preflight(wanted: str) -> Mapping[str, str]:
    """What beside that answers a browser's question. wanted: the headers it would like to send."""
    return {
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": wanted or _HEADERS,
        "Access-Control-Max-Age": str(_MAX_AGE),
    }


def from_elsewhere(origin: str, site: str) -> bool:
    """A page of another server has a browser ask for this, and it does not say which: an image, a link. site: what it
    says of Sec-Fetch-Site.
    """
    return not origin and site in ("cross-site", "same-site")


def same_origin(origin: str, host: str) -> bool:
    """The page came from this server itself: CORS has no say."""
    return origin.partition("://")[2] == host


def _matches(pattern: str, origin: str) -> bool:
    before, star, behind = pattern.partition("*")
    if not star:
        return origin == pattern
    return len(origin) >= len(before) + len(behind) and origin.startswith(before) and origin.endswith(behind)
