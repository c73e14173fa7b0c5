"""What the store says of an errand, in Ollama's words: lines of progress, or the last of them alone (sheet, section 10)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tropilla.api.framing import NDJSON
from tropilla.api.surface import JSON, ErrandCall, Frame, Reply
from tropilla.common.errands import Done, Progress, Pull, RefusalCode, Refused, Word

#: JavaScript's client throws where a stream ends without it.
SUCCESS: Mapping[str, JSON] = {"status": "success"}

STATUSES: Mapping[RefusalCode, int] = {
    "invalid": 400,
    "unknown": 404,
    "forbidden": 403,
    "conflict": 409,
    "failed": 500,
    "cancelled": 500,
}
#: A manifest that no registry has is no fault of the path.
PULL_STATUSES: Mapping[RefusalCode, int] = {**STATUSES, "unknown": 500}


def line(word: Word) -> dict[str, JSON]:
    """Numbers that are 0 and texts that are empty are left out."""
    match word:
        case Refused():
            return {"error": word.message}
        case Done():
            return dict(SUCCESS)
        case Progress():
            more = {"digest": word.digest, "total": word.total, "completed": word.completed}
            return {"status": word.status, **{key: value for key, value in more.items() if value}}


def lines(_: ErrandCall) -> Callable[[Word], Iterable[Frame]]:
    """A store that says itself that it succeeded is not told twice."""
    return lambda word: () if isinstance(word, Progress) and word.status == "success" else (Frame(line(word)),)


def last(call: ErrandCall, said: tuple[Word, ...]) -> Reply:
    """`stream` false: what came of it."""
    word = said[-1]
    return _refused(call, word) if isinstance(word, Refused) else Reply(line(word))


def nothing(call: ErrandCall, said: tuple[Word, ...]) -> Reply:
    """An empty body says that it is done; Python's client takes anything but a 200 for a failure."""
    word = said[-1]
    return _refused(call, word) if isinstance(word, Refused) else Reply(None)


def at_once(*lines: Mapping[str, JSON], stream: bool, failed: int = 500) -> Reply:
    """What a stream would say, where nobody needs to be asked. failed: the status of an error that is told alone."""
    if stream:
        return Reply(b"".join(NDJSON.frame(each, "") for each in lines).decode(), headers=NDJSON.headers)
    return Reply(lines[-1], failed if "error" in lines[-1] else 200)


def _refused(call: ErrandCall, word: Refused) -> Reply:
    statuses = PULL_STATUSES if isinstance(call.errand, Pull) else STATUSES
    return Reply(line(word), statuses[word.code])
