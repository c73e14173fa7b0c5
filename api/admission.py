"""A request's place among those that wait: what HTTP headers say of it, and what callers are told of it. Pure.

Every dialect's routes read the same ones:

    Authorization: Bearer ... / x-api-key    whose turn it is: keys that wait share a model's tokens equally (auth.py)
    X-Priority: interactive|normal|batch     who is more urgent goes first
    X-Request-Deadline: 2.5 / 2.5s / 1500ms  after so long nobody wants the answer
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from tropilla.common.errors import InvalidField, LimitReached, Overloaded
from tropilla.common.generation import LoadRequest, Request, TokenizeRequest
from tropilla.common.keys import NOBODY, Principal
from tropilla.common.terms import PRIORITIES, Priority, Terms

PRIORITY = "X-Priority"
DEADLINE = "X-Request-Deadline"

#: Nine digits of seconds are thirty years; the sum of more would be no time of Redis's any more.
DEADLINE_PATTERN = r"([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})\s*(ms|s)?"
_DEADLINE = re.compile(DEADLINE_PATTERN)
#: What a waiting place is assumed to cost, in seconds, where nothing better is known.
SECONDS_PER_WAITING = 0.25
#: Which bound a request that is refused has met.
_FULL: Mapping[str, str] = {
    "model": "the queue of {model} is full ({number} waiting)",
    "model_share": "this API key has {number} requests waiting for {model}; the places that are left there are for others "
    "until some of its own have begun",
    "key": "the queue of this API key is full ({number} waiting)",
    "all": "the queue of all models together is full ({number} waiting)",
    "all_share": "this API key has {number} requests waiting, of all models together; the places that are left are for "
    "others until some of its own have begun",
}


def terms(
    headers: Mapping[str, str], request: Request, said: Priority | None = None, *, principal: Principal = NOBODY
) -> Terms:
    """headers: names in lower case. said: how urgent the body calls it, which a header overrules. Raises `InvalidField`
    naming the header.
    """
    priority = _priority(headers.get(PRIORITY.lower()))
    # What takes a moment and computes nothing waits for nobody.
    short = isinstance(request, TokenizeRequest | LoadRequest)
    return Terms(
        key=principal.key,
        limits=principal.limits,
        priority="interactive" if short else priority or said or "normal",
        deadline_seconds=_deadline(headers.get(DEADLINE.lower())),
    )


def _priority(word: str | None) -> Priority | None:
    if word is None:
        return None
    found = next((priority for priority in PRIORITIES if priority == word.strip().lower()), None)
    if found is None:
        raise InvalidField(f"{PRIORITY} must be one of {', '.join(PRIORITIES)}", param=PRIORITY)
    return found


def _deadline(text: str | None) -> float | None:
    if text is None:
        return None
    found = _DEADLINE.fullmatch(text.strip())
    seconds = float(found[1]) / (1000 if found[2] == "ms" else 1) if found else 0.0
    if seconds <= 0:
        raise InvalidField(f"{DEADLINE} must be a number of seconds above 0, as in 2.5, 2.5s or 1500ms", param=DEADLINE)
    return seconds


def refusal(outcome: str, number: int, wait: float | None, *, model: str, deadline_seconds: float) -> Overloaded | None:
    """Why a request may not wait; None where it may. outcome, number, wait: as `room.Admitted` has them."""
    if outcome == "late" and wait is not None:
        text = f"it could not begin within {deadline_seconds:g} s: {number} go first, which takes about {wait:.1f} s"
        return Overloaded(text, retry_after_seconds=_seconds(wait - deadline_seconds))
    if outcome == "requests" and wait is not None:
        text = f"this API key may ask {number} times a minute"
        # Before the time is up it would be refused again.
        return LimitReached(text, retry_after_seconds=max(1, math.ceil(wait)), limit="requests")
    if outcome == "tokens" and wait is not None:
        text = f"this API key has used up the {number} tokens that it may take in a day, until midnight UTC"
        return LimitReached(text, retry_after_seconds=max(1, math.ceil(wait)), limit="tokens")
    if outcome not in _FULL:
        return None
    seconds = number * SECONDS_PER_WAITING if wait is None else wait
    return Overloaded(_FULL[outcome].format(number=number, model=model), retry_after_seconds=_seconds(seconds))


def queued(before: int, seconds: float | None) -> str:
    """Of one who waits: how many go first, and for about how long."""
    about = "" if seconds is None or not before else f", about {_seconds(seconds)} s"
    return f"queued, {before} before you{about}"


def _seconds(seconds: float) -> int:
    """A header has no fractions, and 0 would mean at once."""
    return max(1, round(seconds))
