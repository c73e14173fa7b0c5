"""A worker process from its start to its end: what it pins, when it lets go, and how it begins anew.

    started --idle -------> idle -- order --> loading --> ready -- another order, or forgotten --> draining --> anew
    started with a model -------------------> loading --> ready ...
                                              loading -- it cannot be loaded, and says why --> anew

Anew is the same process, started --idle. Orders are heeded in every state but loading, which an order outlives or not.

Only the end of a process gives back for certain what llama.cpp has taken: memory, threads, a GPU's context. So a worker
that lets go of its model, or could not load it, replaces itself by a fresh one (`execve`): the pid stays, and whoever
started it notices nothing. It takes no more tickets first, and finishes what runs, however long that takes. An order for
another model stays in Redis meanwhile, for the fresh one to take.

Told to restart (SIGUSR2) it leaves, and whoever started it starts it again: its requests wait for that.

An idle worker consumes no queue: where there is no model, there is no lane. It looks for orders instead.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

from tropilla.common import readiness
from tropilla.common.bus import Bus
from tropilla.common.catalogue import Definition, Flavour, Trouble, Worker
from tropilla.common.errors import DecodeError, StoreUnavailable
from tropilla.common.orders import Order
from tropilla.common.pictures import Pictures
from tropilla.common.registry import Registry
from tropilla.common.room import Room
from tropilla.common.settings import Settings
from tropilla.common.tasks import create_celery, submit
from tropilla.workers import app, leaving, machine
from tropilla.workers.charge import charge, configured, pinned
from tropilla.workers.files import Files
from tropilla.workers.keeper import Keeper
from tropilla.workers.leaving import Restarted, Stopped
from tropilla.workers.milestones import Milestones
from tropilla.workers.pin import Pin
from tropilla.workers.trouble import CannotLoad

log = logging.getLogger(__name__)

#: How often a worker looks for an order: an idle one has nothing else to do, one that serves shares its cores.
IDLE_POLL_SECONDS, BUSY_POLL_SECONDS = 0.1, 0.2
DIED = Trouble("load_failed", "the worker died while loading it")


class Life:
    """`own` is the model that the worker was started with, None for one that loads only what it is told to. `again` turns
    this process into a fresh one.

    Signals that end it raise `Stopped` in the main thread, but while Celery hears them.
    """

    def __init__(
        self, settings: Settings, bus: Bus, *, name: str, own: Definition | None, again: Callable[[], NoReturn]
    ) -> None:
        flavour: Flavour = "gpu" if settings.flavour == "gpu" else "cpu"
        self._settings, self._bus, self._own = settings, bus, own
        self._registry, self._room = Registry(bus), Room(bus)
        self._files = Files.over(settings, bus)
        self._name = name
        self._keeper = Keeper(
            bus,
            Worker(name, flavour, "idle", settings.slots, None, own=own, features=machine.features()),
            lease_seconds=settings.lease_seconds,
            pictures=Pictures(bus, settings),
            image_seconds=settings.image_seconds,
        )
        self._milestones = Milestones(bus)
        self._again = again
        self._letting_go = self._anew = self._returns = False
        self._over, self._restart = threading.Event(), threading.Event()

    def run(self, *, idle: bool) -> int:
        """Until it is told to leave; answers the exit status. Raises `CannotLoad` for the model that it was started with.

        idle: that one is not loaded before somebody asks. Does not return where the worker begins anew.
        """
        self._milestones.started()
        try:
            status = self._live(idle=idle)
            self._keeper.stop(returns=self._returns)
            if self._anew:
                self._milestones.renewed()
                self._again()
            return status
        except Stopped as told:
            self._keeper.stop(returns=isinstance(told, Restarted))
            leaving.leave_quietly()
        except BaseException:
            self._keeper.stop()
            raise

    def _live(self, *, idle: bool) -> int:
        unasked = self._unasked(idle=idle)
        definition = unasked or self._ordered()
        if definition is None:
            self._keeper.become("idle")
            readiness.tell()
        elif unasked is not None:
            self._announce(unasked)
        self._keeper.start()
        while definition is None:
            time.sleep(IDLE_POLL_SECONDS)
            definition = self._ordered()
        try:
            pin = self._load(definition)
        except CannotLoad as error:
            if unasked is not None:
                raise
            self._fail(definition.recipe.pin, self._files.without_places(error.trouble))
            return 0
        return self._serve(pin)

    def _unasked(self, *, idle: bool) -> Definition | None:
        """What is loaded without an order: the model that the worker was started with, unless that was its death."""
        died_of = self._registry.end_loading(self._name)
        if died_of:
            log.error("the worker died while loading %s", died_of)
            self._registry.report_failure(died_of, self._name, DIED, seconds=self._settings.load_cooldown_seconds)
        if idle or self._own is None or self._own.recipe.pin == died_of:
            return None
        return self._own

    def _ordered(self) -> Definition | None:
        """What there is an order for; it is said before the order is acknowledged, so that somebody always knows of it."""
        order = self._order()
        if order is None:
            return None
        if order.definition is not None:
            self._announce(order.definition)
        self._acknowledge()
        return order.definition

    def _order(self) -> Order | None:
        try:
            return self._registry.take_order(self._name)
        except StoreUnavailable:
            # The keeper says so, at every beat.
            return None
        except DecodeError as error:
            log.error("an order cannot be read: %s", error.message)
            self._acknowledge()
            return None

    def _acknowledge(self) -> None:
        self._say("an order is not acknowledged", lambda: self._registry.acknowledge_order(self._name))

    def _announce(self, definition: Definition) -> None:
        ordered = self._own is None or definition.recipe.pin != self._own.recipe.pin
        slots = configured(self._settings, definition.recipe).slots
        self._keeper.become("loading", model=pinned(definition), ordered=ordered, slots=slots, progress=0.0)

    def _load(self, definition: Definition) -> Pin:
        """In a thread of its own: Python hears signals only in the main one, and llama.cpp would keep it for minutes."""
        pin = definition.recipe.pin
        if definition.recipe.debug:
            # For the rest of this process, which has no other model. Of other libraries it would be too much.
            logging.getLogger("tropilla").setLevel(logging.DEBUG)
        helper = ThreadPoolExecutor(1, thread_name_prefix="loading")
        try:
            self._say("a death would not be noticed", lambda: self._registry.begin_loading(pin, self._name))
            loaded = helper.submit(
                lambda: Pin(charge(definition, self._settings, self._files), self._bus, self._keeper)
            )
            with self._milestones.loading(pinned(definition).name):
                return loaded.result()
        finally:
            helper.shutdown(wait=False)
            self._say("what was loading is not forgotten", lambda: self._registry.end_loading(self._name))

    def _fail(self, pin: str, trouble: Trouble) -> None:
        log.error("%s is not loaded: %s", pin, trouble.message)
        name, seconds = self._name, self._settings.load_cooldown_seconds
        # First, so that nobody takes the idle worker for one that might load it.
        self._say("nobody hears of it", lambda: self._registry.report_failure(pin, name, trouble, seconds=seconds))
        self._keeper.become("idle", model=None, ordered=False, slots=self._settings.slots, progress=0.0)
        self._anew = self._returns = True

    def _say(self, otherwise: str, say: Callable[[], object]) -> None:
        """Says something to the registry, which life does not depend on."""
        try:
            say()
        except StoreUnavailable as error:
            log.warning("%s: %s", otherwise, error.message)

    def _serve(self, pin: Pin) -> int:
        celery = create_celery(self._settings)
        app.register(celery, pin)
        # What is there now stays: no collection has to look at it again.
        gc.freeze()
        attending = threading.Thread(
            target=leaving.or_die, args=(lambda: self._attend(pin),), name="orders", daemon=True
        )
        pin.start(lambda lane, ticket: submit(celery, lane.name, ticket=ticket, shown=pin.worker.pin))
        attending.start()
        leaving.hear_restarts(self._restart.set)
        try:
            status = app.run(celery, pin)
            if not pin.told_to_stop:
                leaving.hear_signals()
        finally:
            pin.close()
        self._over.set()
        attending.join()
        self._milestones.gone()
        self._anew = self._letting_go and not pin.drains
        self._returns = (self._letting_go or pin.drains) and not pin.told_to_stop
        return status

    def _attend(self, pin: Pin) -> None:
        """Beside Celery: hears of orders, lets go of what nobody wants any more, and makes room for a fresh process."""
        while not self._over.wait(BUSY_POLL_SECONDS):
            if pin.drains:
                continue
            if self._restart.is_set():
                pin.drain(returns=True)
                app.stop_taking()
            else:
                self._heed(self._order(), pin)

    def _heed(self, order: Order | None, pin: Pin) -> None:
        if order is None:
            if not self._letting_go and self._is_forgotten(pin):
                log.info("nobody has asked for %s for a while", pin.worker.pin)
                self._let_go()
        elif order.definition is None:
            self._let_go()
            self._acknowledge()
        elif order.definition.recipe.pin == pin.worker.pin and not self._letting_go:
            self._acknowledge()
        else:
            self._let_go(order.definition.recipe.pin)
            self._say("the order may be void", lambda: self._registry.keep_order(self._name))

    def _is_forgotten(self, pin: Pin) -> bool:
        """Its time is over, and nobody waits for it."""
        try:
            return pin.unwanted and not any(self._room.waiting(pin.lanes).values())
        except StoreUnavailable:
            return False

    def _let_go(self, next_pin: str = "") -> None:
        """Also of what is being let go of already: then there may be another model that comes next."""
        worker = self._keeper.worker
        if self._letting_go and worker.next_pin == next_pin:
            return
        log.info("letting go of %s%s", worker.pin, f" for {next_pin}" if next_pin else "")
        self._letting_go = True
        self._milestones.letting_go(worker.model.name if worker.model else "")
        self._keeper.become("draining", next_pin=next_pin, returns=True)
        app.stop_taking()
