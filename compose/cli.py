"""The command `tropilla`: up (everything), web, worker, store, flower (one process each, for Procfile), restart, health,
version; and those that talk to a running cluster or read its books (client/).
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

from tropilla.common import tracing
from tropilla.common.bus import Bus
from tropilla.common.catalogue import Flavour
from tropilla.common.environment import is_given
from tropilla.common.errors import ConfigurationError, TropillaError
from tropilla.common.settings import Settings
from tropilla.compose import flags, health, local, prepare, program
from tropilla.compose.client import words
from tropilla.compose.client.arguments import STATUSES, add_commands, spelled_out
from tropilla.compose.client.errors import UNREACHABLE_STATUS, Unreachable
from tropilla.compose.client.screen import forget
from tropilla.compose.first_key import first_key
from tropilla.compose.flags import OFF, USAGE_STATUS, read_settings
from tropilla.compose.manifest import Wanted, read_manifest
from tropilla.compose.ports import Reservations
from tropilla.compose.program import Program
from tropilla.compose.restart import restart

FAILURE_STATUS = 1
INTERRUPTED_STATUS = 130
#: As if SIGPIPE had ended us, which Python does not let it.
BROKEN_PIPE_STATUS = 141

WORKER_FLAGS = ("--slots", "--ctx", "--kv-cells", "--cache-type", "--threads")


def parser() -> flags.Parser:
    top = flags.Parser(
        prog="tropilla",
        description="An inference cluster for GGUF models.",
        epilog=STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND", parser_class=flags.MixedParser)
    _add_up(commands)
    _add_processes(commands)
    add_commands(commands)
    restart = commands.add_parser(
        "restart",
        help="replace the processes of the running `tropilla up`, one after the other: nobody who asks notices",
    )
    flags.add_settings(restart, "--home")
    restart.set_defaults(run=run_restart)
    _add_health(commands)
    version = commands.add_parser("version", help="which Tropilla this is")
    version.set_defaults(run=run_version)
    return top


def _add_up(commands: Any) -> None:
    up = commands.add_parser("up", help="everything on this machine: Redis, API, workers, store, Flower")
    flags.add_model(up, action="append")
    flags.add_parts(up, "of the --model before it")
    flags.add_manifest(up)
    up.add_argument(
        "--cpu", type=flags.count, metavar="N",
        help="CPU workers per model, or in all with --manifest; 1, or 0 where only --gpu is given",
    )  # fmt: skip
    up.add_argument("--gpu", type=flags.count, metavar="N", help="GPU workers, likewise; 0")
    up.add_argument("--idle", type=flags.count, metavar="N", default=0, help="workers besides, without a model of their "
                    "own, that load what is asked for; CPU workers, or GPU ones where only --gpu is given; 0")  # fmt: skip
    flags.add_settings(up, *WORKER_FLAGS, "--host", "--port", "--redis", "--home")
    flags.add_flower_port(up)
    up.set_defaults(run=run_up)


def _add_processes(commands: Any) -> None:
    web = commands.add_parser("web", help="one API process")
    flags.add_settings(web, "--host", "--port", "--redis", "--home")
    web.set_defaults(run=run_web)

    worker = commands.add_parser("worker", help="one worker process")
    flags.add_model(worker, action="store")
    flags.add_parts(worker, "of the model")
    worker.add_argument("--idle", action="store_true", help="start without a model, and load what is asked for")
    flags.add_settings(worker, "--flavour", "--name", *WORKER_FLAGS, "--redis", "--home")
    worker.set_defaults(run=run_worker)

    store = commands.add_parser("store", help="the store process: fetches models, keeps their files")
    flags.add_settings(store, "--redis", "--home")
    store.set_defaults(run=run_store)

    flower = commands.add_parser("flower", help="Flower, the view of workers and tasks")
    flags.add_flower_port(flower)
    flags.add_settings(flower, "--redis", "--home")
    flower.set_defaults(run=run_flower)


def _add_health(commands: Any) -> None:
    check = commands.add_parser("health", help="whether one process does what it is for: status 0, or 1 and why not")
    check.add_argument("what", choices=tuple(health.CHECKS), help="which kind of process")
    flags.add_settings(check, "--name", "--host", "--port", "--redis", "--home")
    flags.add_flower_port(check)
    check.set_defaults(run=run_health)


def main(arguments: Sequence[str] | None = None) -> int:
    """The console script. Every error is one sentence on stderr: status 2 for what was asked, 1 for what happened."""
    # A log line that this terminal cannot show must not end the cluster.
    for stream in (sys.stdout, sys.stderr):
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    asked = parser().parse_args(spelled_out(sys.argv[1:] if arguments is None else arguments))
    run: Callable[[argparse.Namespace, Mapping[str, str]], int] = asked.run
    try:
        return run(asked, os.environ)
    except ConfigurationError as error:
        return _complain(error.message, USAGE_STATUS)
    except Unreachable as error:
        return _complain(error.message, UNREACHABLE_STATUS)
    except TropillaError as error:
        return _complain(error.message, FAILURE_STATUS)
    except KeyboardInterrupt:
        return INTERRUPTED_STATUS
    except BrokenPipeError:
        return BROKEN_PIPE_STATUS
    finally:
        forget(sys.stdout)


def _complain(sentence: str, status: int) -> int:
    print(f"tropilla: {words.harmless(sentence)}", file=sys.stderr)
    return status


def run_up(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    return local.up(up_options(asked, environment), environment, sys.stdout)


def up_options(asked: argparse.Namespace, environment: Mapping[str, str]) -> prepare.Options:
    """What `tropilla up` was asked for, flags before environment before defaults."""
    settings = read_settings(asked, environment)
    tracing.check(settings, environment)
    wanted = _wanted(asked, settings)
    gpu = asked.gpu or 0
    cpu = asked.cpu if asked.cpu is not None else int(gpu == 0)
    # With a manifest and no worker here, whoever shares the Redis may have some.
    if not cpu + gpu + asked.idle and not wanted:
        raise ConfigurationError("nobody would answer: ask for at least one worker with --cpu, --gpu or --idle")
    counts: dict[Flavour, int] = {"cpu": cpu, "gpu": gpu}
    idle: dict[Flavour, int] = {"cpu": 0, "gpu": 0}
    models: tuple[program.ModelFile, ...] = ()
    if wanted:
        counts, idle = idle, counts
    else:
        named = asked.model or [prepare.parse_model(settings.model)]
        models = prepare.with_parts(named, asked.adapter, asked.seeing, settings)
    idle["gpu" if gpu and not cpu else "cpu"] += asked.idle
    own_redis = not (asked.redis_url or is_given(environment, "redis_url"))
    flower = asked.flower_port != OFF
    return prepare.Options(settings, models, counts, own_redis, flower=flower, idle=idle, wanted=wanted)


def _wanted(asked: argparse.Namespace, settings: Settings) -> Wanted | None:
    if not settings.manifest:
        if asked.manifest_model or asked.manifest_runtime is not None:
            raise ConfigurationError(
                "--manifest-model and --manifest-runtime change a manifest: name it with --manifest"
            )
        return None
    own = settings.model or settings.adapters or settings.projector
    if own or asked.model or asked.adapter or asked.seeing:
        raise ConfigurationError("a manifest says which models there are: take it away, or --model and its parts")
    return read_manifest(Path(settings.manifest), model=asked.manifest_model, runtime=asked.manifest_runtime)


def run_web(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    settings = read_settings(asked, environment)
    tracing.check(settings, environment)
    with Reservations() as ports:
        ports.reserve(settings.host, settings.port, "the API")
    # Here, since gunicorn has nothing but a traceback for what its processes refuse.
    prepare.check_redis(settings.redis_url)
    _say_first_key(settings)
    return become(program.web(settings, environment))


def _say_first_key(settings: Settings) -> None:
    if not settings.keys_on:
        return
    with closing(Bus.connect(settings.redis_url, settings)) as bus:
        if sentence := first_key(settings, bus):
            print(sentence, flush=True)


def run_worker(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    settings = read_settings(asked, environment)
    if asked.idle and (asked.model or asked.adapter or asked.seeing):
        raise ConfigurationError("an idle worker has no model of its own: take --idle away, or --model and its parts")
    settings = prepare.worker_settings(settings, asked.model, asked.adapter, asked.seeing)
    return become(program.worker(settings, environment, idle=asked.idle))


def run_store(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    return become(program.store(read_settings(asked, environment), environment))


def run_flower(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    if asked.flower_port == OFF:
        raise ConfigurationError("tropilla flower with --flower-port off would do nothing")
    settings = read_settings(asked, environment)
    with Reservations() as ports:
        port = ports.reserve(settings.flower_host, settings.flower_port, "Flower")
    # Flower itself would wait for a Redis for ever, and show nothing.
    prepare.check_redis(settings.redis_url)
    return become(program.flower(dataclasses.replace(settings, flower_port=port), environment))


def run_restart(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    return restart(read_settings(asked, environment).home, sys.stdout)


def run_health(asked: argparse.Namespace, environment: Mapping[str, str]) -> int:
    verdict = health.CHECKS[asked.what](read_settings(asked, environment), asked.worker_name or "")
    if verdict.well:
        print(verdict.sentence)
        return 0
    return _complain(verdict.sentence, FAILURE_STATUS)


def run_version(_asked: argparse.Namespace, _environment: Mapping[str, str]) -> int:
    print(f"tropilla {importlib.metadata.version('tropilla')}")
    return 0


def become(one: Program) -> NoReturn:
    """This process goes on as that one, so that whoever started it (foreman, Docker) signals it directly."""
    os.execve(one.argv[0], one.argv, one.environment)


if __name__ == "__main__":
    sys.exit(main())
