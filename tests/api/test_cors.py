"""Which pages may use the server."""

from __future__ import annotations

import pytest
from tropilla.api.cors import Origins, preflight, same_origin

LOCAL = [
    "http://localhost",
    "https://localhost:3000",
    "http://127.0.0.1:5173",
    "http://[::1]:80",
    "tauri://localhost",
    "vscode-webview://1a2b",
]


@pytest.mark.parametrize("setting", ["", "https://a.example", "*"])
@pytest.mark.parametrize("origin", LOCAL)
def test_pages_of_this_machine_are_always_allowed(setting: str, origin: str) -> None:
    assert Origins.read(setting).allow(origin)


@pytest.mark.parametrize(
    ("setting", "origin", "named"),
    [
        ("*", "https://a.example", False),
        ("*", "null", False),
        ("*", "http://localhost:5173", True),
        ("*,https://*.example", "https://a.example", True),
    ],
)
def test_everywhere_names_nobody(setting: str, origin: str, named: bool) -> None:
    assert Origins.read(setting).allow(origin, by_name=True) is named


@pytest.mark.parametrize(
    ("setting", "origin", "allowed"),
    [
        ("*", "https://evil.example", True),
        ("*", "null", True),
        ("", "https://evil.example", False),
        ("", "null", False),
        ("", "http://localhost.evil.example", False),
        ("", "https://evil.example:localhost", False),
        ("https://a.example", "https://a.example", True),
        ("https://a.example", "https://a.example:8443", False),
        ("https://a.example", "http://a.example", False),
        ("https://b.example, https://*.a.example", "https://chat.a.example", True),
        ("https://*.a.example", "https://.a.exampl", False),
        ("https://*.a.example", "https://a.example", False),
        ("chrome-extension://*", "chrome-extension://abc", True),
        ("https://aa*aa", "https://aaa", False),
    ],
)
def test_other_pages_are_allowed_as_the_operator_says(setting: str, origin: str, allowed: bool) -> None:
    assert Origins.read(setting).allow(origin) is allowed


def test_everybody_gets_a_star_and_the_chosen_their_own_name() -> None:
    everybody = Origins.read("*").headers("https://a.example")
    assert everybody["Access-Control-Allow-Origin"] == "*"
    assert "Vary" not in everybody
    chosen = Origins.read("https://a.example").headers("https://a.example")
    assert (chosen["Access-Control-Allow-Origin"], chosen["Vary"]) == ("https://a.example", "Origin")


def test_a_browser_may_send_the_headers_it_asks_for() -> None:
    asked = preflight("authorization,x-stainless-os")
    assert asked["Access-Control-Allow-Headers"] == "authorization,x-stainless-os"
    unasked = preflight("")["Access-Control-Allow-Headers"].split(", ")
    assert {"Authorization", "X-Priority", "X-Request-Deadline", "Idempotency-Key"} <= set(unasked)
    assert {"GET", "POST", "DELETE", "OPTIONS"} <= set(asked["Access-Control-Allow-Methods"].split(", "))


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://a.example:8000", "a.example:8000", True),
        ("https://a.example", "a.example", True),
        ("http://a.example", "a.example:8000", False),
        ("", "a.example", False),
        ("null", "", True),
    ],
)
def test_the_servers_own_pages_need_no_permission(origin: str, host: str, same: bool) -> None:
    assert same_origin(origin, host) is same
