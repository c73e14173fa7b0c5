"""`docker compose` on this machine: one project of its own, with free ports, of which nothing is left.

STAND_IN_IMAGES names a program that installs a Docker engine and makes stand-ins for the base images, for machines that
reach no registry; it is also run where an image cannot be had and it lies at its usual place.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
STAND_IN = Path(os.environ.get("STAND_IN_IMAGES") or ROOT.parent / "shared" / "tools" / "stand-in-images")
BASE_IMAGES = ("python:3.11-slim-bookworm", "redis:7-bookworm")
MISSING = "Docker is missing: apt-get install docker.io docker-compose (or docker-ce with its compose plugin)"
BUILD_SECONDS, UP_SECONDS, COMMAND_SECONDS = 3600.0, 600.0, 300.0


def say(text: str) -> None:
    """On the terminal, while it happens."""
    print(f"  {text}", file=sys.stderr, flush=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def succeeds(*command: str) -> bool:
    with contextlib.suppress(OSError):
        return subprocess.run(command, capture_output=True, timeout=COMMAND_SECONDS, check=False).returncode == 0
    return False


def engine_with_images() -> None:
    """Fails the test, with one sentence, where there is no engine or no image."""
    if os.environ.get("STAND_IN_IMAGES"):
        _stand_in()
    if not shutil.which("docker"):
        pytest.fail(MISSING)
    if not succeeds("docker", "info"):
        pytest.fail("no Docker engine answers: start it (systemctl start docker), or be in the group docker")
    for image in BASE_IMAGES:
        if succeeds("docker", "image", "inspect", image):
            continue
        say(f"pulling {image}")
        if not succeeds("docker", "pull", image):
            if not STAND_IN.is_file():
                pytest.fail(f"{image} cannot be pulled: this machine reaches no registry")
            _stand_in()


def _stand_in() -> None:
    say(f"{STAND_IN.name}: an engine and stand-ins for base images")
    if subprocess.run([str(STAND_IN)], timeout=BUILD_SECONDS, check=False).returncode:
        pytest.fail(f"{STAND_IN} failed; its words are above")


def compose_command() -> tuple[str, ...]:
    """Compose v2, or 1.29."""
    if succeeds("docker", "compose", "version"):
        return ("docker", "compose")
    if not shutil.which("docker-compose"):
        pytest.fail(MISSING)
    return ("docker-compose",)


class Compose:
    """The cluster of compose.yaml under a name of its own. `environment` is what a person has in .env."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.project = f"tropillatest{os.getpid()}"
        self.api_port, self.flower_port = free_port(), free_port()
        self._command = (*compose_command(), "--project-name", self.project, "--file", str(ROOT / "compose.yaml"))
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TROPILLA_")},
            "TROPILLA_PUBLISH": f"127.0.0.1:{self.api_port}",
            "FLOWER_PUBLISH": f"127.0.0.1:{self.flower_port}",
            **environment,
        }

    def run(self, *words: str, seconds: float = COMMAND_SECONDS) -> str:
        """What it says on stdout. What goes wrong is told whole."""
        done = subprocess.run(
            [*self._command, *words], env=self._environment, cwd=ROOT, capture_output=True, text=True,
            timeout=seconds, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def show(self, *words: str, seconds: float) -> None:
        """With everything it says on the terminal."""
        subprocess.run([*self._command, *words], env=self._environment, cwd=ROOT, timeout=seconds, check=True)

    def build(self, service: str) -> None:
        """CMAKE_BUILD_PARALLEL_LEVEL: as many compilers at once, where somebody else needs the machine."""
        jobs = os.environ.get("CMAKE_BUILD_PARALLEL_LEVEL")
        wanted = ("--build-arg", f"CMAKE_BUILD_PARALLEL_LEVEL={jobs}") if jobs else ()
        self.show("build", *wanted, service, seconds=BUILD_SECONDS)

    def logs(self, service: str) -> str:
        return self.run("logs", "--no-color", service)

    def containers(self, service: str, *, running: bool = True) -> list[Container]:
        labels = [f"label=com.docker.compose.project={self.project}", f"label=com.docker.compose.service={service}"]
        filters = [word for label in labels for word in ("--filter", label)]
        found = docker("ps", "--quiet", "--no-trunc", *([] if running else ["--all"]), *filters).split()
        return [Container(one) for one in found]

    def container(self, service: str) -> Container:
        (one,) = self.containers(service)
        return one

    def await_health(self, counts: Mapping[str, int]) -> None:
        """Until each service has so many healthy containers, one event after the other."""

        def healthy() -> bool:
            return all(
                [one.health for one in self.containers(service)] == ["healthy"] * count
                for service, count in counts.items()
            )

        with self._events() as event:
            deadline = time.monotonic() + UP_SECONDS
            while not healthy():
                left = deadline - time.monotonic()
                assert left > 0, self.run("ps") + self.run("logs", "--no-color", "--tail", "40")
                # What a container says in between is looked at, too: one that ends sends no event about its health.
                event(min(left, 5.0))

    @contextlib.contextmanager
    def _events(self) -> Iterator[Callable[[float], None]]:
        """Waits for the next thing that happens to a container, and tells it."""
        command = ["docker", "events", "--filter", f"label=com.docker.compose.project={self.project}",
                   "--filter", "event=health_status", "--filter", "event=die", "--filter", "event=start",
                   "--format", '{{.Action}} {{index .Actor.Attributes "name"}}']  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            stream = process.stdout

            def event(seconds: float) -> None:
                if select.select([stream], [], [], seconds)[0]:
                    say(stream.readline().strip())

            try:
                yield event
            finally:
                process.terminate()


class Container:
    """One of them, by its id."""

    def __init__(self, identity: str) -> None:
        self.id = identity

    @property
    def facts(self) -> Any:
        return json.loads(docker("inspect", self.id))[0]

    @property
    def health(self) -> str:
        return str(self.facts["State"].get("Health", {}).get("Status", "none"))

    @property
    def hostname(self) -> str:
        return str(self.facts["Config"]["Hostname"])

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", "exec", self.id, *command], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )

    def python(self, code: str) -> str:
        done = self.execute("python", "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def kill(self) -> None:
        docker("kill", self.id)


def docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
    return done.stdout
