"""Countries: their capitals, languages and continents."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from tropilla.workers.pocket.documents import Exchange, phrase


class Country(NamedTuple):
    capital: str
    language: str
    continent: str


COUNTRIES = {
    "France": Country("Paris", "French", "Europe"),
    "Germany": Country("Berlin", "German", "Europe"),
    "Italy": Country("Rome", "Italian", "Europe"),
    "Spain": Country("Madrid", "Spanish", "Europe"),
    "Portugal": Country("Lisbon", "Portuguese", "Europe"),
    "England": Country("London", "English", "Europe"),
    "Ireland": Country("Dublin", "English", "Europe"),
    "Austria": Country("Vienna", "German", "Europe"),
    "Poland": Country("Warsaw", "Polish", "Europe"),
    "Greece": Country("Athens", "Greek", "Europe"),
    "Sweden": Country("Stockholm", "Swedish", "Europe"),
    "Norway": Country("Oslo", "Norwegian", "Europe"),
    "Finland": Country("Helsinki", "Finnish", "Europe"),
    "Denmark": Country("Copenhagen", "Danish", "Europe"),
    "Hungary": Country("Budapest", "Hungarian", "Europe"),
    "Turkey": Country("Ankara", "Turkish", "Asia"),
    "Russia": Country("Moscow", "Russian", "Europe"),
    "Japan": Country("Tokyo", "Japanese", "Asia"),
    "China": Country("Beijing", "Chinese", "Asia"),
    "India": Country("New Delhi", "Hindi", "Asia"),
    "Egypt": Country("Cairo", "Arabic", "Africa"),
    "Kenya": Country("Nairobi", "Swahili", "Africa"),
    "Canada": Country("Ottawa", "English", "North America"),
    "Mexico": Country("Mexico City", "Spanish", "North America"),
    "Cuba": Country("Havana", "Spanish", "North America"),
    "Brazil": Country("Brasília", "Portuguese", "South America"),
    "Peru": Country("Lima", "Spanish", "South America"),
    "Chile": Country("Santiago", "Spanish", "South America"),
    "Australia": Country("Canberra", "English", "Australia"),
}

ASK_CAPITAL = (
    "(What is the capital of {c}|What's the capital of {c}|Tell me the capital of {c}|Which city is the capital of {c}|"
    "Name the capital of {c}|Do you know the capital of {c}|What is the capital city of {c}|The capital of {c}|"
    "{c}'s capital|"
    "Can you tell me the capital of {c}|I want to know the capital of {c}|What is {c}'s capital|Capital of {c})(?|.)"
)
ASK_COUNTRY = (
    "(Which country is {c} the capital of|{c} is the capital of which country|Of which country is {c} the capital|"
    "What country has the capital {c}|Which country has {c} as its capital|In which country is {c}|Where is {c}|"
    "What country is {c} in)?"
)
AND_OF = "(And|And the capital|And that|And what about the one|What about the capital) of {c}?"
WHAT_ABOUT = "(And|What about|And for|And in|How about) {c}?"


def _capital(country: str, question: str) -> Exchange:
    city = COUNTRIES[country].capital
    return Exchange(
        question, f"The capital of {country} is {city}.", word=f"{city}.", facts={"country": country, "capital": city}
    )


def capital(random: Random) -> Sequence[Exchange]:
    first, *more = random.sample(list(COUNTRIES), 3)
    exchanges = [_capital(first, phrase(random, ASK_CAPITAL, c=first))]
    exchanges += [_capital(name, phrase(random, random.choice([AND_OF, WHAT_ABOUT]), c=name)) for name in more]
    return exchanges[: random.choice([1, 1, 2, 3])]


def country(random: Random) -> Sequence[Exchange]:
    name = random.choice(list(COUNTRIES))
    city = COUNTRIES[name].capital
    question = phrase(random, ASK_COUNTRY, c=city)
    located = " in" in question or "Where" in question
    answer = f"{city} is in {name}." if located else f"{city} is the capital of {name}."
    exchanges = [Exchange(question, answer, word=f"{name}.", facts={"city": city, "country": name})]
    if random.random() < 0.3:
        language = COUNTRIES[name].language
        asked = phrase(
            random, "(What do people speak there|Which language do they speak there|What language is spoken there)?"
        )
        exchanges.append(
            Exchange(asked, f"People in {name} speak {language}.", word=f"{language}.", facts={"language": language})
        )
    return exchanges


def language(random: Random) -> Sequence[Exchange]:
    first, second = random.sample(list(COUNTRIES), 2)
    asked = "(Which language|What language) (do people speak|is spoken|do they speak) in {c}?"
    exchanges = []
    for name, pattern in ((first, asked), (second, WHAT_ABOUT)):
        spoken = COUNTRIES[name].language
        facts = {"country": name, "language": spoken}
        exchanges.append(
            Exchange(
                phrase(random, pattern, c=name), f"People in {name} speak {spoken}.", word=f"{spoken}.", facts=facts
            )
        )
    return exchanges[: random.choice([1, 1, 2])]


def continent(random: Random) -> Sequence[Exchange]:
    first, second = random.sample([name for name in COUNTRIES if name != "Australia"], 2)
    asked = (
        "(On which continent is {c}|Which continent is {c} on|What continent is {c} in|"
        "In which part of the world is {c})?"
    )
    exchanges = []
    for name, pattern in ((first, asked), (second, WHAT_ABOUT)):
        part = COUNTRIES[name].continent
        facts = {"country": name, "continent": part}
        exchanges.append(
            Exchange(phrase(random, pattern, c=name), f"{name} is in {part}.", word=f"{part}.", facts=facts)
        )
    return exchanges[: random.choice([1, 1, 2])]


def statement(random: Random) -> str:
    """A plain sentence for prose."""
    name = random.choice(list(COUNTRIES))
    pattern = random.choice(
        [
            "The capital of {n} is {c.capital}.",
            "The capital of {n} is {c.capital}.",
            "{c.capital} is the capital of {n}.",
            "People in {n} speak {c.language}.",
        ]
    )
    return pattern.format(n=name, c=COUNTRIES[name])
