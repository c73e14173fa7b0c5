from __future__ import annotations

import pytest
from tropilla.common.addresses import checked_url, web_address
from tropilla.common.errors import ConfigurationError


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("box", "http://box:80"),
    ],
)
def test_addresses_can_be_called_from_this_machine(host: str, address: str) -> None:
    assert web_address(host, 80) == address


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://store:8000", "http://store:8000"),
        ("https://[::1]:8000/models/", "https://[::1]:8000/models"),
    ],
)
def test_an_address_loses_the_slash_at_its_end(url: str, expected: str) -> None:
    assert checked_url("X", url) == expected


@pytest.mark.parametrize(
    "url", ["", "store:8000", "ftp://store", "http://", "http://a:x", "http://a:0", "http://a/?b", "http://[a"]
)
def test_what_is_no_address_is_refused_by_name(url: str) -> None:
    with pytest.raises(ConfigurationError, match="TROPILLA_X="):
        checked_url("TROPILLA_X", url)
