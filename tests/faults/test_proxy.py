"""The bad network does what it says, and no more: over an echo that is as simple as can be."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest
from faults.proxy import CUT, DOWN, FAIR, HOLE, HOST, UP, Proxy, Weather

#: For what is certain to come, and for what is certain not to.
SOON, NEVER = 5.0, 0.15


class Echo(socketserver.ThreadingTCPServer):
    """Says everything back, and remembers it."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__((HOST, 0), EchoHandler)
        self.heard = bytearray()


class EchoHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Echo)
        try:
            while data := self.request.recv(65_536):
                self.server.heard += data
                self.request.sendall(data)
        except OSError:
            return


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(echo.server_address[1]) as proxy:
        yield proxy


class Caller:
    def __init__(self, proxy: Proxy) -> None:
        self.socket = socket.create_connection((HOST, proxy.port), timeout=SOON)

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def hear(self, size: int, seconds: float = SOON) -> bytes:
        """So many bytes, or what came of them until the time was over or the connection was."""
        self.socket.settimeout(seconds)
        heard = b""
        try:
            while len(heard) < size and (data := self.socket.recv(size - len(heard))):
                heard += data
        except TimeoutError:
            pass
        return heard

    def is_reset(self) -> bool:
        self.socket.settimeout(SOON)
        try:
            while self.socket.recv(65_536):
                pass
        except ConnectionResetError:
            return True
        return False


@pytest.fixture
def caller(proxy: Proxy) -> Iterator[Caller]:
    caller = Caller(proxy)
    yield caller
    caller.socket.close()


def test_in_fair_weather_everything_passes_and_is_counted(proxy: Proxy, caller: Caller) -> None:
    data = bytes(range(256)) * 4000
    threading.Thread(target=caller.say, args=(data,)).start()
    assert caller.hear(len(data)) == data
    counts = proxy.counts
    assert (counts.accepted, counts.open, counts.resets) == (1, 1, 0)
    assert counts.passed == {UP: len(data), DOWN: len(data)}


def test_a_farewell_is_passed_on(proxy: Proxy, caller: Caller) -> None:
    caller.say(b"x")
    caller.hear(1)
    caller.socket.shutdown(socket.SHUT_WR)
    assert caller.hear(1) == b""


def test_a_cut_line_resets_what_is_open_and_refuses_what_comes(proxy: Proxy, caller: Caller) -> None:
    caller.say(b"x")
    caller.hear(1)
    proxy.turn(CUT)
    assert caller.is_reset()
    with pytest.raises(ConnectionRefusedError):
        Caller(proxy)
    proxy.turn(FAIR)
    again = Caller(proxy)
    again.say(b"y")
    assert again.hear(1) == b"y"
    again.socket.close()


def test_a_black_hole_accepts_says_nothing_and_gives_back_what_it_kept(proxy: Proxy, caller: Caller) -> None:
    proxy.turn(HOLE)
    late = Caller(proxy)
    caller.say(b"one")
    late.say(b"two")
    assert caller.hear(3, NEVER) == b""
    assert late.hear(3, 0.01) == b""
    proxy.turn(FAIR)
    assert (caller.hear(3), late.hear(3)) == (b"one", b"two")
    late.socket.close()


@pytest.mark.parametrize(("direction", "arrives"), [(UP, b""), (DOWN, b"x")])
def test_a_hole_may_be_in_one_direction_alone(
    echo: Echo, proxy: Proxy, caller: Caller, direction: str, arrives: bytes
) -> None:
    proxy.turn(Weather(holds=(direction,)))
    caller.say(b"x")
    assert caller.hear(1, NEVER) == b""
    assert bytes(echo.heard) == arrives


def test_a_hole_does_not_keep_without_end(proxy: Proxy, caller: Caller) -> None:
    proxy.turn(HOLE)
    caller.socket.settimeout(NEVER)
    with pytest.raises(TimeoutError):
        caller.say(bytes(64 << 20))


def test_delay_and_jitter_make_it_late_and_keep_the_order(proxy: Proxy, caller: Caller) -> None:
    proxy.turn(Weather(delay_seconds=0.05, jitter_seconds=0.05))
    began = time.monotonic()
    for number in range(20):
        caller.say(b"%02d" % number)
        time.sleep(0.001)
    assert caller.hear(40) == b"".join(b"%02d" % number for number in range(20))
    assert time.monotonic() - began >= 0.1


def test_what_was_lost_comes_a_retransmission_later(proxy: Proxy, caller: Caller) -> None:
    proxy.turn(Weather(loss=1.0))
    began = time.monotonic()
    caller.say(b"x")
    assert caller.hear(1) == b"x"
    assert time.monotonic() - began >= 0.4


def test_a_narrow_line_takes_its_time(proxy: Proxy, caller: Caller) -> None:
    proxy.turn(Weather(bytes_per_second=100_000))
    began = time.monotonic()
    caller.say(bytes(20_000))
    assert len(caller.hear(20_000)) == 20_000
    assert time.monotonic() - began >= 0.2


def test_a_connection_is_reset_in_the_middle_of_an_answer(echo: Echo, proxy: Proxy, caller: Caller) -> None:
    proxy.turn(Weather(reset_after=150))
    caller.say(bytes(100))
    assert caller.is_reset()
    assert len(echo.heard) == 100
    assert proxy.counts.resets == 1


def test_weather_may_concern_only_those_who_said_a_word(proxy: Proxy, caller: Caller) -> None:
    other = Caller(proxy)
    caller.say(b"BR")
    caller.hear(2)
    caller.say(b"POP")
    caller.hear(3)
    proxy.turn(Weather(holds=(UP, DOWN), only=b"BRPOP"))
    caller.say(b"x")
    other.say(b"y")
    assert other.hear(1) == b"y"
    assert caller.hear(1, NEVER) == b""
    # Whoever says it later is concerned from then on.
    other.say(b"BRPOP")
    assert other.hear(5, NEVER) == b""
    other.socket.close()


def test_without_a_server_behind_it_a_connection_is_reset() -> None:
    def call() -> None:
        caller.connect((HOST, nowhere.port))
        caller.recv(1)

    with Proxy(1) as nowhere, socket.socket() as caller, pytest.raises(ConnectionResetError):
        call()
