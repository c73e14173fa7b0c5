"""What every process of ours logs, and how: lines for people, or JSON lines for programs (`TROPILLA_LOG_FORMAT`).

A line bears the request that it is about, where one is known: `about` says so for everything that is logged meanwhile.
Nothing that was asked or answered is ever logged, and no key. So of an exception that ends a request only its kind and its
frames are shown: its own words may quote what was asked.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tropilla.common import codec
from tropilla.common.settings import Settings

TEXT = "%(levelname)s %(name)s: %(message)s"
#: What the level of the settings is the level of; other people's libraries say no more than INFO, whatever it is.
OURS = "tropilla"
LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


@dataclass(frozen=True, slots=True)
class Subject:
    """The request that is being served: "" is not known."""

    request_id: str = ""
    model: str = ""


NOBODY = Subject()
_subject: ContextVar[Subject] = ContextVar("subject", default=NOBODY)


def subject() -> Subject:
    """What is logged here now is about that."""
    return _subject.get()


def bind(request_id: str = "", model: str = "") -> None:
    """What is logged from here on, in this thread or greenlet, is about that request; "" is about none."""
    _subject.set(Subject(request_id, model))


@contextmanager
def about(request_id: str, model: str = "") -> Iterator[None]:
    """As `bind`, while the block lasts."""
    before = _subject.set(Subject(request_id, model))
    try:
        yield
    finally:
        _subject.reset(before)


def named(request_id: str) -> str:
    """What lines, and the answers' x-request-id, call a request of that id."""
    return f"req_{request_id}"


def begin(settings: Settings, role: str, name: str = "") -> None:
    """From here on everything that this process logs goes to stderr, in the form of the settings. role: api, worker, store.
    name: which of them; "" where there is nothing to tell them apart but the process id.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(role, name) if settings.log_format == "json" else TextLines())
    root, level = logging.getLogger(), LEVELS[settings.log_level]
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.INFO))
    logging.getLogger(OURS).setLevel(level)


def library_level(settings: Settings) -> str:
    """What other people's libraries are told the level is."""
    return logging.getLevelName(max(LEVELS[settings.log_level], logging.INFO))


class TextLines(logging.Formatter):
    """As people read them."""

    def __init__(self) -> None:
        super().__init__(TEXT)

    def format(self, record: logging.LogRecord) -> str:
        line = f"{record.levelname} {record.name}: {record.getMessage()}"
        broken = exception(record)
        return f"{line}\n{broken}" if broken else line


class JsonLines(logging.Formatter):
    """One object a line. What a line has beside its message stands in `extra={"facts": {...}}`, and goes in as it is."""

    def __init__(self, role: str, name: str) -> None:
        super().__init__()
        self._process = {"role": role, **({"process": name} if name else {})}

    def format(self, record: logging.LogRecord) -> str:
        told = subject()
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self._process,
            "pid": record.process,
        }
        if told.request_id:
            line["request_id"] = told.request_id
        if told.model:
            line["model"] = told.model
        if broken := exception(record):
            line["exception"] = broken
        return codec.encode_line({**line, **getattr(record, "facts", {})})


def exception(record: logging.LogRecord) -> str:
    """What has been raised, with its frames; "" where nothing was. Without its own words where a request is at stake."""
    if not record.exc_info or record.exc_info[1] is None:
        return ""
    if not subject().request_id and not hasattr(record, "facts"):
        return "".join(traceback.format_exception(record.exc_info[1])).rstrip()
    return "\n".join(_frames(record.exc_info[1]))


def _frames(error: BaseException) -> Iterator[str]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield f"{type(link).__module__}.{type(link).__qualname__}"
        for frame in traceback.extract_tb(link.__traceback__):
            yield f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}'
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
