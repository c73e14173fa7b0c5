"""The commands that talk to a running cluster, as they are typed."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Sequence
from typing import Any

from tropilla.compose.client import models
from tropilla.compose.client.run import run_run
from tropilla.compose.client.talk import THINK, Think
from tropilla.compose.flags import add_settings

#: A duration as Ollama writes it, Go's: `5m`, `1h30m`, `-1m`.
_DURATION = re.compile(r"[-+]?(0|((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)", re.ASCII)
_SECONDS = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)", re.ASCII)
#: What of a model `show` gives by itself.
PARTS = ("modelfile", "parameters", "template", "system", "license")

STATUSES = """\
exit status:
  0    it is done
  1    the cluster says no, or something went wrong; the sentence on stderr says what
  2    what was typed makes no sense
  69   no cluster answers there, or no longer
  130  stopped by Ctrl-C
  141  whoever reads the output has gone"""


def add_commands(commands: Any) -> None:
    """`commands` is what `ArgumentParser.add_subparsers` gives."""
    pull = _command(commands, "pull", models.run_pull, "fetch a model; what was stopped goes on where it was")
    pull.add_argument("model", metavar="MODEL", help="an Ollama name, a Hugging Face repository or file, or a URL")
    pull.add_argument(
        "--insecure", action="store_true", help="also over http, or with a certificate nobody vouches for"
    )

    listing = _command(commands, "list", models.run_list, "the models that there are")
    listing.add_argument("start", metavar="START", nargs="?", default="", help="only those whose names begin so")

    _command(commands, "ps", models.run_ps, "the models that are loaded, and until when")

    show = _command(commands, "show", models.run_show, "what a model is")
    show.add_argument("model", metavar="MODEL")
    show.add_argument("--verbose", action="store_true", help="everything that is known, uncut")
    parts = show.add_mutually_exclusive_group()
    for part in PARTS:
        parts.add_argument(
            f"--{part}", dest="part", action="store_const", const=part, help=f"its {part} and nothing else"
        )

    _add_run(commands)

    stop = _command(commands, "stop", models.run_stop, "let go of a model's memory")
    stop.add_argument("model", metavar="MODEL")

    remove = _command(commands, "rm", models.run_rm, "delete models, and files that no other one needs")
    remove.add_argument("models", metavar="MODEL", nargs="+")

    copy = _command(commands, "cp", models.run_cp, "give a model a second name")
    copy.add_argument("source", metavar="MODEL")
    copy.add_argument("destination", metavar="NAME")


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """`--think` by itself means yes, and never takes the next word, which is the prompt's."""
    ours = list(arguments)
    end = ours.index("--") if "--" in ours else len(ours)
    return ["--think=true" if word == "--think" else word for word in ours[:end]] + ours[end:]


def _add_run(commands: Any) -> None:
    run = _command(commands, "run", run_run, "ask a model: once, or without PROMPT in a conversation")
    run.add_argument("model", metavar="MODEL")
    prompt = "the question; text that is piped in stands behind it"
    run.add_argument("prompt", metavar="PROMPT", nargs="*", help=prompt)
    run.add_argument("--system", metavar="TEXT", help="what the model is told before everything")
    run.add_argument("--format", choices=("json",), help="the answer is JSON")
    think = f"whether, or how much, it thinks first: {', '.join(THINK)}"
    run.add_argument("--think", type=_think, metavar="LEVEL", help=f"{think}; without =LEVEL true")
    run.add_argument("--hide-thinking", action="store_true", help="do not show what it thinks")
    run.add_argument(
        "--keepalive", type=_keep_alive, metavar="TIME", help="how long it stays loaded: 5m, 0, -1 for ever"
    )
    run.add_argument("--verbose", action="store_true", help="timings after the answer")


def _command(commands: Any, name: str, run: Callable[..., int], what: str) -> ArgumentParser:
    command: ArgumentParser = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
    command.add_argument("--json", action="store_true", help="what the cluster answers, one object a line")
    add_settings(command, "--url", "--home")
    command.set_defaults(run=run)
    return command


def _think(text: str) -> Think:
    if text not in THINK:
        raise ArgumentTypeError(f"{text!r} is not one of {', '.join(THINK)}")
    return THINK[text]


def _keep_alive(text: str) -> float | str:
    """A number is seconds, which Ollama wants as a number."""
    if _SECONDS.fullmatch(text):
        return float(text)
    if not _DURATION.fullmatch(text):
        raise ArgumentTypeError(f"{text!r} is not a length of time such as 5m, 1h30m or a number of seconds")
    return text
