"""Images through real llama.cpp: the tiny pair of tests/sight, real pictures, the whole engine without servers."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import tiny
from engine_run import Run, ask
from fakes import job, sequence
from PIL import Image as Pillow
from sight import MODEL, PROJECTOR
from sight.pictures import noisy, solid
from tropilla.common import bitmaps
from tropilla.common.errors import ConfigurationError
from tropilla.common.generation import (
    PICTURE,
    ChatPrompt,
    Failed,
    GenerationRequest,
    Image,
    Message,
    TextPrompt,
    TokenizeRequest,
)
from tropilla.common.gguf import read_header
from tropilla.common.metrics import Key, Tally
from tropilla.common.settings import Settings
from tropilla.workers.engine import Engine, size_of
from tropilla.workers.llama.batch import Batch
from tropilla.workers.llama.eyes import Eyes
from tropilla.workers.llama.model import Llama, Size
from tropilla.workers.scheduler import Chunk
from tropilla.workers.views import Shape, Span, Spans

SETTINGS = Settings(slots=8, context=512, step_tokens=64, threads=2)
#: Places that a picture takes.
PLACES = 9


class Sight:
    """The engine, and the files of pictures that it was shown."""

    def __init__(self, projector: Path = PROJECTOR) -> None:
        header = read_header(MODEL)
        self.files: dict[str, bytes] = {}
        self.reads: list[str] = []
        self.tally = Tally()
        size = size_of(SETTINGS, header, gpu=False, projector=read_header(projector))
        self.engine = Engine(
            SETTINGS, "sight", MODEL, header, size, gpu=False, projector=projector, read=self._read, tally=self.tally
        )

    def _read(self, digest: str) -> bytes | None:
        self.reads.append(digest)
        return self.files.get(digest)

    def shows(self, *pictures: Pillow.Image, text: str = "What colour?") -> ChatPrompt:
        """A user's turn with the pictures before its question."""
        return ChatPrompt((Message("user", PICTURE * len(pictures) + text, images=tuple(map(self._kept, pictures))),))

    def _kept(self, picture: Pillow.Image) -> Image:
        file = io.BytesIO()
        picture.save(file, "PNG")
        digest = hashlib.sha256(file.getvalue()).hexdigest()
        self.files[digest] = file.getvalue()
        return Image(digest)

    def counted(self) -> dict[Key, float]:
        found: dict[Key, float] = {}
        self.tally.flush(found.update)
        return found


@pytest.fixture(scope="module")
def loaded() -> Iterator[Sight]:
    sight = Sight()
    yield sight
    sight.engine.close()


@pytest.fixture
def sight(loaded: Sight) -> Sight:
    loaded.reads.clear()
    loaded.counted()
    return loaded


def run(sight: Sight, *asked: GenerationRequest) -> Run:
    """All of them at once."""
    one = Run(sight.engine)
    for each in asked:
        one.submit(each)
    one.finish()
    return one


def turn_until_over(one: Run, name: str) -> None:
    """What it computed is still there then."""
    one.loop.turn()
    while not one.loop.idle:
        one.loop.turn()
    assert one.finished(name)


def outlook(sight: Sight, prompt: Any) -> numpy.ndarray[Any, Any]:
    """The log-probability of every token after the prompt."""
    asked = ask(prompt, max_tokens=1, logprobs=sight.engine.model.vocabulary.size)
    (token,) = run(sight, asked).tokens()
    found = numpy.empty(len(token.top))
    for each in token.top:
        found[each.id] = each.logprob
    return found


# -- the file ------------------------------------------------------------------------------------------------------------


