from __future__ import annotations

import json
from pathlib import Path

import pytest
from tropilla.common.errors import ConfigurationError
from tropilla.common.settings import Settings
from tropilla.compose.client.address import cluster_url, parse_url
from tropilla.compose.home import Home


@pytest.mark.parametrize(
    ("text", "base", "credentials"),
    [
        ("http://h:8000", "http://h:8000", ""),
        ("http://h:8000/", "http://h:8000", ""),
        ("h", "http://h", ""),
        ("h:8000", "http://h:8000", ""),
        ("127.0.0.1:8000", "http://127.0.0.1:8000", ""),
        ("https://h/llm/", "https://h/llm", ""),
        ("[::1]:8000", "http://[::1]:8000", ""),
        ("http://u:p%40ss@h", "http://h", "u:p@ss"),
        ("https://u@h:1", "https://h:1", "u:"),
    ],
)
def test_addresses_are_read_as_people_write_them(text: str, base: str, credentials: str) -> None:
    assert parse_url(text) == (base, credentials)


@pytest.mark.parametrize(
    "text", ["ftp://h", "http://", "http://h:port", "http://h:99999", "http://h?x=1", "h#x", "/path", "http://[::1"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_url(text)


def test_a_refusal_keeps_the_password_to_itself() -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_url("http://u:secret@h?x")
    assert "secret" not in refused.value.message


def test_the_cluster_is_the_named_one_else_the_homes_else_the_ports(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, port=7000)
    assert cluster_url(settings) == "http://127.0.0.1:7000"
    with Home(tmp_path) as home:
        home.publish({"api": "http://127.0.0.1:1234"})
        assert cluster_url(settings) == "http://127.0.0.1:1234"
        assert cluster_url(Settings(home=tmp_path, url="http://h")) == "http://h"
    assert cluster_url(settings) == "http://127.0.0.1:7000"


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"flower": None})])
def test_a_broken_up_json_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "up.json").write_text(text)
    assert cluster_url(Settings(home=tmp_path, host="0.0.0.0")) == "http://127.0.0.1:8000"
