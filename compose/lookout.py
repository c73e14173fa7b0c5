"""Whether what was started can be used yet: looked at from a thread, so that the loop of local.py never waits."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import TracebackType

from tropilla.common import names
from tropilla.common.addresses import reachable_host
from tropilla.common.bus import Bus
from tropilla.common.catalogue import Catalogue, Worker
from tropilla.common.errors import StoreUnavailable, TropillaError
from tropilla.common.registry import Registry
from tropilla.compose.ports import accepts
from tropilla.compose.program import WorkerPlan

LOOK_EVERY_SECONDS = 0.1
HEALTH_SECONDS = 2.0
NOBODY = Catalogue()


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """One look at everything. `store`: whether it takes errands. `health` is the status of GET /health, 0 for none.
    `began`: what happened before that, on the clock that only goes forward, has been seen.
    """

    redis: bool = False
    store: bool = False
    catalogue: Catalogue = NOBODY
    health: int = 0
    flower: bool = False
    refusal: TropillaError | None = None
    began: float = 0.0


def waiting_for(sighting: Sighting, workers: Sequence[WorkerPlan]) -> str | None:
    """What `tropilla up` still waits for, in words; None when everything can be used."""
    seen = sighting.catalogue.workers
    waiting = [each for each in workers if not any(each.is_called(one.name) and _up(one, each) for one in seen)]
    if waiting:
        models = dict.fromkeys(each.model.name for each in waiting if each.model)
        doing = f"loading {', '.join(models)}" if models else "starting"
        return f"{', '.join(each.name for each in waiting)}: {doing}"
    if not sighting.store:
        return "store: not open yet"
    if not sighting.health:
        return "api: no answer yet"
    # Where nobody has a model yet, that no model answers is what it should say.
    if sighting.health != http.client.OK and any(each.model for each in workers):
        return f"api: GET /health answers {sighting.health}"
    return None


def _up(worker: Worker, plan: WorkerPlan) -> bool:
    """Whether it has what it was started for: idle ones nothing, or whatever they were told to load meanwhile."""
    return worker.state == "ready" or plan.model is None


class View:
    """Looks at Redis, the workers in it, the API and Flower, in the order in which they come up."""

    def __init__(self, bus: Bus, *, redis: Address | None, api: Address, flower: Address | None) -> None:
        self._bus = bus
        self._registry = Registry(bus)
        self._redis, self._api, self._flower = redis, api, flower
        self._checked = False

    def look(self) -> Sighting:
        try:
            if not self._redis_answers():
                return Sighting()
            catalogue = self._registry.catalogue()
            store = self._registry.staffed(names.STORE_OFFICE)
        except StoreUnavailable:
            # Also a Redis that still reads its log.
            return Sighting()
        except TropillaError as error:
            return Sighting(refusal=error)
        health = health_status(self._api)
        flower = self._flower is not None and accepts(self._flower.host, self._flower.port)
        return Sighting(redis=True, store=store, catalogue=catalogue, health=health, flower=flower)

    def _redis_answers(self) -> bool:
        if self._checked:
            return True
        if self._redis and not accepts(self._redis.host, self._redis.port):
            return False
        self._bus.check()
        self._bus.ping()
        self._checked = True
        return True


def health_status(api: Address) -> int:
    """The status of GET /health; 0 when nobody answers."""
    connection = http.client.HTTPConnection(reachable_host(api.host), api.port, timeout=HEALTH_SECONDS)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


class Lookout:
    """Looks again and again until closed; `latest` is what was seen last."""

    def __init__(self, look: Callable[[], Sighting], every_seconds: float = LOOK_EVERY_SECONDS) -> None:
        self.latest = Sighting()
        self._look = look
        self._every_seconds = every_seconds
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lookout", daemon=True)

    def __enter__(self) -> Lookout:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()

    def _run(self) -> None:
        while not self._closed.is_set():
            began = time.monotonic()
            try:
                self.latest = replace(self._look(), began=began)
            except Exception as error:  # a thread that ends silently would be waited for for ever
                self.latest = Sighting(refusal=TropillaError(f"looking at the cluster failed: {error!r}"))
            self._closed.wait(self._every_seconds)
