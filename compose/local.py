"""`tropilla up`: the whole cluster on one machine, as children of this process, until it is asked to stop.

Start: Redis, then API, store and workers together, then Flower (started earlier it would miss the workers' queues). Stop:
all but Redis are asked, given the drain time, then killed; Redis last, because the others say goodbye to it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TextIO

from tropilla.common.addresses import web_address
from tropilla.common.bus import Bus
from tropilla.common.catalogue import Catalogue
from tropilla.common.registry import Registry
from tropilla.common.settings import Settings
from tropilla.common.tasks import create_celery, submit_errand
from tropilla.compose import banner, rolling
from tropilla.compose.banner import Typed
from tropilla.compose.first_key import first_key
from tropilla.compose.herd import Herd
from tropilla.compose.home import Home
from tropilla.compose.log import Log, prefixes, wants_colour
from tropilla.compose.lookout import Lookout, Sighting, View, waiting_for
from tropilla.compose.manifest import Application, Wanted, waiting_for_models, whereabouts
from tropilla.compose.ports import Reservations
from tropilla.compose.prepare import Cluster, Options, prepare
from tropilla.compose.readiness import Readiness
from tropilla.compose.rolling import RollFailed, Rolling
from tropilla.compose.signals import Signals
from tropilla.compose.supervisor import StopRequested, Supervisor
from tropilla.compose.wishes import Wishes

#: Beyond the drain time: what a process needs to leave once its work is done. More than gunicorn gives its own processes
#: (api/server.py), so that the killing is left to it.
STOP_MARGIN_SECONDS = 8.0
#: Nobody is being answered yet; and gunicorn, told to stop while its own process starts, would wait for it in vain.
STARTING_PATIENCE_SECONDS = 3.0
#: Flower that is not there by then does not keep anybody from using the rest.
FLOWER_SECONDS = 15.0
PROGRESS_EVERY_SECONDS = 1.0
LOOK_SECONDS = 0.1


def up(options: Options, environment: Mapping[str, str], output: TextIO) -> int:
    """Runs the cluster until it is asked to stop; answers the exit status. Raises `TropillaError`, nothing left."""
    with Signals() as signals, Home(options.settings.home) as home, Reservations() as ports, Readiness() as readiness:
        cluster = prepare(options, home, ports, readiness, environment)
        colour = wants_colour(environment, terminal=output.isatty())
        json_lines = options.settings.log_format == "json"
        log = Log(output, prefixes((*cluster.names, rolling.NEW, rolling.OLD), colour=colour), json_lines=json_lines)
        with Herd(home.folder, signals, log.line) as herd:
            supervisor = Supervisor(herd, log, signals)
            local = Local(cluster, home, log, supervisor, readiness, typed(home, environment))
            # Callers must not wait for a server that is gone.
            return local.run(lambda: ports.release(cluster.settings.port))


def typed(home: Home, environment: Mapping[str, str]) -> Typed:
    """Commands look for up.json where the environment says, unless they are told."""
    found = Settings.from_environment(environment).home.absolute() == home.folder
    called = sys.argv[0] if Path(sys.argv[0]).name == Typed().program else Typed().program
    return Typed(called, () if found else ("--home", str(home.folder)))


class Local:
    """The order in which a cluster comes up, and what is said meanwhile."""

    def __init__(
        self, cluster: Cluster, home: Home, log: Log, supervisor: Supervisor, readiness: Readiness, typed: Typed
    ) -> None:
        self._readiness = readiness
        self._typed = typed
        self._cluster = cluster
        self._home = home
        self._log = log
        self._supervisor = supervisor

    def run(self, stop_listening: Callable[[], None]) -> int:
        try:
            self._bring_up()
            restarts = 0
            while True:
                while restarts < self._supervisor.restarts:
                    # Whoever asks from here on wants another one.
                    restarts = self._supervisor.restarts
                    self._restart()
                self._turn(None)
        except StopRequested:
            return 0
        finally:
            stop_listening()
            self._supervisor.stop(self._patience_seconds)

    def _restart(self) -> None:
        try:
            with Wishes(self._home.folder) as wishes:

                def say(text: str) -> None:
                    self._log.say(text)
                    wishes.say(text)

                Rolling(
                    self._cluster,
                    self._supervisor,
                    self._readiness,
                    turn=lambda: self._turn(LOOK_SECONDS),
                    say=say,
                    changed=self._publish,
                ).run()
        except RollFailed as error:
            self._log.say(f"the restart has stopped: {error.message}")

    def _turn(self, at_most_seconds: float | None) -> None:
        if self._supervisor.turn(at_most_seconds) and self._supervisor.phase == "running":
            self._publish()

    @property
    def _patience_seconds(self) -> float:
        if self._supervisor.phase == "starting":
            return STARTING_PATIENCE_SECONDS
        return self._cluster.settings.drain_seconds + STOP_MARGIN_SECONDS

    def _bring_up(self) -> None:
        cluster = self._cluster
        with closing(Bus.connect(cluster.settings.redis_url)) as bus:
            view = View(bus, redis=cluster.redis_address, api=cluster.api_address, flower=cluster.flower_address)
            if cluster.redis:
                self._supervisor.start(cluster.redis)
                with Lookout(view.look) as lookout:
                    self._wait(lookout, lambda seen: None if seen.redis else "redis: reading its data")
            if sentence := first_key(cluster.settings, bus):
                self._log.block(sentence)
            self._forget_workers(bus)
            for program in (cluster.api, cluster.store, *cluster.workers):
                self._supervisor.start(program)
            with Lookout(view.look) as lookout:
                self._wait(lookout, lambda seen: waiting_for(seen, cluster.plans))
                if cluster.flower:
                    self._supervisor.start(cluster.flower)
                    self._wait(lookout, lambda seen: None if seen.flower else "flower", at_most=FLOWER_SECONDS)
                self._supervisor.phase = "running"
                self._publish()
                if cluster.wanted:
                    self._apply(cluster.wanted, Registry(bus), lookout)
                self._log.block(self._ready_block(lookout.latest.catalogue))

    def _apply(self, wanted: Wanted, registry: Registry, lookout: Lookout) -> None:
        """Downloads may take hours, and everything else can be used meanwhile."""
        for warning in wanted.manifest.warnings:
            self._log.say(f"manifest: {warning}")
        celery = create_celery(self._cluster.settings)
        application = Application(wanted, registry, lambda errand, flight: submit_errand(celery, errand, flight))
        while not application.over:
            for sentence in application.news(time.monotonic()):
                self._log.say(sentence)
            self._turn(LOOK_SECONDS)
        over = time.monotonic()

        def missing(seen: Sighting) -> str | None:
            # What was seen before is what the models were like before this manifest, troubles and all.
            if seen.began < over:
                return "a look at the models"
            return waiting_for_models(seen.catalogue, wanted.models) if self._cluster.plans else None

        self._wait(lookout, missing)

    def _forget_workers(self, bus: Bus) -> None:
        """Workers of ours that were killed a moment ago may still be announced as ready."""
        for worker in bus.catalogue().workers:
            if any(plan.is_called(worker.name) for plan in self._cluster.plans):
                bus.leave(worker.name)

    def _wait(
        self, lookout: Lookout, missing: Callable[[Sighting], str | None], *, at_most: float = float("inf")
    ) -> None:
        """Goes on until nothing is missing, saying once a second what is."""
        began = said = time.monotonic()
        while (now := time.monotonic()) - began < at_most:
            seen = lookout.latest
            if seen.refusal:
                raise seen.refusal
            words = missing(seen)
            if words is None:
                return
            if now - said >= PROGRESS_EVERY_SECONDS:
                self._log.say(f"waiting for {words}, {now - began:.0f} s")
                said = now
            self._turn(LOOK_SECONDS)

    def _ready_block(self, catalogue: Catalogue) -> str:
        plans, wanted = self._cluster.plans, self._cluster.wanted
        models = {
            model.name: f"on {', '.join(plan.name for plan in plans if plan.model == model)}"
            for model in dict.fromkeys(plan.model for plan in plans if plan.model)
        }
        if wanted:
            models = whereabouts(catalogue, wanted.models)
        idle = "" if wanted else ", ".join(plan.name for plan in plans if plan.model is None)
        return banner.ready_block(
            api=self._api_url,
            flower=self._flower_url,
            home=str(self._home.folder),
            models=models,
            idle=idle,
            typed=self._typed,
            keys=self._cluster.settings.keys_on,
        )

    @property
    def _api_url(self) -> str:
        return web_address(self._cluster.settings.host, self._cluster.settings.port)

    @property
    def _flower_url(self) -> str | None:
        address = self._cluster.flower_address
        return web_address(address.host, address.port) if address else None

    def _publish(self) -> None:
        self._home.publish(
            {
                "api": self._api_url,
                "flower": self._flower_url,
                "redis": self._cluster.settings.redis_url,
                "processes": self._supervisor.pids,
            }
        )
