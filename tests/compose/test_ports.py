from __future__ import annotations

import errno
import os
import socket

import pytest
from tropilla.common.errors import ConfigurationError
from tropilla.compose.ports import Reservations, accepts, sentence


def test_a_port_in_use_is_one_sentence_with_port_purpose_and_flag() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, Reservations() as ports:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"port {port} .*the API.*--port"):
            ports.reserve("127.0.0.1", port, "the API")
        with pytest.raises(ConfigurationError, match=rf"port {port} .*Flower.*--flower-port"):
            ports.reserve("127.0.0.1", port, "Flower")


def test_zero_is_a_free_port_on_which_a_server_can_then_listen() -> None:
    with Reservations() as ports:
        port = ports.reserve("127.0.0.1", 0, "the API")
        with socket.create_server(("127.0.0.1", port)):
            assert accepts("127.0.0.1", port)
        assert not accepts("127.0.0.1", port)


def test_one_port_cannot_be_for_two_things() -> None:
    with Reservations() as ports:
        port = ports.reserve("127.0.0.1", 0, "the API")
        with pytest.raises(ConfigurationError, match="both for the API and for Flower"):
            ports.reserve("127.0.0.1", port, "Flower")


def test_a_reserved_port_is_given_back() -> None:
    with Reservations() as ports:
        port = ports.reserve("127.0.0.1", 0, "the API")
    with socket.socket() as strict:
        strict.bind(("127.0.0.1", port))


def test_an_address_of_another_machine_names_the_flag() -> None:
    with Reservations() as ports, pytest.raises(ConfigurationError, match=r"192\.0\.2\.1.*--host"):
        ports.reserve("192.0.2.1", 0, "the API")


def test_a_port_that_needs_root_says_so() -> None:
    """In words only: whoever runs this may be root, who is refused no port."""
    said = sentence("127.0.0.1", 80, "the API", PermissionError(errno.EACCES, "Permission denied"))
    assert "above 1023 with --port" in said


def test_who_listens_on_the_reservation_itself_hands_its_callers_over() -> None:
    """One who calls while nobody answers waits for the next one; once the port is released he is refused."""
    with Reservations() as ports:
        port = ports.reserve("127.0.0.1", 0, "the API")
        with socket.socket(fileno=os.dup(ports.descriptor(port))) as first:
            first.listen()
        with (
            socket.create_connection(("127.0.0.1", port)) as caller,
            socket.socket(fileno=os.dup(ports.descriptor(port))) as second,
        ):
            answering, address = second.accept()
            answering.close()
            assert address == caller.getsockname()
        ports.release(port)
        assert not accepts("127.0.0.1", port)
