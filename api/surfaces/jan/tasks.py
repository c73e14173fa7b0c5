"""Downloads as cortex tells them: a task and its files, the states it goes through, and the events of its progress.

DownloadStarted DownloadUpdated* (DownloadSuccess | DownloadStopped | DownloadError)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tropilla.api.surface import JSON, Frame, Listening, Reply, Stopping, Surroundings
from tropilla.api.surfaces.jan.faults import UnknownTask
from tropilla.api.surfaces.jan.naming import body_of, text
from tropilla.api.surfaces.openai.provenance import Download, downloads
from tropilla.common.errands import Done, Progress, Pull, Refused, Word
from tropilla.common.origins import public
from tropilla.common.sources import InvalidSource, parse_source

_NO_TASK = "No task field in request body"
_STOPPED = "Download stopped successfully"
#: cortex' word for a file whose sum nobody has said.
_UNKNOWN_SUM = "N/A"


def task_of(download: Download) -> dict[str, JSON]:
    """Of no file more than its name is told: where it lies is the store's business."""
    errand, url = download.errand, shown(download.errand.source)
    files = download.files or {"": Progress("")}
    return {
        "id": errand.id,
        "type": "Model",
        "status": _status(download.words[-1] if download.words else None),
        "model": errand.name,
        "items": [
            {
                "id": each.name or key or errand.name,
                "downloadUrl": url,
                "checksum": each.digest or errand.sha256 or _UNKNOWN_SUM,
                "bytes": each.total,
                "downloadedBytes": each.completed,
            }
            for key, each in files.items()
        ],
    }


def shown(source: str) -> str:
    """A source without what only its owner may see."""
    try:
        return public(parse_source(source))
    except InvalidSource:
        return ""


def tasks(surroundings: Surroundings, _: Mapping[str, str]) -> Reply:
    """Those that are under way."""
    return Reply({"object": "list", "data": [task_of(each) for each in downloads(surroundings)]})


def task(surroundings: Surroundings, variables: Mapping[str, str]) -> Reply:
    return Reply(task_of(_known(surroundings, variables["task"])))


def parse_events(_: JSON, surroundings: Surroundings) -> Listening:
    errand = _known(surroundings, surroundings.path["task"]).errand
    return Listening(errand.id, Events(errand).feed)


def parse_abort(body: JSON, surroundings: Surroundings) -> Stopping:
    task_id = surroundings.path.get("task") or text(body_of(body), "taskId", "task_id", "id", otherwise=_NO_TASK)
    errand = _known(surroundings, task_id).errand
    said = Reply({"message": _STOPPED, "taskId": errand.id, "id": errand.name, "object": "model"})
    return Stopping(errand.id, said)


class Events:
    """What goes out for each word of a download."""

    def __init__(self, errand: Pull) -> None:
        self._errand = errand
        self._words: list[Word] = []

    def feed(self, word: Word) -> Iterator[Frame]:
        if not self._words:
            yield self._event("DownloadStarted")
        self._words.append(word)
        match word:
            case Done():
                yield self._event("DownloadSuccess")
            case Refused(code="cancelled"):
                yield self._event("DownloadStopped")
            case Refused():
                yield self._event("DownloadError", message=word.message)
            case Progress():
                yield self._event("DownloadUpdated")

    def _event(self, kind: str, **more: Any) -> Frame:
        return Frame({"type": kind, "task": task_of(Download(self._errand, tuple(self._words))), **more})


def _known(surroundings: Surroundings, task_id: str) -> Download:
    found = surroundings.task(task_id)
    if found is None or not isinstance(found.errand, Pull):
        raise UnknownTask(f"there is no download '{task_id}'", param="taskId")
    return Download(found.errand, found.words)


def _status(last: Word | None) -> str:
    match last:
        case None:
            return "Pending"
        case Done():
            return "Completed"
        case Refused(code="cancelled"):
            return "Cancelled"
        case Refused():
            return "Error"
        case _:
            return "InProgress"
