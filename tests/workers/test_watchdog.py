from __future__ import annotations

import threading

import pytest
from tropilla.workers.watchdog import MOST_COUNTED_SECONDS, Watchdog, watched

STEP_SECONDS = 10.0


class Scene:
    """A clock that is turned by hand, a step that runs or not, and what the watchdog has told."""

    def __init__(self, step_seconds: float = STEP_SECONDS) -> None:
        self.now = 100.0
        self.began_at: float | None = None
        self.told: list[float] = []
        self.watchdog = Watchdog(lambda: self.began_at, step_seconds, self.told.append, clock=lambda: self.now)

    def watch(self, seconds: float, *, every: float = 1.0) -> None:
        for _ in range(round(seconds / every)):
            self.now += every
            self.watchdog.check()

    def begin(self) -> None:
        self.began_at = self.now


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_an_idle_loop_may_idle_for_ever(scene: Scene) -> None:
    scene.watch(1000)
    assert scene.told == []


def test_a_step_may_take_its_time_and_not_more(scene: Scene) -> None:
    scene.begin()
    scene.watch(STEP_SECONDS)
    assert scene.told == []
    scene.watch(1)
    assert scene.told == [STEP_SECONDS + 1]


def test_a_hanging_step_is_told_of_once(scene: Scene) -> None:
    scene.begin()
    scene.watch(100)
    assert len(scene.told) == 1


def test_each_step_has_its_own_time(scene: Scene) -> None:
    for _ in range(20):
        scene.begin()
        scene.watch(STEP_SECONDS - 1)
    assert scene.told == []


def test_the_next_step_that_hangs_is_told_of_again(scene: Scene) -> None:
    for _ in range(2):
        scene.begin()
        scene.watch(STEP_SECONDS + 1)
        scene.began_at = None
        scene.watch(3)
    assert len(scene.told) == 2


def test_a_step_that_began_between_two_looks_is_counted_from_its_beginning(scene: Scene) -> None:
    scene.watch(1)
    scene.began_at = scene.now + 0.75
    scene.watch(STEP_SECONDS)
    assert scene.told == []
    scene.watch(1)
    assert scene.told == [STEP_SECONDS + 0.25]


def test_a_process_that_was_stopped_was_not_hanging(scene: Scene) -> None:
    scene.begin()
    scene.watch(1)
    scene.now += 3600
    scene.watchdog.check()
    assert scene.told == []
    scene.watch(STEP_SECONDS - MOST_COUNTED_SECONDS - 1)
    scene.watch(1)
    assert len(scene.told) == 1


def test_the_thread_looks_until_it_is_stopped() -> None:
    told = threading.Event()
    watchdog = Watchdog(lambda: 0.0, 0.02, lambda _: told.set())
    thread = threading.Thread(target=watchdog.run)
    thread.start()
    assert told.wait(10)
    watchdog.stop()
    thread.join(10)
    assert not thread.is_alive()


def test_what_is_computed_before_the_loop_has_a_thread_is_watched_as_well() -> None:
    told = threading.Event()
    with watched(lambda: 0.0, 0.02, lambda _: told.set()):
        assert told.wait(10)
    assert "watchdog" not in [thread.name for thread in threading.enumerate()]
