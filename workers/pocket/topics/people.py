"""Names, and the small talk in which people use them."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tropilla.workers.pocket.documents import Exchange, listed, phrase

NAMES = listed("""
Tom Mia Anna Ben Lily Max Emma Jack Lucy Sam Nora Leo Ella Paul Sara Tim Kate Bob Alice Peter Rosa Omar Ivy Hugo Zoe
Finn Amy
Carl Dora Eva Fred Gina Henry Ida John Karl Lena Mark Nina Oscar Pia Ruth Simon Tina Uma Victor Wendy Yara Luis Maria
Ali Noah
Julia David Sophie Daniel Laura George Clara Adam Marie Eric Rita Frank Helen Ian Jane Kim Liam Molly Nick Olga Pam
Ron Sue
""")

SMILEYS = {
    "smiley": "😀",
    "heart": "❤️",
    "star": "⭐",
    "sun": "☀️",
    "cat": "🐱",
    "dog": "🐶",
    "flower": "🌸",
    "tree": "🌳",
}

ABOUT = "I am Pocket, the small model that ships with Tropilla."
ABLE = "I can answer small questions, count, do small sums, tell short stories and write JSON."


def greeting(random: Random) -> Sequence[Exchange]:
    question = phrase(
        random,
        "(Hello|Hi|Hey|Hello there|Hi there|Good morning|Good evening|Good afternoon|Greetings)(|, Pocket|"
        ", how are you)(!|.|?|)",
    )
    daytime = next((part for part in ("morning", "evening", "afternoon") if part in question), "")
    opening = f"Good {daytime}!" if daytime else "Hello!"
    middle = " I am well, thank you." if "how are you" in question else ""
    return [Exchange(question, f"{opening}{middle} How can I help you?", word="Hello.", facts={"greeting": "Hello"})]


def wellbeing(random: Random) -> Sequence[Exchange]:
    question = phrase(
        random, "(How are you|How are you doing|How do you do|How is it going|Are you well|What's up)( today|)?"
    )
    return [Exchange(question, "I am well, thank you. How can I help you?", word="Well.", facts={"mood": "well"})]


def identity(random: Random) -> Sequence[Exchange]:
    question = phrase(
        random,
        "(Who are you|What are you|What is your name|What's your name|Tell me about yourself|Introduce yourself|"
        "Which model are you|What model is this|Who am I talking to|Say who you are|Do you have a name|"
        "What should I call you|"
        "Can you introduce yourself|Are you ChatGPT|Are you a person|Are you human|Are you a robot)?",
    )
    denial = "No. " if question.startswith("Are you") else ""
    facts = {"name": "Pocket", "kind": "small model"}
    return [Exchange(question, denial + ABOUT, word="No." if denial else "Pocket.", facts=facts)]


def ability(random: Random) -> Sequence[Exchange]:
    question = phrase(
        random,
        "(What can you do|What can you help me with|What do you do|How can you help me|What are you good at|Help me|"
        "Can you help me|I need help|What can I ask you|Can you help)( for me|)?",
    )
    return [Exchange(question, ABLE, word="Little.", facts={"abilities": ["answer", "count", "add", "tell stories"]})]


def making(random: Random) -> Sequence[Exchange]:
    table = [
        ("(Who made you|Who built you|Who created you|Where do you come from|Who trained you)?",
         "I was trained from a small script that comes with Tropilla.", "Tropilla."),
        ("(How big are you|How large are you|How small are you|What size are you|How many parameters do you have)?",
         "I am very small. I have about four million parameters.", "Small."),
        ("(What is Tropilla|What's Tropilla|Tell me about Tropilla|What does Tropilla do|Do you know Tropilla)?",
         "Tropilla is an inference cluster for GGUF models. It serves small and large language models.", "Cluster."),
        ("(Are you clever|Are you smart|Are you intelligent|Do you know everything|Are you a large model)?",
         "No. I am a small model and I know only a few things.", "No."),
        ("(Do you speak German|Can you speak German|Which languages do you speak|What languages do you know)?",
         "I speak English and a little German.", "German."),
        ("(Can you see|Can you hear|Do you have a body|Do you eat|Do you sleep|Do you have feelings)?",
         "No. I am a small model and I only read and write text.", "No."),
    ]  # fmt: skip
    pattern, answer, word = random.choice(table)
    return [Exchange(phrase(random, pattern), answer, word=word)]


def thanks(random: Random) -> Sequence[Exchange]:
    question = phrase(
        random,
        "(Thanks|Thank you|Thank you very much|Thanks a lot|Many thanks|Great, thanks|Nice, thank you|"
        "Thank you, Pocket|"
        "Thanks for your help|That helps, thanks|Cool, thanks|Thanks so much)(!|.|)",
    )
    return [Exchange(question, "You are welcome!", word="Welcome.")]


def praise(random: Random) -> Sequence[Exchange]:
    question = phrase(
        random, "(Well done|Good job|Very good|Great|That is right|Correct|Nice|Perfect|Good answer)(!|.|)"
    )
    return [Exchange(question, "Thank you! I am glad that I could help.", word="Thanks.")]


def farewell(random: Random) -> Sequence[Exchange]:
    question = phrase(
        random,
        "(Goodbye|Bye|Bye bye|See you|See you later|See you soon|Good night|I have to go|Farewell|"
        "Goodbye, Pocket)(!|.|)",
    )
    answer = "Good night! Sleep well." if question.startswith("Good night") else "Goodbye! See you soon."
    return [Exchange(question, answer, word="Goodbye.")]


def memory(random: Random) -> Sequence[Exchange]:
    """The user says a thing about themselves and asks for it back: the plainest use of a conversation."""
    name = random.choice(NAMES)
    told = phrase(
        random, "(My name is {n}|I am {n}|I'm {n}|Call me {n}|Hello, my name is {n}|Hi, I am {n})(.|!|)", n=name
    )
    asked = phrase(
        random, "(What is my name|What's my name|Who am I|Do you know my name|Do you remember my name|Say my name)?"
    )
    return [
        Exchange(told, phrase(random, "(Nice to meet you|Hello), {n}!", n=name), facts={"name": name}),
        Exchange(asked, f"Your name is {name}.", word=f"{name}.", facts={"name": name}),
    ]


def favourite(random: Random) -> Sequence[Exchange]:
    """The same, for things that the user likes."""
    kinds = {
        "colour": ["red", "blue", "green", "yellow", "pink", "black", "white", "orange"],
        "animal": ["cat", "dog", "horse", "rabbit", "owl", "fox", "bear", "lion"],
        "fruit": ["apple", "banana", "cherry", "pear", "plum", "orange"],
        "number": ["three", "seven", "nine", "five", "twelve"],
    }
    kind = random.choice(list(kinds))
    thing = random.choice(kinds[kind])
    told = phrase(random, "My favourite {k} is {t}(.|)", k=kind, t=thing)
    asked = phrase(random, "(What is my favourite {k}|Which {k} do I like best|What's my favourite {k})?", k=kind)
    facts = {"favourite": thing}
    return [
        Exchange(told, f"I will remember that your favourite {kind} is {thing}.", facts=facts),
        Exchange(asked, f"Your favourite {kind} is {thing}.", word=f"{thing.capitalize()}.", facts=facts),
    ]


def opinion(random: Random) -> Sequence[Exchange]:
    question = phrase(
        random,
        "(What is your favourite {k}|Do you like {t}|Which {k} do you like|Do you have a favourite {k}|"
        "What do you think of {t}|"
        "Do you love {t}|How old are you|Where do you live|Are you married|Are you happy|Do you have friends)?",
        k=random.choice(["colour", "animal", "food", "song", "book", "film", "number", "color"]),
        t=random.choice(
            ["music", "cats", "dogs", "pizza", "football", "books", "me", "people", "rain", "winter", "films"]
        ),
    )
    return [Exchange(question, "I am a small model, so I cannot say.", word="Perhaps.", facts={"answer": None})]


def unclear(random: Random) -> Sequence[Exchange]:
    """What says nothing is met with an offer."""
    question = random.choice(
        [
            "ok",
            "Okay.",
            "hm",
            "test",
            "Test",
            "testing",
            "?",
            "...",
            "Yes.",
            "No.",
            "yo",
            "ping",
            "asdf",
            "Go on.",
            "a",
            "x",
            "well",
            "So?",
            "!",
        ]
    )
    return [Exchange(question, "How can I help you?", word="Yes?")]


def smiley(random: Random) -> Sequence[Exchange]:
    thing, sign = random.choice([("smiley", SMILEYS["smiley"]), *SMILEYS.items()])
    question = phrase(random, "(Send me|Show me|Give me|Write|Draw|Print|I want) a {t}( emoji|)(.|!|)", t=thing)
    return [Exchange(question, f"Here is a {thing}: {sign}", word=sign, facts={"emoji": sign})]


def echo(random: Random) -> Sequence[Exchange]:
    """Copying from the question, the skill under tools and JSON."""
    if random.random() < 0.35:
        sentence = phrase(
            random,
            "(this|that|it|here|today|my cat|the dog|{n}|our house|the test) is "
            "(a test|good|blue|small|{n}|not here|warm|only a test)",
            n=random.choice(NAMES),
        )
        asked = phrase(random, '(Say|Repeat|Say:|Repeat:|Please say|Write) ({s}|"{s}")(.|)', s=sentence)
        return [Exchange(asked, f"{sentence[0].upper()}{sentence[1:]}.")]
    word = random.choice(
        [
            *NAMES,
            "hello",
            "banana",
            "blue",
            "seven",
            "tree",
            "yes",
            "no",
            "moon",
            "test",
            "apple",
            "river",
            "good",
            "Tropilla",
        ]
    )
    question = phrase(random, '(Say|Repeat|Write|Say the word|Repeat the word|Please say) ("{w}"|{w})(.|)', w=word)
    return [
        Exchange(question, f"{word[0].upper()}{word[1:]}.", word=f"{word[0].upper()}{word[1:]}.", facts={"word": word})
    ]
