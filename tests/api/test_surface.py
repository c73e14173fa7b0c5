from __future__ import annotations

import pytest
from fakes import answer
from tropilla.api.surface import Fold
from tropilla.common.errors import ContextExceeded
from tropilla.common.generation import Failed


def test_a_stream_folds_to_its_text_and_tokens() -> None:
    fold, events = Fold(1), answer("hello")
    for event in events:
        assert not fold.complete
        fold.feed(event)
    (choice,) = fold.completion().choices
    assert fold.complete
    assert (choice.text, list(choice.tokens), choice.finished) == ("hello", events[:-1], events[-1])


def test_choices_that_finish_in_any_order_come_out_in_index_order() -> None:
    fold = Fold(3)
    for event in [*answer("c", choice=2), *answer("", choice=0), *answer("bb", choice=1)]:
        fold.feed(event)
    assert [choice.text for choice in fold.completion().choices] == ["", "bb", "c"]


def test_a_failure_is_raised_as_what_it_stands_for() -> None:
    with pytest.raises(ContextExceeded) as caught:
        Fold(1).feed(Failed(0, "context_length", "too long", {"context": 8}))
    assert caught.value.facts == {"context": 8}
