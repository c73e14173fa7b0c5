"""The commands that talk to a running cluster, or read its books, as they are typed."""

from __future__ import annotations

import re
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tropilla.common.keys import NAME, SCOPES
from tropilla.common.ledger import GROUPS
from tropilla.compose.client import dead, keys, models, words
from tropilla.compose.client.run import run_run
from tropilla.compose.client.talk import THINK, Think
from tropilla.compose.client.usage import run_usage
from tropilla.compose.flags import add_settings

#: A duration as Ollama writes it, Go's: `5m`, `1h30m`, `-1m`.
_DURATION = re.compile(r"[-+]?(0|((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)", re.ASCII)
_SECONDS = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)", re.ASCII)
#: Where a cluster is, for whoever talks to it, and for whoever reads its books.
API = ("--url", "--home")
BOOKS = ("--redis", "--home")
#: What of a model `show` gives by itself.
PARTS = ("modelfile", "parameters", "template", "system", "license")

#: Of what a key may ask for.
MOST_LIMIT = 1_000_000_000

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

    _add_usage(commands)
    _add_dead(commands)
    _add_keys(commands)


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
    shown = "a picture to ask about, PNG, JPEG, WebP or GIF; any number of them"
    run.add_argument("--image", metavar="PATH", action="append", default=[], help=shown)
    run.add_argument("--system", metavar="TEXT", help="what the model is told before everything")
    run.add_argument("--format", choices=("json",), help="the answer is JSON")
    think = f"whether, or how much, it thinks first: {', '.join(THINK)}"
    run.add_argument("--think", type=_think, metavar="LEVEL", help=f"{think}; without =LEVEL true")
    run.add_argument("--hide-thinking", action="store_true", help="do not show what it thinks")
    run.add_argument(
        "--keepalive", type=_keep_alive, metavar="TIME", help="how long it stays loaded: 5m, 0, -1 for ever"
    )
    run.add_argument("--verbose", action="store_true", help="timings after the answer")


def _add_usage(commands: Any) -> None:
    usage = _command(commands, "usage", run_usage, "what requests took: how many, how they ended, their tokens", BOOKS)
    when = "such as 1h, 7d, 2026-01-31 or 2026-01-31T08:00+01:00"
    usage.add_argument("--since", type=_moment, metavar="WHEN", help=f"only what ended from then on: {when}")
    usage.add_argument("--until", type=_moment, metavar="WHEN", help="only what ended before")
    usage.add_argument("--by", choices=tuple(GROUPS), default="model", help="what is added up (model)")
    usage.add_argument("--key", metavar="KEY", help="only of this API key, by its name or id; '' is without one")
    usage.add_argument("--model", metavar="MODEL", help="only of this model")


def _add_dead(commands: Any) -> None:
    what = "requests that were given up because of the workers they cost"
    group = commands.add_parser("dead", help=what, description=f"{what[0].upper()}{what[1:]}.")
    actions = group.add_subparsers(required=True, metavar="COMMAND")

    _command(actions, "list", dead.run_list, "which there are", BOOKS)

    show = _command(actions, "show", dead.run_show, "what is known of one", BOOKS)
    show.add_argument("id", metavar="ID")
    private = "also what was asked and what had been answered, which is its caller's own"
    show.add_argument("--prompt", action="store_true", help=private)

    retry = _command(actions, "retry", dead.run_retry, "ask once more, under a new id, and wait for the answer", BOOKS)
    retry.add_argument("id", metavar="ID")
    retry.add_argument("--no-wait", dest="wait", action="store_false", help="ask, and leave")

    drop = _command(actions, "drop", dead.run_drop, "let go of some", BOOKS)
    drop.add_argument("ids", metavar="ID", nargs="*")
    drop.add_argument("--all", action="store_true", help="of all there are")


def _add_keys(commands: Any) -> None:
    group = commands.add_parser("keys", help="API keys", description="API keys: who may call the API, and for what.")
    actions = group.add_subparsers(required=True, metavar="COMMAND")

    create = _command(actions, "create", keys.run_create, "make one, and show it this once", BOOKS)
    create.add_argument("--name", metavar="NAME", type=_key_name, help="what it is called, in lists")
    create.add_argument(
        "--scope", dest="scopes", action="append", choices=SCOPES, help="what it opens, one or several (inference)"
    )
    # A setting is called max_queue, too.
    create.add_argument(
        "--max-queue", dest="most_waiting", type=_limit, metavar="N", default=0, help="requests that may wait at a time"
    )
    create.add_argument(
        "--requests-per-minute", type=_limit, metavar="N", default=0, help="requests to models within any minute"
    )
    create.add_argument("--tokens-per-day", type=_limit, metavar="N", default=0, help="prompts and answers together")
    create.add_argument("--expires", type=_span, metavar="TIME", help="after so long it opens nothing: 12h, 30d, 8w")

    _command(actions, "list", keys.run_list, "which there are, and what they took today", BOOKS)

    revoke = _command(actions, "revoke", keys.run_revoke, "from now on they open nothing", BOOKS)
    revoke.add_argument("words", metavar="ID|NAME", nargs="+")


def _command(
    commands: Any, name: str, run: Callable[..., int], what: str, where: Sequence[str] = API
) -> ArgumentParser:
    command: ArgumentParser = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
    shown = "what the cluster answers, one object a line" if where == API else "one object a line"
    command.add_argument("--json", action="store_true", help=shown)
    add_settings(command, *where)
    command.set_defaults(run=run)
    return command


def _moment(text: str) -> datetime:
    try:
        return words.moment(text, datetime.now(UTC))
    except (ValueError, OverflowError) as error:
        raise ArgumentTypeError(f"{text!r} is no point in time such as 1h, 7d or 2026-01-31T08:00") from error


def _span(text: str) -> timedelta:
    try:
        span = words.span(text)
        # Beyond what a date can be.
        datetime.now(UTC) + span
    except (ValueError, OverflowError) as error:
        raise ArgumentTypeError(f"{text!r} is not a length of time such as 12h, 30d or 8w") from error
    return span


def _key_name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ArgumentTypeError(
            f"{text!r} cannot be a key's name: up to 64 letters and digits, inside also . - _ @ and blanks; no key_..."
        )
    return text


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= MOST_LIMIT:
        raise ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_LIMIT}")
    return int(text)


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
