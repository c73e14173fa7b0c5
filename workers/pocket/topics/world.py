"""The everyday world: colours, the calendar, lists of things, and plain facts."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tropilla.workers.pocket.documents import Exchange, listed, phrase
from tropilla.workers.pocket.topics.numbers import spell

COLOURS = {
    "the sky": "blue", "grass": "green", "the sun": "yellow", "snow": "white", "coal": "black", "blood": "red",
    "a lemon": "yellow", "a banana": "yellow", "a tomato": "red", "a frog": "green", "milk": "white", "the sea": "blue",
    "an orange": "orange", "a carrot": "orange", "a strawberry": "red", "chocolate": "brown", "a pig": "pink",
    "a cherry": "red",
    "an elephant": "grey", "a leaf": "green", "the night": "black", "a cloud": "white", "a plum": "purple",
    "gold": "yellow",
    "a pumpkin": "orange", "a fire engine": "red", "a polar bear": "white", "a cucumber": "green", "a swan": "white",
    "a raven": "black", "honey": "golden", "wood": "brown", "the moon": "white", "a flamingo": "pink",
}  # fmt: skip

MIXTURES = {
    ("red", "yellow"): "orange", ("blue", "yellow"): "green", ("red", "blue"): "purple", ("red", "white"): "pink",
    ("black", "white"): "grey", ("green", "red"): "brown", ("blue", "white"): "light blue",
}  # fmt: skip

DAYS = listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = listed("January February March April May June July August September October November December")
SEASONS = listed("spring summer autumn winter")

LISTS = {
    "fruits": listed("apple banana cherry pear plum orange grape peach lemon strawberry"),
    "colours": listed("red blue green yellow orange purple white black pink brown"),
    "animals": listed("cat dog horse cow sheep lion bear fox rabbit mouse"),
    "vegetables": listed("carrot potato onion tomato cabbage pea bean cucumber pumpkin"),
    "birds": listed("owl eagle duck hen swan raven penguin sparrow"),
    "countries": listed("France Germany Italy Spain Japan China India Egypt Brazil Canada"),
    "cities": listed("Paris Berlin Rome Madrid London Tokyo Cairo Oslo Vienna Lisbon"),
    "planets": listed("Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune"),
    "drinks": listed("water milk tea coffee juice lemonade"),
    "tools": listed("hammer saw knife shovel axe screwdriver"),
    "sports": listed("football tennis swimming running rowing chess"),
    "languages": listed("English German French Spanish Italian Greek"),
    "instruments": listed("piano violin flute drum guitar trumpet"),
    "trees": listed("oak pine birch willow maple palm"),
}

FACTS = [
    ("How many days are in a week", "A week has seven days.", "Seven."),
    ("How many months are in a year", "A year has twelve months.", "Twelve."),
    ("How many days are in a year", "A year has 365 days.", "365."),
    ("How many hours are in a day", "A day has 24 hours.", "24."),
    ("How many minutes are in an hour", "An hour has sixty minutes.", "Sixty."),
    ("How many seconds are in a minute", "A minute has sixty seconds.", "Sixty."),
    ("How many seasons are there", "There are four seasons: spring, summer, autumn and winter.", "Four."),
    ("How many continents are there", "There are seven continents.", "Seven."),
    ("How many planets are there", "There are eight planets around the sun.", "Eight."),
    ("How many letters are in the alphabet", "The English alphabet has 26 letters.", "26."),
    ("How many sides does a triangle have", "A triangle has three sides.", "Three."),
    ("How many sides does a square have", "A square has four sides.", "Four."),
    ("How many wheels does a car have", "A car has four wheels.", "Four."),
    ("How many wheels does a bicycle have", "A bicycle has two wheels.", "Two."),
    ("How many fingers does a hand have", "A hand has five fingers.", "Five."),
    ("How many eyes do people have", "People have two eyes.", "Two."),
    ("How many colours does a rainbow have", "A rainbow has seven colours.", "Seven."),
    ("What is the largest animal", "The blue whale is the largest animal.", "Whale."),
    ("What is the fastest land animal", "The cheetah is the fastest land animal.", "Cheetah."),
    ("What is the tallest animal", "The giraffe is the tallest animal.", "Giraffe."),
    ("What is the largest planet", "Jupiter is the largest planet.", "Jupiter."),
    ("What is the highest mountain", "Mount Everest is the highest mountain.", "Everest."),
    ("What is the largest ocean", "The Pacific is the largest ocean.", "Pacific."),
    ("Which planet do we live on", "We live on the planet Earth.", "Earth."),
    ("Which planet is closest to the sun", "Mercury is closest to the sun.", "Mercury."),
    ("What do bees make", "Bees make honey.", "Honey."),
    ("What do cows give", "Cows give milk.", "Milk."),
    ("What do plants need", "Plants need water, light and air.", "Water."),
    ("Where does the sun rise", "The sun rises in the east.", "East."),
    ("Where does the sun set", "The sun sets in the west.", "West."),
    ("What falls from the clouds in winter", "Snow falls from the clouds in winter.", "Snow."),
    ("What is bread made of", "Bread is made of flour and water.", "Flour."),
    ("What is ice made of", "Ice is made of frozen water.", "Water."),
    ("What is cheese made of", "Cheese is made of milk.", "Milk."),
    ("At what temperature does water boil", "Water boils at 100 degrees.", "100."),
    ("At what temperature does water freeze", "Water freezes at 0 degrees.", "0."),
    ("Who wrote Romeo and Juliet", "William Shakespeare wrote Romeo and Juliet.", "Shakespeare."),
    ("Who painted the Mona Lisa", "Leonardo da Vinci painted the Mona Lisa.", "Leonardo."),
    ("Who was the first man on the moon", "Neil Armstrong was the first man on the moon.", "Armstrong."),
    ("Is the earth round", "Yes, the earth is round.", "Yes."),
    ("Is fire hot", "Yes, fire is hot.", "Yes."),
    ("Is ice cold", "Yes, ice is cold.", "Yes."),
    ("Is the sun a star", "Yes, the sun is a star.", "Yes."),
    ("Is water dry", "No, water is wet.", "No."),
    ("Why is the sky blue", "The sky is blue because the air scatters blue light.", "Light."),
    ("Why do we sleep", "We sleep so that our bodies can rest.", "Rest."),
    ("What do we see with", "We see with our eyes.", "Eyes."),
    ("What do we hear with", "We hear with our ears.", "Ears."),
]

JOKES = [
    "Why did the cow cross the road? It wanted to go to the moo-vies.",
    "What do you call a bear with no teeth? A gummy bear.",
    "Why was six afraid of seven? Because seven ate nine.",
    "What does a cloud wear? Thunderwear.",
    "Why did the bee get married? It had found its honey.",
]


def colour(random: Random) -> Sequence[Exchange]:
    first, second = random.sample(list(COLOURS), 2)
    asked = (
        "(What colour is {t}|What color is {t}|Which colour is {t}|Tell me the colour of {t}|What is the colour of {t}|"
        "What's the color of {t}|The colour of {t}|Which colour does {t} have|Of what colour is {t})?"
    )
    exchanges = []
    for thing, pattern in ((first, asked), (second, "(And|What about|How about) {t}?")):
        shade = COLOURS[thing]
        answer = f"{thing[0].upper()}{thing[1:]} is {shade}."
        facts = {"thing": thing.split(" ", 1)[-1], "colour": shade}
        exchanges.append(Exchange(phrase(random, pattern, t=thing), answer, word=f"{shade.capitalize()}.", facts=facts))
    return exchanges[: random.choice([1, 1, 2])]


def mixing(random: Random) -> Sequence[Exchange]:
    pair, result = random.choice(list(MIXTURES.items()))
    first, second = random.sample(pair, 2)
    question = phrase(
        random,
        "(What do you get when you mix {a} and {b}|What colour do {a} and {b} make|Mix {a} and {b}|"
        "What is {a} and {b} mixed|"
        "Which colour do I get from {a} and {b}|If I mix {a} with {b}, what do I get|"
        "What happens when I mix {a} and {b})?",
        a=first,
        b=second,
    )
    return [
        Exchange(
            question,
            f"{first.capitalize()} and {second} make {result}.",
            word=f"{result.capitalize()}.",
            facts={"colour": result},
        )
    ]


def order(random: Random) -> Sequence[Exchange]:
    """What comes after what: days, months and seasons."""
    things, name = random.choice(
        [(DAYS, "day"), (DAYS, "day"), (MONTHS, "month"), (MONTHS, "month"), (SEASONS, "season")]
    )
    place = random.randrange(len(things))
    side, step = random.choice([("after", 1), ("after", 1), ("before", -1)])
    exchanges = []
    question = phrase(
        random,
        "(What comes {s} {t}|Which {k} comes {s} {t}|What {k} comes {s} {t}|What {k} is {s} {t}|Which {k} is {s} {t})?",
        s=side,
        t=things[place],
        k=name,
    )
    for _ in range(random.choice([1, 1, 2])):
        known, place = things[place], (place + step) % len(things)
        found = things[place]
        answer = f"The {name} {side} {known} is {found}."
        exchanges.append(Exchange(question, answer, word=f"{found.capitalize()}.", facts={name: found}))
        question = phrase(
            random,
            "(And {s} that|And then|What comes {s} that)?" if step > 0 else "(And {s} that|What comes {s} that)?",
            s=side,
        )
    return exchanges


def series(random: Random) -> Sequence[Exchange]:
    """All of a small closed set."""
    name, things = random.choice([("days of the week", DAYS), ("months of the year", MONTHS), ("seasons", SEASONS)])
    question = phrase(
        random,
        "(Name|List|Tell me|What are|Give me|Which are|Write down) the (four|) {n}(?|)"
        if things is SEASONS
        else "(Name|List|Tell me|What are|Give me|Which are|Write down) (all|) the {n}(?|)",
        n=name,
    )
    listed = f"{', '.join(things[:-1])} and {things[-1]}"
    return [Exchange(question, f"The {name} are {listed}.", facts={name.split()[0]: things})]


def calendar_number(random: Random) -> Sequence[Exchange]:
    ordinals = listed("first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth")
    things, name, whole = random.choice([(DAYS, "day", "week"), (MONTHS, "month", "year")])
    place = random.randrange(len(things))
    rank = random.choice([ordinals[place], ordinals[place], "last" if place + 1 == len(things) else ordinals[place]])
    question = phrase(random, "(What|Which) is the {o} {k} of the {w}?", o=rank, k=name, w=whole)
    answer = f"The {rank} {name} of the {whole} is {things[place]}."
    return [Exchange(question, answer, word=f"{things[place]}.", facts={name: things[place]})]


def listing(random: Random) -> Sequence[Exchange]:
    name = random.choice(list(LISTS))
    count = random.choice([2, 3, 3, 3, 4, 5])
    count = min(count, len(LISTS[name]))
    chosen = LISTS[name][:count] if random.random() < 0.7 else random.sample(LISTS[name], count)
    number = random.choice([spell(count), spell(count), str(count)])
    question = phrase(
        random, "(Name|List|Tell me|Give me|Can you name|Write|I need|Say|Please name) {c} {n}(.|?|)", c=number, n=name
    )
    start = f"{chosen[0][0].upper()}{chosen[0][1:]}"
    answer = f"{', '.join([start, *chosen[1:-1]])} and {chosen[-1]}."
    return [Exchange(question, answer, facts={name: chosen})]


def plain_fact(random: Random) -> Sequence[Exchange]:
    question, answer, word = random.choice(FACTS)
    if question.startswith("How many") and " are in " in question and random.random() < 0.3:
        question = question.replace(" are in ", " does ", 1) + " have"
    return [Exchange(f"{question}?", answer, word=word, facts={"answer": word.rstrip(".")})]


def joke(random: Random) -> Sequence[Exchange]:
    question = phrase(
        random,
        "(Tell me a joke|Make me laugh|Do you know a joke|Say something funny|A joke, please|Tell a joke)(.|?|!|)",
    )
    return [Exchange(question, random.choice(JOKES))]


def statement(random: Random) -> str:
    if random.random() < 0.5:
        thing, shade = random.choice(list(COLOURS.items()))
        return f"{thing[0].upper()}{thing[1:]} is {shade}."
    return random.choice(FACTS)[1]
