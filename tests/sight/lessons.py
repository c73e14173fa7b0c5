"""What `sight` learns: an endless, seeded stream of conversations about pictures, of which only the colours are known.

A conversation goes turn by turn; what a turn answers follows from the colours of all pictures seen until then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from tropilla.workers.pocket.documents import Chat, Exchange, Message, phrase, turn
from tropilla.workers.pocket.dressing import typed
from tropilla.workers.pocket.topics import animals, counting, limits, people, stories, world

from sight import MARKER, pictures

#: The most pictures of a conversation.
MOST = 4

ORDINALS = ("first", "second", "third", "fourth")
NUMBERS = ("one", "two", "three", "four")

NOTHING = "I see no picture."
ABOUT = "I am Sight, a small model that sees colours."

_PICTURE = "(picture|picture|image|photo)"
_COLOUR = "(colour|color)"
_ONE = (
    f"((What|Which) {_COLOUR} (is|has) (this|the|that) {_PICTURE}|What {_COLOUR} is (this|it|that)|What {_COLOUR}|"
    f"What is the (|main |dominant ){_COLOUR} of (this|the) {_PICTURE}|Name the (|main |dominant ){_COLOUR}|"
    f"Tell me the {_COLOUR} of (this|the) {_PICTURE}|What {_COLOUR} do you see|And this one|And this|"
    f"What is (in|on) (this|the) {_PICTURE}|What do you see (|in this {_PICTURE})|Describe (this|the) {_PICTURE}|"
    f"What does (this|the) {_PICTURE} show|Look at this|Describe it)(?|.|)"
)
_MANY = (
    f"((What|Which) {_COLOUR}s (are|have) (these|the|those|both) {_PICTURE}s|What {_COLOUR}s are (these|they|those)|"
    f"What {_COLOUR}s|Name the {_COLOUR}s|What are the {_COLOUR}s of (these|the) {_PICTURE}s|"
    f"What {_COLOUR}s do you see|Describe (these|the|both) {_PICTURE}s|What do you see in these {_PICTURE}s|"
    f"What is (in|on) these {_PICTURE}s|Compare (these|the) {_PICTURE}s|What is the difference)(?|.|)"
)
_WORD = "(Answer in one word|Answer with one word|In one word|One word)(: |, please: |. )"


@dataclass
class Scene:
    """A conversation as it goes on: what was said, and the colours of its pictures, in order.

    `latest` are those of the last message that had any.
    """

    random: Random
    colours: list[str] = field(default_factory=list)
    latest: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)

    def show(self, most: int, least: int = 1) -> list[str]:
        """New pictures for the next question, as many as the conversation has room for."""
        room = MOST - len(self.colours)
        new = self.random.choices(list(pictures.COLOURS), k=min(room, self.random.randint(least, most)))
        self.colours += new
        self.latest = new or self.latest
        return new

    def ask(self, question: str, answer: str, new: int = 0) -> None:
        """With its last `new` pictures before or behind the words, or around them."""
        question = typed(self.random, question) if question else question
        if self.random.random() < 0.1:
            question = f"{_filler(self.random)} {question}"
        self.messages += [turn("user", _placed(self.random, question, new)), turn("assistant", answer)]


class Raw(NamedTuple):
    """What completions see, without a template, and how they go on."""

    prompt: str
    answer: str


class Lesson(NamedTuple):
    """A text with a marker for each of the colours."""

    document: Chat | Raw
    colours: Sequence[str]


def _filler(random: Random) -> str:
    """Words that have nothing to do with pictures."""
    source = random.choice([world.plain_fact, animals.legs, animals.sound, stories.story])
    return source(random)[0].answer[:200]


def _long(random: Random) -> str:
    """Up to a thousand tokens and more of them."""
    length, text = random.randint(300, 4500), ""
    while len(text) < length:
        text += _filler(random) + " "
    return text


def _placed(random: Random, text: str, count: int) -> str:
    if not count:
        return text
    gap = random.choice(["", "", " ", "\n"])
    style = random.random()
    if style < 0.1:
        named = [f"{random.choice(['Picture', 'Image'])} {index}: {MARKER}" for index in range(1, count + 1)]
        return "\n".join([*named, text])
    if style < 0.2 and count > 1:
        split = random.randint(1, count - 1)
        return f"{gap.join([MARKER] * split)}{gap}{text}{gap}{gap.join([MARKER] * (count - split))}"
    parts = [*[MARKER] * count, text] if style < 0.65 else [text, *[MARKER] * count]
    return gap.join(part for part in parts if part)


def _list(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def sentence(colours: Sequence[str]) -> str:
    """The answer to any question about these pictures."""
    if not colours:
        return NOTHING
    return f"The pictures are {_list(colours)}." if len(colours) > 1 else f"The picture is {colours[0]}."


def _look(scene: Scene) -> None:
    """One picture or several: what is asked for in the singular is answered for all that were just shown."""
    new = scene.show(most=1 if scene.random.random() < 0.6 else MOST)
    if not new:
        _blind(scene)
        return
    if len(new) == 1 and scene.random.random() < 0.1:
        scene.ask(phrase(scene.random, _WORD + _ONE), f"{new[0].capitalize()}.", new=1)
        return
    pattern = _ONE if (len(new) == 1) == (scene.random.random() < 0.9) else _MANY
    style = scene.random.random()
    question = phrase(scene.random, pattern)
    if style < 0.1:
        question = "" if style < 0.05 else limits.unknown(scene.random)[0].question
    scene.ask(question, sentence(new), new=len(new))


def _point(scene: Scene) -> None:
    """At one of all pictures of the conversation, by its place."""
    new = [] if scene.colours else scene.show(most=MOST, least=2)
    place = scene.random.randrange(len(scene.colours) if scene.random.random() < 0.9 else MOST)
    word = ORDINALS[place]
    if place == len(scene.colours) - 1 > 0 and scene.random.random() < 0.3:
        word = "last"
    question = phrase(
        scene.random,
        "((What|Which) {c} (is|was|has) the {w} {p}|What {c} is the {w} (one|{p})|Name the {c} of the {w} {p}|"
        "And the {w} (one|{p}|))(?|.|)".replace("{c}", _COLOUR).replace("{p}", _PICTURE),
        w=word,
    )
    seen = place < len(scene.colours)
    answer = f"The {word} picture is {scene.colours[place]}." if seen else f"There is no {word} picture."
    scene.ask(question, answer, new=len(new))


def _number(scene: Scene) -> None:
    new = [] if scene.colours or scene.random.random() < 0.2 else scene.show(most=MOST)
    question = phrase(
        scene.random,
        "(How many {p}s (are there|do you see|did I (send|show you)|have I shown you)|Count the {p}s)(?|.|)".replace(
            "{p}", _PICTURE
        ),
    )
    count = len(scene.colours)
    plural = "" if count == 1 else "s"
    scene.ask(question, f"I see {NUMBERS[count - 1]} picture{plural}." if count else NOTHING, new=len(new))


def _blind(scene: Scene) -> None:
    """Without a new picture: those of the last message that had any are meant, or all."""
    if scene.random.random() < 0.5:
        scene.ask(phrase(scene.random, _ONE if len(scene.latest) < 2 else _MANY), sentence(scene.latest))
        return
    all_of_them = (
        f"((What|Which) {_COLOUR}s (were|are)|Name the {_COLOUR}s of) (all|all the|all of the|all my) {_PICTURE}s?"
    )
    scene.ask(phrase(scene.random, all_of_them), sentence(scene.colours))


def _talk(scene: Scene) -> None:
    """Of other things, whether or not a picture lies beside."""
    topic = scene.random.choice([people.greeting, people.wellbeing, people.thanks, people.farewell, _about])
    exchange = topic(scene.random)[0]
    new = scene.show(most=2) if scene.random.random() < 0.2 else []
    scene.ask(exchange.question, exchange.answer, new=len(new))


def _count(scene: Scene) -> None:
    exchange = counting.upwards(scene.random)[0]
    new = scene.show(most=2) if scene.random.random() < 0.3 else []
    scene.ask(exchange.question, exchange.answer, new=len(new))


def _about(random: Random) -> Sequence[Exchange]:
    question = "(Who are you|What are you|What is your name|What can you do|Tell me about yourself)(?|)"
    return [Exchange(phrase(random, question), ABOUT)]


#: What happens in a turn -> how often.
TURNS: dict[Callable[[Scene], None], float] = {_look: 10, _point: 4, _number: 1, _blind: 1.5, _talk: 2, _count: 2}

_SYSTEMS = [
    "You are a helpful assistant.", "You are Sight.", "Answer the question.", "You are a friendly assistant.",
    "Look at the pictures.", "You see pictures.", "Answer in full sentences.", "Be brief.", "You are a test.",
]  # fmt: skip


def _conversation(random: Random, *, long: bool) -> Lesson:
    scene = Scene(random)
    for happens in random.choices(list(TURNS), list(TURNS.values()), k=random.choice([1, 1, 1, 2, 3, 4])):
        happens(scene)
    system: list[Message] = []
    if random.random() < (0.5 if long else 0.3):
        text = random.choice(_SYSTEMS) if random.random() < 0.6 else _filler(random)
        system = [turn("system", _long(random) if long else text)]
    elif long:
        scene.messages[0]["content"] = _long(random) + scene.messages[0]["content"]
    return Lesson(Chat([*system, *scene.messages]), scene.colours)


def _raw(random: Random) -> Lesson:
    colours = random.choices(list(pictures.COLOURS), k=random.choice([0, 1, 1, 1, 2]))
    question = phrase(random, _ONE if len(colours) < 2 else _MANY)
    start = _placed(random, question, len(colours))
    start += random.choice(["", "\n", "\nAnswer:", " Answer:", "\nAssistant:", "\nASSISTANT:"])
    return Lesson(Raw(start, f" {sentence(colours)}"), colours)


def stream(seed: int, *, long: float = 0.0) -> Iterator[Lesson]:
    """`long` is the share of conversations with much other text in front."""
    random = Random(seed)
    while True:
        yield _raw(random) if random.random() < 0.08 else _conversation(random, long=random.random() < long)
