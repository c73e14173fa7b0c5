"""Which hosts and addresses are asked."""

from __future__ import annotations

import pytest
from tropilla.common.errors import ConfigurationError
from tropilla.common.hosts import is_public, parse_hosts


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.8.9.1", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
     "100.100.100.200", "168.63.129.16", "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1",
     "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "::ffff:127.0.0.1",
     "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::",
     "2001:db8::1"],
)  # fmt: skip
def test_addresses_that_are_not_everybodys(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    ("setting", "place", "allowed"),
    [
        ("*", ("https", "h.example", 443), True),
        ("*", ("https", "h.example", 8443), True),
        ("*", ("http", "h.example", 80), False),
        ("*", ("ftp", "h.example", 21), False),
        ("", ("https", "h.example", 443), False),
        ("*.hf.co", ("https", "cdn.hf.co", 443), True),
        ("*.hf.co", ("https", "hf.co", 443), False),
        ("*.hf.co", ("https", "nothf.co", 443), False),
        ("*.hf.co", ("http", "cdn.hf.co", 80), False),
        ("hf.co, *.hf.co", ("https", "hf.co", 443), True),
        ("H.example", ("https", "h.example", 443), True),
        ("h.example", ("http", "h.example", 80), True),
        ("h.example", ("https", "h.example", 8443), False),
        ("127.0.0.1:1234", ("http", "127.0.0.1", 1234), True),
        ("127.0.0.1:1234", ("http", "127.0.0.1", 6379), False),
        ("127.0.0.1", ("http", "127.0.0.1", 6379), False),
        ("[::1]:1234", ("http", "::1", 1234), True),
    ],
)
def test_hosts_that_are_asked(setting: str, place: tuple[str, str, int], allowed: bool) -> None:
    assert (parse_hosts(setting).refusal(*place) == "") is allowed


def test_only_what_is_listed_as_it_is_is_trusted() -> None:
    hosts = parse_hosts("*,*.a.example,b.example,c.example:99")
    assert hosts.trusts("https", "b.example", 443)
    assert hosts.trusts("http", "c.example", 99)
    assert not hosts.trusts("https", "x.a.example", 443)
    assert not hosts.trusts("https", "d.example", 443)
    assert hosts.trusting(("d.example", None)).trusts("https", "d.example", 443)


@pytest.mark.parametrize("setting", ["https://h", "h/x", "*h", "*.", "h:x", "h example", "::1"])
def test_a_wrong_entry_is_refused(setting: str) -> None:
    with pytest.raises(ConfigurationError, match="TROPILLA_PULL_HOSTS"):
        parse_hosts(setting)
