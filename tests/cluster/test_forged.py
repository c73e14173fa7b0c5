"""What somebody who can write to Redis may put where tickets are: nothing of it is run, and the others are served."""

from __future__ import annotations

import base64
import json
import os
import pickle  # what we do not
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cluster.conftest import HerdMaker
from cluster.herd import Herd, wait_for
from cluster.wire import TGI, ask, post
from tropilla.common import names
from tropilla.common.catalogue import Lane
from tropilla.common.generation import new_request_id
from tropilla.common.settings import Settings
from tropilla.common.tasks import create_celery, submit

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


@pytest.fixture
def staffed(make_herd: HerdMaker) -> Herd:
    """A worker, the store and the API."""
    herd = make_herd(slots=1)
    herd.start_worker()
    herd.start_store()
    herd.start_api()
    return herd


def sound(herd: Herd) -> Message:
    """A message as we send them, taken out of a queue that nobody serves."""
    celery = create_celery(Settings(redis_url=herd.redis_url))
    try:
        submit(celery, "elsewhere.cpu", ticket=new_request_id(), shown="endless")
    finally:
        celery.close()
    taken = wait_for(lambda: herd.redis.rpop("elsewhere.cpu"), "a message")
    message: Message = json.loads(taken)
    return message


def test_nothing_that_is_forged_is_run_and_the_others_are_served(staffed: Herd, tmp_path: Path) -> None:
    lane, mark = Lane("endless", "cpu").name, tmp_path / "unpickled"
    message = sound(staffed)
    for queue in (lane, names.STORE_QUEUE):
        for forge in FORGERIES.values():
            forged = forge({**message, "properties": {**message["properties"], "delivery_tag": new_request_id()}}, mark)
            staffed.redis.lpush(queue, forged if isinstance(forged, bytes) else json.dumps(forged))
    for queue in (lane, names.STORE_QUEUE):
        wait_for(lambda queue=queue: not staffed.redis.llen(queue), f"{queue} to be empty")
    with post(staffed, TGI, ask(TGI, "a", "endless", tokens=3)) as answer:
        assert answer.status == 200
        assert len(list(answer.items())) == 3
    with post(staffed, "/api/copy", {"source": "nobody", "destination": "b"}) as answer:
        assert answer.status == 404
    assert not mark.exists()
    for process in staffed.processes:
        assert process.alive, process.log
