"""What a Redis says of itself -> whether it will do, and which holes its release is known to have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Version = tuple[int, int, int]

#: The embedded server is 6.2; nothing newer is used.
MINIMUM_REDIS = (6, 2)


@dataclass(frozen=True, slots=True)
class Advisory:
    """A hole in every release from `since` on, closed in these: each for its own branch, the last for all that follow."""

    name: str
    since: Version
    fixed: tuple[Version, ...]

    def concerns(self, version: Version) -> bool:
        closed = any(version[:2] == each[:2] and version >= each for each in self.fixed)
        return self.since <= version < self.fixed[-1] and not closed


#: By what the server calls itself. All of them need a client that has got past the password.
ADVISORIES: Mapping[str, tuple[Advisory, ...]] = {
    "redis": (
        Advisory("CVE-2025-49844", (0, 0, 0), ((6, 2, 20), (7, 2, 11), (7, 4, 6), (8, 0, 4), (8, 2, 2))),
        Advisory("CVE-2026-23479", (7, 2, 0), ((8, 6, 3),)),
    ),
    "valkey": (Advisory("CVE-2025-49844", (0, 0, 0), ((7, 2, 11), (8, 0, 6), (8, 1, 4))),),
}


@dataclass(frozen=True, slots=True)
class Release:
    """Valkey says which Redis it stands in for (7.2.4, always), and beside it its own number."""

    name: str
    text: str
    version: Version
    stands_for: Version

    @classmethod
    def read(cls, info: Mapping[str, Any]) -> Release:
        """From what INFO says."""
        spoken = str(info["redis_version"])
        own = str(info.get("valkey_version", spoken))
        return cls("valkey" if "valkey_version" in info else "redis", own, _version(own), _version(spoken))

    @property
    def holes(self) -> tuple[str, ...]:
        """Of the release as it left its makers: a distribution may have mended it under the same number."""
        return tuple(each.name for each in ADVISORIES[self.name] if each.concerns(self.version))


def complaint(info: Mapping[str, Any]) -> str:
    """Why this server cannot be trusted with requests, as the end of a sentence that begins with it; "" where it can."""
    release = Release.read(info)
    if release.stands_for[:2] < MINIMUM_REDIS:
        return f"is {release.text}; 6.2 or newer is needed"
    if info.get("redis_mode") == "cluster":
        return "is one of a Redis Cluster, over which our scripts cannot reach: name a single server (docs/scale.md)"
    if info.get("role") == "slave":
        return "is a replica, which takes no writes: name its master"
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        return f"has maxmemory-policy {policy}: it may drop queued requests; set noeviction"
    return ""


def _version(text: str) -> Version:
    numbers = [int(part) for part in re.findall(r"\d+", text)[:3]]
    first, second, third = (*numbers, 0, 0, 0)[:3]
    return first, second, third
