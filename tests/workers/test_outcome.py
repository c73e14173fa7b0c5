"""What Flower shows of a ticket that is done with."""

from __future__ import annotations

import pytest
from tropilla.common.terms import Told
from tropilla.workers.outcome import Outcome, nobody, served


def told(done: str, kind: str = "generation") -> Told:
    return Told(done, kind, "pocket", 12)


@pytest.mark.parametrize(
    ("known", "said", "shown"),
    [
        (told("completed"), "eos", Outcome("done", "completed 12 tokens of pocket")),
        (told("completed", "embedding"), "embedded", Outcome("done", "completed embedding by pocket")),
        (told("completed", ""), "5 tokens counted", Outcome("done", "5 tokens counted: pocket")),
        (told("cancelled"), "cancelled", Outcome("revoked", "cancelled after 12 tokens of pocket")),
        # Whoever computed it was fenced: Redis knows why.
        (told("expired"), "taken away", Outcome("revoked", "expired after 12 tokens of pocket", expired=True)),
        (told("failed:internal"), "failed", Outcome("failed", "failed:internal of pocket")),
        (told(""), "handed back", Outcome("done", "handed back: pocket")),
        (None, "loaded", Outcome("done", "loaded")),
    ],
)
def test_what_became_of_the_request(known: Told | None, said: str, shown: Outcome) -> None:
    assert served(known, said) == shown


@pytest.mark.parametrize(
    ("known", "shown"),
    [
        (None, Outcome("done", "nobody waits")),
        (told(""), Outcome("done", "nobody waits")),
        (told("expired"), Outcome("revoked", "expired after 12 tokens of pocket", expired=True)),
        (told("cancelled"), Outcome("revoked", "cancelled after 12 tokens of pocket")),
        (told("completed"), Outcome("done", "by another ticket: completed 12 tokens of pocket")),
        (told("failed:internal"), Outcome("done", "by another ticket: failed:internal of pocket")),
    ],
)
def test_a_ticket_for_nobody_tells_why_nobody_waited(known: Told | None, shown: Outcome) -> None:
    assert nobody(known) == shown
