from __future__ import annotations

from fakes import Clock
from tropilla.api.liveness import GRACE_SECONDS, WEDGED_SECONDS, Liveness


def test_a_thread_that_turns_is_well_and_one_that_does_not_is_named() -> None:
    clock = Clock()
    turned = {"inbox": clock.now, "steward": clock.now}
    liveness = Liveness({name: lambda name=name: turned[name] for name in turned}, clock)  # type: ignore[misc]
    clock.advance(WEDGED_SECONDS)
    assert liveness.ailing() == {}
    turned["inbox"] = clock.now
    clock.advance(1)
    assert liveness.ailing() == {}
    clock.advance(GRACE_SECONDS)
    assert liveness.ailing() == {"steward": "has not turned for 41 s"}
    turned["steward"] = clock.now
    assert liveness.ailing() == {}


def test_a_process_that_was_stopped_as_a_whole_is_well() -> None:
    """SIGSTOP, a laptop that slept: whoever asks first after that may be quicker than the threads."""
    clock = Clock()
    turned = clock.now
    liveness = Liveness({"inbox": lambda: turned}, clock)
    assert liveness.ailing() == {}
    for _ in range(2):
        clock.advance(600)
        assert liveness.ailing() == {}
        turned = clock.now
        clock.advance(GRACE_SECONDS)
        assert liveness.ailing() == {}


def test_a_process_without_threads_is_well() -> None:
    assert Liveness().ailing() == {}
