"""A herd whose workers are forked in a tenth of a second, and may be killed as often as one likes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.herd import Herd, wait_for
from faults import scripted
from tropilla.common import names
from tropilla.common.catalogue import Worker
from tropilla.common.settings import Settings

TESTS = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Sheep:
    """One worker process."""

    name: str
    pid: int


class Flock(Herd):
    """Redis and a zygote; `step_ms` 0 means llama.cpp with the model of the settings, else the script."""

    def __init__(self, folder: Path, *, step_ms: float = 10.0, **settings: object) -> None:
        if step_ms:
            settings = {"model": f"{scripted.NAME}={scripted.write(folder / 'scripted.gguf')}", **settings}
        super().__init__(folder, **settings)
        self.workers_log = folder / "workers.log"
        #: Those that were started and not yet killed.
        self.living: dict[str, Sheep] = {}
        self._born = 0
        argv = [sys.executable, "-m", "faults.zygote", "--log", str(self.workers_log), "--step-ms", str(step_ms)]
        variables = {f"TROPILLA_{key.upper()}": str(value) for key, value in self._settings.items()}
        clean = {key: value for key, value in os.environ.items() if not key.startswith("TROPILLA_")}
        path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        with (folder / "zygote.log").open("wb") as log:
            self._zygote = subprocess.Popen(
                argv,
                # One thread: numpy would start its own.
                env={**clean, **variables, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=folder,
                text=True,
            )
        assert self._answer() == "ready", (folder / "zygote.log").read_text()

    @property
    def settings(self) -> Mapping[str, object]:
        """What every process was told, but for the prefix."""
        return self._settings

    def told(self, setting: str) -> object:
        """A setting's value in this herd, its default where it was not told."""
        return self._settings.get(setting, getattr(Settings(), setting))

    def _answer(self) -> str:
        assert self._zygote.stdout is not None
        return self._zygote.stdout.readline().strip()

    def fork(self, *, older: bool = False, **settings: object) -> Sheep:
        """One more worker, which is not ready yet. older: it cannot read what is written now."""
        assert self._zygote.stdin is not None
        name = f"sheep-{self._born}"
        self._born += 1
        more = [f"TROPILLA_{key.upper()}={value}" for key, value in settings.items()]
        print(" ".join([name, *more, *(["OLDER=1"] if older else [])]), file=self._zygote.stdin, flush=True)
        sheep = self.living[name] = Sheep(name, int(self._answer()))
        return sheep

    def populate(self, count: int, *, older: bool = False, **settings: object) -> list[Sheep]:
        """So many workers, all of them ready."""
        begun = [self.fork(older=older, **settings) for _ in range(count)]
        wait_for(lambda: {s.name for s in begun} <= self.ready().keys(), f"{count} workers")
        return begun

    def ready(self) -> dict[str, Worker]:
        """Living workers that take tickets, by name without host."""
        found = {w.name.partition("@")[0]: w for w in self.bus.catalogue().workers if w.state == "ready"}
        return {name: worker for name, worker in found.items() if name in self.living}

    def kill(self, sheep: Sheep, number: int = signal.SIGKILL) -> None:
        if number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV):
            del self.living[sheep.name]
        os.kill(sheep.pid, number)

    def holding(self) -> dict[str, list[str]]:
        """Requests that somebody holds now, by the worker's name without host."""
        keys = list(self.redis.scan_iter(names.lease_key("*"), count=10_000))
        found: dict[str, list[str]] = {}
        for key, value in zip(keys, self.redis.mget(keys) if keys else [], strict=True):
            if value is not None:
                found.setdefault(value.decode().partition("@")[0], []).append(key.decode().split(":")[2])
        return found

    def logged(self, text: str) -> str:
        """The lines of all workers' log with this in them."""
        lines = self.workers_log.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if text in line)

    def gone(self, sheep: Sheep) -> bool:
        return not Path(f"/proc/{sheep.pid}").exists()

    def stop(self) -> None:
        # Workers die with it.
        self._zygote.kill()
        for pipe in (self._zygote.stdin, self._zygote.stdout):
            assert pipe is not None
            pipe.close()
        self._zygote.wait()
        super().stop()


def some(chance: random.Random, flock: Flock, *, of: int) -> Sheep | None:
    """A random ready worker, where at least so many are ready."""
    ready = sorted(flock.ready())
    return flock.living[chance.choice(ready)] if len(ready) >= of else None
