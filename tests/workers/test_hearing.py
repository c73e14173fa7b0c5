"""What the consumer is given and when it is called deaf, by a clock that is turned by hand."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from fakes import Clock
from tropilla.common.errors import StoreUnavailable
from tropilla.workers.hearing import Hearing


class Scene:
    """A consumer that could hold two tickets, of which one waits."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.waiting, self.asked, self.told = 1, 0, 0
        self.hearing = Hearing(10.0, could_hold=2, waiting=self._count, on_deaf=self._tell, clock=self.clock)
        self.hearing.begin()

    def _count(self) -> int:
        self.asked += 1
        if self.waiting < 0:
            raise StoreUnavailable("gone")
        return self.waiting

    def _tell(self) -> None:
        self.told += 1

    def beat(self, seconds: int, *, pulls: bool = True) -> int:
        """How often it was told that the consumer is deaf, by now."""
        for _ in range(seconds):
            self.clock.advance(1.0)
            self.hearing.check(pulls=pulls)
        return self.told


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_deaf_consumer_is_told_of_once(scene: Scene) -> None:
    assert scene.beat(9) == 0
    assert scene.beat(30) == 1


def test_before_it_has_begun_and_once_it_is_to_stop_nothing_is_expected_of_it() -> None:
    scene = Scene()
    scene.hearing = Hearing(10.0, could_hold=2, waiting=lambda: 1, on_deaf=scene._tell, clock=scene.clock)
    assert scene.beat(30) == 0
    scene.hearing.begin()
    assert scene.beat(9) == 0
    assert scene.beat(30, pulls=False) == 0
    assert scene.beat(9) == 0
    assert scene.beat(1) == 1


def test_a_ticket_that_comes_shows_that_it_hears(scene: Scene) -> None:
    for _ in range(10):
        assert scene.beat(9) == 0
        with scene.hearing.ticket():
            pass
        assert scene.beat(1) == 0


def test_one_that_is_full_is_not_asked_about(scene: Scene) -> None:
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(scene.hearing.ticket())
        assert scene.beat(30) == 0
        assert scene.asked == 0
    # The ticket that left its thread says nothing: another one has to come, and there is time for it.
    assert scene.beat(9) == 0
    assert scene.beat(1) == 1


def test_a_ticket_that_is_put_back_frees_its_place(scene: Scene) -> None:
    def serve() -> None:
        with scene.hearing.ticket():
            raise StoreUnavailable("later")

    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            serve()
    scene.beat(1)
    assert scene.asked == 1


def test_a_redis_that_does_not_answer_is_nobodys_deafness(scene: Scene) -> None:
    scene.beat(9)
    scene.waiting = -1
    for _ in range(30):
        scene.clock.advance(1.0)
        with pytest.raises(StoreUnavailable):
            scene.hearing.check(pulls=True)
    scene.waiting = 1
    # An outage is a gap between two looks, of which little is counted; then the time begins anew.
    assert scene.beat(9) == 0