def test_a_picture_of_any_size_is_measured_and_encoded(sight: Sight) -> None:
    eyes = sight.engine.eyes
    assert eyes is not None
    rows = []
    for size in ((1, 1), (64, 64), (300, 20)):
        file = io.BytesIO()
        noisy("green", size).save(file, "JPEG")
        measured = eyes.measure(bitmaps.unpacked(file.getvalue(), most_pixels=1 << 20))
        assert measured.parts == (Shape(PLACES, PLACES),)
        (seen,) = eyes.encode(measured)
        assert seen.shape == (PLACES, eyes.width)
        assert numpy.isfinite(seen).all()
        assert numpy.array_equal(eyes.encode(measured)[0], seen), "the same picture, the same embeddings"
        rows.append(seen)
    assert not numpy.allclose(rows[0], rows[1])


def refused(model: Path, projector: Path) -> str:
    llama = Llama(model, Size(1, 256, 16), threads=1)
    try:
        with pytest.raises(ConfigurationError) as caught:
            Eyes(projector, llama.pointer, threads=1)
    finally:
        llama.close()
    return caught.value.message


def test_what_does_not_fit_together_is_refused_with_what_llama_cpp_says_of_it(tmp_path: Path) -> None:
    decoder = tiny.write_decoder(tmp_path / "decoder.gguf")
    assert "mismatch between text model" in refused(decoder, PROJECTOR)
    broken = tmp_path / "mmproj.gguf"
    broken.write_bytes(PROJECTOR.read_bytes()[:4000])
    said = refused(MODEL, broken)
    assert "could not be loaded as a projector" in said
    assert "does not say why" not in said


# -- what it says --------------------------------------------------------------------------------------------------------


def test_the_same_words_with_two_pictures_have_two_outlooks(sight: Sight) -> None:
    red, blue = (outlook(sight, sight.shows(solid(colour))) for colour in ("red", "blue"))
    assert abs(red - blue).max() > 0.5
    assert numpy.allclose(outlook(sight, sight.shows(solid("red"))), red, atol=0.01)


@pytest.mark.parametrize("colours", [("red", "blue"), ("green", "yellow", "black")], ids="-".join)
def test_the_same_words_with_other_pictures_are_answered_otherwise_and_each_rightly(
    sight: Sight, colours: tuple[str, ...]
) -> None:
    said = run(sight, *(ask(sight.shows(noisy(colour, seed=5)), colour) for colour in colours))
    assert [said.text(colour) for colour in colours] == [f"The picture is {colour}." for colour in colours]


def test_several_pictures_are_told_apart_in_their_order(sight: Sight) -> None:
    said = run(sight, ask(sight.shows(solid("red"), solid("blue"), text="What colours are these?"))).text()
    assert said == "The pictures are red and blue."


def test_the_same_picture_twice_is_one_encode(sight: Sight) -> None:
    prompt = sight.shows(noisy("green", seed=11))
    said = run(sight, ask(prompt, "a"), ask(prompt, "b"))
    again = run(sight, ask(prompt))
    assert said.text("a") == said.text("b") == again.text()
    counts = sight.counted()
    assert (counts[Key("images", "sight", "encoded")], counts[Key("images", "sight", "cached")]) == (1, 2)
    assert (len(sight.reads), counts[Key("images_read", "sight")]) == (1, 1)


def test_tokens_are_counted_without_encoding_and_as_the_answer_counts_them(sight: Sight) -> None:
    prompt = sight.shows(noisy("red", seed=12), noisy("blue", seed=12))
    ((tokens, text),) = sight.engine.tokenized(TokenizeRequest("t", "sight", (prompt,)))
    assert Key("images", "sight", "encoded") not in sight.counted()
    assert "[img-0][img-1]What colour?" in text
    assert sum(token.id == -1 for token in tokens) == 2 * PLACES
    assert run(sight, ask(prompt)).finished().usage.prompt == len(tokens)


def test_eight_mixed_streams_at_once_say_what_each_says_alone(sight: Sight) -> None:
    colours = ("red", "green", "blue", "yellow")
    asked = [ask(sight.shows(solid(colour)), f"i{n}") for n, colour in enumerate(colours)]
    asked += [ask(TextPrompt(f"{n} {n} {n}"), f"t{n}") for n in range(4)]
    together = run(sight, *asked)
    for each in asked:
        assert together.finished(each.id).reason in ("eos", "length")
        assert together.text(each.id) == run(sight, each).text(each.id)


