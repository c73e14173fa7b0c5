"""What is done to a whole answer, and which patterns are not run (models sheet 1.11)."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tropilla.common.polish import MAX_PATTERN_CHARACTERS, pattern_flaw, polished
from tropilla.common.recipes import UNPOLISHED, Polish

#: (polish, text, polished)
CASES: list[tuple[dict[str, Any], str, str]] = [
    ({}, "  as it is ", "  as it is "),
    ({"cut": ("<b>", "</b>")}, "a <b>c</b> <b>d", "a c d"),
    ({"cut": (r"(?s)<think>.*?</think>",)}, "<think>a\nb</think>c<think></think>", "c"),
    ({"cut": (r"<think>.*?</think>",)}, "<think>a\nb</think>c", "<think>a\nb</think>c"),
    ({"extract": (r"\d+", "[a-c]")}, "x12y34b", "12b"),
    ({"extract": (r"(?P<n>\d)(\w)",)}, "x12y34", "12"),
    ({"extract": ("nothing",)}, "stays", "stays"),
    ({"extract": ("a*",)}, "stays", "stays"),
    ({"trim_space": ("A:",)}, "A: yes \n", "yes"),
    ({"trim_space": ("A:",)}, " A: yes ", "A: yes"),
    ({"trim_space": ("", "A:")}, " A: yes ", "yes"),
    ({"trim_suffix": ("!",)}, " yes! ", "yes!"),
    ({"trim_suffix": ("", "!", "s")}, " yes ! ", "ye"),
    # In LocalAI's order: cut, extract, trim.
    ({"cut": ("a",), "extract": ("[ab]+ ",), "trim_space": ("b",), "trim_suffix": ("b",)}, "abab b", ""),
    ({"cut": ("a",), "extract": ("[ab]+ ",), "trim_space": ("c",)}, "abab b", "bb"),
    # Go's `$` is the very end, `\z` too; `(?m)` makes it the end of a line.
    ({"cut": ("b$",)}, "b\n", "b\n"),
    ({"cut": (r"b\z",)}, "b\nb", "b\n"),
    ({"cut": ("(?m)b$",)}, "b\nb", "\n"),
    ({"cut": ("[[:punct:][:space:]]+",)}, "a, b! c", "abc"),
    ({"cut": (r"\x{41}",)}, "ABA", "B"),
    ({"cut": (r"\w",)}, "aé", "é"),
    ({"cut": ("(?i)x",)}, "aXx", "a"),
    # What is no pattern is skipped.
    ({"cut": ("(", "a")}, "(a", "("),
]


@pytest.mark.parametrize(("polish", "text", "expected"), CASES)
def test_an_answer_is_polished(polish: dict[str, Any], text: str, expected: str) -> None:
    assert polished(text, Polish(**polish)) == expected


def test_without_polish_nothing_happens() -> None:
    assert polished(" \n a ", UNPOLISHED) == " \n a "


FINE = [
    r"<think>.*?</think>", "(foo|bar)+", "((foo|bar) )+", "(ab){2,5}", "((ab){2})+", "(?:a|b)*c", "[]a]", "[^]]", "(?i)a|A",
    "a{2", "(?P<n>a)", "(?s:.)", r"\[INST\]", "^a|b$", "a*?b+?c{2,}?", "(|a)",
]  # fmt: skip


@pytest.mark.parametrize("pattern", FINE)
def test_patterns_that_are_run(pattern: str) -> None:
    assert pattern_flaw(pattern) == ""


NESTED = "repeats what itself repeats, or what begins in several ways alike"
FLAWED = [
    ("(a+)+", NESTED),
    ("(a*)*", NESTED),
    ("((a+)b?)*", NESTED),
    ("(x(a+))+", NESTED),
    ("(a{2,3})+", NESTED),
    ("(a?){30}", NESTED),
    ("(a|a)*", NESTED),
    ("(a|ab)*", NESTED),
    ("(a|b|)+", NESTED),
    ("((a|a)b)*", NESTED),
    (r"(\s|\n)*x", NESTED),
    ("(?i)(a|A)*", NESTED),
    ("(a|a){30}", NESTED),
    ("a?" * 9, "too many things"),
    ("(a|a)" * 9, "too many things"),
    (".*.*.*.*", "too many things"),
    ("a{1001}", "more than 1000 times"),
    ("a{5,99999999999999999999}", "more than 1000 times"),
    ("a" * (MAX_PATTERN_CHARACTERS + 1), f"more than {MAX_PATTERN_CHARACTERS} characters"),
    # RE2 has none of these, so nobody's config worked with them.
    ("(?=a)", "nothing that ? could repeat"),
    ("(?<=a)b", "nothing that ? could repeat"),
    ("(?>a)", "nothing that ? could repeat"),
    ("(?P=n)", "nothing that ? could repeat"),
    ("a++", "nothing that + could repeat"),
    (r"(a)\1", r"\1 is not known there"),
    (r"\pN", r"\p is not known there"),
    (r"\Qa\E", r"\Q is not known there"),
    ("[[:word2:]]", "[:word2:] is not known there"),
    ("*", "nothing that * could repeat"),
    ("a|*", "nothing that * could repeat"),
    ("^*", "no regular expression"),
    ("(", "no regular expression"),
    (")", "closes a bracket that is not open"),
    ("[", "a [ is not closed"),
    ("[z-a]", "no regular expression"),
    ("\\", "no regular expression"),
    (r"\x{110000}", "is no character"),
    ("(?P<n>a)(?P<n>b)", "no regular expression"),
]


@pytest.mark.parametrize(("pattern", "why"), FLAWED)
def test_patterns_that_are_not_run(pattern: str, why: str) -> None:
    assert why in pattern_flaw(pattern)


#: Each is the worst that is let through, of its kind.
SLOWEST = ["a?a?a?a?a?a?a?a?b", "(aa|b)*c", r"[a\s]+$", "a*b", "(?:a{1000})b"]


@pytest.mark.parametrize("pattern", SLOWEST)
def test_what_is_run_comes_to_an_end(pattern: str) -> None:
    before = time.process_time()
    polished("a" * 10_000, Polish(cut=(pattern,), extract=(pattern,)))
    assert time.process_time() - before < 5


LONG, TAIL = "ab" * 50_000, "<x>y</x>ab [x]"


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        # Places to begin at are few, or there is nothing to try again.
        (r"(?s)^a.*", ""),
        ("b", "a" * 50_000 + "<x>y</x>a [x]"),
        ("a{2,3}", LONG + TAIL),
        ("[<>]{1,3}", LONG + "xy/xab [x]"),
        ("<x>.*</x>", LONG + "ab [x]"),
        (r"\[x].*", LONG + "<x>y</x>ab "),
        # Each of a hundred thousand may look at all of them.
        ("a.*x", LONG + TAIL),
        ("z?.*x", LONG + TAIL),
        ("^b|x.*", LONG + TAIL),
        ("(?i)x.*", LONG + TAIL),
        ("((b{1000}){1000}|x)", LONG + TAIL),
    ],
)
def test_a_long_answer_is_searched_where_that_is_soon_done(pattern: str, left: str) -> None:
    before = time.process_time()
    assert polished(LONG + TAIL, Polish(cut=(pattern,))) == left
    assert time.process_time() - before < 5
