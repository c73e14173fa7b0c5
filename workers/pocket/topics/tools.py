"""Tools: calling one, using its result, and leaving it alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any

from tropilla.workers.pocket.documents import Chat, Message, listed, phrase, turn
from tropilla.workers.pocket.topics import geography, people, words, world
from tropilla.workers.pocket.topics.limits import made_up
from tropilla.workers.pocket.topics.structured import CITIES

Tool = Mapping[str, Any]

_SKIES = listed("sunny cloudy rainy windy foggy snowy warm cold clear stormy")
_OTHERS = [
    geography.capital,
    people.greeting,
    people.identity,
    world.colour,
    words.opposite,
    people.thanks,
    world.plain_fact,
]

_TEXT = {"type": "string"}
_NUMBER = {"type": "number"}


def _tool(
    name: str, description: str, parameters: Mapping[str, Any], optional: Mapping[str, Any] | None = None
) -> Tool:
    properties = {**parameters, **(optional or {})}
    schema = {"type": "object", "properties": properties, "required": list(parameters)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


def _parameter(random: Random, schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {**schema, "description": description} if random.random() < 0.4 else dict(schema)


def _city(random: Random) -> str:
    """Made-up names among the real ones, so that the city is copied and not recalled."""
    name = random.choice([random.choice(CITIES), made_up(random), made_up(random)])
    first = random.random()
    if first < 0.08:
        return f"{random.choice(['New', 'San', 'Los', 'Saint', 'Bad', 'El', 'Port'])} {name}"
    return f"{name} {made_up(random)}" if first < 0.12 else name


def _units(random: Random) -> Mapping[str, Any]:
    """An optional parameter, there to be left out."""
    name = random.choice(["unit", "format"])
    return {name: {"type": "string", "enum": ["celsius", "fahrenheit"]}} if random.random() < 0.2 else {}


def _weather(random: Random) -> tuple[Tool, str, dict[str, Any], dict[str, Any], str]:
    city = _city(random)
    key = random.choice(["city", "city", "city", "location"])
    name = random.choice(["get_weather", "get_weather", "get_weather", "get_current_weather", "weather"])
    description = phrase(
        random, "(Get|Get the|Get the current|Look up the|Returns the) weather (for|in|of) a (city|location|place)(.|)"
    )
    tool = _tool(name, description, {key: _parameter(random, _TEXT, "The name of the city")}, optional=_units(random))
    question = phrase(
        random,
        "(What is the weather in {c}|What is the weather like in {c}|How is the weather in {c}|"
        "What's the weather in {c}|"
        "Is it raining in {c}|Is it sunny in {c}|Tell me the weather in {c}|What is the weather in {c} today|"
        "Weather in {c}|"
        "Get the weather for {c}|How warm is it in {c}|What's the weather like in {c} today|"
        "Please check the weather in {c})(?|)",
        c=city,
    )
    sky, degrees = random.choice(_SKIES), random.randint(-10, 40)
    result: dict[str, Any] = {key: city, "temperature": degrees, random.choice(["sky", "condition", "weather"]): sky}
    answer = f"It is {sky} in {city}, {degrees} degrees."
    if random.random() < 0.3:
        del result["temperature"]
        answer = f"It is {sky} in {city}."
    if random.random() < 0.4:
        del result[key]
    return tool, question, {key: city}, result, answer


def _clock(random: Random) -> tuple[Tool, str, dict[str, Any], dict[str, Any], str]:
    city = _city(random)
    tool = _tool(
        random.choice(["get_time", "get_current_time"]),
        phrase(random, "(Get|Get the current|Look up the) time in a city(.|)"),
        {"city": _parameter(random, _TEXT, "The city")},
    )
    question = phrase(
        random,
        "(What time is it in {c}|What is the time in {c}|Tell me the time in {c}|How late is it in {c})?",
        c=city,
    )
    time = f"{random.randint(0, 23)}:{random.randint(10, 59)}"
    return tool, question, {"city": city}, {"time": time}, f"It is {time} in {city}."


def _addition(random: Random) -> tuple[Tool, str, dict[str, Any], dict[str, Any], str]:
    highest = random.choice([10, 999])
    first, second = random.randint(1, highest), random.randint(1, highest)
    tool = _tool(
        random.choice(["add", "add_numbers", "add_two_numbers"]),
        phrase(random, "Add two numbers(.|)"),
        {"a": _parameter(random, _NUMBER, "The first number"), "b": _parameter(random, _NUMBER, "The second number")},
    )
    question = phrase(
        random,
        "(Add {a} and {b}|What is {a} plus {b}|What is {a} + {b}|Please add {a} and {b})(.|?|)",
        a=first,
        b=second,
    )
    return (
        tool,
        question,
        {"a": first, "b": second},
        {"result": first + second},
        f"{first} plus {second} is {first + second}.",
    )


def _messaging(random: Random) -> tuple[Tool, str, dict[str, Any], dict[str, Any], str]:
    name = random.choice(people.NAMES)
    text = random.choice(["Hello", "Good morning", "See you soon", "Come home", "Thank you", "I am late", "Good night"])
    tool = _tool(
        "send_message",
        phrase(random, "Send a message to a person(.|)"),
        {"to": _parameter(random, _TEXT, "The person"), "text": _parameter(random, _TEXT, "The message")},
    )
    question = phrase(
        random, '(Send|Write) (a message to {n}: {t}|{n} the message "{t}"|{n} a message: {t})(.|)', n=name, t=text
    )
    return tool, question, {"to": name, "text": text}, {"status": "sent"}, f"I have sent the message to {name}."


def _search(random: Random) -> tuple[Tool, str, dict[str, Any], dict[str, Any], str]:
    topic = random.choice(
        [made_up(random), "red flowers", "old castles", "fast cars", "good books", "deep learning", "tall trees"]
    )
    tool = _tool(
        random.choice(["search", "web_search"]),
        phrase(random, "Search the (web|internet)(.|)"),
        {"query": _parameter(random, _TEXT, "The query")},
    )
    question = phrase(
        random, "(Search for|Search the web for|Look up|Find pages about|Please search for) {t}(.|)", t=topic
    )
    count = random.randint(2, 90)
    return tool, question, {"query": topic}, {"results": count}, f"I found {count} results for {topic}."


#: name -> (description, parameter, question, answer): tools of one text parameter, which the question holds.
_SIMPLE = {
    "play_song": ("Play a song", "title", "(Play|Please play|Play the song) {t}", "I am playing {t}."),
    "find_recipe": (
        "Find a recipe for a dish", "dish",
        "(Find a recipe for|How do I cook|I want to cook) {t}", "I found a recipe for {t}.",
    ),
    "turn_on_light": (
        "Turn on the light in a room", "room",
        "(Turn on the light in|Light on in) {t}", "The light in {t} is on.",
    ),
    "get_stock_price": (
        "Get the price of a stock", "symbol",
        "(What is the stock price of|Get the price of) {t}", "I have the price of {t}.",
    ),
    "open_page": ("Open a page", "name", "(Open the page|Open|Show me the page) {t}", "The page {t} is open."),
    "look_up_word": (
        "Look up a word in the dictionary", "word",
        "(Look up the word|Look up) {t}", "I have looked up {t}.",
    ),
    "get_population": (
        "Get the population of a country", "country",
        "(What is the population of|How many people live in) {t}", "I have the population of {t}.",
    ),
}  # fmt: skip


def _simple(random: Random) -> tuple[Tool, str, dict[str, Any], dict[str, Any], str]:
    name, (description, key, pattern, answer) = random.choice(list(_SIMPLE.items()))
    thing = made_up(random)
    tool = _tool(name, description + random.choice([".", ""]), {key: _parameter(random, _TEXT, f"The {key}")})
    return tool, phrase(random, pattern + "(.|?|)", t=thing), {key: thing}, {"status": "ok"}, answer.format(t=thing)


_MAKERS = [_weather, _weather, _weather, _weather, _clock, _addition, _messaging, _search, _simple, _simple]


def call(name: str, arguments: Mapping[str, Any]) -> Message:
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", "function": {"name": name, "arguments": arguments}}],
    }


def conversation(random: Random) -> Chat:
    """A question for a tool, its call and its result; or a question that needs none of the tools on offer."""
    tool, question, arguments, result, answer = random.choice(_MAKERS)(random)
    tools = [tool]
    for maker in random.sample(
        [_weather, _clock, _addition, _messaging, _search, _simple], random.choice([0, 0, 0, 0, 1, 2])
    ):
        other = maker(random)[0]
        if other["function"]["name"][:7] not in {known["function"]["name"][:7] for known in tools}:
            tools.insert(random.randint(0, len(tools)), other)
    messages: list[Message] = []
    if random.random() < 0.2:
        messages.append(
            turn("system", random.choice(["You are a helpful assistant.", "You can use tools.", "You are Pocket."]))
        )
    if random.random() < 0.25:
        plain = random.choice(_OTHERS)(random)[0]
        messages += [turn("user", plain.question), turn("assistant", plain.answer)]
        if random.random() < 0.6:
            return Chat(messages, tools)
    messages += [turn("user", question), call(tool["function"]["name"], arguments)]
    if random.random() < 0.55:
        messages.append(
            turn(
                "tool",
                json.dumps(result) if random.random() < 0.7 else ", ".join(f"{k}: {v}" for k, v in result.items()),
            )
        )
        messages.append(turn("assistant", answer))
        if random.random() < 0.2:
            messages += [turn("user", "Thank you!"), turn("assistant", "You are welcome!")]
    return Chat(messages, tools)
