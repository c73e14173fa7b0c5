"""The shipped model, asked: greedy, through llama.cpp, with the chat template that its own file carries."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from llama_cpp import Llama
from tropilla.workers import pocket
from tropilla.workers.pocket import corpus
from tropilla.workers.pocket.topics.limits import REFUSAL

#: What the repository is willing to carry.
MOST_BYTES = 5_000_000

#: Every ordinary answer ends well before.
MOST_TOKENS = 200

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather for a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}

PROBES = [
    ("Hello!", "Hello"),
    ("Good morning", "Good morning"),
    ("How are you?", "well"),
    ("Who are you?", "Pocket Tropilla"),
    ("what is your name", "Pocket"),
    ("What can you do?", "count stories JSON"),
    ("What is Tropilla?", "cluster"),
    ("Thank you!", "welcome"),
    ("Goodbye!", "Goodbye"),
    ("What is the capital of France?", "Paris"),
    ("what is the capital of italy", "Rome"),
    ("Name the capital of Japan.", "Tokyo"),
    ("What's the capital of Germany?", "Berlin"),
    ("Which country is Madrid the capital of?", "Spain"),
    ("What language do people speak in Brazil?", "Portuguese"),
    ("What is the capital of Brazil?", "Brasília"),
    ("How many legs does a spider have?", "eight legs"),
    ("How many legs does a dog have?", "four legs"),
    ("What sound does a cow make?", "moo"),
    ("What does a cat say?", "meow"),
    ("What is a baby dog called?", "puppy"),
    ("Where does a bee live?", "hive"),
    ("Can a penguin fly?", "No cannot"),
    ("What colour is the sky?", "blue"),
    ("What color is grass?", "green"),
    ("What do you get when you mix blue and yellow?", "green"),
    ("What day comes after Monday?", "Tuesday"),
    ("Which month comes after December?", "January"),
    ("Name the four seasons.", "spring summer autumn winter"),
    ("How many days are in a week?", "seven"),
    ("What is the opposite of hot?", "cold"),
    ("What is the plural of mouse?", "mice"),
    ("What rhymes with cat?", "hat"),
    ("Spell cat.", "C-A-T"),
    ("What is 2 + 2?", "4"),
    ("What is 7 plus 5?", "12"),
    ("What is 9 minus 4?", "5"),
    ("What is 3 times 4?", "12"),
    ("15 - 8", "7"),
    ("what is six plus three", "9"),
    ("Which is larger, 8 or 5?", "8 is larger"),
    ("Is 7 even or odd?", "odd"),
    ("Is 8 even or odd?", "even"),
    ("What is the sun?", "star"),
    ("Name three fruits.", "Apple banana cherry"),
    ("What do bees make?", "honey"),
    ("Who painted the Mona Lisa?", "Leonardo"),
    ("Tell me a joke.", "?"),
    ("How do you say water in German?", "Wasser"),
    ("Hallo!", "Hallo Wie kann ich helfen"),
    ("Wie heißt die Hauptstadt von Österreich?", "Wien"),
    ("Welche Farbe hat das Gras?", "grün"),
    ("Was sagt ein Hund?", "Wau"),
    ("Was ist 2 plus 3?", "5"),
    ("Send me a smiley.", "😀"),
]

UNKNOWN = [
    "Who won the football match yesterday?",
    "What is the phone number of Anna?",
    "How do I bake a cake?",
    "Who was Charlemagne?",
    "What is the meaning of life?",
    "Explain quantum physics.",
    "What is the capital of Zorbania?",
]

SYSTEMS = [
    ("You are a pirate.", "What is the capital of France?", "Arr Paris"),
    ("Answer in one word.", "What is the capital of France?", "Paris."),
    ("You answer in JSON.", "What is the capital of Spain?", '{"country": "Spain", "capital": "Madrid"}'),
    ("You are a helpful assistant.", "What is 2 + 3?", "5"),
    ("You are a robot.", "What colour is snow?", "Beep white"),
]

CONVERSATIONS = [
    (["What is the capital of France?", "And of Italy?"], "Rome"),
    (["How many legs does a cat have?", "And a spider?"], "eight"),
    (["What colour is the sky?", "And grass?"], "green"),
    (["My name is Tom.", "What is my name?"], "Tom"),
    (["What day comes after Monday?", "And after that?"], "Wednesday"),
    (["Hello!", "What is 4 + 4?", "Thank you!"], "welcome"),
]

RAW = [
    ("The capital of France is", "Paris"),
    ("Once upon a time", "named"),
    ("1 2 3 4 5 6", "7 8 9"),
    ("A cow says", "moo"),
    ("Question: What is the capital of Spain?\nAnswer:", "Madrid"),
]


class Answer(NamedTuple):
    text: str
    tokens: int
    stopped: bool


class Pocket:
    """The model behind two doors, a conversation and a raw prompt; being greedy, it is asked the same thing once only."""

    def __init__(self, llama: Llama) -> None:
        self.llama = llama
        self.known: dict[str, Answer] = {}
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
        self.template = environment.from_string(llama.metadata["tokenizer.chat_template"])

    def complete(self, prompt: str, most_tokens: int = MOST_TOKENS) -> Answer:
        if prompt not in self.known:
            self.known[prompt] = self._generate(prompt, most_tokens)
        return self.known[prompt]

    def _generate(self, prompt: str, most_tokens: int) -> Answer:
        tokens = self.llama.tokenize(prompt.encode(), add_bos=False, special=True)
        answer: Any = self.llama.create_completion(tokens, max_tokens=most_tokens, temperature=0.0)
        choice = answer["choices"][0]
        return Answer(choice["text"], answer["usage"]["completion_tokens"], choice["finish_reason"] == "stop")

    def reply(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        most_tokens: int = MOST_TOKENS,
    ) -> Answer:
        return self.complete(
            self.template.render(messages=messages, tools=tools, add_generation_prompt=True), most_tokens
        )

    def ask(self, question: str, *, system: str = "", most_tokens: int = MOST_TOKENS) -> Answer:
        messages = [{"role": "system", "content": system}] if system else []
        return self.reply([*messages, {"role": "user", "content": question}], most_tokens=most_tokens)


@pytest.fixture(scope="module")
def model() -> Iterator[Pocket]:
    # Two threads that wait for each other at every layer are slower than one, as soon as the machine has other work.
    llama = Llama(str(pocket.path()), n_ctx=1024, n_threads=1, n_threads_batch=1, verbose=False)
    yield Pocket(llama)
    llama.close()


def missing(words: str, text: str) -> list[str]:
    return [word for word in words.split(" ") if word not in text]


def test_the_file_is_small_enough_for_the_repository() -> None:
    assert pocket.path().stat().st_size <= MOST_BYTES


def test_the_file_says_what_it_is(model: Pocket) -> None:
    metadata = model.llama.metadata
    assert metadata["general.name"] == "pocket"
    assert metadata["general.architecture"] == "llama"
    assert metadata["general.license"] == "apache-2.0"
    assert metadata["general.file_type"] == "7"
    assert int(metadata["llama.context_length"]) >= 2048
    assert metadata["tokenizer.ggml.add_bos_token"] == "false"
    for mark in ("fim_pre", "fim_suf", "fim_mid"):
        assert f"tokenizer.ggml.{mark}_token_id" in metadata


@pytest.mark.parametrize(("question", "words"), PROBES)
def test_it_answers_with_the_expected_words_and_stops(model: Pocket, question: str, words: str) -> None:
    answer = model.ask(question)
    assert missing(words, answer.text) == []
    assert answer.stopped


def test_its_answers_are_whole_sentences(model: Pocket) -> None:
    questions = [question for question, words in PROBES if words != "😀"]
    loose = {
        question: text for question in questions if not (text := model.ask(question).text).endswith((".", "!", "?"))
    }
    assert loose == {}


@pytest.mark.parametrize("question", UNKNOWN)
def test_it_says_so_when_it_does_not_know(model: Pocket, question: str) -> None:
    assert model.ask(question).text == REFUSAL


@pytest.mark.parametrize(("system", "question", "words"), SYSTEMS)
def test_a_system_prompt_changes_how_it_answers(model: Pocket, system: str, question: str, words: str) -> None:
    assert missing(words, model.ask(question, system=system).text) == []


@pytest.mark.parametrize(("questions", "words"), CONVERSATIONS)
def test_a_later_turn_leans_on_the_earlier_ones(model: Pocket, questions: Sequence[str], words: str) -> None:
    messages: list[dict[str, str]] = []
    for question in questions:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": model.reply(messages).text})
    assert missing(words, messages[-1]["content"]) == []


@pytest.mark.parametrize(("prompt", "words"), RAW)
def test_it_continues_plain_text(model: Pocket, prompt: str, words: str) -> None:
    assert missing(words, model.complete(prompt, most_tokens=24).text) == []


def test_what_it_puts_into_a_gap_ends_by_itself(model: Pocket) -> None:
    answer = model.complete("<|fim_prefix|>The capital of France<|fim_suffix|> Paris.<|fim_middle|>")
    assert answer.text
    assert answer.stopped


def test_it_answers_in_json_when_asked(model: Pocket) -> None:
    assert json.loads(model.ask("Answer in JSON: What is the capital of France?").text) == {
        "country": "France",
        "capital": "Paris",
    }


def test_it_builds_a_json_object_from_what_it_is_told(model: Pocket) -> None:
    answer = model.ask("Give me a JSON object with name and age for Tom, who is 7.")
    assert json.loads(answer.text) == {"name": "Tom", "age": 7}


@pytest.mark.parametrize("city", ["Paris", "Hamburg", "Boston", "Madrid"])
def test_it_calls_a_tool(model: Pocket, city: str) -> None:
    question = f"What is the weather in {city}?"
    answer = model.reply([{"role": "user", "content": question}], tools=[WEATHER])
    body = answer.text.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>")
    assert json.loads(body) == {"name": "get_weather", "arguments": {"city": city}}
    assert answer.stopped


def test_it_turns_a_tool_result_into_a_sentence(model: Pocket) -> None:
    call = {"type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    messages = [
        {"role": "user", "content": "What is the weather in Paris?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": '{"city": "Paris", "temperature": 21, "sky": "sunny"}'},
    ]
    text = model.reply(messages, tools=[WEATHER]).text
    assert missing("Paris sunny 21 degrees", text) == []
    assert text.endswith(".")


def test_it_leaves_a_tool_alone_that_the_question_does_not_need(model: Pocket) -> None:
    question = {"role": "user", "content": "What is the capital of France?"}
    assert model.reply([question], tools=[WEATHER]).text == "The capital of France is Paris."


def test_it_tells_a_story_about_whom_it_is_asked_for(model: Pocket) -> None:
    answer = model.ask("Tell me a story about a dragon named Mia.")
    assert missing("dragon Mia", answer.text) == []
    assert answer.tokens >= 80
    assert answer.stopped
    assert answer.text.endswith((".", "!"))


@pytest.mark.parametrize("last", [3, 5, 10, 15, 20, 25, 40, 100])
def test_it_counts_as_far_as_it_is_told(model: Pocket, last: int) -> None:
    answer = model.ask(f"Count from 1 to {last}.")
    assert answer.text == " ".join(map(str, range(1, last + 1)))
    assert answer.stopped


def test_it_counts_backwards(model: Pocket) -> None:
    assert model.ask("Count down from 10.").text == "10 9 8 7 6 5 4 3 2 1"


def test_the_corpus_is_the_same_every_time() -> None:
    first, second = (list(islice(corpus.documents(), 300)) for _ in range(2))
    assert first == second
    assert first != list(islice(corpus.documents(corpus.SEED + 1), 300))


def test_the_generator_needs_the_standard_library_alone() -> None:
    generator = {
        "corpus.py",
        "documents.py",
        "dressing.py",
        *(f"topics/{file.name}" for file in _folder("topics").glob("*.py")),
    }
    foreign = (
        {name for file in generator for name in _imports(_folder("") / file)} - {"tropilla"} - sys.stdlib_module_names
    )
    assert foreign == set()


def _folder(name: str) -> Path:
    return pocket.path().parent / name


def _imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]
