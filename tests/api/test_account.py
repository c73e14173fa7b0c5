"""The books on generations: what is written down for each way in which one can end."""

from __future__ import annotations

import pytest
from fakes import Clock, request
from tropilla.api.account import Account, Ledger
from tropilla.api.surface import Call
from tropilla.api.watch import PULSE, ClientGone
from tropilla.common.errors import (
    ContextExceeded,
    GenerationFailed,
    InvalidField,
    InvalidPrompt,
    Overloaded,
    StoreUnavailable,
    UnknownModel,
    WorkerLost,
)
from tropilla.common.generation import Failed, Finished, Timings, Token, Usage
from tropilla.common.metrics import SUM, Key, Tally


class Books:
    def __init__(self, most: int = 10) -> None:
        self.clock, self.tally = Clock(), Tally()
        self.ledger = Ledger(self.tally, most, self.clock)

    def open(self, choices: int = 1, max_tokens: int | None = 50) -> Account:
        account = self.ledger.open()
        now = self.clock()
        asked = request(n=choices, max_tokens=max_tokens)
        account.understood(Call(asked, stream=True, received=now, queued=now + 0.25), context=100)
        return account

    @property
    def written(self) -> dict[Key, float]:
        found: dict[Key, float] = {}
        self.tally.flush(found.update)
        return found


def finished(choice: int = 0, seconds: float = 1.0) -> Finished:
    return Finished(
        9, choice, "eos", Usage(7, 4, 5), seed=0, timings=Timings(prefill=seconds / 4, decode=seconds * 3 / 4)
    )


def test_a_success_says_where_its_time_went() -> None:
    books = Books()
    with books.open(choices=2) as account:
        books.clock.advance(1.5)
        assert account.waits
        for event in (PULSE, Token(0, 0, 1, "x"), Token(1, 1, 1, "y"), finished(0), finished(1, seconds=2.0)):
            account.hear(event)
            books.clock.advance(0.5)
        assert not account.waits
    written = books.written
    sums = {key.name: amount for key, amount in written.items() if key.place == SUM and key.name != "gen_ai_tokens"}
    assert {key.model for key in written} == {"m"}
    assert sums == {
        "request_duration": 4.0,
        "request_validation_duration": 0.25,
        # The slower choice's.
        "request_inference_duration": 2.0,
        "request_queue_duration": 1.75,
        "request_max_new_tokens": 50,
        "request_mean_time_per_token_duration": pytest.approx(0.6),
        "request_generated_tokens": 10,
        "request_input_length": 14,
        "request_skipped_tokens": 8,
        "gen_ai_request": 4.0,
        "gen_ai_first_token": 2.0,
        # Four tokens after the first in 0.75 s, and in 1.5.
        "gen_ai_each_token": pytest.approx(0.1875 + 0.375),
        "prefill": 0.75,
        "decode": 2.25,
    }
    assert (written[Key("request_count", "m")], written[Key("request_success", "m")]) == (1, 1)
    assert written[Key("gen_ai_tokens", "m", "text_completion,input", SUM)] == 14
    assert written[Key("gen_ai_tokens", "m", "text_completion,output", SUM)] == 10


def test_without_a_bound_an_answer_might_fill_the_context() -> None:
    books = Books()
    with books.open(max_tokens=None) as account:
        account.hear(finished())
    assert books.written[Key("request_max_new_tokens", "m", place=SUM)] == 100


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InvalidField("x", param=None), "validation"),
        (UnknownModel("x"), "validation"),
        (ContextExceeded("x", code="context_length"), "validation"),
        (InvalidPrompt("x", code="template"), "template"),
        (InvalidPrompt("x", code="invalid_prompt"), "validation"),
        (GenerationFailed("x"), "generation"),
        (WorkerLost("x", code="worker_lost"), "incomplete"),
        (Overloaded("x", retry_after_seconds=1), "overloaded"),
        (StoreUnavailable("x"), "generation"),
        (ClientGone(), "dropped"),
        (RuntimeError("a bug"), "generation"),
    ],
)
def test_every_error_is_counted_as_what_it_is(error: Exception, reason: str) -> None:
    books = Books()
    with pytest.raises(type(error)), books.ledger.open():
        raise error
    assert books.written == {Key("request_count"): 1, Key("request_failure", label=reason): 1}
    assert books.ledger.in_flight == 0


def test_a_stream_is_kept_open_and_its_failure_is_heard() -> None:
    books = Books()
    with books.open() as account:
        account.kept = True
    assert books.ledger.in_flight == 1
    account.hear(Failed(3, "worker_lost", "gone"))
    account.close()
    account.close()
    assert books.ledger.in_flight == 0
    written = books.written
    assert written[Key("request_count", "m")] == written[Key("request_failure", "m", "incomplete")] == 1
    # What has failed is told with its reason, and has no other times.
    assert {(key.name, key.label) for key in written if key.place} == {("gen_ai_request", "text_completion,incomplete")}


def test_an_answer_that_was_never_complete_was_dropped() -> None:
    books = Books()
    with books.open(choices=2) as account:
        account.hear(finished())
    assert books.written[Key("request_failure", "m", "dropped")] == 1


def test_what_is_no_generation_is_not_written_down() -> None:
    books = Books()
    with books.ledger.open():
        pass
    assert books.written == {}


def test_one_too_many_is_refused_and_counted_and_takes_no_place() -> None:
    books = Books(most=1)
    with books.ledger.open():
        with pytest.raises(Overloaded) as refused:
            books.ledger.open()
        assert refused.value.retry_after_seconds == 1
    assert books.written == {Key("request_count"): 1, Key("request_failure", label="overloaded"): 1}
    books.ledger.open()
