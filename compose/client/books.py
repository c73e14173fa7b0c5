"""The books of a cluster, which operators read where they are kept: in its Redis."""

from __future__ import annotations

import dataclasses
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tropilla.common.bus import Bus
from tropilla.common.environment import is_given
from tropilla.common.errors import StoreUnavailable
from tropilla.common.settings import Settings
from tropilla.compose.client.errors import Unreachable
from tropilla.compose.client.screen import Screen
from tropilla.compose.flags import read_settings
from tropilla.compose.home import published


@dataclasses.dataclass(frozen=True)
class Books:
    """One command's way to them; `settings` name the Redis they are in."""

    settings: Settings
    bus: Bus
    screen: Screen
    json: bool


@contextmanager
def opened(asked: Namespace, environment: Mapping[str, str]) -> Iterator[Books]:
    """Of the Redis that was named; else of the one that `tropilla up` of this home folder uses; else of the usual one.
    Raises `Unreachable`, also for what is asked of Redis while it is open.
    """
    settings = read_settings(asked, environment)
    if not (asked.redis_url or is_given(environment, "redis_url")):
        settings = dataclasses.replace(settings, redis_url=published(settings.home).get("redis") or settings.redis_url)
    bus = Bus.connect(settings.redis_url, settings)
    try:
        bus.ping()
        yield Books(settings, bus, Screen(sys.stdout, sys.stderr, environment), asked.json)
    except StoreUnavailable as error:
        raise Unreachable(f"the cluster's books cannot be read: {error.message}") from error
    finally:
        bus.close()
