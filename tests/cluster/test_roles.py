"""The whole cluster as the users of compose/roles.py: Redis refuses them nothing of what they do, and much of the rest."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import closing

import ollama
import pytest
import redis
from cluster.herd import Herd, Process, wait_for
from cluster.wire import OPENAI, ask, post, text_of
from tropilla.common import names
from tropilla.common.bus import Bus
from tropilla.common.metrics import Key
from tropilla.compose import redis_server, roles
from tropilla.workers import pocket

#: Flower's rules need Redis 7, and the embedded one is 6.2: tests/system has it.
USERS = ("api", "worker", "store", "metrics", "operator")
PASSWORDS = {user: f"the-password-of-{user}" for user in USERS}
TOKENS = 120


class Guarded(Herd):
    """A herd whose Redis lets nobody in without a name; the test itself is its operator."""

    def start_redis(self) -> Process:
        (self.folder / "users.acl").write_text(roles.acl(PASSWORDS))
        address = self.redis_url.removeprefix("redis://")
        self.urls = {user: f"redis://{user}:{password}@{address}" for user, password in PASSWORDS.items()}
        self.redis_url = self.urls["operator"]
        return self.restart_redis()

    def restart_redis(self) -> Process:
        argv = [str(redis_server.find().path), "--port", str(self._redis_port), "--bind", "127.0.0.1",
                "--dir", str(self.folder), "--appendonly", "yes", "--save", "",
                "--aclfile", str(self.folder / "users.acl")]  # fmt: skip
        process = self._start("redis", argv, {})
        wait_for(self._redis_answers, "Redis")
        return process

    def as_user(self, user: str) -> redis.Redis:
        return redis.Redis.from_url(self.urls[user])


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, endless_model: str) -> Iterator[Guarded]:
    herd = Guarded(tmp_path_factory.mktemp("guarded"), model=endless_model, threads=1, slots=2, lease_seconds=1)
    try:
        herd.start_api(redis_url=herd.urls["api"])
        herd.start_store(redis_url=herd.urls["store"])
        yield herd
    finally:
        herd.stop()


def test_nobody_is_refused_what_his_part_of_the_cluster_takes(guarded: Guarded) -> None:
    """A stream whose worker is lost, an upload, and what the store makes of it."""
    first = guarded.start_worker(redis_url=guarded.urls["worker"])
    guarded.start_worker(redis_url=guarded.urls["worker"], ready=False)
    with post(guarded, OPENAI, ask(OPENAI, "a", "endless", tokens=TOKENS)) as answer:
        items = answer.items()
        assert answer.status == 200, answer.text()
        heard = [next(items) for _ in range(5)]
        first.kill(signal.SIGKILL)
        heard += items
    assert text_of(OPENAI, heard)
    assert heard[-1] == "[DONE]"
    with ollama.Client(guarded.base_url) as client:
        client.create("tiny", files={"tiny.gguf": client.create_blob(pocket.path())})
        assert {"endless:latest", "tiny:latest"} <= {model.model for model in client.list().models}
        client.delete("tiny")
    # The embedded Redis is older than redis-py's way to say its name, and takes it for CLIENT KILL.
    refused = [(one["username"], one["object"]) for one in guarded.redis.acl_log() if one["object"] != "client"]
    assert refused == []


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("worker", ("HGETALL", "tropilla:keys")),
        ("worker", ("HSET", "tropilla:keys", "key", "mine")),
        ("worker", ("ZRANGE", names.BATCHES_KEY, "0", "-1")),
        ("worker", ("EVAL", "return redis.call('HGETALL', KEYS[1])", "1", "tropilla:keys")),
        ("worker", ("FLUSHALL",)),
        ("worker", ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")),
        ("worker", ("ACL", "SETUSER", "worker", "allkeys")),
        ("worker", ("SCRIPT", "FLUSH")),
        ("store", ("XRANGE", names.journal_key("x"), "-", "+")),
        ("store", ("SHUTDOWN",)),
        ("api", ("KEYS", "*")),
        ("api", ("GET", "of-somebody-else")),
        ("metrics", ("GET", names.COUNTS_KEY)),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_redis_refuses_what_is_not_ones_business(guarded: Guarded, user: str, command: tuple[str, ...]) -> None:
    with guarded.as_user(user) as connection, pytest.raises(redis.exceptions.NoPermissionError):
        connection.execute_command(*command)


@pytest.mark.parametrize("user", ["api", "worker", "store"])
def test_whoever_looks_at_workers_may_find_that_one_is_lost(guarded: Guarded, user: str) -> None:
    guarded.redis.sadd(names.WORKERS_KEY, "gone@host")
    before = guarded.bus.counts().get(Key("workers_lost"), 0)
    with closing(Bus.connect(guarded.urls[user])) as bus:
        assert "gone@host" not in {worker.name for worker in bus.catalogue().workers}
    assert guarded.bus.counts()[Key("workers_lost")] == before + 1


def test_redis_refuses_whoever_does_not_say_who_he_is(guarded: Guarded) -> None:
    _, _, address = guarded.redis_url.rpartition("@")
    for url in (f"redis://{address}", f"redis://:guessed@{address}", f"redis://api:guessed@{address}"):
        with redis.Redis.from_url(url) as stranger, pytest.raises(redis.exceptions.AuthenticationError):
            stranger.ping()


def test_redis_comes_back_with_what_it_was_told_at_once(guarded: Guarded) -> None:
    """It reads its log as a user, too: since Redis 7, with what that one may not do left out."""
    with guarded.as_user("api") as connection, connection.pipeline(transaction=True) as together:
        together.set("tropilla:one", 1)
        together.set("tropilla:two", 2)
        together.execute()
    guarded.redis_process.stop()
    guarded.redis_process = guarded.restart_redis()
    assert guarded.redis.mget("tropilla:one", "tropilla:two") == [b"1", b"2"]


def test_redis_is_told_no_password(guarded: Guarded) -> None:
    told = json.dumps([line if isinstance(line, str) else line.decode() for line in guarded.redis.acl_list()])
    assert not any(password in told for password in PASSWORDS.values())
