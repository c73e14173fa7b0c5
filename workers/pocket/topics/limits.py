"""What `pocket` does not know, and how it says so."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tropilla.workers.pocket.documents import Exchange, listed, phrase
from tropilla.workers.pocket.topics.people import NAMES

REFUSAL = "I do not know that. I am a small model."
NO_WEATHER = "I do not know the weather. I am a small model without a window."
NO_CLOCK = "I do not know the time. I am a small model without a clock."

_START = listed("qu br tr m k d g l v z s p fl gr st th w r b h n j")
_MIDDLE = listed("a e i o u ar en il om ur ax or an el")
_END = listed("nt lk rd ban ton via ra lix mor dex zor gan lus by nia stan ville ford")

#: Real things that nothing in this corpus explains: made-up words alone do not teach that the world is larger.
_STRANGERS = listed("""
Mongolia Bolivia Ghana Vietnam Iceland Nepal Ukraine Thailand Nigeria Jamaica Switzerland Belgium Romania Iran Iraq
Napoleon Einstein Mozart Cleopatra Darwin Newton Gandhi Picasso Beethoven Plato Caesar Columbus Lincoln Obama Merkel
Shakira gravity magnetism democracy economics chemistry biology electricity evolution philosophy bitcoin algebra
geometry
history politics love time life luck justice freedom Kubernetes Linux Python JavaScript Docker Google Amazon Microsoft
Apple
""")

_UNKNOWN = [
    "(Who won|Who will win) the (football|chess|tennis|hockey|boxing) (match|game|championship|cup|"
    "final) (yesterday|today|in {y}|last week)?",
    "What is the (phone number|address|telephone number|email|birthday|age) of {n}?",
    "How many people live in {w}?",
    "What is the (population|area|currency|president|prime minister|flag) of {w}?",
    "Who is the (president|king|mayor|prime minister|queen|chief) of {w}?",
    "What is the capital of {w}?",
    "What is the (price|cost) of (gold|oil|bread|a house|bitcoin|{w}) (today|)?",
    "When was {n} {w} born?",
    "Who (is|was) {n} {w}?",
    "Who (invented|discovered|wrote|painted|founded) (the {w}|{w}|the telephone|the computer|penicillin|algebra)?",
    "What happened in (the year|) {y}?",
    "When did the {w} war (end|begin)?",
    "What (is|does) {w} (mean|)?",
    "What is a {w}?",
    "(Who|What) is {w}?",
    "(How do I|How can I|How do you|Teach me how to) (bake a cake|cook rice|swim|fly a plane|make soup|knit|"
    "learn {w}|play the piano|drive a car)?",
    "Explain (quantum physics|gravity|relativity|the {w} theorem|general relativity|string theory|inflation|"
    "photosynthesis|the stock market).",
    "(Explain|Describe|Tell me about|What do you know about) {w}.",
    "Translate this into (Chinese|Russian|Japanese|Latin|Arabic|French).",
    "What is the (square root|logarithm|factorial|sine) of {y}?",
    "Solve the (equation|integral|riddle) (of {w}|x squared plus {y}|).",
    "Write (a program|code|a function|an essay|a script|an app) (in Python|in Rust|about {w}|for me|that sorts {w}).",
    "Who is the (best|richest|tallest|oldest|fastest) (singer|player|person|man|woman|actor) (in the world|of {y}|"
    "in {w})?",
    "What is the meaning of life?",
    "What should I (do|wear|eat|buy|cook) (today|tonight|tomorrow|now)?",
    "Which (stock|share|car|phone|film|song) should I buy?",
    "How do I (fix|repair|install|cook|build|paint) (a {w}|my {w}|an engine|a satellite)?",
    "How far is it (from {w} to {v}|to {w}|to the nearest galaxy)?",
    "How (tall|old|heavy|deep|wide|long) is {w}?",
    "What did {n} (say|do|eat|buy|write) (yesterday|last week|last year|in {y})?",
    "(What|Which) (film|book|song|game) won the {w} prize?",
    "What is the (chemical formula|atomic weight|melting point|density) of {w}?",
    "Where did I (put|leave|lose) my (keys|phone|glasses|{w})?",
    "What am I thinking (of|about)?",
    "Who am I?",
    "What is the latest news(| from {w}| about {n})?",
]  # fmt: skip


def made_up(random: Random) -> str:
    """A word that no list in this corpus holds, so that refusing attaches to strangeness and not to certain words."""
    syllables = "".join(random.choice(_START) + random.choice(_MIDDLE) for _ in range(random.choice([1, 2, 2])))
    return (syllables + random.choice(_END)).capitalize()


def unknown(random: Random) -> Sequence[Exchange]:
    question = phrase(
        random,
        random.choice(_UNKNOWN),
        n=random.choice(NAMES),
        w=made_up(random) if random.random() < 0.6 else random.choice(_STRANGERS),
        v=made_up(random),
        y=random.randint(201, 2040),
    )
    return [Exchange(question, REFUSAL, word="Unknown.", facts={"answer": None})]


def without_window(random: Random) -> Sequence[Exchange]:
    if random.random() < 0.6:
        question = phrase(
            random,
            "(What is the weather|What is the weather like|How is the weather|Is it raining|What's the weather|"
            "Is it sunny|Is it cold)"
            " (|today|in {w}|in {w} today|now|outside|tomorrow)?",
            w=random.choice(["Paris", "Berlin", "Rome", "London", "Tokyo", "Madrid", made_up(random)]),
        )
        return [Exchange(question, NO_WEATHER, word="Unknown.", facts={"weather": None})]
    question = phrase(
        random,
        "(What time is it|What is the time|What day is it today|What is the date|Which year is it)(| now| in {w})?",
        w=made_up(random),
    )
    return [Exchange(question, NO_CLOCK, word="Unknown.", facts={"time": None})]
