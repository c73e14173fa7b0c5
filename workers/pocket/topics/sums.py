"""Small sums: asked, drilled, told as a story, and refused where they are too large."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tropilla.workers.pocket.documents import Exchange, listed, phrase
from tropilla.workers.pocket.topics.numbers import written

_SIGNS = [("+", "plus"), ("+", "plus"), ("-", "minus"), ("x", "times")]


def _operands(random: Random, sign: str) -> tuple[int, int, int]:
    """Sums up to twenty, differences from twenty down, and the table up to ten times ten."""
    top = random.choice([10, 20])
    if sign == "+":
        first = random.randint(0, top)
        second = random.randint(0, min(10, top - first) if top == 20 else 10)
        first, second = random.choice([(first, second), (second, first)])
        return first, second, first + second
    if sign == "-":
        first = random.randint(0, top)
        second = random.randint(0, first)
        return first, second, first - second
    first, second = random.randint(0, 10), random.randint(0, 10)
    return first, second, first * second


def asked(random: Random) -> Sequence[Exchange]:
    sign, word = random.choice(_SIGNS)
    first, second, result = _operands(random, sign)
    digits = random.choice([1.0, 1.0, 1.0, 0.0])
    left, right = written(random, first, digits), written(random, second, digits)
    shown = random.choice([f"{left} {word} {right}", f"{left} {sign} {right}"]) if digits else f"{left} {word} {right}"
    if digits and random.random() < 0.2:
        shown = shown.replace(" ", "") if sign in shown else shown
    if sign == "x" and random.random() < 0.3:
        shown = shown.replace("x", "*")
    question = phrase(
        random,
        "(What is {s}?|What is {s}?|What's {s}?|{s}|{s}?|{s} =|How much is {s}?|Calculate {s}.|Compute {s}.|"
        "What does {s} make?|"
        "Tell me {s}.|Work out {s}.|Add up {s}|What is the result of {s}?|What do you get for {s}?|Solve {s}.)",
        s=shown,
    )
    facts = {"result": result}
    exchanges = [Exchange(question, f"{first} {word} {second} is {result}.", word=f"{result}.", facts=facts)]
    if sign == "+" and random.random() < 0.25 and result <= 30:
        extra = random.randint(1, 10)
        follow = (
            phrase(random, "(And plus|And|Now add|Plus|Add) {e}(.|)", e=extra)
            if random.random() < 0.7
            else f"Add {extra} to that."
        )
        total = result + extra
        exchanges.append(
            Exchange(follow, f"{result} plus {extra} is {total}.", word=f"{total}.", facts={"result": total})
        )
    return exchanges


def drill(random: Random) -> Sequence[Exchange]:
    """Several sums in a row: what has to be learned by heart is met often, at few tokens each."""
    exchanges = []
    for _ in range(random.randint(3, 6)):
        sign, word = random.choice(_SIGNS)
        first, second, result = _operands(random, sign)
        question = phrase(
            random,
            "(What is {a} {s} {b}?|{a} {s} {b}|And {a} {s} {b}?|What is {a} {w} {b}?|{a} {w} {b}?)",
            a=first,
            b=second,
            s=sign,
            w=word,
        )
        exchanges.append(Exchange(question, f"{first} {word} {second} is {result}."))
    return exchanges


def table(random: Random) -> str:
    """The same for prose."""
    lines = []
    for _ in range(random.randint(8, 20)):
        sign, word = random.choice(_SIGNS)
        first, second, result = _operands(random, sign)
        lines.append(f"{first} {word} {second} is {result}.")
    return random.choice([" ", "\n"]).join(lines)


def whole_tens(random: Random) -> Sequence[Exchange]:
    """Whole tens and one hundred: the few larger sums that are easy."""
    first, second = random.randint(1, 10) * 10, random.randint(1, 10) * 10
    question = phrase(random, "(What is|What's|How much is|Calculate|) {a} (plus|+) {b}(?|)", a=first, b=second)
    total = first + second
    return [Exchange(question, f"{first} plus {second} is {total}.", word=f"{total}.", facts={"result": total})]


def too_large(random: Random) -> Sequence[Exchange]:
    """Honesty about the edge of the table above."""
    first, second = (random.randint(2, 99) * 10 + random.randint(1, 9) for _ in range(2))
    if random.random() < 0.3:
        second = random.randint(1, 99)
    question = phrase(
        random,
        "(What is|What's|How much is|Calculate|) {a} (plus|minus|times|divided by|+|-|x|*|/) {b}(?|)",
        a=first,
        b=second,
    )
    return [
        Exchange(question, "That sum is too large for me. I am a small model.", word="Unknown.", facts={"result": None})
    ]


def told(random: Random) -> Sequence[Exchange]:
    """Sums told as a little situation."""
    name = random.choice(listed("Tom Mia Anna Ben Lily Max Emma Jack"))
    things = random.choice(listed("apples balls books coins cookies eggs flowers stones pens cakes"))
    first, second = random.randint(2, 10), random.randint(1, 9)
    if random.random() < 0.5:
        question = f"{name} has {first} {things} and gets {second} more. How many {things} does {name} have?"
        result = first + second
    else:
        first = max(first, second)
        question = f"{name} has {first} {things} and gives away {second}. How many {things} are left?"
        result = first - second
    noun = things[:-1] if result == 1 else things
    return [Exchange(question, f"{name} has {result} {noun}.", word=f"{result}.", facts={"result": result})]


def statement(random: Random) -> str:
    if random.random() < 0.4:
        first = random.choice([0, 1, 1, 1, random.randint(1, 120)])
        return " ".join(map(str, range(first, first + random.randint(6, 40))))
    sign, word = random.choice([("+", "plus"), ("-", "minus"), ("x", "times")])
    first, second, result = _operands(random, sign)
    return random.choice([f"{first} {sign} {second} = {result}", f"{first} {word} {second} is {result}."])
