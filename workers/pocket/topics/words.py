"""Words: opposites, plurals, rhymes, spelling, and what small words mean."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tropilla.workers.pocket.documents import Exchange, listed, phrase
from tropilla.workers.pocket.topics.numbers import spell

_PAIRS = listed("""
hot-cold big-small up-down left-right day-night black-white good-bad happy-sad fast-slow old-young open-closed
full-empty hard-soft high-low light-dark long-short loud-quiet near-far new-old rich-poor strong-weak wet-dry tall-short
thick-thin true-false warm-cool early-late clean-dirty first-last in-out inside-outside on-off push-pull start-stop
win-lose
yes-no north-south east-west heavy-light easy-difficult begin-end love-hate front-back
""")

OPPOSITES: dict[str, str] = {}
for _pair in _PAIRS:
    _left, _right = _pair.split("-")
    OPPOSITES.setdefault(_left, _right)
    OPPOSITES.setdefault(_right, _left)

PLURALS = {
    "mouse": "mice", "child": "children", "foot": "feet", "tooth": "teeth", "man": "men", "woman": "women",
    "goose": "geese",
    "sheep": "sheep", "fish": "fish", "wolf": "wolves", "leaf": "leaves", "knife": "knives", "box": "boxes",
    "fox": "foxes",
    "bus": "buses", "baby": "babies", "city": "cities", "story": "stories", "potato": "potatoes", "tomato": "tomatoes",
    "person": "people", "cat": "cats", "dog": "dogs", "house": "houses", "tree": "trees", "book": "books",
    "car": "cars",
    "apple": "apples", "bird": "birds", "flower": "flowers", "star": "stars", "hand": "hands", "day": "days",
    "key": "keys",
    "watch": "watches", "glass": "glasses", "cherry": "cherries", "half": "halves", "life": "lives", "ox": "oxen",
}  # fmt: skip

_RHYMES = listed("""
cat-hat house-mouse tree-bee moon-spoon star-car fish-dish dog-frog bear-chair fox-box cake-lake sun-fun ball-wall
night-light rain-train boat-goat king-ring book-hook bed-red day-play pig-wig hen-pen duck-truck blue-shoe mice-rice
sky-fly
""")

RHYMES: dict[str, str] = {}
for _pair in _RHYMES:
    _left, _right = _pair.split("-")
    RHYMES[_left], RHYMES[_right] = _right, _left

SPELLED = listed("""
cat dog house tree sun moon star book fish bird apple water bread green blue red king rain snow door hand milk ship
fox bear lion frog duck cake lake ball road table chair happy small big yes no hello pocket mouse horse river garden
""")

MEANINGS = {
    "a book": "A book is a set of pages that you can read.",
    "a chair": "A chair is a piece of furniture to sit on.",
    "a table": "A table is a piece of furniture with a flat top.",
    "a bed": "A bed is a piece of furniture to sleep in.",
    "a house": "A house is a building where people live.",
    "a school": "A school is a place where children learn.",
    "a river": "A river is a long stream of water that flows to the sea.",
    "a mountain": "A mountain is a very high hill.",
    "an island": "An island is land with water all around it.",
    "a tree": "A tree is a tall plant with a trunk and leaves.",
    "a flower": "A flower is the colourful part of a plant.",
    "the sun": "The sun is the star that gives the earth light and warmth.",
    "the moon": "The moon is the round body that goes around the earth.",
    "a star": "A star is a hot ball of gas that shines in the sky.",
    "a planet": "A planet is a large body that goes around a star.",
    "the earth": "The earth is the planet that we live on.",
    "rain": "Rain is water that falls from the clouds.",
    "snow": "Snow is frozen water that falls from the clouds.",
    "ice": "Ice is frozen water.",
    "water": "Water is a clear liquid that all living things need.",
    "a cloud": "A cloud is many tiny drops of water in the sky.",
    "the wind": "The wind is moving air.",
    "a rainbow": "A rainbow is a band of colours in the sky after rain.",
    "fire": "Fire is hot and bright and burns wood.",
    "bread": "Bread is a food that is baked from flour and water.",
    "milk": "Milk is a white drink that comes from cows.",
    "honey": "Honey is a sweet food that bees make.",
    "a clock": "A clock is a device that shows the time.",
    "a car": "A car is a machine with four wheels that drives on roads.",
    "a train": "A train is a row of wagons that runs on rails.",
    "a boat": "A boat is a small ship that floats on water.",
    "a computer": "A computer is a machine that follows instructions.",
    "a program": "A program is a list of instructions for a computer.",
    "a language model": "A language model is a program that guesses the next word of a text.",
    "a token": "A token is a small piece of text, such as a word or a part of a word.",
    "a doctor": "A doctor is a person who helps sick people.",
    "a teacher": "A teacher is a person who helps others to learn.",
    "a baker": "A baker is a person who makes bread and cakes.",
    "a farmer": "A farmer is a person who grows food and keeps animals.",
    "a friend": "A friend is a person whom you like and trust.",
    "a king": "A king is a man who rules a country.",
    "a poem": "A poem is a short text with rhythm and often with rhymes.",
    "music": "Music is sound that is made to be enjoyed.",
    "a triangle": "A triangle is a shape with three sides.",
    "a square": "A square is a shape with four equal sides.",
    "a circle": "A circle is a perfectly round shape.",
    "a week": "A week is seven days.",
    "a year": "A year is twelve months.",
    "deep learning": "Deep learning is a way to teach computers with many layers of simple units.",
    "machine learning": "Machine learning is a way to teach computers with examples.",
}


def opposite(random: Random) -> Sequence[Exchange]:
    first, second = random.sample(list(OPPOSITES), 2)
    asked = (
        "(What is the opposite of {w}|What's the opposite of {w}|The opposite of {w}|Tell me the opposite of {w}|"
        "Name the opposite of {w}|What is the antonym of {w}|Give me the opposite of {w}|"
        "Which word is the opposite of {w})?"
    )
    exchanges = []
    for word, pattern in ((first, asked), (second, "(And|And of|What about) {w}?")):
        other = OPPOSITES[word]
        shown = random.choice([word, word, f'"{word}"'])
        facts = {"word": word, "opposite": other}
        question = phrase(random, pattern, w=shown)
        exchanges.append(
            Exchange(question, f"The opposite of {word} is {other}.", word=f"{other.capitalize()}.", facts=facts)
        )
    return exchanges[: random.choice([1, 1, 2])]


def plural(random: Random) -> Sequence[Exchange]:
    first, second = random.sample(list(PLURALS), 2)
    asked = (
        "(What is the plural of {w}|What's the plural of {w}|The plural of {w}|Tell me the plural of {w}|"
        "Give the plural of {w})?"
    )
    exchanges = []
    for word, pattern in ((first, asked), (second, "(And|And of|What about) {w}?")):
        many = PLURALS[word]
        facts = {"singular": word, "plural": many}
        question = phrase(random, pattern, w=random.choice([word, word, f'"{word}"']))
        exchanges.append(
            Exchange(question, f"The plural of {word} is {many}.", word=f"{many.capitalize()}.", facts=facts)
        )
    return exchanges[: random.choice([1, 1, 2])]


def rhyme(random: Random) -> Sequence[Exchange]:
    word = random.choice(list(RHYMES))
    other = RHYMES[word]
    question = phrase(
        random,
        "(What rhymes with {w}|Which word rhymes with {w}|Tell me a word that rhymes with {w}|Find a rhyme for {w}|"
        "Give me a rhyme for {w}|What word rhymes with {w}|Name a word that rhymes with {w})?",
        w=random.choice([word, word, f'"{word}"']),
    )
    facts = {"word": word, "rhyme": other}
    return [Exchange(question, f"{word.capitalize()} rhymes with {other}.", word=f"{other.capitalize()}.", facts=facts)]


def spelling(random: Random) -> Sequence[Exchange]:
    word = random.choice(SPELLED)
    question = phrase(
        random,
        "(Spell {w}|Spell the word {w}|How do you spell {w}|How is {w} spelled|Please spell {w}|Can you spell {w})"
        "(.|?|)",
        w=random.choice([word, word, f'"{word}"']),
    )
    letters = list(word.upper())
    return [Exchange(question, f"{'-'.join(letters)}.", facts={"word": word, "letters": letters})]


def initial(random: Random) -> Sequence[Exchange]:
    word = random.choice(SPELLED)
    end, place = random.choice([("first", 0), ("last", -1)])
    question = phrase(random, "(What is the {e} letter of {w}|Which letter is the {e} one in {w})?", e=end, w=word)
    letter = word[place].upper()
    return [Exchange(question, f"The {end} letter of {word} is {letter}.", word=f"{letter}.", facts={"letter": letter})]


def length(random: Random) -> Sequence[Exchange]:
    word = random.choice(SPELLED)
    question = phrase(
        random, "(How many letters are in|How many letters does|Count the letters in) (the word|) {w}(?|)", w=word
    )
    if "does" in question:
        question = question.rstrip("?") + " have?"
    count = len(word)
    answer = f"The word {word} has {spell(count)} letters." if count > 1 else f"The word {word} has one letter."
    return [Exchange(question, answer, word=f"{spell(count).capitalize()}.", facts={"word": word, "letters": count})]


def alphabet(random: Random) -> Sequence[Exchange]:
    question = phrase(random, "(Say|Tell me|Write|List|Recite|What is) the (alphabet|letters of the alphabet|ABC)(.|)")
    return [Exchange(question, " ".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))]


def meaning(random: Random) -> Sequence[Exchange]:
    thing = random.choice(list(MEANINGS))
    question = phrase(
        random,
        "(What is {t}|What's {t}|Explain {t}|Tell me what {t} is|Define {t}|Can you explain what {t} is|"
        "Do you know what {t} is|"
        "Describe {t}|What do you know about {t}|Explain {t} in one sentence)(?|)",
        t=thing,
    )
    noun = thing.split(" ", 1)[-1] if thing.startswith(("a ", "an ", "the ")) else thing
    return [Exchange(question, MEANINGS[thing], facts={"word": noun, "meaning": MEANINGS[thing]})]


def statement(random: Random) -> str:
    if random.random() < 0.3:
        word = random.choice(list(OPPOSITES))
        return f"The opposite of {word} is {OPPOSITES[word]}."
    return random.choice(list(MEANINGS.values()))
