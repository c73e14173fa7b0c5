"""By which names this server may be called, where whoever can call it needs no key. Pure.

The name of another site can be made to point to this machine (DNS rebinding). A browser then takes us for that site: its
page asks us as its own server, names no foreign origin, and may read the answer. But the browser also says whom it means
to ask (`Host`), and that is the site's name: what comes under a name that nobody here has given us is refused, as Ollama
refuses it.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from tropilla.common.addresses import ANY_NAME, is_loopback
from tropilla.common.settings import Settings

#: Nobody can register a name below these (RFC 6761, RFC 6762, and ICANN's word on .internal).
_PRIVATE = (".localhost", ".local", ".internal")


@dataclass(frozen=True, slots=True)
class Hostnames:
    """exact: in small letters. below: endings of names, with their dot."""

    exact: frozenset[str]
    below: tuple[str, ...] = _PRIVATE

    @classmethod
    def read(cls, settings: Settings, machine: str) -> Hostnames | None:
        """machine: what this machine calls itself. None: any name will do. What listens on other addresses is meant to be
        called by names that we do not know, unless the operator has said which.
        """
        given = [name.strip().lower() for name in settings.hosts.split(",") if name.strip()]
        if settings.keys_on or ANY_NAME in given or not (given or is_loopback(settings.host)):
            return None
        below = tuple(name.removeprefix("*") for name in given if name.startswith("*."))
        return cls(frozenset({"", "localhost", machine.lower(), settings.host.lower(), *given}), _PRIVATE + below)

    def allow(self, host: str) -> bool:
        """host: as the header has it; "" is said by no browser."""
        name = _name(host)
        return name in self.exact or name.endswith(self.below) or _is_nearby(name)


def _name(host: str) -> str:
    """Without its port and the dot that a whole name may end in."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].removesuffix(".")


def _is_nearby(name: str) -> bool:
    """An address that is nobody's on the internet: whoever asks by it was not led here by a name."""
    try:
        return not ip_address(name).is_global
    except ValueError:
        return False
