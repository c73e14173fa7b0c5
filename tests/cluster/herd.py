"""A real cluster on free ports in a temporary folder: real Redis, Celery, gunicorn and llama.cpp, started one by one.

What `tropilla up` does for people, piece by piece, so that a test can kill any one of them.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis
from tropilla.common import names
from tropilla.common.bus import Bus
from tropilla.common.catalogue import Lane
from tropilla.common.generation import Request
from tropilla.common.registry import Registry
from tropilla.common.room import Room
from tropilla.common.terms import NO_TERMS, Bounds, Terms
from tropilla.compose import redis_server

START_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(claim: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> Any:
    """Until `claim` is true: for things outside this process that offer nothing to wait on."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := claim():
            return result
        time.sleep(0.02)
    raise AssertionError(f"{what} did not happen within {seconds:.0f} s")


class Process:
    """A child with its output in a file."""

    def __init__(self, name: str, argv: list[str], environment: dict[str, str], folder: Path) -> None:
        self.name = name
        self.log_file = folder / f"{name}-{len(list(folder.iterdir()))}.log"
        with self.log_file.open("wb") as log:
            self._child = subprocess.Popen(argv, env=environment, stdout=log, stderr=log, cwd=folder)

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def kill(self, number: int = signal.SIGKILL) -> None:
        self._child.send_signal(number)

    def wait(self, seconds: float = 20.0) -> int:
        return self._child.wait(seconds)

    def stop(self) -> None:
        if self.alive:
            self.kill(signal.SIGTERM)
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.kill()
                self.wait()


class Herd:
    """To be stopped. `settings` are TROPILLA_* values without the prefix, for every process."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.api_port = free_port()
        self._redis_port = free_port()
        self.redis_url = f"redis://127.0.0.1:{self._redis_port}/0"
        self.base_url = f"http://127.0.0.1:{self.api_port}"
        defaults = {"redis_url": self.redis_url, "home": folder, "host": "127.0.0.1", "port": self.api_port}
        self._settings: dict[str, object] = {**defaults, "drain_seconds": 1, "api_drain_seconds": 1, **settings}
        self.processes: list[Process] = []
        self.redis_process = self.start_redis()
        self.bus = Bus.connect(self.redis_url)
        self.room = Room(self.bus)
        # Longer than any test waits for an event: redis-py's own 5 s would end those that block.
        self.redis = redis.Redis.from_url(self.redis_url, socket_timeout=60)

    def admit(self, request: Request, lane: Lane, *, inbox: str = "", terms: Terms = NO_TERMS) -> None:
        """The request waits, as far as Redis is concerned; its ticket is another matter."""
        bounds = Bounds(1000, 1000, 1000)
        admitted = self.room.admit(
            request, lane, terms, inbox=inbox, bounds=bounds, deadline_seconds=60, kept_seconds=60
        )
        assert admitted.outcome == "admitted"

    def waiting(self, lane: str) -> int:
        """How many requests wait in a lane."""
        return self.room.waiting([lane])[lane]

    def start_redis(self) -> Process:
        argv = [str(redis_server.find().path), "--port", str(self._redis_port), "--bind", "127.0.0.1",
                "--dir", str(self.folder), "--appendonly", "yes", "--save", ""]  # fmt: skip
        process = self._start("redis", argv, {})
        wait_for(self._redis_answers, "Redis")
        return process

    def _redis_answers(self) -> bool:
        try:
            return bool(redis.Redis.from_url(self.redis_url).ping())
        except redis.RedisError:
            return False

    def start_worker(self, *flags: str, ready: bool = True, **settings: object) -> Process:
        """A worker, by default once it can answer."""
        name = f"test-{len(self.processes)}"
        argv = [sys.executable, "-m", "tropilla.workers", *flags]
        worker = self._start("worker", argv, {"worker_name": name, **settings})
        if ready:
            wait_for(lambda: self._worker_ready(name, worker), f"worker {name}")
        return worker

    def _worker_ready(self, name: str, process: Process) -> bool:
        assert process.alive, process.log
        return any(w.name.startswith(f"{name}@") and w.state == "ready" for w in self.bus.catalogue().workers)

    def start_store(self, *, ready: bool = True, **settings: object) -> Process:
        """The store, by default once it takes errands."""
        store = self._start("store", [sys.executable, "-m", "tropilla.workers.store"], settings)
        if ready:
            wait_for(lambda: self._store_open(store), "the store")
        return store

    def _store_open(self, process: Process) -> bool:
        assert process.alive, process.log
        return Registry(self.bus).staffed(names.STORE_OFFICE)

    def start_api(self, **settings: object) -> Process:
        argv = [sys.executable, "-m", "gunicorn", "--config", "python:tropilla.api.server"]
        return self._start_api([*argv, "tropilla.api.wiring:from_environment()"], settings)

    def start_web(self, **settings: object) -> Process:
        """As `start_api`, by the command that people use."""
        return self._start_api([sys.executable, "-m", "tropilla.compose.cli", "web"], settings)

    def _start_api(self, argv: list[str], settings: dict[str, object]) -> Process:
        api = self._start("api", argv, settings)
        wait_for(lambda: self._api_answers(api), "the API")
        return api

    def _api_answers(self, process: Process) -> bool:
        assert process.alive, process.log
        try:
            with urllib.request.urlopen(f"{self.base_url}/health", timeout=5):
                return True
        except urllib.error.HTTPError:
            # Without a worker it answers, too.
            return True
        except OSError:
            return False

    def _start(self, name: str, argv: list[str], settings: dict[str, object]) -> Process:
        variables = {f"TROPILLA_{key.upper()}": str(value) for key, value in {**self._settings, **settings}.items()}
        clean = {key: value for key, value in os.environ.items() if not key.startswith("TROPILLA_")}
        process = Process(name, argv, {**clean, **variables, "PYTHONUNBUFFERED": "1"}, self.folder)
        self.processes.append(process)
        return process

    def stop(self) -> None:
        self.bus.close()
        self.redis.close()
        for process in reversed(self.processes):
            process.stop()
