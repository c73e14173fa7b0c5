"""Every Redis key, channel and queue name, as a function. Nothing else in the house spells one.

`append.lua` serves many requests in one call, so all keys live on one Redis node; a fleet shards by cell, not by key.
"""

from __future__ import annotations

import re

#: What a model may be called: Hugging Face and Ollama names, with at most one tag, and nothing a shell or path minds.
MODEL_NAME = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_.\-]*(/[A-Za-z0-9_][A-Za-z0-9_.\-]*){0,3}(:[A-Za-z0-9_][A-Za-z0-9_.\-]*)?"
)

#: The one Celery task that generates.
GENERATE_TASK = "tropilla.generate"
#: Every worker listens here for request ids that nobody wants any more.
CANCELS_CHANNEL = "tropilla:cancels"
#: A set of the names of workers that have announced themselves.
WORKERS_KEY = "tropilla:workers"
#: A hash of everything that was counted: field -> number.
COUNTS_KEY = "tropilla:counts"


def state_key(request_id: str) -> str:
    """Hash of one request: attempt (the number of the only writer allowed), inbox, done."""
    return f"tropilla:request:{request_id}:state"


def journal_key(request_id: str) -> str:
    """Stream of one request's events; the entry id is the event index + 1."""
    return f"tropilla:request:{request_id}:journal"


def lease_key(request_id: str) -> str:
    """Held by the worker that runs the request now; expires when the worker does not refresh it."""
    return f"tropilla:request:{request_id}:lease"


def cancel_key(request_id: str) -> str:
    """Set once nobody wants the request: read by whoever pops its ticket later."""
    return f"tropilla:request:{request_id}:cancel"


def inbox_channel(inbox: str) -> str:
    """Pub/sub channel of one API process."""
    return f"tropilla:inbox:{inbox}"


def presence_key(worker: str) -> str:
    """What one worker is and pins; expires when the worker stops announcing itself."""
    return f"tropilla:worker:{worker}"


def load_key(worker: str) -> str:
    """What one worker is computing; expires when it stops saying so."""
    return f"tropilla:load:{worker}"
