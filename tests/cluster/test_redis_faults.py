"""What happens to callers and workers when Redis is away, slow, silent, empty or full, or deaf to some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from cluster.conftest import HerdMaker
from cluster.herd import Herd, Process
from cluster.wire import TGI, ask, post
from faults.proxy import BOTH, Proxy, Weather
from tropilla.common.settings import Settings
from tropilla.common.tasks import create_celery

FOREVER = 5000
#: A worker whose consumer is deaf leaves with this status.
DEAF_STATUS = 72


@pytest.fixture
def proxied() -> Iterator[Callable[[Herd], Proxy]]:
    """Puts a network of its own in front of a herd's Redis, as often as it is called."""
    made: list[Proxy] = []

    def make(herd: Herd) -> Proxy:
        port = urlsplit(herd.redis_url).port
        assert port is not None
        made.append(Proxy(port))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


@pytest.fixture
def elsewhere() -> Iterator[ThreadPoolExecutor]:
    """Threads for callers that wait while the test goes on."""
    with ThreadPoolExecutor(4) as threads:
        yield threads


def told(herd: Herd, tokens: int) -> list[Any]:
    """All of one stream."""
    with post(herd, TGI, ask(TGI, "a", "endless", tokens=tokens)) as answer:
        return list(answer.items())


def indices(items: list[Any]) -> list[int]:
    return [item["index"] for item in items]


def deafened_by_order(herd: Herd, worker: Process, _: Proxy) -> None:
    """As after a reconnect that forgot to subscribe: it lives, answers pings, and pulls from no lane."""
    (name,) = (found.name for found in herd.bus.catalogue().workers)
    celery = create_celery(Settings(redis_url=herd.redis_url))
    celery.control.cancel_consumer("endless.cpu", destination=[name], reply=True, timeout=5)


def deafened_by_the_network(_: Herd, __: Process, proxy: Proxy) -> None:
    """Only the connection that pulls is in a black hole; it stays open, and so do the next ones."""
    proxy.turn(Weather(holds=BOTH, only=b"BRPOP"))


@pytest.mark.parametrize("deafen", [deafened_by_order, deafened_by_the_network])
def test_a_deaf_worker_hands_over_what_runs_and_leaves_to_be_started_again(
    make_herd: HerdMaker,
    proxied: Callable[[Herd], Proxy],
    elsewhere: ThreadPoolExecutor,
    deafen: Callable[[Herd, Process, Proxy], None],
) -> None:
    herd = make_herd(deaf_seconds=1)
    proxy = proxied(herd)
    deaf = herd.start_worker(redis_url=proxy.url)
    herd.start_api()
    with post(herd, TGI, ask(TGI, "a", "endless", tokens=500)) as running:
        first = next(running.items())
        deafen(herd, deaf, proxy)
        waiting = elsewhere.submit(told, herd, 20)
        assert deaf.wait(20) == DEAF_STATUS
        # As the supervisor does.
        herd.start_worker(ready=False)
        assert indices(waiting.result()) == list(range(1, 21))
        assert indices([first, *running.items()]) == list(range(1, 501))
