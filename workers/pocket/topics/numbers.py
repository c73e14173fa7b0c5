"""Numbers: their names, which is larger, which is even."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tropilla.workers.pocket.documents import Exchange, listed, phrase

_SMALL = listed("""
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen
""")
_TENS = listed("twenty thirty forty fifty sixty seventy eighty ninety")


def spell(number: int) -> str:
    """The English words for 0 to 199, and "two hundred"."""
    if number < 20:
        return _SMALL[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens - 2] + (f"-{_SMALL[ones]}" if ones else "")
    hundreds, rest = divmod(number, 100)
    head = "one hundred" if hundreds == 1 else f"{_SMALL[hundreds]} hundred"
    return f"{head} and {spell(rest)}" if rest else head


def written(random: Random, number: int, digits: float = 0.75) -> str:
    """Digits mostly, sometimes words."""
    return str(number) if random.random() < digits else spell(number)


def comparing(random: Random) -> Sequence[Exchange]:
    first, second = random.sample(range(1, random.choice([20, 100])), 2)
    larger = random.random() < 0.6
    adjective = random.choice(["larger", "bigger", "greater"]) if larger else random.choice(["smaller", "less"])
    result = max(first, second) if larger else min(first, second)
    other = first + second - result
    question = phrase(
        random,
        "(Which is {j}, {a} or {b}|Which number is {j}, {a} or {b}|What is {j}: {a} or {b}|{a} or {b}, which is {j}|"
        "Which is {j}: {a} or {b})?",
        j=adjective, a=first, b=second,
    )  # fmt: skip
    than = "less" if adjective == "less" else adjective
    return [Exchange(question, f"{result} is {than} than {other}.", word=f"{result}.", facts={"result": result})]


def parity(random: Random) -> Sequence[Exchange]:
    number = random.randint(0, 50)
    kind = "odd" if number % 2 else "even"
    question = phrase(random, "(Is {n} even or odd|Is {n} odd or even|Is the number {n} even or odd)?", n=number)
    return [
        Exchange(question, f"{number} is {kind}.", word=f"{kind.capitalize()}.", facts={"number": number, "kind": kind})
    ]
