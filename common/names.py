"""Every Redis key, channel and queue name, as a function. Nothing else in the house spells one.

`append.lua` serves many requests in one call, so all keys live on one Redis node; a fleet shards by cell, not by key.
"""

from __future__ import annotations

import hashlib
import re

from tropilla.common.keys import ID_PREFIX

#: What a model may be called: Hugging Face and Ollama names, with at most one tag, and nothing a shell or path minds.
MODEL_NAME = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_.\-]*(/[A-Za-z0-9_][A-Za-z0-9_.\-]*){0,3}(:[A-Za-z0-9_][A-Za-z0-9_.\-]*)?"
)

#: The one Celery task that generates.
GENERATE_TASK = "tropilla.generate"
#: The one Celery task of the store, and the queue it waits in.
ERRAND_TASK = "tropilla.errand"
STORE_QUEUE = "tropilla.store"
#: What is left of the disk of the models' folder, and how large that is, in bytes: `FREE TOTAL`. The store says so.
STORE_DISK_KEY = "tropilla:store:disk"
#: The office of the process that does errands: one at a time.
STORE_OFFICE = "store"
#: A hash of how many requests wait: `all`, `pin:<pin>`, `key:<key>`; where none do there is nothing.
WAITING_KEY = "tropilla:waiting"
#: A set of the queues somebody has waited in, `flavour TAB class TAB model`; and of each, those that wait by when they were
#: admitted, in Redis's ms.
QUEUES_KEY = "tropilla:queues"
QUEUE_PREFIX = "tropilla:queue:"
#: A stream with one row for each request that took tokens, however it ended.
LEDGER_KEY = "tropilla:ledger"
#: A sorted set of the ids of requests that were given up because of the workers they cost, by when that was, in Unix ms.
DEAD_KEY = "tropilla:dead"
#: A set of the pins of which something runs, or did a moment ago.
RUNNING_PINS_KEY = "tropilla:running"
#: Every worker listens here for request ids that nobody wants any more.
CANCELS_CHANNEL = "tropilla:cancels"
#: And of every request that begins to wait: id, lane, key and class, with tabs between.
ARRIVALS_CHANNEL = "tropilla:arrivals"
#: A set of the names of workers that have announced themselves.
WORKERS_KEY = "tropilla:workers"
#: A hash of everything that was counted: field -> number.
COUNTS_KEY = "tropilla:counts"
#: Hashes by model name: its definition, or why there is none (yet). The version is raised with every change to them.
MODELS_KEY = "tropilla:models"
TROUBLES_KEY = "tropilla:models:troubles"
MODELS_VERSION_KEY = "tropilla:models:version"
#: A hash of what files' headers say, by their digests.
INFORMATION_KEY = "tropilla:models:information"
#: A set of ids: the errands that somebody has asked for and that are not over.
ERRANDS_KEY = "tropilla:errands"
#: A list of the images that the store is to fetch for requests, `errand id TAB flight`, the oldest first.
LOOKS_KEY = "tropilla:errands:looks"
#: Every batch that is told of, a sorted set of ids in which they stand by their names; and the set of those not over.
BATCHES_KEY = "tropilla:batches"
OPEN_BATCHES_KEY = "tropilla:batches:open"
#: The office of the process that runs batches.
BATCHES_OFFICE = "batches"
#: A hash of the API keys that there are, by their ids, revoked ones included; and one of the ids of those that count, by
#: their names.
KEYS_KEY = "tropilla:keys"
KEY_NAMES_KEY = "tropilla:keys:names"
#: A hash of when keys were used last, in Unix seconds, by their ids.
KEYS_USED_KEY = "tropilla:keys:used"
#: Every API process listens here for ids of keys that were made or revoked.
KEYS_CHANNEL = "tropilla:keys:changes"
#: What our own processes show each other: never a caller's.
INTERNAL_SECRET_KEY = "tropilla:internal"
#: A set of `pin TAB worker` that failed a while ago.
FAILURES_KEY = "tropilla:failures"

#: Images of requests: a sorted set of their digests by when they expire, in Redis's ms; and a hash of their sizes in bytes,
#: with `all` in sum. See keep_image.lua.
IMAGES_KEY = "tropilla:images"
IMAGE_SIZES_KEY = "tropilla:images:sizes"