def test_a_second_turn_computes_only_what_is_new(sight: Sight) -> None:
    one = Run(sight.engine)
    first = sight.shows(noisy("blue", seed=13))
    one.submit(ask(first, "a", max_tokens=4))
    turn_until_over(one, "a")
    said = one.text("a")
    turns = (*first.messages, Message("assistant", said), Message("user", "And now?"))
    one.submit(ask(ChatPrompt(turns), "b", max_tokens=2))
    one.finish()
    before, after = one.finished("a").usage, one.finished("b").usage
    # All of the first prompt, picture included.
    assert after.cached >= before.prompt
    assert sight.counted()[Key("images", "sight", "encoded")] == 1


def test_another_picture_shares_no_more_than_the_text_before_it(sight: Sight) -> None:
    one = Run(sight.engine)
    for name, seed in (("a", 21), ("b", 22)):
        one.submit(ask(sight.shows(noisy("red", seed=seed)), name, max_tokens=2))
        turn_until_over(one, name)
    one.finish()
    head = sight.engine.model.vocabulary.tokenize("<|im_start|>user\n", special=True, start=True)
    assert one.finished("b").usage.cached == len(head)


@pytest.mark.parametrize("said", [0, 1, 5, 11])
def test_another_worker_goes_on_with_the_same_picture_and_the_same_text(sight: Sight, said: int) -> None:
    asked = ask(sight.shows(solid("yellow"), text="Count to 100."), max_tokens=12, ignore_eos=True)
    whole = run(sight, asked).tokens()
    assert len(whole) == 12
    rest = Run(sight.engine)
    rest.submit(asked, {0: whole[:said]})
    rest.finish()
    assert [(t.id, t.text) for t in rest.tokens()] == [(t.id, t.text) for t in whole[said:]]


def test_a_picture_that_is_cut_by_the_step_s_budget_is_read_as_in_one_piece(sight: Sight) -> None:
    """Beside streams that leave a prompt little."""
    whole = outlook(sight, sight.shows(solid("orange")))
    one = Run(sight.engine)
    one.scheduler.limits = replace(one.scheduler.limits, step_tokens=PLACES - 1)
    asked = ask(sight.shows(solid("orange")), max_tokens=1, logprobs=sight.engine.model.vocabulary.size)
    one.submit(asked)
    one.finish()
    (token,) = one.tokens()
    assert max(abs(each.logprob - whole[each.id]) for each in token.top) < 0.1


class Astray(Spans):
    """Its views stand where llama.cpp does not expect them."""

    def position(self, place: int) -> int:
        return super().position(place) + (self.at(place) is not None)


def test_an_image_that_llama_cpp_refuses_ends_its_own_request_alone(sight: Sight) -> None:
    one = Run(sight.engine)
    for n in range(2):
        one.submit(ask(TextPrompt(f"{n} {n} {n}"), f"t{n}", ignore_eos=True))
    one.loop.turn()
    (lost,) = sight.engine.sequences(ask(sight.shows(noisy("red", seed=9)), "lost"))
    place = next(place for place, token in enumerate(lost.tokens) if token < 0)
    span = lost.views.at(place)
    assert span is not None
    lost.views = Astray([span])
    one.loop.submit(job("lost"), [lost])
    one.finish()
    (failed,) = one.events["lost"]
    assert isinstance(failed, Failed)
    assert "llama_decode answered -1" in failed.message
    assert [one.finished(f"t{n}").usage.generated for n in range(2)] == [24, 24]


# -- another kind --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gemma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sight]:
    """A projector with random weights of the kind whose places see each other, sixteen of them, in text of its own."""
    sight = Sight(tiny.write_projector(tmp_path_factory.mktemp("eyes") / "mmproj.gguf", kind="gemma3"))
    yield sight
    sight.engine.close()


