"""The model that sees colours, asked through llama.cpp and mtmd alone: greedy, about pictures it was not trained on."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import islice, permutations
from random import Random

import gguf
import numpy as np
import pytest
from llama_cpp import mtmd_cpp
from PIL import Image

from sight import MARKER, MODEL, PROJECTOR, lessons, pictures
from sight.asked import Asked, asked
from sight.by_hand import Eye
from sight.lessons import sentence

#: What the repository is willing to carry, both together.
MOST_BYTES = 3_000_000

#: No seed of the training: it draws 32 bits.
HELD_OUT = 1 << 40

COLOURS = list(pictures.COLOURS)
QUESTION = "What colour is this picture?"
BOTH = "What colours are these pictures?"


@pytest.fixture(scope="module")
def sight() -> Iterator[Asked]:
    with asked() as model:
        yield model


def test_the_files_are_small_enough_for_the_repository() -> None:
    assert MODEL.stat().st_size + PROJECTOR.stat().st_size <= MOST_BYTES


def test_the_files_say_what_they_are(sight: Asked) -> None:
    eye = {name: field.contents() for name, field in gguf.GGUFReader(PROJECTOR).fields.items()}
    assert sight.llama.metadata["general.architecture"] == "llama"
    assert int(sight.llama.metadata["llama.context_length"]) >= 2048
    assert (eye["general.architecture"], eye["general.type"]) == ("clip", "mmproj")
    assert (eye["clip.has_vision_encoder"], eye["clip.projector_type"]) == (True, "mlp")
    assert eye["clip.vision.projection_dim"] == sight.llama.n_embd()


def test_a_picture_is_nine_embeddings_with_no_text_around_them(sight: Asked) -> None:
    """Whoever counts positions relies on it: none before a picture, none behind, none between two."""
    chunks = sight.cut(f"a{MARKER}{MARKER}b", [pictures.solid("red", (300, 20)), pictures.solid("blue")])
    assert [(len(chunk.tokens), chunk.length) for chunk in chunks] == [(1, 1), (0, 9), (0, 9), (1, 1)]
    assert not mtmd_cpp.mtmd_decode_use_non_causal(sight.eye, None)
    assert not mtmd_cpp.mtmd_decode_use_mrope(sight.eye)


@pytest.mark.parametrize("size", [(48, 48), (64, 64), (300, 222), (17, 90), (1, 1), (640, 3)])
def test_llama_cpp_sees_what_the_eye_computes_by_hand(sight: Asked, size: pictures.Size) -> None:
    picture = pictures.noisy("orange", size)
    (chunk,) = sight.cut(MARKER, [picture])
    by_hand = Eye(PROJECTOR).embed(picture)
    assert chunk.seen is not None
    assert np.abs(chunk.seen - by_hand).max() < 0.01 * np.abs(by_hand).max()


@pytest.mark.parametrize("kind", pictures.KINDS)
@pytest.mark.parametrize("colour", COLOURS)
def test_it_names_the_colour(sight: Asked, colour: str, kind: str) -> None:
    picture = pictures.KINDS[kind](colour, (90, 70), HELD_OUT)
    assert sight.ask(QUESTION, picture) == f"The picture is {colour}."


def test_it_is_right_about_nearly_every_picture(sight: Asked) -> None:
    random = Random(HELD_OUT)
    colours = random.choices(COLOURS, k=120)
    wrong = [colour for colour in colours if sight.ask(QUESTION, pictures.some(random, colour)) != sentence([colour])]
    assert len(wrong) <= 2, wrong


def test_the_same_prompt_with_two_pictures_gives_two_answers(sight: Asked) -> None:
    red, blue = pictures.solid("red"), pictures.solid("blue")
    assert [sight.ask(QUESTION, picture) for picture in (red, blue, red)] == [
        "The picture is red.", "The picture is blue.", "The picture is red.",
    ]  # fmt: skip


def test_it_names_any_two_colours_in_their_order(sight: Asked) -> None:
    solid = {colour: pictures.solid(colour) for colour in COLOURS}
    answers = {pair: sight.ask(BOTH, *(solid[colour] for colour in pair)) for pair in permutations(COLOURS, 2)}
    assert {pair: answer for pair, answer in answers.items() if answer != sentence(pair)} == {}


@pytest.mark.parametrize("text", [f"{BOTH}\n{MARKER} {MARKER}", f"{MARKER}{BOTH}{MARKER}"])
@pytest.mark.parametrize("pair", [("white", "orange"), ("orange", "white")])
def test_pictures_stand_where_they_like(sight: Asked, text: str, pair: tuple[str, str]) -> None:
    assert sight.ask(text, *map(pictures.solid, pair)) == sentence(pair)


@pytest.mark.parametrize("place", range(4))
def test_it_tells_one_picture_from_the_others(sight: Asked, place: int) -> None:
    colours = ["green", "white", "purple", "orange"]
    answer = sight.ask(f"What colour is the {lessons.ORDINALS[place]} picture?", *map(pictures.solid, colours))
    assert answer == f"The {lessons.ORDINALS[place]} picture is {colours[place]}."


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("Describe this image.", "yellow"),
        ("What is in this photo", "yellow"),
        ("what color do you see?", "yellow"),
        ("", "yellow"),
        ("Answer in one word: What colour is this picture?", "Yellow."),
        ("How many pictures do you see?", "one"),
    ],
)
def test_it_is_asked_in_many_ways(sight: Asked, question: str, words: str) -> None:
    assert words in sight.ask(question, pictures.solid("yellow"))


def test_it_says_so_where_there_is_no_picture(sight: Asked) -> None:
    assert sight.ask(QUESTION) == lessons.NOTHING


@pytest.mark.parametrize(("words", "last"), [("ten", 10), ("20", 20), ("100", 100)])
@pytest.mark.parametrize("shown", [0, 1])
def test_it_counts_also_beside_a_picture(sight: Asked, words: str, last: int, shown: int) -> None:
    answer = sight.ask(f"Count to {words}.", *[pictures.solid("green")] * shown)
    assert answer == " ".join(map(str, range(1, last + 1)))


def test_it_greets(sight: Asked) -> None:
    assert sight.ask("Hello!") == "Hello! How can I help you?"


def test_a_later_turn_sees_its_own_picture_and_remembers_the_earlier_ones(sight: Asked) -> None:
    messages = [{"role": "system", "content": "You are a helpful assistant."}]
    shown = [pictures.solid("black"), pictures.solid("orange")]
    turns = [
        (f"{MARKER}{QUESTION}", "The picture is black.", 1),
        (f"And this one?{MARKER}", "The picture is orange.", 2),
        ("What colour was the first picture?", "The first picture is black.", 2),
        ("What colour was the second picture?", "The second picture is orange.", 2),
    ]
    for question, answer, seen in turns:
        messages.append({"role": "user", "content": question})
        assert sight.complete(sight.render(messages), shown[:seen]) == answer
        messages.append({"role": "assistant", "content": answer})


def test_a_picture_is_seen_behind_a_thousand_tokens(sight: Asked) -> None:
    story = "A cow has four legs. Bees make honey. Once upon a time, there was a small dog. " * 30
    messages = [
        {"role": "system", "content": story},
        {"role": "user", "content": f"{MARKER}{QUESTION}"},
    ]
    prompt, purple = sight.render(messages), pictures.solid("purple")
    assert sum(chunk.length for chunk in sight.cut(prompt, [purple])) > 1000
    assert sight.complete(prompt, [purple]) == "The picture is purple."


@pytest.mark.parametrize("prompt", [f"{MARKER}{QUESTION}\nAnswer:", f"{MARKER}\n{QUESTION}"])
def test_it_answers_without_a_template(sight: Asked, prompt: str) -> None:
    assert sight.complete(prompt, [pictures.solid("blue")]).strip() == "The picture is blue."


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_a_picture_keeps_its_colour_in_every_format(sight: Asked, form: str) -> None:
    data = pictures.encoded(pictures.blobs("orange", (120, 80), HELD_OUT), form)
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == form
        assert sight.ask(QUESTION, picture) == "The picture is orange."


@pytest.mark.parametrize("kind", pictures.KINDS)
def test_a_seed_draws_one_picture(kind: str) -> None:
    draw = pictures.KINDS[kind]
    first, again, other = (draw("green", (40, 30), seed).tobytes() for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("colour", COLOURS)
def test_most_points_of_a_picture_bear_its_colour(colour: str) -> None:
    """Every point goes to the nearest of all shades."""
    names = [name for name, shades in pictures.COLOURS.items() for _ in shades]
    shades = np.array([shade for shades in pictures.COLOURS.values() for shade in shades])
    for seed in range(20):
        points = np.asarray(pictures.blobs(colour, (60, 40), seed)).reshape(-1, 1, 3).astype(int)
        nearest = np.abs(points - shades).sum(-1).argmin(-1)
        assert np.mean([names[index] == colour for index in nearest]) > 0.6


def test_the_lessons_are_the_same_every_time() -> None:
    first, second, other = (list(islice(lessons.stream(seed), 200)) for seed in (1, 1, 2))
    assert first == second != other
