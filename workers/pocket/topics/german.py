"""A little German: greetings, colours, numbers, capitals, animals, and small translations."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tropilla.workers.pocket.documents import Exchange, listed, phrase
from tropilla.workers.pocket.topics.people import NAMES

ABOUT = "Ich bin Pocket, das kleine Modell von Tropilla."
REFUSAL = "Das weiß ich nicht. Ich bin ein kleines Modell."

NUMBERS = listed("""
null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn
achtzehn neunzehn zwanzig
""")

CAPITALS = {
    "Frankreich": "Paris", "Deutschland": "Berlin", "Italien": "Rom", "Spanien": "Madrid", "Österreich": "Wien",
    "England": "London", "Polen": "Warschau", "Portugal": "Lissabon", "Griechenland": "Athen", "Russland": "Moskau",
    "Dänemark": "Kopenhagen", "Schweden": "Stockholm", "Japan": "Tokio", "Ägypten": "Kairo", "Norwegen": "Oslo",
}  # fmt: skip

COLOURS = {
    "der Himmel": "blau", "das Gras": "grün", "die Sonne": "gelb", "der Schnee": "weiß", "eine Tomate": "rot",
    "eine Banane": "gelb", "ein Schwein": "rosa", "die Nacht": "schwarz", "ein Frosch": "grün", "die Milch": "weiß",
    "eine Zitrone": "gelb", "das Blut": "rot", "die Kohle": "schwarz", "eine Möhre": "orange",
}  # fmt: skip

SOUNDS = {
    "eine Katze": "Miau", "ein Hund": "Wau", "eine Kuh": "Muh", "ein Schaf": "Mäh", "ein Frosch": "Quak",
    "ein Schwein": "Oink",
    "eine Ente": "Quak", "ein Löwe": "Roar",
}  # fmt: skip

LEGS = {
    "eine Katze": 4,
    "ein Hund": 4,
    "eine Spinne": 8,
    "ein Vogel": 2,
    "eine Ameise": 6,
    "ein Pferd": 4,
    "eine Kuh": 4,
}

WORDS = {
    "cat": "Katze", "dog": "Hund", "house": "Haus", "tree": "Baum", "water": "Wasser", "bread": "Brot", "sun": "Sonne",
    "moon": "Mond", "book": "Buch", "apple": "Apfel", "red": "rot", "blue": "blau", "green": "grün", "yellow": "gelb",
    "white": "weiß", "black": "schwarz", "good": "gut", "big": "groß", "small": "klein", "hello": "hallo",
    "thank you": "danke",
    "please": "bitte", "yes": "ja", "no": "nein", "bird": "Vogel", "fish": "Fisch", "horse": "Pferd", "cow": "Kuh",
    "mouse": "Maus", "milk": "Milch", "goodbye": "auf Wiedersehen", "beautiful": "schön", "friend": "Freund",
    "one": "eins",
    "two": "zwei", "three": "drei", "four": "vier", "five": "fünf", "ten": "zehn", "street": "Straße",
    "girl": "Mädchen",
}  # fmt: skip

OPPOSITES = {
    "heiß": "kalt", "groß": "klein", "alt": "jung", "hell": "dunkel", "gut": "schlecht", "schnell": "langsam",
    "neu": "alt", "süß": "sauer", "laut": "leise", "schön": "hässlich",
}  # fmt: skip

DAYS = listed("Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag")


def small_talk(random: Random) -> Sequence[Exchange]:
    pattern, answer = random.choice([
        ("(Hallo|Guten Tag|Guten Morgen|Hi Pocket, guten Tag|Grüß dich|Servus)(!|.|)", "Hallo! Wie kann ich helfen?"),
        ("(Hallo, wie geht es dir|Wie geht es dir|Wie geht es dir heute|Wie geht's)?", "Mir geht es gut, danke."),
        ("(Wer bist du|Wie heißt du|Was bist du|Wie ist dein Name|Stell dich vor)?", ABOUT),
        ("(Danke|Vielen Dank|Danke schön|Danke sehr)(!|.|)", "Bitte schön!"),
        ("(Tschüss|Auf Wiedersehen|Bis bald|Gute Nacht)(!|.|)", "Auf Wiedersehen und bis bald!"),
        ("(Sprichst du Deutsch|Kannst du Deutsch|Verstehst du Deutsch)?", "Ja, ein wenig."),
        ("(Was kannst du|Was machst du|Kannst du mir helfen)?",
        "Ich kann kleine Fragen beantworten, zählen und rechnen."),
    ])  # fmt: skip
    return [Exchange(phrase(random, pattern), answer)]


def memory(random: Random) -> Sequence[Exchange]:
    name = random.choice(NAMES)
    told = phrase(random, "(Ich heiße {n}|Mein Name ist {n}|Ich bin {n}|Hallo, ich heiße {n}).", n=name)
    asked = phrase(random, "(Wie heiße ich|Wer bin ich|Wie ist mein Name)?")
    return [Exchange(told, f"Schön, dich kennenzulernen, {name}!"), Exchange(asked, f"Du heißt {name}.")]


def capital(random: Random) -> Sequence[Exchange]:
    first, second = random.sample(list(CAPITALS), 2)
    asked = (
        "(Was ist die Hauptstadt von {c}|Wie heißt die Hauptstadt von {c}|Nenne die Hauptstadt von {c}|"
        "Die Hauptstadt von {c}|"
        "Welche Stadt ist die Hauptstadt von {c})?"
    )
    exchanges = []
    for country, pattern in ((first, asked), (second, "(Und|Und die|Und die Hauptstadt) von {c}?")):
        city = CAPITALS[country]
        facts = {"Land": country, "Hauptstadt": city}
        question = phrase(random, pattern, c=country)
        exchanges.append(Exchange(question, f"Die Hauptstadt von {country} ist {city}.", word=f"{city}.", facts=facts))
    return exchanges[: random.choice([1, 1, 2])]


def colour(random: Random) -> Sequence[Exchange]:
    thing, shade = random.choice(list(COLOURS.items()))
    question = phrase(
        random, "(Welche Farbe hat {t}|Was für eine Farbe hat {t}|Sag mir, welche Farbe {t} hat)?", t=thing
    )
    answer = f"{thing[0].upper()}{thing[1:]} ist {shade}."
    return [Exchange(question, answer, word=f"{shade.capitalize()}.", facts={"Farbe": shade})]


def animal(random: Random) -> Sequence[Exchange]:
    if random.random() < 0.5:
        creature, sound = random.choice(list(SOUNDS.items()))
        question = phrase(random, "(Was sagt {a}|Welches Geräusch macht {a}|Wie macht {a})?", a=creature)
        return [Exchange(question, f"{creature.capitalize()} sagt {sound}.", word=f"{sound}.")]
    creature, count = random.choice(list(LEGS.items()))
    question = phrase(random, "(Wie viele Beine hat {a}|Wieviele Beine hat {a})?", a=creature)
    head, noun = creature.split()
    return [
        Exchange(
            question, f"{head.capitalize()} {noun} hat {NUMBERS[count]} Beine.", word=f"{NUMBERS[count].capitalize()}."
        )
    ]


def number(random: Random) -> Sequence[Exchange]:
    if random.random() < 0.4:
        last = random.choice([3, 5, 5, 10, 10, 12, 20])
        question = phrase(
            random, "(Zähle|Zähl|Zähle bitte|Kannst du) (bis {n}|von eins bis {n})( zählen|).", n=NUMBERS[last]
        )
        return [Exchange(question, " ".join(NUMBERS[1 : last + 1]))]
    first, second = random.randint(1, 10), random.randint(1, 10)
    written = random.random() < 0.5
    left, right = (NUMBERS[first], NUMBERS[second]) if written else (str(first), str(second))
    question = phrase(random, "(Was ist|Wie viel ist|Was ergibt|Rechne) {a} plus {b}?", a=left, b=right)
    total = first + second
    answer = (
        f"{NUMBERS[first]} plus {NUMBERS[second]} ist {NUMBERS[total]}."
        if written
        else f"{left} plus {right} ist {total}."
    )
    return [Exchange(question, answer[0].upper() + answer[1:], facts={"Ergebnis": total})]


def translation(random: Random) -> Sequence[Exchange]:
    english, foreign = random.choice(list(WORDS.items()))
    if random.random() < 0.7:
        question = phrase(
            random,
            "(What is {w} in German|What is the German word for {w}|How do you say {w} in German|"
            "Translate {w} into German|"
            "Say {w} in German|What is the German for {w}|German for {w}|Translate {w} to German)?",
            w=random.choice([english, english, f'"{english}"']),
        )
        return [
            Exchange(
                question,
                f"The German word for {english} is {foreign}.",
                word=f"{foreign}.",
                facts={"english": english, "german": foreign},
            )
        ]
    question = phrase(
        random,
        "(What does {w} mean|What does {w} mean in English|Translate {w} into English|What is {w} in English)?",
        w=f'"{foreign}"',
    )
    return [
        Exchange(
            question,
            f'"{foreign}" means {english} in English.',
            word=f"{english.capitalize()}.",
            facts={"german": foreign, "english": english},
        )
    ]


def words(random: Random) -> Sequence[Exchange]:
    if random.random() < 0.5:
        word, other = random.choice(list(OPPOSITES.items()))
        question = phrase(random, "(Was ist das Gegenteil von {w}|Nenne das Gegenteil von {w})?", w=word)
        return [Exchange(question, f"Das Gegenteil von {word} ist {other}.", word=f"{other.capitalize()}.")]
    place = random.randrange(7)
    question = phrase(
        random, "(Welcher Tag kommt nach {d}|Was kommt nach {d}|Welcher Tag ist nach {d})?", d=DAYS[place]
    )
    found = DAYS[(place + 1) % 7]
    return [Exchange(question, f"Nach {DAYS[place]} kommt {found}.", word=f"{found}.")]


def unknown(random: Random) -> Sequence[Exchange]:
    question = phrase(
        random,
        "(Wer hat gestern gewonnen|Wie ist das Wetter|Wie spät ist es|Was kostet ein Haus|Wo ist mein Schlüssel|"
        "Wer ist der König von {n}|Was bedeutet das Leben|Wie alt ist {n}|Erkläre die Quantenphysik|Wer ist {n})?",
        n=random.choice(NAMES),
    )
    return [Exchange(question, REFUSAL)]


def story(random: Random) -> Sequence[Exchange]:
    name = random.choice(NAMES)
    creature, pronoun = random.choice(
        [("ein Hund", "er"), ("ein Fuchs", "er"), ("ein Bär", "er"), ("eine Katze", "sie"), ("eine Maus", "sie")]
    )
    place = random.choice(["im Wald", "am Meer", "in einem Dorf", "auf einem Bauernhof", "in einem alten Schloss"])
    wish = random.choice(
        ["einen Freund finden", "das Meer sehen", "einen Schatz finden", "fliegen lernen", "den Mond sehen"]
    )
    question = phrase(random, "(Erzähle|Erzähl|Schreibe) (mir|) eine (kurze|kleine|) Geschichte(.|)")
    answer = (
        f"Es war einmal {creature} mit dem Namen {name}. {name} lebte {place} und wollte {wish}. "
        f"Eines Tages ging {name} weit weg. Es war kalt, und {pronoun} hatte Angst. Da kam ein Vogel und half. "
        "Am Ende waren alle glücklich."
    )
    return [Exchange(question, answer)]


def statement(random: Random) -> str:
    country, city = random.choice(list(CAPITALS.items()))
    thing, shade = random.choice(list(COLOURS.items()))
    return random.choice([f"Die Hauptstadt von {country} ist {city}.", f"{thing[0].upper()}{thing[1:]} ist {shade}."])
