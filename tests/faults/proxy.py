"""A bad network between a process and Redis: a TCP proxy whose weather changes while connections are open.

One thread and one selector. What comes in at one end is kept with the time at which it may go out at the other, in order;
what is kept is bounded, so whoever sends too much feels it as he would of a slow line. Chance is seeded.
"""

from __future__ import annotations

import random
import selectors
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field

HOST = "127.0.0.1"
#: Read at a time, so that a slow line is slow evenly; and kept of one direction at the most.
CHUNK_BYTES, KEPT_BYTES = 4096, 256 << 10
#: A packet that was lost is sent again after so long: Linux' least retransmission timeout.
RESENT_SECONDS = 0.2
#: `close` after this sends a reset instead of a farewell.
RESET = struct.pack("ii", 1, 0)

UP, DOWN = "up", "down"
BOTH = (UP, DOWN)


@dataclass(frozen=True)
class Weather:
    """What happens on the way. The default is a line on which nothing does.

    refuses: connections are refused, those that are open are reset.
    holds: directions (up: to Redis) in which nothing gets through. It is kept, not lost: as in a partition that ends.
    loss: the share of pieces that come late by a retransmission.
    reset_after: a connection is reset when so many bytes of either direction have passed since the weather changed.
    only: concerns those connections alone whose client has ever said this; new ones are accepted all the same.
    """

    refuses: bool = False
    holds: Collection[str] = ()
    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    loss: float = 0.0
    bytes_per_second: float | None = None
    reset_after: int | None = None
    only: bytes = b""


FAIR = Weather()
CUT = Weather(refuses=True)
HOLE = Weather(holds=BOTH)


@dataclass
class Counts:
    """Since the start; `open` is now."""

    accepted: int = 0
    open: int = 0
    resets: int = 0
    passed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(BOTH, 0))


class _Way:
    """One direction of one connection. An empty piece is the end."""

    def __init__(self, name: str, source: socket.socket, sink: socket.socket) -> None:
        self.name, self.source, self.sink = name, source, sink
        self.pieces: deque[tuple[float, bytes]] = deque()
        self.kept = 0
        self.ended = False

    def keep(self, data: bytes, due: float) -> None:
        last = self.pieces[-1][0] if self.pieces else 0.0
        self.pieces.append((max(due, last), data))
        self.kept += len(data)
        self.ended = not data

    @property
    def reads(self) -> bool:
        return not self.ended and self.kept < KEPT_BYTES


