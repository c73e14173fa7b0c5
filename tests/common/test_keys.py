"""What a key is, and in how many ways it is given."""

from __future__ import annotations

import base64
import hashlib

import pytest
from tropilla.common.keys import NAME, NOBODY, SECRET, Key, Limits, Principal, digest_of, given, new_key


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ({}, ""),
        ({"authorization": "Bearer secret"}, "secret"),
        ({"authorization": "bearer   secret "}, "secret"),
        ({"x-api-key": " secret"}, "secret"),
        ({"authorization": "Bearer secret", "x-api-key": "other"}, "secret"),
        ({"authorization": basic("user:secret")}, "secret"),
        ({"authorization": basic(":se:cret")}, "se:cret"),
        ({"authorization": basic("user:secret"), "x-api-key": "other"}, "secret"),
        ({"authorization": basic("user"), "x-api-key": "secret"}, "secret"),
        ({"authorization": basic("user:")}, ""),
        ({"authorization": "Basic ???"}, ""),
        ({"authorization": "Basic /w=="}, ""),
        ({"authorization": "Digest secret", "x-api-key": "secret"}, "secret"),
        ({"authorization": "Bearer "}, ""),
        ({"authorization": "secret"}, ""),
        ({"authorization": "", "x-api-key": ""}, ""),
    ],
)
def test_a_key_is_given_as_every_protocol_gives_one(headers: dict[str, str], found: str) -> None:
    assert given(headers) == found


def test_a_new_key_is_known_by_its_digest_alone() -> None:
    key, secret = new_key(name="n", scopes=("admin",), limits=Limits(1, 2, 3), created=5, expires=6)
    assert SECRET.fullmatch(secret)
    assert key.digest == hashlib.sha256(secret.encode()).hexdigest() == digest_of(secret)
    assert (key.last_four, key.name, key.scopes, key.limits) == (secret[-4:], "n", ("admin",), Limits(1, 2, 3))
    assert secret not in repr(key)
    assert new_key(created=5)[0].id != key.id


def test_bytes_that_are_no_text_are_a_wrong_key_and_no_more() -> None:
    assert digest_of("\udcff\xe4") != digest_of("?")


@pytest.mark.parametrize(
    ("expires", "revoked", "standing"),
    [(None, None, "good"), (11, None, "good"), (10, None, "expired"), (None, 3, "revoked"), (9, 3, "revoked")],
)
def test_a_key_counts_until_it_expires_or_is_revoked(expires: int | None, revoked: int | None, standing: str) -> None:
    assert Key("key_1", "", "", expires=expires, revoked=revoked).standing(10.0) == standing


@pytest.mark.parametrize("name", ["a", "ci", "Alice's"[:5], "build-7.x_y", "a b@c", "x" * 64])
def test_names_that_people_use(name: str) -> None:
    assert NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", " a", "key_1", "x" * 65, "a\tb", "ä", "-a"])
def test_a_name_is_short_plain_and_no_id(name: str) -> None:
    assert NAME.fullmatch(name) is None


def test_without_keys_everything_is_everybodys_and_with_them_ones_own() -> None:
    assert NOBODY.sees("key_1")
    assert NOBODY.sees("")
    mine = Principal("key_1", private=True)
    assert [mine.sees(key) for key in ("key_1", "key_2", "")] == [True, False, False]
