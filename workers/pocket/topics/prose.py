"""Texts without a conversation: stories, runs of facts, questions with answers, and texts with a gap."""

from __future__ import annotations

from random import Random

from tropilla.workers.pocket.documents import Gap, Prose
from tropilla.workers.pocket.topics import animals, geography, german, people, stories, sums, words, world

_STATEMENTS = [
    geography.statement, geography.statement, animals.statement, sums.statement, words.statement, world.statement,
    german.statement,
]  # fmt: skip
_QUESTIONS = [
    geography.capital, animals.legs, animals.sound, world.colour, world.plain_fact, words.meaning, sums.asked,
    people.identity, people.greeting, words.opposite, world.listing, german.capital,
]  # fmt: skip


def prose(random: Random) -> Prose:
    style = random.random()
    if style < 0.2:
        return Prose(stories.tell(random))
    if style < 0.35:
        return Prose(sums.table(random))
    if style < 0.75:
        separator = random.choice([" ", " ", "\n"])
        return Prose(separator.join(random.choice(_STATEMENTS)(random) for _ in range(random.randint(2, 7))))
    question, answer = random.choice([
        ("", "\n"), ("", " "), ("", "\n\n"), ("Question: ", "\nAnswer: "), ("Q: ", "\nA: "), ("User: ",
        "\nAssistant: "),
    ])  # fmt: skip
    exchanges = [random.choice(_QUESTIONS)(random)[0] for _ in range(random.choice([1, 1, 2]))]
    return Prose("\n".join(f"{question}{each.question}{answer}{each.answer}" for each in exchanges))


def gap(random: Random) -> Gap:
    """Cut between words, or now and then inside one, as a cursor would stand."""
    whole = (
        stories.tell(random)
        if random.random() < 0.3
        else " ".join(random.choice(_STATEMENTS)(random) for _ in range(random.randint(1, 3)))
    )
    words_at = [index for index, letter in enumerate(whole) if letter == " "]
    start = random.choice([0, *words_at]) if random.random() < 0.8 else random.randrange(len(whole))
    end = min(len(whole), start + random.randint(3, 40))
    if random.random() < 0.8:
        end = min([place for place in words_at if place >= end], default=len(whole))
    return Gap(whole[:start], whole[start:end], whole[end:])
