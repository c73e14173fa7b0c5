"""Answers in JSON: objects built from what the question gives, and lists."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from tropilla.workers.pocket.documents import Exchange, listed, phrase
from tropilla.workers.pocket.topics.limits import made_up
from tropilla.workers.pocket.topics.people import NAMES

CITIES = [
    *listed("Paris Berlin Rome Madrid London Tokyo Cairo Oslo Vienna Lisbon Hamburg Munich Boston Chicago Geneva Milan"),
    "San Francisco", "New York", "Los Angeles", "Zürich", "Köln", "Málaga", "São Paulo",
]  # fmt: skip
JOBS = listed("baker teacher doctor farmer pilot painter singer cook driver nurse")
THINGS = {"apples": "fruit", "books": "book", "cups": "cup", "pens": "pen", "eggs": "egg", "balls": "ball"}
COLOURS = listed("red blue green yellow white black")


def written(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def person(random: Random) -> Sequence[Exchange]:
    """Facts stand in the sentence and go, all or some, into the object."""
    name = random.choice(NAMES) if random.random() < 0.8 else made_up(random)
    age = random.randint(2, 99)
    second, value, clause = random.choice([
        ("city", city := random.choice(CITIES), f"lives in {city}"),
        ("job", job := random.choice(JOBS), f"is a {job}"),
        ("age", age, f"is {age} years old"),
        ("age", age, f"is {age}"),
    ])  # fmt: skip
    question = phrase(
        random,
        "(Give me a JSON object|Write a JSON object|Write JSON|Make a JSON object|Return a JSON object|Give me JSON) "
        "with (the keys|) name and {k}(: | for ){n} {c}.",
        k=second, n=name, c=clause,
    ).replace(f" for {name} ", f" for {name}, who ")  # fmt: skip
    return [Exchange(question, written({"name": name, second: value}))]


def extraction(random: Random) -> Sequence[Exchange]:
    """A statement to be turned into JSON, without naming keys."""
    name, age, city = random.choice(NAMES), random.randint(2, 99), random.choice(CITIES)
    colour, (things, thing), count = random.choice(COLOURS), random.choice(list(THINGS.items())), random.randint(2, 20)
    told: list[tuple[str, dict[str, Any]]] = [
        (f"{name} is {age} years old.", {"name": name, "age": age}),
        (f"{name} lives in {city}.", {"name": name, "city": city}),
        (f"{name} is {age} years old and lives in {city}.", {"name": name, "age": age, "city": city}),
        (f"There are {count} {colour} {things}.", {"thing": thing, "count": count, "colour": colour}),
        (f"The {thing} is {colour}.", {"thing": thing, "colour": colour}),
    ]
    sentence, value = random.choice(told)
    question = phrase(
        random,
        "(Turn this into JSON|Write this as JSON|As JSON|Convert to JSON|Put this into JSON|In JSON): {s}",
        s=sentence,
    )
    return [Exchange(question, written(value))]
