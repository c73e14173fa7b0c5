"""What HTTP headers may say of a request that waits for a worker, whatever its dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tropilla.api import admission, idempotency
from tropilla.api.about import TEXT, one_of
from tropilla.api.surface import Batch, Enquiry, Route
from tropilla.common.terms import PRIORITIES

#: Routes whose requests wait.
WAITING = (Route, Enquiry, Batch)
HEADERS: Mapping[str, Mapping[str, Any]] = {
    admission.PRIORITY: {
        "description": "Who is more urgent goes first.",
        "schema": {**one_of(*PRIORITIES), "default": "normal"},
    },
    admission.DEADLINE: {
        "description": "After so long nobody wants the answer: seconds, as in 2.5 or 2.5s, or 1500ms.",
        "schema": {**TEXT, "pattern": f"^{admission.DEADLINE_PATTERN}$"},
        "example": "30s",
    },
    idempotency.HEADER: {
        "description": "The caller's word for this request: whoever asks the same by it again gets the same answer.",
        "schema": {**TEXT, "pattern": f"^{idempotency.WORD_PATTERN}$"},
    },
}
