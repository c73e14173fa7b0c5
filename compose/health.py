"""`tropilla health`: whether one process of ours does what it is for, in one sentence and an exit status.

For container health checks, so it takes as wrong only what starting that process again may help against: a Redis that is
away is not a worker's fault, and restarting one would cost it its model.
"""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass

from tropilla.common import names
from tropilla.common.addresses import reachable_host
from tropilla.common.bus import Bus
from tropilla.common.catalogue import Worker
from tropilla.common.errors import StoreUnavailable
from tropilla.common.registry import Registry
from tropilla.common.settings import Settings

#: Docker gives a health check 30 s, and Kubernetes 1 unless it is told otherwise.
ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Verdict:
    well: bool
    sentence: str


def api(settings: Settings, _: str) -> Verdict:
    try:
        status, body = _asked(settings.host, settings.port, "/livez")
    except (OSError, http.client.HTTPException) as error:
        return Verdict(False, f"the API does not answer on port {settings.port}: {error}")
    if status == http.client.OK:
        return Verdict(True, f"the API turns on port {settings.port}")
    return Verdict(False, f"the API answers {status}: {_threads(body)}")


def _threads(body: bytes) -> str:
    try:
        return ", ".join(f"{name} {trouble}" for name, trouble in json.loads(body)["threads"].items())
    except (ValueError, LookupError, TypeError, AttributeError):
        return "and says no more"


def worker(settings: Settings, name: str) -> Verdict:
    """Of the worker that is called so, or of all of this machine."""
    try:
        with closing(Bus.connect(settings.redis_url, settings)) as bus:
            workers = bus.catalogue().workers
    except StoreUnavailable as error:
        return Verdict(True, f"nothing is known against the worker, since {error.message}")
    return judged(workers, name or settings.worker_name, socket.gethostname())


def judged(workers: Iterable[Worker], name: str, machine: str) -> Verdict:
    """workers: those that live. name: "" for all of the machine."""
    mine = [
        one for one in workers if one.name == f"{name}@{machine}" or (not name and one.name.endswith(f"@{machine}"))
    ]
    if not mine:
        return Verdict(False, f"Redis knows no worker {name + '@' if name else 'of '}{machine}")
    wedged = [f"{one.name}: {one.trouble}" for one in mine if one.trouble]
    if wedged:
        return Verdict(False, "; ".join(wedged))
    return Verdict(True, "; ".join(map(_shown, mine)))


def _shown(one: Worker) -> str:
    if one.state != "ready" or one.sign is None:
        return f"{one.name} is {one.state}"
    return f"{one.name} computed a step {one.sign.age:.1f} s ago"


def store(settings: Settings, _: str) -> Verdict:
    try:
        with closing(Bus.connect(settings.redis_url, settings)) as bus:
            staffed = Registry(bus).staffed(names.STORE_OFFICE)
    except StoreUnavailable as error:
        return Verdict(True, f"nothing is known against the store, since {error.message}")
    return Verdict(staffed, "the store takes errands" if staffed else "no store holds the office")


def flower(settings: Settings, _: str) -> Verdict:
    """Its own page for this, which asks for no password."""
    try:
        status, _body = _asked(settings.flower_host, settings.flower_port, "/healthcheck")
    except (OSError, http.client.HTTPException) as error:
        return Verdict(False, f"Flower does not answer on port {settings.flower_port}: {error}")
    return Verdict(status == http.client.OK, f"Flower answers {status} on port {settings.flower_port}")


def _asked(host: str, port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(reachable_host(host), port, timeout=ANSWER_SECONDS)
    with closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()


CHECKS: Mapping[str, Callable[[Settings, str], Verdict]] = {
    "api": api,
    "worker": worker,
    "store": store,
    "flower": flower,
}
