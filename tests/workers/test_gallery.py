"""What a worker knows of pictures: each read, measured and encoded once, and forgotten in time."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from eyes import CLOSE, OPEN, WIDTH, FakeEyes, Files, gallery
from tropilla.common.errors import GenerationFailed, InvalidPrompt
from tropilla.common.generation import Image
from tropilla.common.metrics import Counts, Key, Tally


def taken(tally: Tally) -> Counts:
    found: dict[Key, float] = {}
    tally.flush(found.update)
    return found


def test_a_picture_is_measured_without_being_encoded() -> None:
    eyes, files = FakeEyes(), Files()
    picture = gallery(eyes, files.files).look(files.image(3))
    assert picture.ids == [OPEN, -1, -2, -3, CLOSE]
    assert (eyes.measured, eyes.encoded, picture.rows) == ([3], [], {})


def test_no_two_pictures_have_a_number_in_common() -> None:
    eyes, files = FakeEyes(), Files()
    one = gallery(eyes, files.files)
    numbers = [n for width in (3, 5, 1) for n in one.look(files.image(width)).ids if n < 0]
    assert numbers == [-1, -2, -3, -4, -5, -6, -7, -8, -9]


def test_eight_who_ask_at_once_have_it_read_and_encoded_once() -> None:
    eyes, files, tally = FakeEyes(), Files(), Tally()
    one, image = gallery(eyes, files.files, tally=tally), files.image(3)
    together = threading.Barrier(8)

    def ask() -> object:
        together.wait()
        picture = one.look(image)
        one.encode(picture)
        return picture

    with ThreadPoolExecutor(8) as threads:
        pictures = [asked.result() for asked in [threads.submit(ask) for _ in range(8)]]
    assert len(set(pictures)) == 1
    assert (eyes.measured, eyes.encoded) == ([3], [3])
    counts = taken(tally)
    assert counts[Key("images", "m", "encoded")] == counts[Key("images_read", "m")] == 1
    assert counts[Key("images", "m", "cached")] == 7


def test_two_pictures_are_not_waiting_for_each_other_s_files() -> None:
    """Who measures one holds nothing that another needs."""
    eyes, files = FakeEyes(), Files()
    reading, may_go_on = threading.Event(), threading.Event()
    slow, quick = files.image(3), files.image(4)

    class Slow(dict[str, bytes]):
        def get(self, digest: str, default: object = None) -> object:  # type: ignore[override]
            if digest == slow.digest:
                reading.set()
                assert may_go_on.wait(10)
            return files.files.get(digest)

    one = gallery(eyes, Slow())
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(one.look, slow)
        assert reading.wait(10)
        assert one.look(quick).ids
        may_go_on.set()
        assert waiting.result().ids


ROWS = 3 * WIDTH * 4


def test_what_was_not_asked_for_longest_is_forgotten_first_and_gets_other_numbers() -> None:
    eyes, files = FakeEyes(), Files()
    one = gallery(eyes, files.files, cache_bytes=2 * ROWS)
    images = [files.image(3, colour) for colour in ("red", "green", "blue")]
    for at in (0, 1, 0, 2):
        one.encode(one.look(images[at]))
    gc.collect()
    assert one.kept_bytes == 2 * ROWS
    assert one.look(images[0]).ids[1] == -1, "it was of use a moment ago"
    assert one.look(images[1]).ids[1] == -10
    assert len(eyes.measured) == 4


def test_a_picture_that_was_only_measured_costs_no_other_its_embeddings() -> None:
    """What is kept of it until it is encoded was counted: one large picture cost all others theirs."""
    eyes, files = FakeEyes(), Files()
    one = gallery(eyes, files.files, cache_bytes=2 * ROWS)
    image, large = files.image(3), files.image(60)
    one.encode(one.look(image))
    held = one.look(large)
    assert one.kept_bytes == ROWS
    # More than there is room for in all.
    one.encode(held)
    assert one.kept_bytes == ROWS
    one.encode(one.look(image))
    assert eyes.encoded == [3, 60]


def test_what_is_counted_is_what_is_kept_whoever_looks_while_others_encode() -> None:
    """A size was read several times while another thread changed it, and the sum never came right again."""
    eyes, files = FakeEyes(), Files()
    one = gallery(eyes, files.files, cache_bytes=2 * ROWS)
    images = [files.image(3, colour) for colour in ("red", "green", "blue", "white")]

    def ask(start: int) -> None:
        for turn in range(50):
            one.encode(one.look(images[(start + turn) % len(images)]))

    with ThreadPoolExecutor(8) as threads:
        for asked in [threads.submit(ask, start) for start in range(8)]:
            asked.result()
    assert one.kept_bytes == 2 * ROWS


def test_one_picture_is_unpacked_at_a_time() -> None:
    """Eight of forty million pixels at once took gigabytes."""
    eyes, files = FakeEyes(), Files()
    one, inside, most = gallery(eyes, files.files), [0], [0]

    def measuring() -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        threading.Event().wait(0.005)
        inside[0] -= 1

    eyes.before_measuring = measuring
    with ThreadPoolExecutor(8) as threads:
        assert len(list(threads.map(one.look, [files.image(width) for width in range(1, 9)]))) == 8
    assert most == [1]


def test_what_somebody_still_uses_is_found_again_though_nothing_is_kept() -> None:
    eyes, files = FakeEyes(), Files()
    one, image = gallery(eyes, files.files, cache_bytes=0), files.image(3)
    picture = one.look(image)
    one.encode(picture)
    one.encode(one.look(image))
    assert (eyes.encoded, one.kept_bytes) == ([3], 0)
    del picture
    gc.collect()
    one.encode(one.look(image))
    assert eyes.encoded == [3, 3]


def test_a_picture_whose_file_is_gone_ends_the_request() -> None:
    one = gallery(FakeEyes(), {})
    with pytest.raises(GenerationFailed, match="is not there any more") as caught:
        one.look(Image("0" * 64))
    assert caught.value.code == "expired"


def test_one_that_could_not_be_read_can_be_asked_for_again() -> None:
    eyes, files = FakeEyes(), Files()
    image = files.image(3)
    data = files.files.pop(image.digest)
    one = gallery(eyes, files.files)
    with pytest.raises(GenerationFailed):
        one.look(image)
    files.files[image.digest] = data
    assert one.look(image).ids


@pytest.mark.parametrize(
    ("width", "data", "words"),
    [(0, b"GIF89a", "messages.1 is "), (65, b"", "messages.1 has 65 x 1 pixels; at most 64")],
)
def test_a_picture_that_cannot_be_unpacked_names_its_field(width: int, data: bytes, words: str) -> None:
    files = Files()
    image = files.image(width, param="messages.1") if width else files.add(data, param="messages.1")
    with pytest.raises(InvalidPrompt, match=words):
        gallery(FakeEyes(), files.files).look(image)


def test_a_view_that_is_more_than_a_pass_holds_is_refused_with_the_numbers() -> None:
    files = Files()
    assert gallery(FakeEyes(together=True), files.files, longest=5).look(files.image(5)).ids
    with pytest.raises(InvalidPrompt, match="takes 6 tokens at once; a step of this worker has 5") as caught:
        gallery(FakeEyes(together=True), files.files, longest=5).look(files.image(6))
    assert caught.value.facts == {"image_tokens": 6, "most": 5}
    # Cut by the step's budget like any prompt.
    assert gallery(FakeEyes(), files.files, longest=5).look(files.image(6)).ids


def test_encoding_that_fails_is_tried_again_by_the_next_who_asks() -> None:
    eyes, files = FakeEyes(), Files()
    one, image = gallery(eyes, files.files), files.image(3)

    def fail() -> None:
        raise GenerationFailed("the worker could not encode an image")

    eyes.before_encoding = fail
    picture = one.look(image)
    with pytest.raises(GenerationFailed):
        one.encode(picture)
    eyes.before_encoding = lambda: None
    one.encode(picture)
    assert list(picture.rows) == picture.views
