"""Where a server of ours can be called, from what it listens on."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from tropilla.common.errors import ConfigurationError


def reachable_host(host: str) -> str:
    """Where a server on this machine that listens on `host` can be called."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)


def is_loopback(host: str) -> bool:
    """Whether only this machine can call a server that listens on `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        # A name may mean anything; "" is every address there is.
        return False


def web_address(host: str, port: int) -> str:
    """`http://host:port`, to be called from this machine."""
    host = reachable_host(host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


#: Among the names of a server: whichever there are.
ANY_NAME = "*"
_NAME = re.compile(r"(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")


def checked_names(variable: str, names: str) -> None:
    """Raises `ConfigurationError` for a list in which something can be no name of a server: it would match nothing."""
    for name in filter(None, (part.strip() for part in names.split(","))):
        if name != ANY_NAME and not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"{variable}={names!r}: {name!r} is not the name of a server, such as llm.example.com or *.example.com"
            )


def checked_url(variable: str, url: str) -> str:
    """The beginning of addresses, without a slash at its end. Raises `ConfigurationError` for what cannot be one."""
    try:
        parts = urlsplit(url)
        # Reading a port is what finds out that it is none.
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise ConfigurationError(f"{variable}={url!r} is not an address: http://host:port")
    return url.rstrip("/")


def checked_origins(variable: str, origins: str) -> None:
    """Raises `ConfigurationError` for a list in which something can be no page's origin: it would match nothing."""
    for origin in filter(None, (part.strip() for part in origins.split(","))):
        if origin != "*" and (not re.fullmatch(r"[a-z*][a-z0-9+.*-]*://[^\s/]+", origin) or origin.count("*") > 1):
            raise ConfigurationError(
                f"{variable}={origins!r}: {origin!r} is not the origin of a page, such as https://chat.example.com"
            )
