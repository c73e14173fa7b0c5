"""Which hosts files may come from, and which addresses may be behind them: the setting `pull_hosts`.

`*` is every host with a public address, `*.hf.co` every one below that name. A host that is listed as it is, with its port
where that is not the scheme's own, is an operator's word: it may have any address, and speak plain http.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

from tropilla.common.errors import ConfigurationError

DEFAULT_PORTS = {"https": 443, "http": 80}
_ENTRY = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_][a-z0-9_.\-]*)(?::(?P<port>[0-9]{1,5}))?")
_BELOW = re.compile(r"\*(\.[a-z0-9_\-]+)+")
#: Where clouds keep a machine's secrets under an address that is as good as any: Azure's.
_METADATA = frozenset({ipaddress.ip_address("168.63.129.16")})
#: IPv6 networks whose last 32 bits are an IPv4 address that a gateway goes to.
_TRANSLATED = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))

Place = tuple[str, int | None]


@dataclass(frozen=True, slots=True)
class Hosts:
    """`listed` are (host, port), port None being the scheme's own; `below` are endings of names, with their dot."""

    everywhere: bool
    below: tuple[str, ...] = ()
    listed: frozenset[Place] = frozenset()

    def trusts(self, scheme: str, host: str, port: int) -> bool:
        """Whether an operator listed it as it is."""
        own = (host, None) in self.listed and port == DEFAULT_PORTS[scheme]
        return own or (host, port) in self.listed

    def refusal(self, scheme: str, host: str, port: int) -> str:
        """Why nothing is asked there, in one sentence; "" where it may be."""
        if scheme not in DEFAULT_PORTS:
            return f"{scheme or 'no'} scheme: only https is fetched"
        if self.trusts(scheme, host, port):
            return ""
        if not self.everywhere and not host.endswith(self.below or ("\0",)):
            return f"{host} is not among the hosts that models may come from (TROPILLA_PULL_HOSTS)"
        if scheme != "https":
            return f"{host} is asked for by http: only https is fetched, or from hosts listed in TROPILLA_PULL_HOSTS"
        return ""

    def trusting(self, *places: Place) -> Hosts:
        """The same, and these places as if they were listed."""
        return replace(self, listed=self.listed.union(places))


def parse_hosts(setting: str) -> Hosts:
    """Raises `ConfigurationError` naming the entry."""
    everywhere, below, listed = False, [], set()
    for entry in filter(None, (part.strip().lower() for part in setting.split(","))):
        found = _ENTRY.fullmatch(entry)
        if entry == "*":
            everywhere = True
        elif _BELOW.fullmatch(entry):
            below.append(entry[1:])
        elif found is not None:
            listed.add((found["host"].strip("[]"), int(found["port"]) if found["port"] else None))
        else:
            raise ConfigurationError(f"TROPILLA_PULL_HOSTS has {entry!r}, wanted are *, *.NAME, HOST or HOST:PORT")
    return Hosts(everywhere, tuple(below), frozenset(listed))


def is_public(text: str) -> bool:
    """Whether an address is one that anybody on the internet could ask as well as we."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and any(address in network for network in _TRANSLATED):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if address.is_site_local:
            return False
    return address.is_global and not address.is_multicast and not address.is_reserved and address not in _METADATA
