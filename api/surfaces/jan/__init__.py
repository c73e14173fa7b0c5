"""The life cycle of a model as Jan and cortex ask for it: four generations of their routes (contracts, models sheet 4).

A model's id may hold `/` and `:`, so that what follows it is told by how the path ends; the words that a path begins with
(`naming.RESERVED`) are no models' names. Everything is OpenAI's elsewhere below /v1.
"""

from __future__ import annotations

from tropilla.api.framing import SSE
from tropilla.api.media import readable
from tropilla.api.surface import Chore, Dialect, Enquiry, Page, Reply
from tropilla.api.surfaces.jan import about
from tropilla.api.surfaces.jan.changes import (
    answer_delete,
    answer_import,
    answer_pull,
    parse_delete,
    parse_download,
    parse_import,
    parse_pull,
)
from tropilla.api.surfaces.jan.faults import fault
from tropilla.api.surfaces.jan.lifecycle import (
    answer_change,
    answer_start,
    parse_change,
    parse_start,
    parse_stop,
    status,
)
from tropilla.api.surfaces.jan.tasks import parse_abort, parse_events, task, tasks
from tropilla.api.surfaces.openai.answer import headers
from tropilla.api.surfaces.openai.models import retrieve
from tropilla.common.keys import ADMIN, READING

_MODELS = "/v1/models"
_MODEL, _TASK, _DOWNLOAD = f"{_MODELS}/<path:id>", f"{_MODELS}/pull/<task>", f"{_MODELS}/download/<path:id>"


def _said(*_: object) -> Reply:
    raise AssertionError("the store is not waited for here")


JAN = Dialect(
    name="jan",
    routes=(
        # cortex
        Chore(f"{_MODELS}/pull", parse_pull, answer_pull, about=about.PULL),
        Page(f"{_MODELS}/pull", tasks, about.TASKS),
        Chore(f"{_MODELS}/pull", parse_abort, _said, method="DELETE", about=about.ABORT),
        Page(_TASK, task, about.ONE_TASK),
        Chore(
            f"{_TASK}/events",
            parse_events,
            _said,
            framing=SSE,
            method="GET",
            bodiless=True,
            about=about.EVENTS,
            scopes=READING,
        ),
        Enquiry(f"{_MODELS}/start", parse_start, answer_start, about.START, scopes=ADMIN),
        Chore(f"{_MODELS}/stop", parse_stop, _said, about=about.STOP),
        Page(f"{_MODELS}/status/<path:id>", status, about.STATUS),
        Chore(f"{_MODELS}/import", parse_import, answer_import, about=about.IMPORT),
        Chore(_MODEL, parse_change, answer_change, method="PATCH", about=about.CHANGE),
        Chore(f"{_MODEL}/pull", parse_pull, answer_pull, bodiless=True, about=about.PULL_ID),
        # Jan, whose methods changed
        Chore(_MODELS, parse_pull, answer_pull, about=about.PULL),
        Chore(
            _DOWNLOAD,
            parse_download,
            answer_pull,
            method="GET",
            bodiless=True,
            about=about.DOWNLOAD,
        ),
        *(
            route
            for method in ("POST", "PUT")
            for route in (
                Enquiry(
                    f"{_MODEL}/start", parse_start, answer_start, about.START_ID, method, bodiless=True, scopes=ADMIN
                ),
                Chore(f"{_MODEL}/stop", parse_stop, _said, method=method, bodiless=True, about=about.STOP_ID),
            )
        ),
        Page(_MODEL, retrieve, about.MODEL),
        Chore(_MODEL, parse_delete, answer_delete, method="DELETE", bodiless=True, about=about.DELETE),
    ),
    prefixes=(f"{_MODELS}/",),
    fault=fault,
    reads=readable,
    headers=headers,
    error=about.ERROR,
    title="Jan",
)