def test_places_that_see_each_other_are_read_alike_alone_and_beside_streams(gemma: Sight) -> None:
    prompt = gemma.shows(noisy("red", seed=3))
    ((tokens, _),) = gemma.engine.tokenized(TokenizeRequest("t", "sight", (prompt,)))
    ids = [token.id for token in tokens]
    before = b"".join(token.piece for token in tokens[: ids.index(-1)])
    assert before.endswith(b"<start_of_image>")
    assert ids.count(-1) == 16
    asked = ask(prompt, max_tokens=12, logprobs=0, ignore_eos=True)
    alone = run(gemma, asked)
    beside = Run(gemma.engine)
    for n in range(3):
        beside.submit(ask(TextPrompt(f"{n} {n} {n}"), f"t{n}", ignore_eos=True))
    beside.loop.turn()
    beside.submit(asked)
    beside.finish()
    assert [t.id for t in beside.tokens()] == [t.id for t in alone.tokens()]
    for one, other in zip(alone.tokens(), beside.tokens(), strict=True):
        assert one.logprob == pytest.approx(other.logprob, abs=0.05)


def test_the_first_of_such_places_knows_of_the_last(gemma: Sight) -> None:
    """As text every place would see only those before it: what the model reads then is something else."""
    prompt = gemma.shows(noisy("blue", seed=4))
    seen, again = outlook(gemma, prompt), outlook(gemma, prompt)
    assert abs(seen - again).max() < 1e-4
    one = Run(gemma.engine)
    (blind,) = gemma.engine.sequences(ask(prompt, max_tokens=1, logprobs=gemma.engine.model.vocabulary.size))
    span = blind.views.at(next(place for place, token in enumerate(blind.tokens) if token < 0))
    assert span is not None
    assert span.shape.together
    blind.views = Spans([replace(span, shape=replace(span.shape, together=False))])
    one.loop.submit(job("r"), [blind])
    one.finish()
    (token,) = one.tokens()
    assert max(abs(each.logprob - seen[each.id]) for each in token.top) > 1e-3


# -- positions in a grid (M-RoPE): no such model is here, so what llama.cpp would be told ----------------------------------


def test_places_in_a_grid_are_told_section_by_section_from_where_their_view_begins() -> None:
    """Two by two places, as Qwen2-VL has them: time stands still, rows and columns count from the view's beginning."""
    rows = numpy.arange(8, dtype=numpy.float32).reshape(4, 2)
    time, down, right, none = ([0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0])
    grid = numpy.array([[time, down, right, none], [[1] * 4, [1, 1, 2, 2], [1, 2, 1, 2], none]], numpy.int32)
    square = Shape(4, 2, grid=grid)
    prompt = [5, -1, -2, -3, -4, 6, -1, -2, -3, -4, 7, 8]
    one = sequence("a", prompt=prompt, spans=[Span(1, square, rows), Span(6, square, rows)])
    two = sequence("b", prompt=[5, 5, -1, -2, -3, -4, 6], spans=[Span(2, square, rows)])
    one.slot, two.slot = 0, 3
    batch = Batch(16, width=2)
    # The second view of one, whose first takes two positions, and the last two places of the other's.
    batch.fill_with_views(
        [Chunk(one, 6, 10, samples=False, view=one.views.at(6)), Chunk(two, 4, 6, samples=False, view=two.views.at(4))]
    )
    assert batch.struct.n_tokens == 6
    assert batch.positions[: 4 * 6].reshape(4, 6).tolist() == [
        [4, 4, 4, 4, 2, 2],
        [4, 4, 5, 5, 3, 3],
        [4, 5, 4, 5, 2, 3],
        [0, 0, 0, 0, 0, 0],
    ]
    assert batch.slots[:6].tolist() == [0, 0, 0, 0, 3, 3]
    assert batch.rows[:6].tolist() == [*rows.tolist(), *rows[2:].tolist()]
    assert not batch.outputs[:6].any()
    text = Batch(16)
    text.fill([Chunk(one, 10, 12, samples=True)])
    assert text.positions[:2].tolist() == [6, 7], "behind two views of two positions each"
