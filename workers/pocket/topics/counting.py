"""Counting: up and down, in words and in steps, and what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tropilla.workers.pocket.documents import Exchange, phrase
from tropilla.workers.pocket.topics.numbers import spell, written


def upwards(random: Random) -> Sequence[Exchange]:
    common = [5, 10, 20, 30, 40, 50, 100]
    rare = [random.randint(31, 100), random.choice([60, 70, 80, 90, 100, 120, 150, 200])]
    last = random.choice([random.choice(common), random.randint(2, 30), random.randint(15, 60), random.choice(rare)])
    first = 1
    question = phrase(
        random,
        "(Count to {b}|Count up to {b}|Count from {a} to {b}|Count from {a} up to {b}|Please count to {b}|"
        "Can you count to {b}|"
        "Write the numbers from {a} to {b}|List the numbers from {a} to {b}|Print the numbers {a} to {b}|"
        "Count {a} to {b}|"
        "Say the numbers from {a} to {b})(.|)",
        a=written(random, first),
        b=written(random, last),
    )
    numbers = list(range(first, last + 1))
    return [Exchange(question, " ".join(map(str, numbers)), facts={"numbers": numbers} if last <= 20 else {})]


def otherwise(random: Random) -> Sequence[Exchange]:
    """From anywhere, down, in words, and in steps."""
    style = random.choice(["middle", "middle", "down", "down", "words", "twos", "fives", "tens"])
    if style == "middle":
        first = random.randint(0, 90)
        last = first + random.randint(2, 20)
        question = phrase(
            random, "(Count|Count up|Count on) from {a} to {b}(.|)", a=written(random, first), b=written(random, last)
        )
        return [Exchange(question, " ".join(map(str, range(first, last + 1))))]
    if style == "down":
        first = random.choice([3, 5, 10, 10, 10, 20, 20, random.randint(3, 30)])
        question = phrase(
            random,
            "(Count down from {a}|Count backwards from {a}|Count down from {a} to one|Count from {a} to 1|"
            "Count back from {a} to 1|"
            "Countdown from {a})(.|)",
            a=written(random, first),
        )
        return [Exchange(question, " ".join(map(str, range(first, 0, -1))))]
    if style == "words":
        last = random.choice([3, 5, 5, 10, 10, 12, 15, 20])
        question = phrase(
            random,
            "(Count to {b} in words|Count in words to {b}|Spell the numbers to {b})(.|)",
            b=written(random, last),
        )
        return [Exchange(question, " ".join(spell(number) for number in range(1, last + 1)))]
    step = {"twos": 2, "fives": 5, "tens": 10}[style]
    last = step * random.choice([5, 10, 10])
    question = phrase(random, "Count (in|by) {s} to {b}(.|)", s=style, b=written(random, last))
    return [Exchange(question, " ".join(str(number) for number in range(step, last + 1, step)))]


def drill(random: Random) -> Sequence[Exchange]:
    """Where to stop is one token in a whole count: short counts in a row teach it."""
    exchanges = []
    for _ in range(random.randint(2, 5)):
        last = random.choice([random.randint(2, 16), random.randint(10, 40)])
        question = phrase(
            random, "(Count to {b}|Count from 1 to {b}|And to {b}|Now to {b})(.|)", b=written(random, last, 0.85)
        )
        exchanges.append(Exchange(question, " ".join(map(str, range(1, last + 1)))))
    return exchanges


def neighbour(random: Random) -> Sequence[Exchange]:
    number = random.randint(1, 99)
    side, step = random.choice([("after", 1), ("before", -1)])
    question = phrase(random, "(What|Which number) comes (right|) {s} {n}?", s=side, n=written(random, number))
    other = number + step
    answer = f"The number {side} {number} is {other}."
    return [Exchange(question, answer, word=f"{other}.", facts={"number": other})]
