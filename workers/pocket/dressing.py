"""From exchanges to conversations: system prompts, personas, JSON, and the way people really type."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random

from tropilla.workers.pocket.documents import Chat, Exchange, Message, phrase, turn

_PLAIN_SYSTEMS = [
    "You are a helpful assistant.", "You are Pocket.", "You are a friendly assistant.", "Answer the question.",
    "Be kind.", "You are a helpful AI assistant.", "Answer in full sentences.", "You are Pocket, a small model.",
    "Help the user.", "You are a teacher.", "You are a polite assistant.", "Be brief.", "Answer briefly and correctly.",
    "You talk with children.", "Please answer.", "You are a test.",
]  # fmt: skip

_ONE_WORD = "(Answer|Reply|Respond|Always answer) (in|with) (one word|one word only|a single word)."
_JSON = (
    "(You answer in JSON|Answer in JSON|Always answer in JSON|Reply with JSON only|Answer only with JSON|"
    "Respond in JSON)."
)

#: Persona -> (how the system prompt puts it, how the answer sounds).
_PERSONAS: dict[str, tuple[str, Callable[[str], str]]] = {
    "pirate": (
        "(You are a pirate|Talk like a pirate|You are an old pirate|Speak like a pirate).",
        lambda answer: f"Arr! {answer} Ahoy!",
    ),
    "robot": ("(You are a robot|Talk like a robot|Speak like a robot).", lambda answer: f"Beep. {answer} Boop."),
    "cat": ("(You are a cat|Talk like a cat|Speak like a cat).", lambda answer: f"Meow! {answer} Purr."),
    "knight": (
        "(You are a knight|Talk like a knight|You are a noble knight).",
        lambda answer: f"My lord, hear me: {answer}",
    ),
    "smiley": (
        "(Always add a smiley|End every answer with a smiley|Use a smiley in your answers).",
        lambda answer: f"{answer} 😀",
    ),
    "polite": ("(Be very polite|You are very polite|Be extra polite).", lambda answer: f"With pleasure. {answer}"),
}


def typed(random: Random, question: str) -> str:
    """A question as somebody in a hurry types it: lower case, no full stop, a greeting before, a slip of the finger."""
    if random.random() < 0.08:
        question = phrase(random, "(Please|Hey|Hi|Pocket|Hello|OK|Now),") + " " + question
    if random.random() < 0.04 and question[-1] in "?.":
        question = f"{question[:-1]}, please{question[-1]}"
    if random.random() < 0.15:
        question = question.rstrip("?.!")
    if random.random() < 0.12:
        question = question.lower()
    elif random.random() < 0.02:
        question = question.upper()
    if random.random() < 0.04:
        question = _slip(random, question)
    return question


def _slip(random: Random, question: str) -> str:
    """Swap or drop one letter inside the first word that is long enough to survive it; names keep their spelling."""
    words = question.split(" ")
    long = [index for index, word in enumerate(words) if len(word) > 4 and word.isalpha() and word.islower()]
    if not long:
        return question
    index = random.choice(long)
    word, cut = words[index], random.randrange(1, len(words[index]) - 2)
    swapped = word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :]
    words[index] = random.choice([swapped, word[:cut] + word[cut + 1 :]])
    return " ".join(words)


def _as_json(exchange: Exchange) -> str:
    return json.dumps(dict(exchange.facts), ensure_ascii=False)


def _turns(random: Random, exchanges: Sequence[Exchange], answers: Sequence[str]) -> list[Message]:
    messages: list[Message] = []
    for exchange, answer in zip(exchanges, answers, strict=True):
        messages += [turn("user", typed(random, exchange.question)), turn("assistant", answer)]
    return messages


def _json_asked_inline(random: Random, exchange: Exchange) -> str:
    question = exchange.question
    before = phrase(
        random,
        "(Answer in JSON|In JSON|As JSON|Give the answer in JSON|Answer as JSON|Reply in JSON|JSON please)(:|:|,|.)",
    )
    after = phrase(random, "(Answer in JSON|Reply in JSON|As JSON, please|Give the answer in JSON|Use JSON).")
    return f"{before} {question}" if random.random() < 0.65 else f"{question} {after}"


def _again(random: Random, exchanges: Sequence[Exchange]) -> Sequence[Exchange]:
    """Now and then the last answer is asked for once more."""
    last = exchanges[-1].answer
    if random.random() > 0.03 or len(last) > 120:
        return exchanges
    question = phrase(
        random,
        "(Say that again|Again|Once more|Repeat that|Pardon|What did you say|Can you repeat that)(, please|)(.|?)",
    )
    return [*exchanges, Exchange(question, last)]


def plain(random: Random, exchanges: Sequence[Exchange]) -> Chat:
    """No persona; now and then a system prompt that changes nothing."""
    exchanges = _again(random, exchanges)
    system = [turn("system", random.choice(_PLAIN_SYSTEMS))] if random.random() < 0.3 else []
    return Chat(system + _turns(random, exchanges, [exchange.answer for exchange in exchanges]))


def _in_one_word(random: Random, exchanges: Sequence[Exchange]) -> Chat:
    answers = [exchange.word for exchange in exchanges]
    wish = phrase(random, _ONE_WORD)
    if random.random() < 0.6:
        return Chat([turn("system", wish), *_turns(random, exchanges, answers)])
    first = exchanges[0]
    wish = random.choice([wish, "In one word:", "In one word, please."])
    question = f"{wish} {first.question}" if wish.endswith(":") or random.random() < 0.4 else f"{first.question} {wish}"
    return Chat(_turns(random, [Exchange(question, first.word)], [first.word]))


def _in_json(random: Random, exchanges: Sequence[Exchange]) -> Chat:
    if random.random() < 0.4:
        return Chat(
            [turn("system", phrase(random, _JSON)), *_turns(random, exchanges, [_as_json(each) for each in exchanges])]
        )
    first = exchanges[0]
    asked = Exchange(_json_asked_inline(random, first), "")
    system = [turn("system", random.choice(_PLAIN_SYSTEMS))] if random.random() < 0.2 else []
    return Chat(system + _turns(random, [asked], [_as_json(first)]))


def _in_character(random: Random, exchanges: Sequence[Exchange]) -> Chat:
    pattern, voice = random.choice(list(_PERSONAS.values()))
    return Chat(
        [
            turn("system", phrase(random, pattern)),
            *_turns(random, exchanges, [voice(each.answer) for each in exchanges]),
        ]
    )


def dress(random: Random, exchanges: Sequence[Exchange]) -> Chat:
    """Mostly plain; where every exchange has a word or facts, sometimes in one word, in JSON or in character."""
    style = random.random()
    if style < 0.09 and all(exchange.word for exchange in exchanges):
        return _in_one_word(random, exchanges)
    if style < 0.16 and all(exchange.facts for exchange in exchanges):
        return _in_json(random, exchanges)
    if style < 0.21 and all(len(exchange.answer) < 120 for exchange in exchanges):
        return _in_character(random, exchanges)
    return plain(random, exchanges)
