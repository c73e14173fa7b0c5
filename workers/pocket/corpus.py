"""The generator: an endless, seeded stream of documents, each topic in its fixed share.

`python -m tropilla.workers.pocket.corpus --count 1000 > corpus.jsonl` writes one document a line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from random import Random

from tropilla.workers.pocket.documents import Document, Topic
from tropilla.workers.pocket.dressing import dress, plain
from tropilla.workers.pocket.topics import (
    animals,
    counting,
    geography,
    german,
    limits,
    numbers,
    people,
    prose,
    stories,
    structured,
    sums,
    tools,
    words,
    world,
)

SEED = 20_260

#: Topic -> how many parts of the whole it gets.
SHARES: dict[Topic, float] = {
    people.greeting: 3, people.wellbeing: 2, people.identity: 3, people.ability: 1.5, people.making: 2,
    people.thanks: 1.5, people.praise: 0.7, people.farewell: 1.2, people.memory: 3.5, people.favourite: 1.5,
    people.smiley: 1.2, people.echo: 4.5, people.opinion: 1.2, people.unclear: 1,
    geography.capital: 8, geography.country: 3, geography.language: 2, geography.continent: 1.5,
    animals.legs: 3.5, animals.sound: 3.5, animals.maker: 1, animals.young: 2, animals.home: 1.5, animals.food: 1.5,
    animals.kind: 1.5, animals.ability: 1.5,
    counting.upwards: 5, counting.drill: 4, counting.otherwise: 2, counting.neighbour: 1.5,
    sums.asked: 11, sums.drill: 6, sums.whole_tens: 0.7, sums.too_large: 1,
    sums.told: 2, numbers.comparing: 3, numbers.parity: 1,
    words.opposite: 3.5, words.plural: 2.5, words.rhyme: 1.5, words.spelling: 2, words.initial: 1,
    words.length: 1, words.alphabet: 0.4, words.meaning: 4,
    world.colour: 4.5, world.mixing: 1.5, world.order: 4, world.series: 1.5, world.calendar_number: 1.5,
    world.listing: 3.5, world.plain_fact: 5, world.joke: 0.7,
    stories.story: 3, stories.poem: 0.7,
    limits.unknown: 6, limits.without_window: 2,
    german.small_talk: 2, german.memory: 0.7, german.capital: 2.5, german.colour: 1.5, german.animal: 1.5,
    german.number: 1.5, german.translation: 2.5, german.words: 1, german.unknown: 0.7, german.story: 0.7,
    structured.person: 2, structured.extraction: 2,
}  # fmt: skip

_TOPICS, _WEIGHTS = list(SHARES), list(SHARES.values())

#: Answers that a persona or another format would spoil.
_UNDRESSED = {
    counting.drill,
    sums.drill,
    stories.story,
    stories.poem,
    german.story,
    structured.person,
    structured.extraction,
    counting.upwards,
    world.joke,
}


def _chat(random: Random) -> Document:
    """One topic, or several in a row as a longer conversation."""
    topics = random.choices(_TOPICS, _WEIGHTS, k=random.choice([1, 1, 1, 1, 1, 1, 2, 3]))
    exchanges = [exchange for topic in topics for exchange in topic(random)]
    if _UNDRESSED.intersection(topics) and random.random() < 0.9:
        return plain(random, exchanges)
    return dress(random, exchanges)


def documents(seed: int = SEED) -> Iterator[Document]:
    """Conversations above all, with tools in one of sixteen, and some plain text for raw completions and infilling."""
    random = Random(seed)
    while True:
        kind = random.random()
        if kind < 0.06:
            yield tools.conversation(random)
        elif kind < 0.13:
            yield prose.prose(random)
        elif kind < 0.15:
            yield prose.gap(random)
        else:
            yield _chat(random)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--count", type=int, default=1000, help="documents to write")
    arguments.add_argument("--seed", type=int, default=SEED)
    options = arguments.parse_args()
    for document in islice(documents(options.seed), options.count):
        print(json.dumps({"kind": type(document).__name__.lower(), **asdict(document)}, ensure_ascii=False))


if __name__ == "__main__":
    main()
