"""Clients that never stop asking, each on connections that it keeps: what a restart must not be noticed by."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import urllib3
from cluster.wire import OLLAMA, OPENAI, TGI, ask, text_of

TOKENS = 40
#: Path -> whether this is the whole of a stream of so many tokens.
COMPLETE: dict[str, Callable[[list[Any]], bool]] = {
    OPENAI: lambda items: items[-1] == "[DONE]" and items[-2]["choices"][0]["finish_reason"] == "length",
    OLLAMA: lambda items: items[-1]["done"] and items[-1]["eval_count"] == TOKENS,
    TGI: lambda items: [item["index"] for item in items] == list(range(1, TOKENS + 1)),
}


class Client:
    """One caller with a pool of one connection. Nothing is tried a second time: what is lost is seen."""

    def __init__(self, base_url: str, path: str, *, stream: bool) -> None:
        self._path = path if stream or path != TGI else "/generate"
        self._dialect, self._stream = path, stream
        self._url = base_url + self._path
        self._pool = urllib3.PoolManager(maxsize=1, retries=False, timeout=60)

    def ask(self, number: int) -> None:
        """Raises `AssertionError` or what the connection raises for anything but a complete answer."""
        body = ask(self._dialect, f"a{number % 7}", "endless", tokens=TOKENS, stream=self._stream)
        answer = self._pool.request("POST", self._url, json=body, headers={"Content-Type": "application/json"})
        assert answer.status == 200, (self._url, answer.status, answer.data[:300])
        if not self._stream:
            self._whole(json.loads(answer.data))
            return
        items = list(_items(answer.data))
        assert COMPLETE[self._dialect](items), (self._url, items[-2:])
        text_of(self._dialect, items)

    def _whole(self, said: Any) -> None:
        counted = {
            OPENAI: lambda: said["usage"]["completion_tokens"],
            OLLAMA: lambda: said["eval_count"],
            TGI: lambda: said["details"]["generated_tokens"],
        }
        assert counted[self._dialect]() == TOKENS, said


def _items(data: bytes) -> Iterator[Any]:
    for line in data.splitlines():
        text = line.removeprefix(b"data:").strip()
        if text and not text.startswith((b":", b"id:", b"event:")):
            yield "[DONE]" if text == b"[DONE]" else json.loads(text)


class Load:
    """What came of it all."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.failures: list[str] = []
        self.slowest = 0.0

    @property
    def complete(self) -> int:
        return sum(self.answered.values())


@contextmanager
def load(base_url: str, pause_seconds: float = 0.0) -> Iterator[Load]:
    """Six clients, every dialect streaming and whole, until the end of the block; then their last answers are awaited."""
    found, over = Load(), threading.Event()

    def run(path: str, stream: bool) -> None:
        client = Client(base_url, path, stream=stream)
        for number in count():
            if over.wait(pause_seconds):
                return
            began = time.monotonic()
            try:
                client.ask(number)
                found.answered[f"{path} {stream}"] += 1
            except (AssertionError, urllib3.exceptions.HTTPError, ValueError, LookupError) as error:
                found.failures.append(f"{type(error).__name__}: {error}")
            found.slowest = max(found.slowest, time.monotonic() - began)

    threads = [threading.Thread(target=run, args=(path, stream)) for path in COMPLETE for stream in (True, False)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        over.set()
        for thread in threads:
            thread.join()
