"""Which cluster the command line talks to."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from tropilla.common.addresses import web_address
from tropilla.common.errors import ConfigurationError
from tropilla.common.settings import Settings
from tropilla.compose.home import published

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")


def cluster_url(settings: Settings) -> str:
    """The one that was named; else the one that `tropilla up` of this home folder runs; else whoever has the API's port."""
    return settings.url or published(settings.home).get("api") or web_address(settings.host, settings.port)


def parse_url(text: str) -> tuple[str, str]:
    """`host`, `host:port` or a URL, with a path where a proxy puts one -> base URL without credentials, `user:password`.

    A bare host is called over http. Raises `ConfigurationError`.
    """
    address = text if _SCHEME.match(text) else f"http://{text}"
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"the cluster's address cannot be read: {error}") from error
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment:
        raise ConfigurationError(f"{_shown(text)!r} is not the address of a cluster, such as http://127.0.0.1:8000")
    place = f"[{host}]" if ":" in host else host
    base = f"{parts.scheme}://{place}{f':{port}' if port else ''}{parts.path.rstrip('/')}"
    named = parts.username is not None
    return base, unquote(f"{parts.username}:{parts.password or ''}") if named else ""


def _shown(text: str) -> str:
    """Without a password."""
    return re.sub(r"//[^/@]*@", "//", text)
