"""What a run comes to: what its clients heard, beside the script and the journals, and what is left over in the cluster."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cluster.herd import Herd
from faults.checker import Heard, Loss, journalled, pauses, spread, verdict
from tropilla.common import names
from tropilla.common.bus import UNACKED_INDEX
from tropilla.common.generation import Token

Check = Callable[[Heard], list[str]]
#: A cluster may still hold something for so long after its last answer: a dead worker's tickets are handed out again by
#: Celery ten at a time, and a thousand dead have left thousands.
SETTLE_SECONDS = 240.0
SHOWN_FAULTS = 20


def account(
    herd: Herd, heard: Sequence[Heard], losses: Sequence[Loss], usual_seconds: float, check: Check = verdict
) -> dict[str, Any]:
    """`exact`: requests that were answered word by word as they should have been; `wrong`: how many were not, by what was
    wrong with them. `interrupted`: requests that ran on a worker when it was lost.
    """
    losses, ledger = felt(heard, losses), rows(herd)
    wrong = Counter(fault for each in heard for fault in check(each))
    journals = Counter(fault for each in heard for fault in journalled(each))
    running = {request_id for loss in losses for request_id in loss.requests}
    silent = pauses(heard, losses, usual_seconds)
    booked = Counter(fault for each in heard for fault in misbooked(each, ledger.get(each.request_id, [])))
    return {
        "requests": len(heard),
        "streams": sum(each.asked.stream for each in heard),
        "exact": sum(not check(each) for each in heard),
        "wrong": dict(wrong.most_common(SHOWN_FAULTS)),
        "journals_wrong": dict(journals.most_common(SHOWN_FAULTS)),
        "ledger_wrong": dict(booked.most_common(SHOWN_FAULTS)),
        "tokens": sum(len(each.journal) - 1 for each in heard if each.journal),
        "losses": len(losses),
        "interrupted": len(running),
        "before_first_token": before_first_token(heard, losses),
        "twice_or_more": sum(count > 1 for count in times_lost(losses).values()),
        "added_pause_seconds": spread([pause.seconds for pause in silent]),
        "added_pause_seconds_of_one_loss": spread([pause.seconds for pause in silent if pause.losses == 1]),
    }


def rows(herd: Herd) -> dict[str, list[dict[str, str]]]:
    """What the ledger says of each request."""
    found: dict[str, list[dict[str, str]]] = {}
    for _, fields in herd.redis.xrange(names.LEDGER_KEY):
        row = {name.decode(): value.decode() for name, value in fields.items()}
        found.setdefault(row["request"], []).append(row)
    return found


def misbooked(heard: Heard, booked: Sequence[Mapping[str, str]]) -> list[str]:
    """What is wrong with the ledger's rows of a request: there is one, and it counts the tokens in the journal."""
    if len(booked) != 1:
        return [f"{len(booked)} rows in the ledger"]
    told = sum(isinstance(event, Token) for event in heard.journal)
    return [] if int(booked[0]["generated"]) == told else ["the ledger counts other tokens"]


def felt(heard: Iterable[Heard], losses: Iterable[Loss]) -> list[Loss]:
    """The losses with the requests that were under way: a lease outlives a request that has ended."""
    spans = {each.request_id: (each.began, each.ended) for each in heard}
    over = (0.0, 0.0)
    return [
        Loss(loss.at, loss.worker, tuple(r for r in loss.requests if (s := spans.get(r, over))[0] < loss.at < s[1]))
        for loss in losses
    ]


def times_lost(losses: Sequence[Loss]) -> Counter[str]:
    """How many workers each request lost."""
    return Counter(request_id for loss in losses for request_id in loss.requests)


def before_first_token(heard: Sequence[Heard], losses: Sequence[Loss]) -> int:
    """How often a stream's worker was lost before its client had heard anything: claimed, or in prefill."""
    first = {each.request_id: each.arrivals[0] for each in heard if each.asked.stream and each.arrivals}
    return sum(loss.at < first[name] for loss in losses for name in loss.requests if name in first)


def left_over(herd: Herd, lane: str) -> dict[str, int]:
    """What should be nothing once the last answer is over; waits for it."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while any((left := _left_over(herd, lane)).values()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return left


def _left_over(herd: Herd, lane: str) -> dict[str, int]:
    ids = {key.decode().split(":")[2] for key in herd.redis.scan_iter(names.lease_key("*"), count=10_000)}
    return {
        "leases": len(ids),
        "requests_waiting": herd.waiting(lane),
        "tickets_waiting": herd.room.tickets(lane),
        "tickets_unacknowledged": herd.redis.zcard(UNACKED_INDEX),
        "slots_in_use": sum(worker.running for worker in herd.bus.catalogue().workers),
    }


def bar(what: str, value: float, limit: float, *, least: bool = False, unit: str = "") -> dict[str, Any]:
    """One line of the page: a figure beside what it should be at the most, or at the least."""
    met = value >= limit if least else value <= limit
    return {"what": what, "value": value, "limit": limit, "sense": "≥" if least else "≤", "unit": unit, "met": met}


def usual_bars(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of every run in which requests are answered."""
    wrong = result["requests"] - result["exact"]
    return [
        bar("requests not answered exactly", wrong, 0),
        bar("journals that differ", sum(result["journals_wrong"].values()), 0),
        bar("rows of the ledger that differ", sum(result["ledger_wrong"].values()), 0),
        bar("left over in the cluster", sum(result["left_over"].values()), 0),
    ]
