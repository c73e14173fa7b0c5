from __future__ import annotations

import random

import pytest
from tropilla.workers.text import Text

#: bytes, stop strings, keep_stop -> text, the stop string that ended it
CASES = [
    ("hello", (), False, "hello", ""),
    ("hello", ("",), False, "hello", ""),
    ("hello", ("xyz",), False, "hello", ""),
    ("hello END more", ("END",), False, "hello ", "END"),
    ("hello END more", ("END",), True, "hello END", "END"),
    ("hello EN", ("END",), False, "hello EN", ""),
    ("hello EN", ("END",), True, "hello EN", ""),
    ("END", ("END",), False, "", "END"),
    ("abcd", ("abcd", "bc"), False, "a", "bc"),
    ("abcd", ("abcx", "bcd"), False, "a", "bcd"),
    ("xabc", ("abc", "c"), False, "x", "abc"),
    ("xabc", ("c", "abc"), True, "xabc", "abc"),
    ("aaab", ("aab",), False, "a", "aab"),
    ("ababac", ("abac",), False, "ab", "abac"),
    ("one\n\ntwo", ("\n\n",), False, "one", "\n\n"),
    ("naïve 👩‍👩‍👧 Grüße", ("ß",), False, "naïve 👩‍👩‍👧 Grü", "ß"),
    ("👍👍🏽", ("🏽",), False, "👍👍", "🏽"),
    ("👍👍🏽!", ("🏽",), True, "👍👍🏽", "🏽"),
]


def run(pieces: list[bytes], stops: tuple[str, ...], *, keep_stop: bool) -> tuple[list[str], str]:
    text = Text(stops, keep_stop=keep_stop)
    shown = []
    for piece in pieces:
        shown.append(text.feed(piece))
        if text.stopped:
            break
    return [*shown, text.flush()], text.stopped


def cuts(data: bytes) -> list[list[bytes]]:
    """The whole, every byte alone, and forty random ways between."""
    chance = random.Random(data)
    ways = [[data], [data[i : i + 1] for i in range(len(data))]]
    for _ in range(40):
        places = sorted(chance.sample(range(len(data) + 1), chance.randint(0, min(6, len(data)))))
        ways.append([data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)])
    return ways


@pytest.mark.parametrize(("said", "stops", "keep", "text", "stopped"), CASES)
def test_text_and_stop_do_not_depend_on_where_the_bytes_are_cut(
    said: str, stops: tuple[str, ...], keep: bool, text: str, stopped: str
) -> None:
    for pieces in cuts(said.encode()):
        shown, stop = run(pieces, stops, keep_stop=keep)
        assert ("".join(shown), stop) == (text, stopped), pieces


@pytest.mark.parametrize(("said", "stops", "keep", "text", "stopped"), CASES)
def test_nothing_is_shown_that_must_be_taken_back(
    said: str, stops: tuple[str, ...], keep: bool, text: str, stopped: str
) -> None:
    for pieces in cuts(said.encode()):
        shown, _ = run(pieces, stops, keep_stop=keep)
        for end in range(len(shown)):
            assert text.startswith("".join(shown[:end]))


@pytest.mark.parametrize("keep", [False, True])
def test_random_texts_and_overlapping_stops_agree_however_they_are_cut(keep: bool) -> None:
    chance = random.Random(7)
    for _ in range(1500):
        said = "".join(chance.choices("abé", k=chance.randint(1, 12))).encode()
        stops = tuple("".join(chance.choices("abé", k=chance.randint(1, 4))) for _ in range(chance.randint(1, 4)))
        results = set()
        for pieces in cuts(said)[:12]:
            shown, stop = run(pieces, stops, keep_stop=keep)
            results.add(("".join(shown), stop))
        assert len(results) == 1, (said, stops, results)


def test_invalid_bytes_become_replacement_characters_however_they_are_cut() -> None:
    chance = random.Random(3)
    for _ in range(300):
        data = bytes(chance.choices([0x41, 0xC3, 0xA9, 0xE2, 0x82, 0xF0, 0x9F, 0xFF, 0x80], k=10)) + b"."
        expected = data.decode("utf-8", errors="replace")
        assert {"".join(run(pieces, (), keep_stop=False)[0]) for pieces in cuts(data)} == {expected}


def test_half_a_character_is_held_back() -> None:
    text = Text()
    assert [text.feed(bytes([byte])) for byte in "é👍".encode()] == ["", "é", "", "", "", "👍"]


def test_half_a_character_at_the_end_is_dropped() -> None:
    text = Text()
    assert text.feed("ab👍".encode()[:-1]) == "ab"
    assert text.flush() == ""


def test_the_possible_beginning_of_a_stop_string_is_held_back_until_it_is_none() -> None:
    text = Text(["END"])
    assert [text.feed(piece) for piece in (b"xE", b"N", b"x", b"E")] == ["x", "", "ENx", ""]
    assert text.flush() == "E"


def test_a_kept_stop_string_need_not_be_held_back() -> None:
    text = Text(["END"], keep_stop=True)
    assert [text.feed(piece) for piece in (b"xE", b"N", b"Dx")] == ["xE", "N", "D"]
    assert text.stopped == "END"


def test_flushing_after_a_stop_shows_nothing() -> None:
    text = Text(["b", "bcd"])
    assert text.feed(b"abc") == "a"
    assert text.flush() == ""


def test_feeding_after_the_end_is_our_bug() -> None:
    text = Text(["a"])
    text.feed(b"a")
    with pytest.raises(AssertionError):
        text.feed(b"b")
