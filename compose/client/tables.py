"""What people see of lists and models: rows of text, out of values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from tropilla.common.dead import Dead
from tropilla.common.keys import Key, Limits
from tropilla.common.ledger import Sum
from tropilla.compose.client import words
from tropilla.compose.client.answers import Listed, Running, Shown

#: Of a digest: enough to tell any two apart.
DIGEST_DIGITS = 12
LISTED_HEADER = ("NAME", "ID", "SIZE", "MODIFIED")
RUNNING_HEADER = ("NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL")
#: Behind what is summed up by.
SUM_HEADER = ("REQUESTS", "COMPLETED", "CANCELLED", "EXPIRED", "FAILED", "PROMPT", "CACHED", "GENERATED")
DEAD_HEADER = ("MODEL", "GIVEN UP", "WORKERS LOST", "TOKENS", "ASKED AGAIN", "ID")
KEY_HEADER = ("NAME", "ID", "KEY", "SCOPES", "LIMITS", "MADE", "LAST USED", "TOKENS TODAY", "STATE")
#: What a sum is called that belongs to nobody in particular.
NOBODY = "-"
TOTAL = "in all"
#: Lines of a system text or license that `show` gives before it says how many more there are.
SHOWN_LINES = 3
GAP = "    "
#: A name is never cut to less: a terminal that narrow folds the lines.
SHORTEST_FIRST = 12

Row = tuple[str, ...]
#: A title and its lines.
Section = tuple[str, tuple[Row, ...]]


def aligned(rows: Sequence[Row], *, width: int | None = None) -> list[str]:
    """Lines with their columns under each other. Where they are wider than that, first cells are cut, down to a point."""
    if not rows:
        return []
    columns = max(map(len, rows))
    widths = [max(len(row[at]) for row in rows if at < len(row)) for at in range(columns)]
    if width is not None:
        others = sum(widths[1:]) + len(GAP) * (columns - 1)
        widths[0] = min(widths[0], max(width - others, SHORTEST_FIRST))
    return [GAP.join(_cut(cell, widths[at]).ljust(widths[at]) for at, cell in enumerate(row)).rstrip() for row in rows]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def listed_rows(models: Iterable[Listed], now: datetime, start: str = "") -> Iterator[Row]:
    """Of the models whose names begin like that, in any case."""
    for model in models:
        if model.name.lower().startswith(start.lower()):
            yield model.name, model.digest[:DIGEST_DIGITS], words.size(model.size_bytes), words.ago(model.modified, now)


def running_rows(models: Iterable[Running], now: datetime) -> Iterator[Row]:
    for model in models:
        yield (
            model.name,
            model.digest[:DIGEST_DIGITS],
            words.size(model.size_bytes),
            processor(model.size_bytes, model.gpu_bytes),
            str(model.context or ""),
            words.from_now(model.expires, now),
        )


def sum_rows(sums: Mapping[str, Sum]) -> Iterator[Row]:
    """Of each group, and where there are several of everything."""
    for name, each in sums.items():
        yield name or NOBODY, *map(str, _counts(each))
    if len(sums) > 1:
        yield TOTAL, *map(str, (sum(column) for column in zip(*map(_counts, sums.values()), strict=True)))


def _counts(each: Sum) -> tuple[int, ...]:
    ended = (each.completed, each.cancelled, each.expired, each.failed)
    return (each.requests, *ended, each.prompt, each.cached, each.generated)


def dead_rows(letters: Iterable[Dead], now: datetime) -> Iterator[Row]:
    for each in letters:
        again = "yes" if each.retried else "no"
        died = words.ago(each.died, now)
        yield each.model, died, ", ".join(each.workers), str(each.prompt + each.generated), again, each.id


def key_rows(keys: Iterable[Key], used: Mapping[str, int], spent: Mapping[str, int], now: datetime) -> Iterator[Row]:
    """used: ids -> Unix seconds; spent: ids -> tokens."""
    for key in keys:
        yield (
            key.name or NOBODY,
            key.id,
            f"...{key.last_four}",
            ",".join(key.scopes),
            ", ".join(_limits(key.limits)) or NOBODY,
            _ago(key.created, now),
            _ago(used[key.id], now) if key.id in used else "never",
            str(spent.get(key.id, 0)),
            _state(key, now),
        )


def _limits(limits: Limits) -> Iterator[str]:
    told = ((limits.max_queue, "waiting"), (limits.requests_per_minute, "a minute"))
    yield from (f"{number} {what}" for number, what in told if number)
    if limits.tokens_per_day:
        yield f"{limits.tokens_per_day} tokens a day"


def _state(key: Key, now: datetime) -> str:
    if key.revoked is not None:
        return f"revoked {_ago(key.revoked, now)}"
    if key.expires is None:
        return "good"
    expires = datetime.fromtimestamp(key.expires, UTC)
    return f"until {words.from_now(expires, now)}" if expires > now else f"expired {words.ago(expires, now)}"


def _ago(seconds: int, now: datetime) -> str:
    return words.ago(datetime.fromtimestamp(seconds, UTC), now)


def processor(size_bytes: int, gpu_bytes: int) -> str:
    """Where a model lies: `100% CPU`, `100% GPU`, `48%/52% CPU/GPU`."""
    if gpu_bytes <= 0 or size_bytes <= 0:
        return "100% CPU"
    if gpu_bytes >= size_bytes:
        return "100% GPU"
    # A rest on the CPU is never rounded away: it is what makes the model slow.
    gpu = min(99, max(1, round(100 * gpu_bytes / size_bytes)))
    return f"{100 - gpu}%/{gpu}% CPU/GPU"


def sections(model: Shown, *, verbose: bool) -> Iterator[Section]:
    """What `show` says of a model; `verbose` adds everything in its file's header."""
    details = model.details
    facts = (
        ("architecture", model.facts.get("general.architecture") or details.get("family")),
        ("parameters", details.get("parameter_size")),
        ("context length", model.fact("context_length")),
        ("embedding length", model.fact("embedding_length")),
        ("quantization", details.get("quantization_level")),
        ("made from", details.get("parent_model")),
    )
    yield "Model", tuple((title, str(fact)) for title, fact in facts if fact)
    if model.eyes:
        yield "Projector", tuple((title, str(fact)) for title, fact in _eyes(model.eyes) if fact)
    if model.capabilities:
        yield "Capabilities", tuple((each,) for each in model.capabilities)
    if model.parameters:
        yield "Parameters", tuple(_pair(line) for line in model.parameters.splitlines() if line.strip())
    if verbose:
        for title, facts_of in (("Metadata", model.facts), ("Projector's metadata", model.eyes)):
            known = sorted((key, fact) for key, fact in facts_of.items() if fact is not None)
            if known:
                yield title, tuple((key, str(fact)) for key, fact in known)
    for title, text in (("System", model.system), ("License", model.license)):
        if text:
            yield title, tuple((line,) for line in _beginning(text.strip().splitlines(), whole=verbose))


def _eyes(facts: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Of what reads images for a model."""
    yield "architecture", facts.get("general.architecture")
    yield "type", facts.get("clip.vision.projector_type") or facts.get("clip.projector_type")
    yield "parameters", facts.get("general.parameter_count")
    yield "image size", facts.get("clip.vision.image_size")
    yield "dimensions", facts.get("clip.vision.projection_dim")


def _pair(line: str) -> Row:
    name, _, value = line.strip().partition(" ")
    return name, value.strip()


def _beginning(lines: Sequence[str], *, whole: bool) -> Sequence[str]:
    if whole or len(lines) <= SHOWN_LINES + 1:
        return lines
    return [*lines[:SHOWN_LINES], f"({len(lines) - SHOWN_LINES} more lines)"]
