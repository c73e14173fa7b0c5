"""A conversation in a terminal without the terminal: what was said, what is set, and what a line typed means."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tropilla.common.errors import ConfigurationError

JSON = Any
Think = bool | Literal["low", "medium", "high", "max"]

QUOTES = '"""'
#: Where text of several lines may begin.
_OPENING = re.compile(r'(?P<before>\s*|/set\s+system\s+)"""(?P<text>.*)', re.DOTALL)
#: What people write -> what it is in a request.
THINK: Mapping[str, Think] = {
    "true": True, "false": False, "low": "low", "medium": "medium", "high": "high", "max": "max",
}  # fmt: skip

HELP = """\
  /set system TEXT            what the model is told before everything
  /set parameter NAME VALUE   temperature, top_p, seed, num_predict, stop, ...
  /set format json | noformat answers that are JSON, or any text
  /set think [low|medium|high|max] | nothink
  /set verbose | quiet        timings after each answer, or none
  /image PATH                 a picture for the next question
  /show                       what is set
  /clear                      forget the conversation
  /bye                        leave, as Ctrl-D does
  \"\"\"                         begins and ends a text of several lines
  Ctrl-C stops an answer. A line that is to begin with / gets a space before it."""


@dataclass(slots=True)
class Wishes:
    """How a model is to answer. None is whatever the model has."""

    model: str
    system: str | None = None
    format: JSON = None
    think: Think | None = None
    keep_alive: float | str | None = None
    options: dict[str, JSON] = field(default_factory=dict)
    verbose: bool = False

    def loading(self) -> JSON:
        """Of the same, where nothing is to be said yet: for as long as the model stays anyhow."""
        return {"model": self.model, "messages": []}

    def body(self, messages: list[JSON]) -> JSON:
        """Of POST /api/chat."""
        before = [] if self.system is None else [{"role": "system", "content": self.system}]
        body = {"model": self.model, "messages": before + messages, "stream": True, "options": self.options}
        given = {"format": self.format, "think": self.think, "keep_alive": self.keep_alive}
        return body | {key: value for key, value in given.items() if value is not None}


def no_pictures(path: str) -> str:
    raise ConfigurationError(f"{path} cannot be read here")


class Talk:
    """Turns that were answered, stopped ones included; one that never began to be is as if it had not been said.

    read_picture: the file at a path in base64, or `ConfigurationError`. `pictures`, in base64, go with the next question.
    """

    def __init__(
        self, wishes: Wishes, *, read_picture: Callable[[str], str] = no_pictures, pictures: Iterable[str] = ()
    ) -> None:
        self.wishes = wishes
        self._turns: list[JSON] = []
        self._read_picture = read_picture
        self._pictures = list(pictures)

    def ask(self, text: str) -> JSON:
        """The body of the request that says it."""
        return self.wishes.body([*self._turns, self._said(text)])

    def heard(self, text: str, answer: str) -> None:
        self._turns += [self._said(text), {"role": "assistant", "content": answer}]
        self._pictures = []

    def _said(self, text: str) -> JSON:
        pictures = {"images": list(self._pictures)} if self._pictures else {}
        return {"role": "user", "content": text, **pictures}

    def command(self, line: str) -> str | None:
        """Does what a line beginning with `/` says; answers what is to be said to it, None to leave."""
        name, *arguments = line.split(maxsplit=1)
        rest = arguments[0] if arguments else ""
        match name:
            case "/bye" | "/exit":
                return None
            case "/?" | "/help":
                return HELP
            case "/clear":
                self._turns.clear()
                self._pictures.clear()
                return "The conversation is forgotten."
            case "/show":
                return self._settings()
            case "/image":
                return self._show(rest)
            case "/set":
                return self._set(rest)
            case _:
                return f"There is no {name}; /? lists what there is."

    def _show(self, path: str) -> str:
        if not path:
            return "/image needs a file: /image ~/cat.png"
        try:
            self._pictures.append(self._read_picture(path))
        except ConfigurationError as error:
            return f"tropilla: {error.message}"
        return f"Pictures that go with the next question: {len(self._pictures)}."

    def _settings(self) -> str:
        wishes = self.wishes
        facts = {
            "model": wishes.model,
            "system": wishes.system,
            "format": wishes.format,
            "think": wishes.think,
            "keep_alive": wishes.keep_alive,
            **{f"parameter {name}": value for name, value in wishes.options.items()},
        }
        lines = [f"  {name:<12} {_text(value)}" for name, value in facts.items() if value is not None]
        return "\n".join([*lines, f"  {'turns':<12} {len(self._turns) // 2}"])

    def _set(self, what: str) -> str:
        name, *values = what.split(maxsplit=1) if what else [""]
        change = _CHANGES.get(name)
        if change is None:
            return "/set what? system, parameter, format, noformat, think, nothink, verbose or quiet; see /?"
        return change(self.wishes, values[0] if values else "")


