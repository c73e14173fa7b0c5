"""What is known of a pull while it goes on: every file, how much of it is there, how fast it comes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tropilla.compose.client import words
from tropilla.compose.client.answers import PullLine
from tropilla.compose.client.tables import DIGEST_DIGITS

#: A line about a file that comes is said this often where lines stay, in seconds.
LINE_SECONDS = 5.0
#: Less of a file than this, when it is first heard of, came just now: nothing was resumed.
RESUMED_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Coming:
    """One file of a pull, in bytes. `at_first` of them were there when it was first heard of, at the time `since`."""

    name: str
    total: int
    completed: int
    at_first: int
    since: float

    @property
    def note(self) -> str:
        """What there is to be said of its beginning."""
        if self.total and self.at_first >= self.total:
            return "is here already"
        share = self.at_first / self.total if self.total else 0.0
        return f"resumed at {share:.0%}" if share >= RESUMED_SHARE else ""

    def pace(self, now: float) -> float:
        """Bytes a second, over all of this pull; 0 as long as nothing can be said."""
        return max(0.0, (self.completed - self.at_first) / (now - self.since)) if now > self.since else 0.0

    def sentence(self, now: float) -> str:
        """`8daa9615cce3: 120 MB of 1.2 GB (10%), 35 MB/s, 0:31 left`."""
        share = f" ({self.completed / self.total:.0%})" if self.total else ""
        parts = [f"{words.size(self.completed)} of {words.size(self.total)}{share}"]
        if (pace := self.pace(now)) and self.completed < self.total:
            parts += [f"{words.size(pace)}/s", f"{words.clock((self.total - self.completed) / pace)} left"]
        return f"{self.name}: {', '.join(filter(None, [*parts, self.note]))}"


class Pull:
    """Lines in, files and the status out. `files` are by digest, in the order in which they were heard of."""

    def __init__(self) -> None:
        self.status = ""
        self.files: dict[str, Coming] = {}

    @property
    def succeeded(self) -> bool:
        """The last word of a pull that went well; a stream that ends without it broke."""
        return self.status == "success"

    def feed(self, line: PullLine, now: float) -> Coming | None:
        """The file that the line is about, if it is about one. `now` in seconds of any clock."""
        self.status = line.status
        if not line.digest:
            return None
        known = self.files.get(line.digest)
        if known is None:
            name = line.name or line.digest.rpartition(":")[2][:DIGEST_DIGITS]
            known = Coming(name, line.total, line.completed, line.completed, now)
        self.files[line.digest] = replace(known, total=line.total or known.total, completed=line.completed)
        return self.files[line.digest]


class Minutes:
    """Which lines are worth keeping, where they scroll by: every new status, a file's beginning and end, and now and then
    how it goes.
    """

    def __init__(self) -> None:
        self._status = ""
        self._said: dict[str, float] = {}

    def take(self, pull: Pull, coming: Coming | None, now: float) -> str | None:
        if coming is None:
            news = pull.status if pull.status != self._status and not pull.succeeded else None
            self._status = pull.status
            return news
        over = bool(coming.total) and coming.completed >= coming.total
        said = self._said.get(coming.name)
        if said is not None and (said == float("inf") or (not over and now - said < LINE_SECONDS)):
            return None
        self._said[coming.name] = float("inf") if over else now
        return coming.sentence(now)
