"""What somebody who can write to Redis may put where tickets are: nothing of it is run, and the others are served."""

from __future__ import annotations

import base64
import itertools
import json
import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cluster.herd import Herd, wait_for
from cluster.wire import OLLAMA, OPENAI, TGI, ask, post
from tropilla.common.catalogue import Lane
from tropilla.common.generation import new_request_id
from tropilla.common.settings import Settings
from tropilla.common.tasks import create_celery, submit

LANE = Lane("pocket", "cpu").name
Message = dict[str, Any]


class Bomb:
    """Unpickled, it leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.mark),)


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def pickled(message: Message, mark: Path) -> Message:
    return {**message, "content-type": "application/x-python-serialize", "content-encoding": "binary",
            "body": coded(pickle.dumps(Bomb(mark)))}  # fmt: skip


def changed(**headers: Any) -> Callable[[Message, Path], Message]:
    return lambda message, _: {**message, "headers": {**message["headers"], **headers}}


def bodied(data: bytes) -> Callable[[Message, Path], Message]:
    return lambda message, _: {**message, "body": coded(data)}


#: A sound message -> one that is not, or bytes that are none.
FORGERIES: Mapping[str, Callable[[Message, Path], Message | bytes]] = {
    "a pickle": pickled,
    "YAML": lambda message, _: {
        **message,
        "content-type": "application/x-yaml",
        "body": coded(b"!!python/object/new:x []"),
    },
    "a task of Celery's own": changed(task="celery.backend_cleanup"),
    "a task of nobody's": changed(task="os.system"),
    "no task": changed(task=None),
    "arguments that are none": bodied(b"{}"),
    "a body that is no JSON": bodied(b"\xff\xfe"),
    "too many arguments": bodied(json.dumps([["x"] * 50, {"y": 1}, {}]).encode()),
    "a time in the future": changed(eta="2999-01-01T00:00:00+00:00"),
    "eight megabytes": bodied(json.dumps([["x" * (8 << 20)], {}, {}]).encode()),
    "a chain of others": bodied(json.dumps([[], {}, {"chain": [{"task": "os.system", "args": ["true"]}]}]).encode()),
    "no envelope": lambda *_: b"{}",
    "no JSON": lambda *_: b"\x80\x04junk",
    "an empty text": lambda *_: b"",
}


def sound(herd: Herd) -> Message:
    """A message as we send them, taken out of a queue that nobody serves."""
    celery = create_celery(Settings(redis_url=herd.redis_url))
    try:
        submit(celery, "elsewhere.cpu", ticket=new_request_id(), shown="pocket")
    finally:
        celery.close()
    taken = wait_for(lambda: herd.redis.rpop("elsewhere.cpu"), "a message")
    message: Message = json.loads(taken)
    return message


@pytest.mark.parametrize("forgery", FORGERIES)
def test_nothing_that_is_forged_is_run_and_the_others_are_served(herd: Herd, forgery: str, tmp_path: Path) -> None:
    mark = tmp_path / "unpickled"
    message = sound(herd)
    forged = FORGERIES[forgery]({**message, "properties": {**message["properties"], "delivery_tag": forgery}}, mark)
    herd.redis.lpush(LANE, forged if isinstance(forged, bytes) else json.dumps(forged))
    wait_for(lambda: not herd.redis.llen(LANE), "it to be taken")
    with post(herd, TGI, ask(TGI, "a", "pocket", tokens=3)) as answer:
        assert answer.status == 200
        assert len(list(answer.items())) == 3
    assert not mark.exists()
    assert all(process.alive for process in herd.processes)


def test_a_pickle_would_have_done_it(tmp_path: Path) -> None:
    """Else the first of them would show nothing."""
    mark = tmp_path / "unpickled"
    pickle.loads(pickle.dumps(Bomb(mark)))  # noqa: S301 -- the very thing
    assert mark.is_dir()


def test_celery_takes_and_writes_json_alone() -> None:
    conf = create_celery(Settings()).conf
    assert (conf.accept_content, conf.result_accept_content) == (["json"], None)
    assert {conf.task_serializer, conf.result_serializer, conf.event_serializer} == {"json"}
    assert conf.result_backend is None


PROMPT = "what-nobody-else-may-read"


def test_what_is_asked_and_answered_is_in_no_log_and_no_ticket(herd: Herd) -> None:
    with herd.redis.monitor() as heard:
        for path in (OPENAI, OLLAMA, TGI):
            with post(herd, path, ask(path, PROMPT, "pocket", tokens=2)) as answer:
                assert answer.status == 200
                assert list(answer.items())
            with post(herd, path, {"model": "pocket", "prompt": PROMPT, "inputs": PROMPT, "n": [PROMPT]}) as answer:
                answer.data()
        herd.redis.set("over", 1)
        commands = list(itertools.takewhile(lambda command: command != "SET over 1", _until_over(heard)))
    herd.redis.delete("over")
    pushed = [command for command in commands if "LPUSH" in command]
    assert pushed
    assert not [command for command in pushed if PROMPT in command]
    assert not [process.name for process in herd.processes if PROMPT in process.log]


def _until_over(heard: Any) -> Iterator[str]:
    while True:
        yield heard.next_command()["command"]
