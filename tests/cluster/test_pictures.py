"""What is promised of images in a real Redis: each once, for a while, and not more of them than there is room for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster.herd import Herd, wait_for
from tropilla.common import names
from tropilla.common.bus import Bus
from tropilla.common.errors import Overloaded
from tropilla.common.generation import Image
from tropilla.common.pictures import Pictures
from tropilla.common.settings import Settings

A, B, C = (Image(letter * 64, letter.encode() * 1000) for letter in "abc")


@pytest.fixture
def bus(herd: Herd) -> Iterator[Bus]:
    bus = Bus.connect(herd.redis_url)
    yield bus
    bus.close()


@pytest.fixture
def pictures(bus: Bus) -> Iterator[Pictures]:
    """With room for two, and none there."""
    forget(bus)
    yield Pictures(bus, Settings(images_bytes_in_all=2500, image_seconds=100))
    forget(bus)


def forget(bus: Bus) -> None:
    keys = [names.image_key(image.digest) for image in (A, B, C)]
    bus.connection.delete(*keys, names.IMAGES_KEY, names.IMAGE_SIZES_KEY)


def taken(bus: Bus) -> int:
    return int(bus.connection.hget(names.IMAGE_SIZES_KEY, "all") or 0)


def left(bus: Bus, image: Image) -> float:
    """In seconds."""
    return bus.connection.pttl(names.image_key(image.digest)) / 1000


def test_an_image_is_kept_once_and_read_by_its_digest(bus: Bus, pictures: Pictures) -> None:
    pictures.keep([A, B, A])
    pictures.keep([A])
    assert (pictures.read(A.digest), pictures.read(B.digest), pictures.read(C.digest)) == (A.data, B.data, None)
    assert taken(bus) == 2000


def test_who_names_an_image_that_is_there_need_not_have_it(pictures: Pictures) -> None:
    pictures.keep([A])
    pictures.keep([Image(A.digest), Image(C.digest)])
    assert (pictures.read(A.digest), pictures.read(C.digest)) == (A.data, None)


def test_an_image_is_kept_for_as_long_again_by_whoever_names_it(bus: Bus, pictures: Pictures) -> None:
    pictures.keep([A])
    for again in (lambda: pictures.renew([A.digest, C.digest]), lambda: pictures.keep([A])):
        bus.connection.pexpire(names.image_key(A.digest), 5000)
        again()
        assert 90 < left(bus, A) <= 100
    assert pictures.read(C.digest) is None


def test_there_is_room_for_so_much_and_no_more(bus: Bus, pictures: Pictures) -> None:
    pictures.keep([A, B])
    with pytest.raises(Overloaded, match="fill the 0 MB"):
        pictures.keep([C])
    pictures.keep([A, B])
    assert (pictures.read(C.digest), taken(bus)) == (None, 2000)


def test_a_key_fills_no_more_than_its_share(bus: Bus) -> None:
    forget(bus)
    pictures = Pictures(bus, Settings(images_bytes_in_all=3900, image_seconds=100))
    pictures.keep([A, B], "one")
    with pytest.raises(Overloaded, match="your requests have their share of the 0 MB"):
        pictures.keep([C], "one")
    # What is there is shown for nothing, whoever brought it.
    pictures.keep([A, B], "two")
    pictures.keep([C], "two")
    assert (pictures.read(C.digest), taken(bus)) == (C.data, 3000)
    forget(bus)


def test_what_a_key_brought_is_given_back_to_it(bus: Bus, pictures: Pictures) -> None:
    brief = Pictures(bus, Settings(images_bytes_in_all=2500, image_seconds=0.05))
    for _ in range(3):
        brief.keep([A], "one")
        wait_for(lambda: pictures.read(A.digest) is None, "its end")
    pictures.keep([B], "two")
    sizes = bus.connection.hgetall(names.IMAGE_SIZES_KEY)
    assert sizes == {
        b"all": b"1000",
        B.digest.encode(): b"1000",
        B.digest.encode() + b":key": b"two",
        b"key:two": b"1000",
    }


def test_an_image_that_was_given_back_too_early_is_counted_again(bus: Bus, pictures: Pictures) -> None:
    """Redis forgets it in the same moment, and may be later by one."""
    pictures.keep([A], "one")
    bus.connection.zadd(names.IMAGES_KEY, {A.digest: 1})
    pictures.renew([A.digest])
    assert taken(bus) == 1000


def test_room_comes_back_when_an_image_expires(bus: Bus, pictures: Pictures) -> None:
    brief = Pictures(bus, Settings(images_bytes_in_all=2500, image_seconds=0.05))
    brief.keep([A, B])
    wait_for(lambda: pictures.read(A.digest) is None and pictures.read(B.digest) is None, "the end of both")
    pictures.keep([C])
    assert (pictures.read(C.digest), taken(bus)) == (C.data, 1000)


def test_an_image_that_was_evicted_is_kept_anew_and_counted_once(bus: Bus, pictures: Pictures) -> None:
    pictures.keep([A])
    bus.connection.delete(names.image_key(A.digest))
    pictures.keep([A])
    assert (pictures.read(A.digest), taken(bus)) == (A.data, 1000)