def _set_system(wishes: Wishes, text: str) -> str:
    wishes.system = text or None
    return "The system text is set." if text else "The system text is the model's own."


def _set_parameter(wishes: Wishes, text: str) -> str:
    name, *values = text.split(maxsplit=1) if text else [""]
    if not values:
        return "/set parameter needs a name and a value: /set parameter temperature 0.7"
    try:
        value = json.loads(values[0])
    except ValueError:
        value = values[0]
    if name == "stop":
        # Several are given one after the other.
        value = [*wishes.options.get("stop", []), str(value)]
    wishes.options[name] = value
    return f"{name} is {_text(value)}."


def _set_format(wishes: Wishes, text: str) -> str:
    if text != "json":
        return "/set format json is the only one; /set noformat takes it back."
    wishes.format = "json"
    return "Answers are JSON."


def _set_no_format(wishes: Wishes, _: str) -> str:
    wishes.format = None
    return "Answers are any text."


def _set_think(wishes: Wishes, text: str) -> str:
    level = THINK.get(text or "true")
    if level is None:
        return f"/set think takes one of {', '.join(THINK)}, or nothing."
    wishes.think = level
    return f"Thinking is {'on' if level is True else 'off' if level is False else level}."


def _set_no_think(wishes: Wishes, _: str) -> str:
    return _set_think(wishes, "false")


def _set_verbose(wishes: Wishes, _: str) -> str:
    wishes.verbose = True
    return "Timings follow each answer."


def _set_quiet(wishes: Wishes, _: str) -> str:
    wishes.verbose = False
    return "No timings."


_CHANGES: Mapping[str, Callable[[Wishes, str], str]] = {
    "system": _set_system,
    "parameter": _set_parameter,
    "format": _set_format,
    "noformat": _set_no_format,
    "think": _set_think,
    "nothink": _set_no_think,
    "verbose": _set_verbose,
    "quiet": _set_quiet,
}


@dataclass(frozen=True, slots=True)
class Entered:
    """What somebody typed: something for the model, or for us."""

    text: str
    command: bool = False


class Typed:
    """Lines as they are typed -> what they mean: usually one each, several between triple quotes."""

    def __init__(self) -> None:
        self._before = ""
        self._lines: list[str] = []

    @property
    def open(self) -> bool:
        """Whether a text has begun and not ended."""
        return bool(self._lines)

    def feed(self, line: str) -> Entered | None:
        if self._lines:
            self._lines.append(line)
        elif (found := _OPENING.fullmatch(line)) is not None:
            self._before, self._lines = found["before"].lstrip(), [found["text"]]
        else:
            return Entered(line.strip(), command=line.startswith("/"))
        if not self._lines[-1].rstrip().endswith(QUOTES):
            return None
        text = "\n".join(self._lines).rstrip().removesuffix(QUOTES).strip("\n")
        before = self._before
        self.forget()
        return Entered(before + text, command=bool(before))

    def forget(self) -> None:
        """What has begun was not meant."""
        self._lines = []


def _text(value: JSON) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
