from __future__ import annotations

import pytest
from fakes import EOS, sequence
from tropilla.common.generation import Alternative
from tropilla.workers.sequence import Sampled


def letter(text: str, **fields: object) -> Sampled:
    return Sampled(ord(text[0]), text.encode(), False, False, **fields)  # type: ignore[arg-type]


END = Sampled(EOS, b"</s>", ends=True, special=True)


def test_known_and_computed_tokens_say_what_is_pending() -> None:
    one = sequence(prompt=5)
    one.computed = 5
    one.take(letter("x"), 0, 1.0)
    assert (one.pending, one.generated) == (1, 1)


def test_an_end_marker_is_a_token_without_text() -> None:
    one = sequence()
    token = one.take(END, 0, 1.0)
    assert (token.id, token.text, token.special, token.last) == (EOS, "", True, True)
    assert one.finish(1, 1.0, "w").reason == "eos"


def test_a_marker_that_does_not_end_the_turn_is_not_text_either() -> None:
    token = sequence().take(Sampled(258, b"<|im_start|>", ends=False, special=True), 0, 1.0)
    assert (token.text, token.special, token.last) == ("", True, False)


def test_a_marker_is_text_where_it_is_to_be_shown_unless_it_ends_the_answer() -> None:
    one = sequence(show_markers=True, stop_tokens=(259,))
    token = one.take(Sampled(258, b"<|im_start|>", ends=False, special=True), 0, 1.0)
    assert (token.text, token.special) == ("<|im_start|>", True)
    assert one.take(Sampled(259, b"<|im_end|>", ends=False, special=True), 1, 1.0).text == ""
    assert sequence(show_markers=True).take(END, 0, 1.0).text == ""


def test_the_last_token_carries_what_was_held_back() -> None:
    one = sequence(stop=["xyz"], max_tokens=2)
    assert one.take(letter("x"), 0, 1.0).text == ""
    assert one.take(letter("y"), 1, 1.0).text == "xy"
    assert one.reason == "length"


def test_an_end_marker_releases_what_was_held_back() -> None:
    one = sequence(stop=["xyz"])
    one.take(letter("x"), 0, 1.0)
    assert one.take(END, 1, 1.0).text == "x"


def test_a_stop_string_wins_over_the_length() -> None:
    one = sequence(stop=["b"], max_tokens=1)
    token = one.take(letter("b"), 0, 1.0)
    finished = one.finish(1, 1.0, "w")
    assert (token.text, finished.reason, finished.stop) == ("", "stop", "b")


def test_log_probabilities_are_told_only_when_asked_for() -> None:
    top = (Alternative(1, b"z", -2.0),)
    silent = sequence().take(letter("x", logprob=-1.0, top=top), 0, 1.0)
    asked = sequence(logprobs=1).take(letter("x", logprob=-1.0, top=top), 0, 1.0)
    assert (silent.piece, silent.logprob, silent.top) == (b"", None, ())
    assert (asked.piece, asked.logprob, asked.top) == (b"x", -1.0, top)


def test_a_sequence_without_a_reason_was_cancelled() -> None:
    finished = sequence(prompt=4).finish(0, 5.0, "w")
    assert (finished.reason, finished.usage.prompt, finished.usage.generated) == ("cancelled", 4, 0)


def test_the_timings_add_up() -> None:
    one = sequence(max_tokens=2)
    one.added_at, one.started_at = 10.0, 11.0
    one.take(letter("a"), 0, 13.0)
    one.take(letter("b"), 1, 17.0)
    timings = one.finish(2, 17.0, "w").timings
    assert (timings.queue, timings.prefill, timings.decode) == (1.0, 2.0, 4.0)


def test_an_empty_prompt_is_our_bug() -> None:
    with pytest.raises(AssertionError):
        sequence(prompt=[])
