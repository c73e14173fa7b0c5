"""Clients that ask without a pause, each in a thread of its own, in every dialect, streaming and not."""

from __future__ import annotations

import http.client
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Generic, TypeVar

from cluster.wire import OLLAMA, OPENAI, TGI, Answer, ask, post
from faults.checker import Asked, Heard
from faults.flock import Flock
from tropilla.common import codec

WHOLE_TGI = "/generate"
DIALECTS = (OPENAI, OLLAMA, TGI)
#: One prompt of so many is long: its prefill takes several steps.
LONG_EVERY, LONG_CHARACTERS = 16, 2000


def asking(
    chance: random.Random,
    *,
    tokens: tuple[int, int] = (100, 400),
    streaming: float = 0.75,
    long_every: int = LONG_EVERY,
    prefix: str = "tell me",
) -> Iterator[Asked]:
    """Requests without an end, the same for the same chance."""
    for number in itertools.count():
        prompt = f"{prefix} {chance.getrandbits(64):016x} "
        if number % long_every == long_every - 1:
            prompt += "and so on " * (LONG_CHARACTERS // 10)
        stream = chance.random() < streaming
        seed, count = chance.getrandbits(31) | 1, chance.randint(*tokens)
        yield Asked(chance.choice(DIALECTS), stream, prompt, seed, count)


Told = TypeVar("Told")


class Crowd(Generic[Told]):
    """So many clients at a time, who take one job after the other, until they are told to stop. What came of them is in
    `heard`, in no order.
    """

    def __init__(self, jobs: Iterator[Callable[[], Told]], clients: int) -> None:
        self._jobs, self._clients = jobs, clients
        self.heard: list[Told] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(clients, thread_name_prefix="client")
        self._running: list[Future[None]] = []

    def start(self) -> None:
        self._running = [self._pool.submit(self._client) for _ in range(self._clients)]

    def stop(self) -> None:
        """What has begun is heard to its end. Raises what a client died of."""
        self._stopping.set()
        self._pool.shutdown()
        for client in self._running:
            client.result()

    def _client(self) -> None:
        while not self._stopping.is_set():
            with self._lock:
                job = next(self._jobs)
            told = job()
            with self._lock:
                self.heard.append(told)


class Load(Crowd[Heard]):
    """Clients that ask for what is in `asked`."""

    def __init__(self, flock: Flock, asked: Iterator[Asked], *, clients: int, model: str, **sampling: Any) -> None:
        self.flock = flock
        super().__init__((partial(listen, flock, each, model, **sampling) for each in asked), clients)


def listen(flock: Flock, asked: Asked, model: str, **sampling: Any) -> Heard:
    """Asks, hears the answer to its end, and reads its journal."""
    heard = Heard(asked, time.monotonic())
    path = WHOLE_TGI if asked.dialect == TGI and not asked.stream else asked.dialect
    fields = {"tokens": asked.tokens, "stream": asked.stream, "seed": asked.seed, **sampling}
    try:
        with post(flock, path, ask(asked.dialect, asked.prompt, model, **fields)) as answer:
            heard.request_id = answer.headers.get("x-request-id", "").removeprefix("req_")
            if answer.status != 200:
                heard.error = f"{answer.status} {answer.text()[:200]}"
            elif asked.stream:
                hear(heard, answer)
            else:
                heard.pieces = [whole(asked.dialect, answer.json())]
                heard.last = True
    except (OSError, http.client.HTTPException) as error:
        heard.error = f"{type(error).__name__}: {error}"
    heard.ended = time.monotonic()
    if heard.request_id:
        found = flock.bus.read_journal(heard.request_id)
        heard.journal = [codec.decode_event(item.index, item.payload) for item in found]
    return heard


def hear(heard: Heard, answer: Answer) -> None:
    """A stream to its end."""
    for item in answer.items():
        if item == "[DONE]":
            heard.last = True
            continue
        if "error" in item:
            heard.error = str(item["error"])
            return
        if piece := _piece(heard, item):
            heard.pieces.append(piece)
            heard.arrivals.append(time.monotonic())


def _piece(heard: Heard, item: dict[str, Any]) -> str:
    match heard.asked.dialect:
        case "/v1/completions":
            return "".join(choice["text"] for choice in item["choices"])
        case "/api/generate":
            heard.last = heard.last or item["done"]
            return str(item["response"])
        case _:
            heard.numbers.append(item["index"] - 1)
            heard.last = heard.last or item["generated_text"] is not None
            return "" if item["token"]["special"] else str(item["token"]["text"])


def whole(dialect: str, body: Any) -> str:
    if dialect == OPENAI:
        return str(body["choices"][0]["text"])
    if dialect == OLLAMA:
        return str(body["response"])
    return str((body[0] if isinstance(body, list) else body)["generated_text"])
