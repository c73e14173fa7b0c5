"""`python -m bench.journal`: what it costs decoding that every token is journalled before anybody hears of it.

One engine in this process, beside a Redis of its own on the same machine, decodes the same answers again and again, in turn
with its events thrown away and with the real publisher. Reported are the tokens per second of both, and the part that is
lost.
"""

from __future__ import annotations

import argparse
import datetime
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tropilla.common import names
from tropilla.common.bus import Bus
from tropilla.common.catalogue import Lane
from tropilla.common.errors import StoreUnavailable
from tropilla.common.generation import GenerationRequest, Sampling, TextPrompt, new_request_id
from tropilla.common.gguf import read_header
from tropilla.common.room import Room
from tropilla.common.settings import Settings
from tropilla.common.terms import NO_TERMS, Bounds
from tropilla.compose import redis_server
from tropilla.workers.engine import Engine, size_of
from tropilla.workers.loop import Job, Loop, Outgoing
from tropilla.workers.publisher import Publisher

from bench import measure
from bench.models import make, model_file
from bench.places import RESULTS, say
from bench.servers import free_port

LANE = Lane("bench", "cpu")
INBOX = "bench"
WIDE = Bounds(1000, 1000, 1000)
SECONDS = 3600.0


@contextmanager
def redis() -> Iterator[Bus]:
    """With an append-only file, as `tropilla up` starts it; somebody listens to the inbox."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        options = (
            "--bind",
            "127.0.0.1",
            "--dir",
            folder,
            "--appendonly",
            "yes",
            "--appendfsync",
            "everysec",
            "--save",
            "",
        )
        command = (str(redis_server.find().path), "--port", str(port), *options)
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        bus = Bus.connect(f"redis://127.0.0.1:{port}/0")
        try:
            _await(bus)
            # In a process of its own, as the API is: a thread here would take turns with the engine's.
            listening = multiprocessing.get_context("spawn").Process(target=_listen, args=(bus.url,), daemon=True)
            listening.start()
            _await_listener(bus)
            yield bus
            listening.terminate()
            listening.join()
        finally:
            bus.close()
            server.terminate()
            server.wait()


def _await(bus: Bus) -> None:
    for _ in range(100):
        try:
            bus.ping()
            return
        except StoreUnavailable:
            time.sleep(0.05)
    bus.ping()


def _await_listener(bus: Bus) -> None:
    while not bus.connection.pubsub_channels(names.inbox_channel(INBOX)):
        time.sleep(0.05)


def _listen(url: str) -> None:
    """Until it is ended."""
    listener = Bus.connect(url).listen_inbox(INBOX)
    while True:
        listener.read(0.2)


class Bench:
    """`round` decodes once on so many sequences side by side and answers tokens per second, from the first to the last."""

    def __init__(self, engine: Engine, bus: Bus, tokens: int) -> None:
        self._engine, self._bus, self._room, self._tokens = engine, bus, Room(bus), tokens

    def round(self, streams: int, *, journalled: bool) -> float:
        publisher = Publisher(
            self._bus,
            cancel=lambda request_id: None,
            fence=lambda request_id, attempt: None,
            journal_seconds=SECONDS,
            orphan_seconds=SECONDS,
        )
        times: list[float] = []

        def count(send: Callable[[list[Outgoing]], None]) -> Callable[[list[Outgoing]], None]:
            def out(events: list[Outgoing]) -> None:
                times.append(time.perf_counter())
                send(events)

            return out

        scheduler, model = self._engine.scheduler(), self._engine.model
        loop = Loop(
            model, scheduler, outbox=count(publisher.put if journalled else lambda events: None), worker="bench"
        )
        sending = threading.Thread(target=publisher.run, daemon=True)
        sending.start()
        jobs = [self._job(number) for number in range(streams)]
        for job, request in jobs:
            loop.submit(job, self._engine.sequences(request))
        loop.turn(wait=True)
        while not loop.idle:
            loop.turn()
        publisher.stop()
        sending.join()
        # The next round computes its prompts anew.
        scheduler.forget_idle()
        model.move(scheduler.moves())
        assert not journalled or all(job.ended.is_set() for job, _ in jobs), "not everything was journalled"
        # The first call has the prompts in it.
        return streams * (self._tokens - 1) / (times[-1] - times[0])

    def _job(self, number: int) -> tuple[Job, GenerationRequest]:
        prompt = TextPrompt(f"Tell me story number {number}, and take your time.")
        request = GenerationRequest(
            new_request_id(), "bench", (prompt,), Sampling(temperature=0.0), max_tokens=self._tokens, ignore_eos=True
        )
        self._room.admit(
            request, LANE, NO_TERMS, inbox=INBOX, bounds=WIDE, deadline_seconds=SECONDS, kept_seconds=SECONDS
        )
        taken = self._room.take(LANE.name, worker="bench", lease_seconds=SECONDS, journal_seconds=SECONDS)
        return Job(taken.request_id, taken.attempt, 1, taken.next_index), request


def compare(bench: Bench, streams: int, rounds: int) -> dict[str, Any]:
    """In turn, so that what the machine does besides hits both alike."""
    seen: dict[bool, list[float]] = {False: [], True: []}
    for place in range(rounds + 1):
        for journalled in (False, True) if place % 2 else (True, False):
            speed = bench.round(streams, journalled=journalled)
            if place:
                # The first one has warmed up.
                seen[journalled].append(speed)
    plain, journalled = statistics.median(seen[False]), statistics.median(seen[True])
    # Of neighbours in time: a virtual machine's own speed changes more from minute to minute than what is measured.
    kept = statistics.median(own / other for own, other in zip(seen[True], seen[False], strict=True))
    found = {
        "streams": streams,
        "thrown_away": plain,
        "journalled": journalled,
        "lost_percent": 100 * (1 - kept),
        "rounds": {"thrown_away": seen[False], "journalled": seen[True]},
    }
    say(
        f"{streams} streams: {plain:.1f} tokens/s thrown away, {journalled:.1f} journalled: {found['lost_percent']:.1f} %"
    )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.journal", description=__doc__)
    parser.add_argument("--model", default="135m-q8_0")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, nargs="+", default=[31, 7], help="for each number of streams (31 7)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="write the result into bench/results/journal")
    asked = parser.parse_args()
    if len(asked.rounds) != len(asked.streams):
        parser.error("--rounds must have a number for each of --streams")
    path = Path(make(model_file(asked.model)).path)
    settings = Settings(slots=max(asked.streams), context=512, threads=asked.threads)
    header = read_header(path)
    with redis() as bus:
        engine = Engine(settings, asked.model, path, header, size_of(settings, header, gpu=False), gpu=False)
        bench = Bench(engine, bus, asked.tokens)
        result = {
            "date": datetime.date.today().isoformat(),
            "setup": vars(asked),
            "cores": os.cpu_count(),
            "load_average": os.getloadavg(),
            "cells": [compare(bench, *cell) for cell in zip(asked.streams, asked.rounds, strict=True)],
        }
        engine.close()
    if asked.keep:
        measure.keep(RESULTS / "journal" / f"{result['date']}-{asked.model}.json", result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
