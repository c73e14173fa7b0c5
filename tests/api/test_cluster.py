from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from fakes import WORKER, Clock, FakeAnnouncements
from tropilla.api.cluster import FRESH_SECONDS, FULL_RETRY_SECONDS, Cluster, Glance
from tropilla.common.catalogue import Lane, Trouble
from tropilla.common.errors import Overloaded, StoreUnavailable


def test_the_catalogue_is_read_once_while_it_is_fresh() -> None:
    clock, redis = Clock(), FakeAnnouncements(WORKER)
    cluster = Cluster(redis, redis, clock)
    assert cluster.catalogue() is cluster.catalogue()
    redis.workers.clear()
    assert (cluster.pulled(Lane("m", "cpu")), redis.read) == (True, 1)
    clock.advance(FRESH_SECONDS * 1.01)
    assert (cluster.pulled(Lane("m", "cpu")), redis.read) == (False, 2)


def test_whoever_has_changed_something_sees_it_at_once() -> None:
    redis = FakeAnnouncements(WORKER)
    cluster = Cluster(redis, redis, Clock())
    cluster.catalogue()
    redis.workers.clear()
    cluster.forget()
    assert (cluster.catalogue().models, redis.read) == ((), 2)


def test_what_is_stale_is_not_served_while_redis_is_away() -> None:
    clock, redis = Clock(), FakeAnnouncements(WORKER)
    cluster = Cluster(redis, redis, clock)
    cluster.catalogue()
    redis.down = True
    clock.advance(1)
    with pytest.raises(StoreUnavailable):
        cluster.catalogue()


def test_a_backlog_is_counted_once_while_it_is_fresh() -> None:
    clock, redis = Clock(), FakeAnnouncements(WORKER)
    cluster, lane = Cluster(redis, redis, clock), Lane("m", "gpu")
    redis.lanes = {"m.gpu": 3}
    assert [cluster.backlog(lane), cluster.backlog(lane), redis.counted] == [3, 3, 1]
    redis.lanes = {"m.gpu": 5}
    clock.advance(FRESH_SECONDS * 1.01)
    assert [cluster.backlog(lane), cluster.backlog(Lane("o", "gpu")), redis.counted] == [5, 0, 3]


def test_redis_is_weighed_a_few_times_a_second_and_refuses_above_the_limit_alone() -> None:
    clock, redis = Clock(), FakeAnnouncements(WORKER)
    cluster = Cluster(redis, redis, clock)
    redis.full = 90.0
    for _ in range(3):
        cluster.weigh(90.0)
    assert redis.weighed == 1
    redis.full = 90.1
    clock.advance(FRESH_SECONDS * 1.01)
    with pytest.raises(Overloaded) as caught:
        cluster.weigh(90.0)
    assert (caught.value.retry_after_seconds, redis.weighed) == (FULL_RETRY_SECONDS, 2)


def test_a_request_is_looked_after_by_what_is_seen_now() -> None:
    clock, redis = Clock(), FakeAnnouncements(WORKER)
    cluster, lane = Cluster(redis, redis, clock), Lane("m", "cpu")
    assert cluster.look_again("m", lane) == lane
    redis.workers.clear()
    clock.advance(1)
    assert cluster.look_again("m", lane) == Trouble("no_worker", "no worker serves m any more")


class Slow:
    """Redis, from a question to whatever is to happen before its answer."""

    def __init__(self) -> None:
        self.clock, self.asked = Clock(), 0
        self.meanwhile: Callable[[], None] = lambda: None
        #: How often somebody has come by, who knows by then whether another one asks.
        self.comers = threading.Semaphore(0)
        self.glance = Glance(self._answer, self._time)

    def _time(self) -> float:
        self.comers.release()
        return self.clock()

    def _answer(self) -> int:
        self.asked += 1
        answer, meanwhile = self.asked, self.meanwhile
        self.meanwhile = lambda: None
        meanwhile()
        return answer


def test_while_one_asks_the_others_have_what_was_seen_just_before() -> None:
    redis, heard = Slow(), list[int]()
    redis.glance.seen()
    redis.clock.advance(FRESH_SECONDS * 1.01)
    redis.meanwhile = lambda: heard.extend(redis.glance.seen() for _ in range(9))
    assert (redis.glance.seen(), heard, redis.asked) == (2, [1] * 9, 2)
    assert (redis.glance.seen(), redis.asked) == (2, 2)


@pytest.mark.parametrize("away", [False, True], ids=["there", "away"])
def test_who_comes_while_one_asks_and_has_seen_nothing_lately_hears_the_same_answer(away: bool) -> None:
    redis = Slow()

    def ask() -> int | str:
        try:
            return redis.glance.seen()
        except StoreUnavailable as error:
            return error.message

    with ThreadPoolExecutor(9) as threads:
        heard: list[Future[int | str]] = []

        def meanwhile() -> None:
            # Whoever asks has looked at the clock twice by now.
            while redis.comers.acquire(blocking=False):
                pass
            for _ in range(9):
                heard.append(threads.submit(ask))
                assert redis.comers.acquire(timeout=10)
            if away:
                raise StoreUnavailable("away")

        redis.meanwhile = meanwhile
        assert ask() == ("away" if away else 1)
        assert {each.result(10) for each in heard} == {"away" if away else 1}
    assert redis.asked == 1


def test_what_was_asked_for_before_somebody_changed_it_is_not_kept() -> None:
    redis = Slow()
    redis.meanwhile = redis.glance.forget
    assert (redis.glance.seen(), redis.glance.seen()) == (1, 2)


def test_who_has_to_see_it_as_it_is_now_asks_himself() -> None:
    redis = Slow()
    heard: list[int] = []
    redis.meanwhile = lambda: heard.append(redis.glance.seen(fresh=True))
    assert (redis.glance.seen(), heard, redis.asked) == (1, [2], 2)
