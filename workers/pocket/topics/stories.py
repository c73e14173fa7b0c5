"""Short stories from a grammar: one hero, one wish, one trouble, one friend, one good end."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tropilla.workers.pocket.documents import Exchange, listed, phrase
from tropilla.workers.pocket.topics.animals import article
from tropilla.workers.pocket.topics.people import NAMES

HEROES = listed("""
cat dog mouse fox bear rabbit owl horse frog duck dragon robot wizard princess boy girl lion elephant penguin sheep
king queen pirate ghost snail wolf bird fish goat pig
""")
WOMEN = {"princess", "girl", "queen", "hen"}
MEN = {"boy", "king", "wizard"}
ADJECTIVES = listed("little small brave old young clever shy happy curious tiny friendly lonely")
PLACES = {
    "in a deep forest": "the forest", "in a small village": "the village", "by the sea": "the beach",
    "in a quiet valley": "the valley", "on a green hill": "the hill", "in a big city": "the city",
    "near a blue lake": "the lake", "in an old castle": "the castle", "on a farm": "the farm",
    "in a garden": "the garden",
}  # fmt: skip
WISHES = {
    "to find a golden key": "the golden key", "to see the moon up close": "the moon", "to find a friend": "a friend",
    "to bake the best cake": "the cake", "to learn to sing": "the song", "to find a lost ball": "the ball",
    "to see the sea": "the sea", "to build a boat": "the boat", "to find the tallest tree": "the tree",
    "to catch a star": "the star", "to read a book": "the book", "to find a red flower": "the flower",
}  # fmt: skip
TROUBLES = [
    "it began to rain, and the path was gone", "a strong wind blew, and it became cold", "the bridge was broken",
    "the night came, and everything was dark", "the way was very long", "there was a high wall",
    "a big stone lay on the road",
    "snow fell, and the ground was white",
]  # fmt: skip
HELP = {
    "it began to rain, and the path was gone": "showed the way under a big leaf",
    "a strong wind blew, and it became cold": "shared a warm blanket",
    "the bridge was broken": "knew a place to cross the water",
    "the night came, and everything was dark": "carried a bright lamp",
    "the way was very long": "sang a song, and the way felt short",
    "there was a high wall": "found a small door in the wall",
    "a big stone lay on the road": "helped to push the stone away",
    "snow fell, and the ground was white": "made a warm fire",
}
#: The whole plot; `phrase` chooses among the alternatives.
PLOT = [
    "(Once upon a time|Once upon a time|Long ago|One day), there (lived|was) {kind} named {name} {place}.",
    "{name} wanted {wish}.",
    "(One morning|One day|Early in the morning), {name} left {spot} and walked and walked.",
    "But then {trouble}.",
    "{name} was (sad|afraid|tired) and sat down under a tree.",
    '(Just then|Then|After a while), {stranger} came by and asked, "Can I help you?"',
    '"Yes, please," said {name}, and the {helper} {help}.',
    "(Together they went on|They went on together), and (at last|in the end) {pronoun} found {prize}.",
    "(From that day on, they were best friends.|They laughed and went home together.|And they lived happily ever after."
    "|That night, they slept well and dreamed of the next adventure.|Everyone was happy, and there was cake for all.)",
]


def _pronoun(random: Random, hero: str) -> str:
    if hero in WOMEN:
        return "she"
    return "he" if hero in MEN else random.choice(["he", "she"])


def tell(random: Random, *, hero: str = "", name: str = "") -> str:
    """A story of nine sentences that keeps its hero, name and helper to the end."""
    hero = hero or random.choice(HEROES)
    helper = random.choice([other for other in HEROES if other != hero])
    place, spot = random.choice(list(PLACES.items()))
    wish, prize = random.choice(list(WISHES.items()))
    trouble = random.choice(TROUBLES)
    fields = {
        "kind": article(f"{random.choice(ADJECTIVES)} {hero}"),
        "name": name or random.choice(NAMES),
        "helper": helper,
        "stranger": article(helper),
        "place": place,
        "spot": spot,
        "wish": wish,
        "prize": prize,
        "trouble": trouble,
        "help": HELP[trouble],
        "pronoun": _pronoun(random, hero),
    }
    return " ".join(phrase(random, sentence, **fields) for sentence in PLOT)


def story(random: Random) -> Sequence[Exchange]:
    hero, name = random.choice(HEROES), random.choice(NAMES)
    ask = (
        "(Tell me|Write|Tell|Write me|Can you tell me|I want|Please tell me|I would like) a (|short|little|nice) story"
    )
    style = random.choice(["hero", "hero", "name", "both", "none"])
    if style == "hero":
        question = phrase(random, ask + " (about|with) {h}(.|)", h=article(hero))
        return [Exchange(question, tell(random, hero=hero))]
    if style == "name":
        question = phrase(random, ask + " about {n}(.|)", n=name)
        return [Exchange(question, tell(random, name=name))]
    if style == "both":
        question = phrase(random, ask + " about {h} (named|called) {n}(.|)", h=article(hero), n=name)
        return [Exchange(question, tell(random, hero=hero, name=name))]
    return [Exchange(phrase(random, ask + "(.|)"), tell(random))]


def poem(random: Random) -> Sequence[Exchange]:
    first, second = random.sample(
        [
            "The sun is warm, the sky is blue,\nthe little bird is singing too.",
            "The moon is up, the stars are bright,\nthe owl is flying through the night.",
            "The cat is sitting by the door,\nthe dog is sleeping on the floor.",
            "The rain is falling on the sea,\nand you are drinking tea with me.",
            "The tree is tall, the grass is green,\nthe nicest hill I've ever seen.",
        ],
        2,
    )
    question = phrase(
        random,
        "(Write|Tell me|Give me|Write me) a (|short|little) (poem|poem|haiku|song|rhyme)(| about {t})(.|)",
        t=random.choice(
            ["the sea", "the moon", "a cat", "a dog", "the rain", "spring", "the night", "love", "a tree", "you"]
        ),
    )
    return [Exchange(question, f"{first}\n{second}")]