class _Pair:
    """One connection, from end to end."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.ways = (_Way(UP, client, server), _Way(DOWN, server, client))
        self.said = b""
        #: What this connection's client is known to have said, of what was asked for so far.
        self.known: set[bytes] = set()
        self.passed = 0

    def hear(self, data: bytes, word: bytes) -> None:
        """Remembers whether the client said a word, though its bytes come in pieces."""
        self.said += data
        if word and word in self.said:
            self.known.add(word)
        self.said = self.said[-CHUNK_BYTES:]

    def close(self, *, reset: bool) -> None:
        for way in self.ways:
            if reset:
                with suppress(OSError):
                    way.source.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            way.source.close()


class Proxy:
    """To be closed. Listens on a port of its own, in front of `target_port` of this machine."""

    def __init__(self, target_port: int, *, seed: int = 0) -> None:
        self._target_port = target_port
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        #: Guarded by the lock, like what is made of it.
        self._weather = FAIR
        self._counts = Counts()
        self._pairs: set[_Pair] = set()
        self._free_at = dict.fromkeys(BOTH, 0.0)
        # Bound and never listening: while connections are refused, the port is still ours.
        self._claim = _bound(0)
        self.port: int = self._claim.getsockname()[1]
        self._listener: socket.socket | None = None
        self._selector = selectors.DefaultSelector()
        self._waker, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._stopping = False
        self._listen()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    @property
    def counts(self) -> Counts:
        with self._lock:
            found = self._counts
            return Counts(found.accepted, len(self._pairs), found.resets, dict(found.passed))

    def turn(self, weather: Weather) -> None:
        """From here on. What was kept goes out when the new weather lets it."""
        with self._lock:
            self._weather = weather
            self._free_at = dict.fromkeys(BOTH, 0.0)
            for pair in list(self._pairs):
                pair.passed = 0
                if weather.only and weather.only in pair.said:
                    pair.known.add(weather.only)
                for way in pair.ways:
                    now = time.monotonic()
                    way.pieces = deque((min(due, now), data) for due, data in way.pieces)
                if weather.refuses and self._concerns(pair):
                    self._drop(pair, reset=True)
            if weather.refuses and not weather.only:
                self._deafen()
            elif self._listener is None:
                self._listen()
        self._wake()

    def close(self) -> None:
        self._stopping = True
        self._wake()
        self._thread.join()
        for pair in list(self._pairs):
            self._drop(pair, reset=False)
        self._deafen()
        for one in (self._claim, self._waker, self._woken):
            one.close()
        self._selector.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the rest runs under the lock -----------------------------------------------------------------------------------

    def _listen(self) -> None:
        self._listener = _bound(self.port)
        self._listener.listen(128)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def _deafen(self) -> None:
        if self._listener is not None:
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None

    def _wake(self) -> None:
        self._waker.send(b"!")

    def _concerns(self, pair: _Pair) -> bool:
        return not self._weather.only or self._weather.only in pair.known

    def _run(self) -> None:
        pause: float | None = None
        while not self._stopping:
            for key, _ in self._selector.select(pause):
                with self._lock:
                    self._attend(key)
            with self._lock:
                pause = self._pass_on()

    def _attend(self, key: selectors.SelectorKey) -> None:
        if key.fileobj is self._woken:
            self._woken.recv(4096)
        elif key.fileobj is self._listener:
            self._accept()
        elif key.data is not None:
            pair, way = key.data
            if pair in self._pairs:
                self._take(pair, way)

    def _accept(self) -> None:
        assert self._listener is not None
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection((HOST, self._target_port), timeout=5)
        except OSError:
            # There is no Redis: the nearest to a refusal that is left.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            client.close()
            return
        pair = _Pair(client, server)
        for way in pair.ways:
            way.source.setblocking(False)
            way.source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(way.source, selectors.EVENT_READ, (pair, way))
        self._pairs.add(pair)
        self._counts.accepted += 1

    def _take(self, pair: _Pair, way: _Way) -> None:
        try:
            data = way.source.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self._drop(pair, reset=True)
            return
        if way.name == UP:
            pair.hear(data, self._weather.only)
        way.keep(data, self._due(pair, way, len(data)))
        if not way.reads:
            self._selector.unregister(way.source)

    def _due(self, pair: _Pair, way: _Way, size: int) -> float:
        now, weather = time.monotonic(), self._weather
        if not self._concerns(pair):
            return now
        due = now + weather.delay_seconds + self._chance.random() * weather.jitter_seconds
        if self._chance.random() < weather.loss:
            due += RESENT_SECONDS
        if weather.bytes_per_second is not None:
            due = self._free_at[way.name] = max(due, self._free_at[way.name]) + size / weather.bytes_per_second
        return due

    def _pass_on(self) -> float | None:
        """Everything that is due; answers in how many seconds the next piece is, None for nothing in sight."""
        nearest: float | None = None
        for pair in list(self._pairs):
            for way in pair.ways:
                left = self._pour(pair, way)
                if left is not None:
                    nearest = left if nearest is None else min(nearest, left)
        return nearest

    def _pour(self, pair: _Pair, way: _Way) -> float | None:
        while pair in self._pairs and way.pieces:
            due, data = way.pieces[0]
            early = due - time.monotonic()
            if self._concerns(pair) and way.name in self._weather.holds:
                return None
            if early > 0:
                return early
            if not data:
                self._drop(pair, reset=False)
                return None
            sent = self._send(pair, way, data)
            if sent is None:
                return 0.005
        return None

    def _send(self, pair: _Pair, way: _Way, data: bytes) -> int | None:
        """How much of the first piece went out; None when the other end takes nothing just now."""
        last = self._weather.reset_after if self._concerns(pair) else None
        if last is not None:
            data = data[: max(0, last - pair.passed)]
        try:
            sent = way.sink.send(data) if data else 0
        except BlockingIOError:
            return None
        except OSError:
            self._drop(pair, reset=True)
            return 0
        pair.passed += sent
        self._counts.passed[way.name] += sent
        due, whole = way.pieces.popleft()
        if whole[sent:]:
            way.pieces.appendleft((due, whole[sent:]))
        could_read = way.reads
        way.kept -= sent
        if way.reads and not could_read:
            self._selector.register(way.source, selectors.EVENT_READ, (pair, way))
        if last is not None and pair.passed >= last:
            self._drop(pair, reset=True)
        return sent

    def _drop(self, pair: _Pair, *, reset: bool) -> None:
        if pair not in self._pairs:
            return
        self._pairs.discard(pair)
        self._counts.resets += reset
        for way in pair.ways:
            with suppress(KeyError):
                self._selector.unregister(way.source)
        pair.close(reset=reset)


def _bound(port: int) -> socket.socket:
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind((HOST, port))
    return one
