"""Sizes, lengths of time and points in time as people write them, and text that a terminal can be given."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

#: (seconds, what so many are called), longest first.
_LENGTHS = (
    (365.25 * 86_400, "year"),
    (30.44 * 86_400, "month"),
    (7 * 86_400, "week"),
    (86_400, "day"),
    (3600, "hour"),
    (60, "minute"),
    (1, "second"),
)
#: What a length of time is typed with.
_TYPED = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
#: Farther away than anybody waits: what Ollama says for `never`.
NEVER_SECONDS = 50 * 365.25 * 86_400
#: Control characters but for newline and tab: a model must not be able to rename the window or move the cursor.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def size(count: float) -> str:
    """Bytes in powers of a thousand with two or three digits: `986 B`, `1.3 GB`, `22 MB`."""
    value, unit = float(count), _UNITS[0]
    for unit in _UNITS:
        # What would be rounded to a thousand belongs to the next unit.
        if value < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1000
    return f"{value:.1f} {unit}" if unit != "B" and value < 9.95 else f"{value:.0f} {unit}"


def long(seconds: float) -> str:
    """About how long, in one unit: `3 minutes`, `1 hour`."""
    for length, name in _LENGTHS:
        if seconds >= length:
            count = int(seconds / length)
            return f"{count} {name}{'' if count == 1 else 's'}"
    return "a moment"


def ago(then: datetime, now: datetime) -> str:
    seconds = (now - then).total_seconds()
    return f"{long(seconds)} ago" if seconds >= 0 else from_now(then, now)


def from_now(then: datetime, now: datetime) -> str:
    """`4 minutes from now`; `for ever`, and `stopping` for what is over."""
    seconds = (then - now).total_seconds()
    if seconds >= NEVER_SECONDS:
        return "for ever"
    return f"{long(seconds)} from now" if seconds > 0 else "stopping"


def moment(text: str, now: datetime) -> datetime:
    """A point in time as it is typed: `30m`, `1h` or `7d` before now, or a date with or without a time, by the clock on the
    wall where no zone is said. Raises `ValueError`.
    """
    if _AGO.fullmatch(text):
        return now - span(text)
    return datetime.fromisoformat(text).astimezone()


def span(text: str) -> timedelta:
    """A length of time as it is typed: `12h`, `30d`. Raises `ValueError`, and `OverflowError` for what no clock counts."""
    if not (found := _AGO.fullmatch(text)):
        raise ValueError(text)
    return timedelta(**{_TYPED[found[2]]: float(found[1])})


def clock(seconds: float) -> str:
    """A rest of time as it is counted down: `0:42`, `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def spent(nanoseconds: float) -> str:
    """A measured time: `812 ms`, `3.21 s`."""
    milliseconds = nanoseconds / 1e6
    return f"{milliseconds:.0f} ms" if milliseconds < 999.5 else f"{milliseconds / 1000:.2f} s"


def harmless(text: str) -> str:
    """Text from elsewhere as a terminal may be given it."""
    return _CONTROL.sub("�", text)
