"""The checker finds what it is there for: each kind of harm, put into an answer that was right."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from faults.checker import Asked, Heard, Loss, journalled, pauses, share, verdict
from faults.comeback import frames_in, timeless
from faults.script import Script, indices
from tropilla.common.generation import Event, Finished, Token, Usage

COUNT = 20
ASKED = Asked("/v1/completions", True, "tell me", 7, COUNT)
WORDS = Script(b"tell me", 7).words(COUNT)


def heard(words: list[str], **more: object) -> Heard:
    said = Heard(ASKED, 0.0, request_id="r", pieces=words, arrivals=[float(n) for n in range(len(words))], last=True)
    for name, value in more.items():
        setattr(said, name, value)
    return said


def test_the_script_is_the_same_for_everybody_and_another_for_each_prompt_and_seed() -> None:
    assert Script(b"tell me", 7).words(COUNT) == WORDS
    assert indices("".join(WORDS)) == list(range(COUNT))
    others = [Script(b"tell us", 7).words(COUNT), Script(b"tell me", 8).words(COUNT)]
    assert WORDS not in others
    assert others[0] != others[1]


def test_a_word_behind_the_wrong_word_is_another_one() -> None:
    script = Script(b"tell me", 7)
    assert len({script.variant(5, before) for before in range(8)}) > 1


def test_a_right_answer_is_right() -> None:
    assert verdict(heard(WORDS)) == []


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (lambda words: words[:7] + words[8:], ["lost 7"]),
        (lambda words: words[:12], ["lost 12, 13, 14 and 5 more"]),
        (lambda words: words[:8] + words[7:], ["repeated 7"]),
        (
            lambda words: words[:3] + words[8:] + words[12:],
            ["lost 3, 4, 5 and 2 more", "repeated 12, 13, 14 and 5 more"],
        ),
        (lambda words: [words[1], words[0], *words[2:]], ["out of order"]),
        (lambda words: [*words, " 20.00"], ["too many 20"]),
        (lambda words: [*words[:5], " 5.00" if words[5] != " 5.00" else " 5.01", *words[6:]], ["other words"]),
        (lambda words: [*words, "!"], ["other words"]),
    ],
    ids=["a gap", "cut off", "a repeat", "both", "swapped", "too many", "another word", "noise"],
)
def test_each_kind_of_harm_is_found(harm: Callable[[list[str]], list[str]], found: list[str]) -> None:
    assert verdict(heard(harm(list(WORDS)))) == found


def test_an_answer_without_an_end_or_with_an_error_is_wrong() -> None:
    assert verdict(heard(WORDS, last=False)) == ["no end"]
    assert verdict(heard(WORDS, error="500")) == ["error: 500"]
    assert verdict(heard(WORDS, numbers=[0, 2])) == ["the dialect's own numbers have a gap"]


def journal(words: list[str], *, first: int = 0) -> list[Event]:
    tokens: list[Event] = [Token(first + n, 0, n, text) for n, text in enumerate(words)]
    return [*tokens, Finished(first + len(words), 0, "length", Usage(1, 0, len(words)), seed=7)]


@pytest.mark.parametrize(
    ("events", "found"),
    [
        (journal(WORDS), []),
        (journal(WORDS, first=1), ["the journal's indices have a gap"]),
        (journal(WORDS)[:-1], ["the journal has not one end"]),
        (journal([*WORDS, " 20.00"]), ["the journal says other words than its client heard"]),
    ],
    ids=["alike", "a gap", "no end", "other words"],
)
def test_a_journal_is_compared_with_what_was_heard(events: list[Event], found: list[str]) -> None:
    assert journalled(heard(WORDS, journal=events)) == found


def arriving(*times: float) -> Heard:
    return heard(WORDS[: len(times)], arrivals=list(times))


@pytest.mark.parametrize(
    ("times", "losses", "found"),
    [
        ((0.0, 1.0, 4.0, 5.0), [1.5], [(1, 2.5)]),
        # What was under way still arrives; the silence comes after it.
        ((0.0, 1.0, 1.1, 4.0, 5.0), [1.05], [(1, 2.4)]),
        ((0.0, 1.0, 4.0, 5.0), [1.5, 3.5], [(2, 2.5)]),
        ((0.0, 1.0, 4.0, 7.0), [1.5, 4.5], [(1, 2.5), (1, 2.5)]),
        # Before the first word, and after the last, nothing is interrupted.
        ((1.0, 2.0), [0.5, 2.5], []),
        ((), [0.5], []),
    ],
)
def test_a_pause_is_the_silence_around_a_loss(
    times: tuple[float, ...], losses: list[float], found: list[tuple[int, float]]
) -> None:
    lost = [Loss(at, "w", ("r",)) for at in losses] + [Loss(0.1, "w", ("another",))]
    said = [(pause.losses, round(pause.seconds, 6)) for pause in pauses([arriving(*times)], lost, 0.5)]
    assert said == found


def test_a_share_of_values_is_one_of_them() -> None:
    values = [float(n) for n in range(1, 101)]
    assert [share(values, part) for part in (0.0, 0.5, 0.99, 1.0)] == [1.0, 50.0, 99.0, 100.0]


def test_frames_are_whole_or_not_there() -> None:
    assert frames_in("/v1/completions", b"data: 1\nid: a\n\ndata: 2") == ([b"data: 1\nid: a\n\n"], b"data: 2")
    assert frames_in("/api/generate", b'{"a":1}\n{"b"') == ([b'{"a":1}\n'], b'{"b"')


def test_what_ollama_says_of_the_time_is_no_part_of_the_answer() -> None:
    one = b'{"created_at":"2026-11-21T21:11:59.2Z","response":" 0.99","total_duration":12,"done":true}'
    other = b'{"created_at":"2026-11-22T00:00:00.0Z","response":" 0.99","total_duration":13,"done":true}'
    assert timeless(one) == timeless(other)
    assert timeless(one) != timeless(other.replace(b"0.99", b"0.98"))
