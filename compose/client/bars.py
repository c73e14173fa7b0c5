"""A pull as people see it: moving bars on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TaskID, TextColumn
from rich.text import Text
from tropilla.compose.client import words
from tropilla.compose.client.answers import PullLine
from tropilla.compose.client.pulling import Coming, Minutes, Pull

#: Below it, a terminal has room for the share alone.
ROOMY_COLUMNS = 70


class Display(Protocol):
    def show(self, pull: Pull, coming: Coming | None) -> None: ...


def follow(lines: Iterable[PullLine], display: Display, clock: Callable[[], float] = time.monotonic) -> Pull:
    """Shows every line; answers what it came to."""
    pull = Pull()
    for line in lines:
        display.show(pull, pull.feed(line, clock()))
    return pull


class Lines:
    """For logs: what scrolls by stays."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._minutes = Minutes()

    def show(self, pull: Pull, coming: Coming | None) -> None:
        if (sentence := self._minutes.take(pull, coming, self._clock())) is not None:
            self._say(sentence)


class Bars:
    """One bar for each file, and a spinner beside what is done between them. While open."""

    def __init__(self, console: Console) -> None:
        roomy = console.width >= ROOMY_COLUMNS
        details: list[ProgressColumn] = [_Size(), _Speed(), _Left()] if roomy else []
        bar = BarColumn(bar_width=None if roomy else 10)
        self._progress = Progress(
            SpinnerColumn(finished_text=" "), TextColumn("{task.description}"), bar, _Share(), *details, console=console
        )
        self._bars: dict[str, TaskID] = {}
        self._status: TaskID | None = None

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._progress.remove_task(self._status)
        self._progress.stop()

    def show(self, pull: Pull, coming: Coming | None) -> None:
        if coming is None:
            self._say(pull.status)
            return
        self._say(None)
        if (bar := self._bars.get(coming.name)) is None:
            name = f"{coming.name} {coming.note}".rstrip()
            # What was there when it began is no part of the speed.
            bar = self._progress.add_task(name, total=coming.total or None, completed=coming.at_first)
            self._bars[coming.name] = bar
        self._progress.update(bar, total=coming.total or None, completed=coming.completed)

    def _say(self, status: str | None) -> None:
        if self._status is not None:
            self._progress.remove_task(self._status)
            self._status = None
        if status and status != "success":
            self._status = self._progress.add_task(words.harmless(status), total=None)


class _Share(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.total is None else f"{task.percentage:3.0f}%")


class _Size(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.total is None else f"{words.size(task.completed)} of {words.size(task.total)}")


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        pace = None if task.finished else task.speed
        return Text(f"{words.size(pace)}/s" if pace else "", style="dim")


class _Left(ProgressColumn):
    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        left = None if task.finished else task.time_remaining
        return Text(words.clock(left) if left else "", style="dim")
