from __future__ import annotations

import pytest
from fakes import WORKER, Clock, FakeAnnouncements
from tropilla.api.cluster import FRESH_SECONDS, FULL_RETRY_SECONDS, Cluster
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
