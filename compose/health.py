"""`tropilla health`: whether one process of ours does what it is for, in one sentence and an exit status.

For container health checks, so it takes as wrong only what starting that process again may help against: a Redis that is
away, or takes nothing because its disk is full, is not a worker's fault, and restarting one would cost it its model.

It is started every few seconds beside whatever it asks after, and costs little else than what it imports: so it has a way
of its own in (entry.py), and Redis's client, half of it all, is imported only where Redis is asked.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from tropilla.common.addresses import reachable_host
from tropilla.common.catalogue import Worker
from tropilla.common.errors import ConfigurationError, StoreUnavailable
from tropilla.common.settings import Settings
from tropilla.compose import flags

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
    from tropilla.common.bus import Bus

    try:
        with closing(Bus.connect(settings.redis_url, settings)) as bus:
            verdict = judged(bus.catalogue().workers, name or settings.worker_name, socket.gethostname())
            if not verdict.well:
                # It may be silent only because nobody takes down what it says.
                bus.check_writes()
    except StoreUnavailable as error:
        return Verdict(True, f"nothing is known against the worker, since {error.message}")
    return verdict


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
    from tropilla.common import names
    from tropilla.common.bus import Bus
    from tropilla.common.registry import Registry

    try:
        with closing(Bus.connect(settings.redis_url, settings)) as bus:
            staffed = Registry(bus).staffed(names.STORE_OFFICE)
            if not staffed:
                bus.check_writes()
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


def add_command(commands: Any) -> None:
    check = commands.add_parser("health", help="whether one process does what it is for: status 0, or 1 and why not")
    check.add_argument("what", choices=tuple(CHECKS), help="which kind of process")
    flags.add_settings(check, "--name", "--host", "--port", "--redis", "--home")
    flags.add_flower_port(check)
    check.set_defaults(run=run)


def run(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    verdict = CHECKS[asked.what](flags.read_settings(asked, environment), asked.worker_name or "")
    if verdict.well:
        print(verdict.sentence)
        return 0
    return flags.complain(verdict.sentence, flags.FAILURE_STATUS)


def main(arguments: list[str]) -> int:
    """As `cli.main`, of this command alone."""
    top = flags.Parser(prog="tropilla")
    add_command(top.add_subparsers(required=True, metavar="COMMAND", parser_class=flags.MixedParser))
    asked = top.parse_args(arguments)
    try:
        return run(asked, os.environ)
    except ConfigurationError as error:
        return flags.complain(error.message, flags.USAGE_STATUS)
