from __future__ import annotations

import pytest
from tropilla.common.redis_release import Release, complaint

SOUND = {"redis_version": "8.6.3", "redis_mode": "standalone", "role": "master", "maxmemory_policy": "noeviction"}


@pytest.mark.parametrize(
    ("said", "holes"),
    [
        ({"redis_version": "6.2.14"}, ("CVE-2025-49844",)),
        ({"redis_version": "6.2.20"}, ()),
        ({"redis_version": "7.0.15"}, ("CVE-2025-49844",)),
        ({"redis_version": "7.2.10"}, ("CVE-2025-49844", "CVE-2026-23479")),
        ({"redis_version": "7.2.11"}, ("CVE-2026-23479",)),
        ({"redis_version": "8.0.4"}, ("CVE-2026-23479",)),
        ({"redis_version": "8.2.1"}, ("CVE-2025-49844", "CVE-2026-23479")),
        ({"redis_version": "8.6.2"}, ("CVE-2026-23479",)),
        ({"redis_version": "8.6.3"}, ()),
        ({"redis_version": "9.0-rc1"}, ()),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.3"}, ("CVE-2025-49844",)),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.4"}, ()),
    ],
)
def test_the_holes_of_a_release_are_known(said: dict[str, str], holes: tuple[str, ...]) -> None:
    assert Release.read(said).holes == holes


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, ""),
        ({"redis_version": "6.2.0"}, ""),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.4"}, ""),
        ({"redis_version": "6.0.16"}, "is 6.0.16; 6.2 or newer"),
        ({"redis_version": "5"}, "is 5; 6.2 or newer"),
        ({"redis_mode": "cluster"}, "a Redis Cluster"),
        ({"role": "slave"}, "is a replica"),
        ({"maxmemory_policy": "allkeys-lru"}, "maxmemory-policy allkeys-lru: it may drop queued requests"),
    ],
)
def test_what_cannot_be_trusted_with_requests_is_refused(said: dict[str, str], why: str) -> None:
    found = complaint({**SOUND, **said})
    assert (why in found) if why else not found
