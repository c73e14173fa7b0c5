"""Animals: sound, legs, home and young."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from tropilla.workers.pocket.documents import Exchange, phrase
from tropilla.workers.pocket.topics.numbers import spell


class Animal(NamedTuple):
    legs: int
    kind: str
    home: str
    food: str
    sound: str = ""
    young: str = ""


ANIMALS = {
    "cat": Animal(4, "mammal", "a house", "fish and mice", "meow", "kitten"),
    "dog": Animal(4, "mammal", "a kennel", "meat", "woof", "puppy"),
    "cow": Animal(4, "mammal", "a barn", "grass", "moo", "calf"),
    "sheep": Animal(4, "mammal", "a meadow", "grass", "baa", "lamb"),
    "pig": Animal(4, "mammal", "a sty", "almost everything", "oink", "piglet"),
    "horse": Animal(4, "mammal", "a stable", "hay and grass", "neigh", "foal"),
    "duck": Animal(2, "bird", "a pond", "water plants", "quack", "duckling"),
    "hen": Animal(2, "bird", "a henhouse", "corn", "cluck", "chick"),
    "owl": Animal(2, "bird", "a hollow tree", "mice", "hoot", "owlet"),
    "lion": Animal(4, "mammal", "the savanna", "meat", "roar", "cub"),
    "frog": Animal(4, "amphibian", "a pond", "insects", "croak", "tadpole"),
    "bee": Animal(6, "insect", "a hive", "nectar", "buzz", "larva"),
    "mouse": Animal(4, "mammal", "a hole", "cheese and grain", "squeak"),
    "snake": Animal(0, "reptile", "the grass", "mice", "hiss"),
    "wolf": Animal(4, "mammal", "a den", "meat", "howl", "pup"),
    "goat": Animal(4, "mammal", "the mountains", "grass", "bleat", "kid"),
    "bear": Animal(4, "mammal", "a cave", "berries and fish", "growl", "cub"),
    "fox": Animal(4, "mammal", "a den", "mice and berries", "", "cub"),
    "rabbit": Animal(4, "mammal", "a burrow", "carrots and grass"),
    "spider": Animal(8, "arachnid", "a web", "insects"),
    "ant": Animal(6, "insect", "an anthill", "seeds and insects"),
    "fish": Animal(0, "fish", "the water", "water plants"),
    "whale": Animal(0, "mammal", "the sea", "tiny sea animals", "", "calf"),
    "penguin": Animal(2, "bird", "the ice", "fish", "", "chick"),
    "elephant": Animal(4, "mammal", "the savanna", "leaves and grass", "trumpet", "calf"),
    "kangaroo": Animal(2, "mammal", "Australia", "grass", "", "joey"),
    "eagle": Animal(2, "bird", "a nest", "small animals", "", "eaglet"),
    "bird": Animal(2, "bird", "a nest", "seeds and insects", "tweet", "chick"),
    "butterfly": Animal(6, "insect", "the garden", "nectar", "", "caterpillar"),
}

WHAT_ABOUT = "(And|What about|How about) {a}?"


def article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def plural(noun: str) -> str:
    irregular = {
        "mouse": "mice",
        "wolf": "wolves",
        "sheep": "sheep",
        "fish": "fish",
        "fox": "foxes",
        "butterfly": "butterflies",
    }
    return irregular.get(noun, f"{noun}s")


def _legs(name: str, question: str) -> Exchange:
    count = ANIMALS[name].legs
    words = f"{spell(count)} legs" if count else "no legs"
    facts = {"animal": name, "legs": count}
    return Exchange(
        question, f"{article(name).capitalize()} has {words}.", word=f"{spell(count).capitalize()}.", facts=facts
    )


def legs(random: Random) -> Sequence[Exchange]:
    first, second = random.sample(list(ANIMALS), 2)
    question = phrase(
        random,
        "(How many legs does {a} have|How many legs do {p} have|How many legs has {a}|Tell me how many legs {a} has|"
        "What number of legs does {a} have|Legs of {a}|How many feet does {a} have)?",
        a=article(first),
        p=plural(first),
    )
    follow = phrase(random, WHAT_ABOUT, a=article(second))
    return [_legs(first, question), _legs(second, follow)][: random.choice([1, 1, 2])]


def _sound(name: str, question: str) -> Exchange:
    sound = ANIMALS[name].sound
    facts = {"animal": name, "sound": sound}
    return Exchange(question, f"{article(name).capitalize()} says {sound}.", word=f"{sound.capitalize()}.", facts=facts)


def sound(random: Random) -> Sequence[Exchange]:
    first, second = random.sample([name for name, animal in ANIMALS.items() if animal.sound], 2)
    question = phrase(
        random,
        "(What sound does {a} make|What does {a} say|Which sound does {a} make|What noise does {a} make|"
        "How does {a} sound|"
        "What do {p} say|The sound of {a}|What sound do {p} make|Make the sound of {a})?",
        a=article(first),
        p=plural(first),
    )
    follow = phrase(random, WHAT_ABOUT, a=article(second))
    return [_sound(first, question), _sound(second, follow)][: random.choice([1, 1, 2])]


def maker(random: Random) -> Sequence[Exchange]:
    """From the sound back to the animal, where the sound belongs to one animal only."""
    name, animal = random.choice([(name, animal) for name, animal in ANIMALS.items() if animal.sound])
    question = phrase(
        random,
        "(Which|What) animal (says|goes|makes the sound) {s}?",
        s=random.choice([animal.sound, f'"{animal.sound}"']),
    )
    facts = {"animal": name, "sound": animal.sound}
    answer = f"{article(name).capitalize()} says {animal.sound}."
    return [Exchange(question, answer, word=f"{name.capitalize()}.", facts=facts)]


def young(random: Random) -> Sequence[Exchange]:
    first, second = random.sample([name for name, animal in ANIMALS.items() if animal.young], 2)
    question = phrase(
        random,
        "(What is a baby {a} called|What is a young {a} called|What do you call a baby {a}|What's a baby {a} called|"
        "What is the name for a young {a}|What do we call a young {a}|How is a baby {a} called|The young of {b})?",
        a=first,
        b=article(first),
    )
    follow = phrase(random, "(And|What about|How about) a (baby|young) {a}?", a=second)
    exchanges = []
    for name, asked in ((first, question), (second, follow)):
        child = ANIMALS[name].young
        facts = {"animal": name, "young": child}
        answer = f"A baby {name} is called {article(child)}."
        exchanges.append(Exchange(asked, answer, word=f"{child.capitalize()}.", facts=facts))
    return exchanges[: random.choice([1, 1, 2])]


def home(random: Random) -> Sequence[Exchange]:
    name = random.choice(list(ANIMALS))
    question = phrase(
        random, "(Where does {a} live|Where do {p} live|What is the home of {a}|Where can I find {a})?",
        a=article(name), p=plural(name),
    )  # fmt: skip
    place = ANIMALS[name].home
    preposition = "on" if place == "the ice" else "in"
    facts = {"animal": name, "home": place}
    answer = f"{article(name).capitalize()} lives {preposition} {place}."
    return [Exchange(question, answer, word=f"{place.split()[-1].capitalize()}.", facts=facts)]


def food(random: Random) -> Sequence[Exchange]:
    name = random.choice(list(ANIMALS))
    question = phrase(
        random, "(What does {a} eat|What do {p} eat|What is the food of {a}|What does {a} like to eat)?",
        a=article(name), p=plural(name),
    )  # fmt: skip
    meal = ANIMALS[name].food
    answer = f"{article(name).capitalize()} eats {meal}."
    return [Exchange(question, answer, word=f"{meal.split()[-1].capitalize()}.", facts={"animal": name, "food": meal})]


def kind(random: Random) -> Sequence[Exchange]:
    name = random.choice([name for name in ANIMALS if name not in ("fish", "bird")])
    sort = ANIMALS[name].kind
    question = phrase(random, "(What is {a}|What kind of animal is {a}|What sort of animal is {a})?", a=article(name))
    answer = f"{article(name).capitalize()} is {article(sort)}."
    return [Exchange(question, answer, word=f"{sort.capitalize()}.", facts={"animal": name, "kind": sort})]


def ability(random: Random) -> Sequence[Exchange]:
    """Yes and no, with the reason in the same sentence."""
    name, animal = random.choice(list(ANIMALS.items()))
    verb = random.choice(["fly", "swim", "talk"])
    flies = (animal.kind == "bird" and name not in ("penguin", "hen")) or name in ("bee", "butterfly")
    swims = name in ("duck", "fish", "whale", "penguin", "frog", "dog", "bear", "elephant", "horse")
    able = {"fly": flies, "swim": swims, "talk": False}[verb]
    question = phrase(random, "(Can {a} {v}|Can {p} {v}|Is {a} able to {v})?", a=article(name), p=plural(name), v=verb)
    word = "Yes" if able else "No"
    answer = f"{word}, {article(name)} {'can' if able else 'cannot'} {verb}."
    return [Exchange(question, answer, word=f"{word}.", facts={"animal": name, verb: able})]


def statement(random: Random) -> str:
    name, animal = random.choice(list(ANIMALS.items()))
    subject = article(name).capitalize()
    count = f"{spell(animal.legs)} legs" if animal.legs else "no legs"
    choices = [f"{subject} has {count}.", f"{subject} eats {animal.food}."]
    if animal.sound:
        choices.append(f"{subject} says {animal.sound}.")
    if animal.young:
        choices.append(f"A baby {name} is called {article(animal.young)}.")
    return random.choice(choices)
