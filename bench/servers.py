"""The three servers as context managers: started on a free loopback port, waited for, ended with all their children."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from bench.build import LlamaServer
from bench.models import ModelFile
from bench.places import HOMES, LOGS, BenchError

READY_SECONDS = 120.0
STOP_SECONDS = 15.0
LOOK_SECONDS = 0.05
LOG_TAIL = 5


@dataclass(frozen=True, slots=True)
class Setup:
    """What all servers of a run have in common."""

    threads: int
    slots: int
    context: int


@dataclass(frozen=True, slots=True)
class Server:
    """One way to start one: its command for a model and a port, and where it says that it is ready."""

    name: str
    command: Callable[[ModelFile, Setup, int], Sequence[str]]
    health: str
    #: What must stand in the answer of `health`.
    ready_words: Callable[[ModelFile], str] = lambda model: ""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Running:
    """One that answers."""

    server: Server
    port: int
    command: Sequence[str]
    ready_after_seconds: float


def ours() -> Server:
    return Server("tropilla", _our_command, "/v1/models", lambda model: json.dumps(model.name))


def ours_alone(model: str) -> Server:
    """With the model in the box, whatever file is named."""

    def command(_: ModelFile, setup: Setup, port: int) -> Sequence[str]:
        return _up(setup, port, HOMES / f"{model}-{port}")

    return Server("tropilla", command, "/v1/models", lambda _: json.dumps(model))


def llama_server(built: LlamaServer, flags: Sequence[str] = (), *, name: str = "llama-server") -> Server:
    def command(model: ModelFile, setup: Setup, port: int) -> Sequence[str]:
        return (
            *(str(built.server), "--model", str(model.path), "--alias", model.name),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--parallel", str(setup.slots), "--ctx-size", str(setup.slots * setup.context)),
            *("--threads", str(setup.threads), *flags),
        )

    return Server(name, command, "/health")


def llama_cpp_server(python: Path) -> Server:
    """`interrupt_requests` on would let a request end the one before; `logits_all` on is work for nothing."""

    def command(model: ModelFile, setup: Setup, port: int) -> Sequence[str]:
        return (
            *(str(python), "-m", "llama_cpp.server", "--model", str(model.path), "--model_alias", model.name),
            *("--host", "127.0.0.1", "--port", str(port), "--n_ctx", str(setup.context)),
            *("--n_threads", str(setup.threads), "--n_threads_batch", str(setup.threads)),
            *("--interrupt_requests", "False", "--logits_all", "False", "--verbose", "False"),
        )

    return Server("llama_cpp.server", command, "/v1/models", lambda model: model.name)


def _our_command(model: ModelFile, setup: Setup, port: int) -> Sequence[str]:
    home = HOMES / f"{model.name}-{port}"
    return (*_up(setup, port, home), "--model", f"{model.name}={model.path}")


def _up(setup: Setup, port: int, home: Path) -> Sequence[str]:
    return (
        *(str(Path(sys.executable).with_name("tropilla")), "up"),
        *("--slots", str(setup.slots), "--threads", str(setup.threads), "--ctx", str(setup.context)),
        *("--host", "127.0.0.1", "--port", str(port), "--home", str(home), "--flower-port", "off"),
    )


@contextmanager
def running(server: Server, model: ModelFile, setup: Setup) -> Iterator[Running]:
    """Up and ready inside the block; gone, with everything it started, after it."""
    port = free_port()
    command = server.command(model, setup, port)
    LOGS.mkdir(parents=True, exist_ok=True)
    HOMES.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{model.name}-{server.name}.log"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TROPILLA_", "LLAMA_ARG_"))}
    with log.open("w") as kept:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=kept,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**inherited, **server.environment},
        )
        try:
            _wait(server, model, process, port, log)
            yield Running(server, port, command, time.perf_counter() - began)
        finally:
            _end(process)
            for home in HOMES.glob(f"*-{port}"):
                shutil.rmtree(home, ignore_errors=True)


def _wait(server: Server, model: ModelFile, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + READY_SECONDS
    wanted = server.ready_words(model)
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        status, text = _get(port, server.health)
        if status == 200 and wanted in text:
            return
        time.sleep(LOOK_SECONDS)
    tail = " / ".join(log.read_text(errors="replace").splitlines()[-LOG_TAIL:])
    raise BenchError(f"{server.name} did not get ready; {log} ends with: {tail}")


def _get(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asks the first process, then kills what is left of its family: descendants seen before, and its own group."""
    with suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
