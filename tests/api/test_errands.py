"""Errands seen from the API, without a store or with one that says what it is given to say."""

from __future__ import annotations

import pytest
from fakes import FakeBook
from tropilla.api.chores import Errands
from tropilla.api.surface import ErrandCall
from tropilla.common.errands import Delete, Done, Errand, Progress, Refused, Word
from tropilla.common.errors import StoreUnavailable


def desk(book: FakeBook) -> tuple[Errands, list[tuple[Errand, str]]]:
    submitted: list[tuple[Errand, str]] = []
    return Errands(book, lambda errand, flight: submitted.append((errand, flight))), submitted


def test_an_errand_is_put_into_the_queue_once() -> None:
    errands, submitted = desk(FakeBook())
    first, second = Delete("e1", "m"), Delete("e2", "m")
    assert errands.begin(ErrandCall(first, 0.0, flight="m")) == "e1"
    assert errands.begin(ErrandCall(second, 0.0, flight="m")) == "e1"
    assert submitted == [(first, "m")]


def test_without_a_store_nothing_is_begun_and_the_caller_is_told_at_once() -> None:
    book = FakeBook()
    book.open = False
    errands, submitted = desk(book)
    with pytest.raises(StoreUnavailable, match="the store is not running") as caught:
        errands.begin(ErrandCall(Delete("e1", "m"), 0.0))
    assert caught.value.status == 503
    assert (book.begun, submitted) == ([], [])


def test_words_are_heard_to_the_last_one() -> None:
    errands, _ = desk(FakeBook(Progress("on it"), Done("m"), Progress("after that")))
    assert list(errands.words("e1", lambda: False)) == [Progress("on it"), Done("m")]
    assert list(errands.words("e1", lambda: True)) == []


@pytest.mark.parametrize(("last", "told"), [(Done("m"), 1), (Refused("failed", "no"), 0)])
def test_what_is_done_has_changed_what_models_there_are(last: Word, told: int) -> None:
    """It is told before the caller hears of it: his next request finds the model."""
    changes: list[str] = []
    errands = Errands(FakeBook(Progress("on it"), last), lambda errand, flight: None, lambda: changes.append("changed"))
    words = errands.words("e1", lambda: False)
    assert (next(words), changes) == (Progress("on it"), [])
    assert (next(words), len(changes)) == (last, told)