#: What the scripts make the names of keys of, as they call it.
SCRIPT_NAMES = {
    "REQUEST": "tropilla:request:",
    "ROOM": "tropilla:room:",
    "RUNNING": "tropilla:running:",
    "RUNNING_PINS": RUNNING_PINS_KEY,
    "WAITING": WAITING_KEY,
    "QUEUES": QUEUES_KEY,
    "QUEUE": QUEUE_PREFIX,
    "LEDGER": LEDGER_KEY,
    "DEAD": DEAD_KEY,
    "COUNTS": COUNTS_KEY,
    "ARRIVALS": ARRIVALS_CHANNEL,
    "SPENT": "tropilla:spent:",
    "ASKED": "tropilla:asked:",
    # How the id of an API key begins; a digest of anything else does not.
    "KEY_ID": ID_PREFIX,
}


def room_key(lane: str) -> str:
    """Sorted set of the requests that wait in a lane, the next one first; see room.lua."""
    return f"tropilla:room:{lane}"


def running_key(pin: str) -> str:
    """Set of the requests that workers of a pin have taken and not finished."""
    return f"tropilla:running:{pin}"


def idempotency_key(key: str, word: str) -> str:
    """Hash of one request: its id, and a digest of what it asks for; by who asks, and the word he has for it."""
    return f"tropilla:idempotency:{hashlib.sha256(f'{key} {word}'.encode()).hexdigest()[:32]}"


def state_key(request_id: str) -> str:
    """Hash of everything that is to be known of one request; see room.lua."""
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


def dead_key(request_id: str) -> str:
    """Hash of what is kept of a request that was given up; see take.lua."""
    return f"{DEAD_KEY}:{request_id}"


def dead_journal_key(request_id: str) -> str:
    """What had been said of it by then, as in its journal."""
    return f"{DEAD_KEY}:{request_id}:journal"


def image_key(digest: str) -> str:
    """The file of an image that requests name by its digest."""
    return f"tropilla:image:{digest}"


def call_key(request_id: str) -> str:
    """What a request was asked with, where any API process may have to tell its answer again."""
    return f"tropilla:request:{request_id}:call"


#: Of the inboxes of all API processes, as PUBSUB CHANNELS has it.
EVERY_INBOX = "tropilla:inbox:*"


def inbox_channel(inbox: str) -> str:
    """Pub/sub channel of one API process."""
    return f"tropilla:inbox:{inbox}"


def presence_key(worker: str) -> str:
    """What one worker is and pins; expires when the worker stops announcing itself."""
    return f"tropilla:worker:{worker}"


def load_key(worker: str) -> str:
    """What one worker is computing; expires when it stops saying so."""
    return f"tropilla:load:{worker}"


def order_key(worker: str) -> str:
    """What one worker is told to pin; see orders.py."""
    return f"tropilla:order:{worker}"


def loading_key(worker: str) -> str:
    """The pin that one worker is just loading: what is found there by its next start is what it died of."""
    return f"tropilla:loading:{worker}"


def failure_key(pin: str, worker: str) -> str:
    """Why one worker could not load one pin; expires when it may try again."""
    return f"tropilla:failure:{pin}:{worker}"


def office_key(office: str) -> str:
    """Held by the one process that does something for the whole cluster."""
    return f"tropilla:office:{office}"


def successor_key(office: str) -> str:
    """While whoever holds the office next is expected in a moment."""
    return f"tropilla:office:{office}:successor"


def errand_key(errand_id: str) -> str:
    """Stream of what the store says of one errand."""
    return f"tropilla:errand:{errand_id}"


def errand_asked_key(errand_id: str) -> str:
    """What was asked of the store."""
    return f"tropilla:errand:{errand_id}:asked"


def errand_stop_key(errand_id: str) -> str:
    """Set once somebody wants the errand to stop."""
    return f"tropilla:errand:{errand_id}:stop"


def errand_listeners_key(errand_id: str) -> str:
    """How many listen to the errand."""
    return f"tropilla:errand:{errand_id}:listeners"


def flight_key(flight: str) -> str:
    """The errand that is under way for one thing that only one should be."""
    return f"tropilla:flight:{flight}"


def spent_key(day: int) -> str:
    """Hash of the tokens that each API key's requests took, of those that ended on a day, counted from 1 January 1970."""
    return f"tropilla:spent:{day}"


def asked_key(key_id: str) -> str:
    """List of when an API key's last requests were admitted, in Unix ms, the last one first."""
    return f"tropilla:asked:{key_id}"


def batch_key(batch_id: str) -> str:
    """Hash of one batch: what was asked, how far it is, and the term of the only process that may say so."""
    return f"tropilla:batch:{batch_id}"
