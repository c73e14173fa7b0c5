"""Under which names the server may be called."""

from __future__ import annotations

from typing import Any

import pytest
from tropilla.api.hostnames import Hostnames
from tropilla.common.settings import Settings

HERE = (
    "localhost",
    "LocalHost:80",
    "localhost.:80",
    "a.localhost",
    "box.local:1",
    "api.corp.internal",
    "den.Home.ARPA",
)
ADDRESSES = ("127.0.0.1", "127.0.0.1:8000", "[::1]:8000", "[::1]", "0.0.0.0:8000", "192.168.1.7:80", "[fd00::1]:80", "")
ELSEWHERE = (
    "evil.example", "evil.example:8000", "localhost.evil.example", "evillocalhost", "local", "evil.local.example",
    "127.0.0.1.nip.io", "8.8.8.8", "[2606:4700::1111]:80", "2130706433",
    "localhost,evil.example", "evil.example:@localhost",
)  # fmt: skip


def names(**given: Any) -> Hostnames | None:
    return Hostnames.read(Settings(**given), "den.home.arpa")


@pytest.mark.parametrize("host", [*HERE, *ADDRESSES])
def test_a_machine_answers_to_its_own_names_and_addresses(host: str) -> None:
    found = names()
    assert found is not None
    assert found.allow(host)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_no_other_name_is_its_own(host: str) -> None:
    found = names()
    assert found is not None
    assert not found.allow(host)


@pytest.mark.parametrize(
    ("hosts", "host", "allowed"),
    [
        ("llm.example.com", "LLM.example.com:443", True),
        ("llm.example.com", "a.llm.example.com", False),
        ("api, *.example.com", "a.b.example.com", True),
        ("api, *.example.com", "example.com", False),
        ("api, *.example.com", "api:8000", True),
        ("api", "localhost", True),
        ("api", "evil.example", False),
    ],
)
def test_an_operator_may_give_it_further_names(hosts: str, host: str, allowed: bool) -> None:
    found = names(hosts=hosts)
    assert found is not None
    assert found.allow(host) is allowed


@pytest.mark.parametrize(
    ("given", "looked_at"),
    [
        ({}, True),
        ({"host": "::1"}, True),
        ({"hosts": "*"}, False),
        ({"keys": "on"}, False),
        ({"keys": "on", "hosts": "api"}, False),
        ({"host": "0.0.0.0"}, False),
        ({"host": "0.0.0.0", "keys": "off"}, False),
        ({"host": "0.0.0.0", "keys": "off", "hosts": "api"}, True),
    ],
    ids=str,
)
def test_names_count_where_no_key_does(given: dict[str, Any], looked_at: bool) -> None:
    """A page has no key. On other addresses nobody knows by which names it is meant to be called, unless he is told."""
    assert (names(**given) is not None) is looked_at
