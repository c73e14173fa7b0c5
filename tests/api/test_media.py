"""Content types, and bodies that come packed."""

from __future__ import annotations

import gzip
import zlib

import pytest
from tropilla.api.media import is_json, readable, unpacked
from tropilla.common.errors import BodyTooLarge, MalformedBody, UnreadableBody

BODY = b'{"prompt": "hello"}'
#: Without a time: processes that share the tests compare their names.
PACKED = gzip.compress(BODY, mtime=0)


@pytest.mark.parametrize(
    ("content_type", "json"),
    [
        ("application/json", True),
        ("Application/JSON; charset=latin-1", True),
        ("application/vnd.api+json", True),
        ("application/jsonl", False),
        ("text/json", False),
        ("text/plain", False),
        ("multipart/form-data; boundary=application/json", False),
    ],
)
def test_a_content_type_is_json_or_not(content_type: str, json: bool) -> None:
    assert is_json(content_type) is json
    assert readable(content_type) is json


@pytest.mark.parametrize(
    "content_type", ["", "application/x-www-form-urlencoded", "application/x-WWW-form-urlencoded; a"]
)
def test_what_clients_say_who_say_nothing_is_taken_for_json(content_type: str) -> None:
    assert readable(content_type)
    assert not is_json(content_type)


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (BODY, ""),
        (BODY, "identity"),
        (PACKED, "gzip"),
        (PACKED, " GZIP "),
        (PACKED, "x-gzip"),
        (zlib.compress(BODY), "deflate"),
    ],
)
def test_a_body_is_unpacked(data: bytes, encoding: str) -> None:
    assert unpacked(data, encoding, len(BODY)) == BODY


@pytest.mark.parametrize("encoding", ["zstd", "br", "compress", "gzip, gzip"])
def test_an_unknown_encoding_is_named(encoding: str) -> None:
    with pytest.raises(UnreadableBody, match=f"'{encoding}'"):
        unpacked(BODY, encoding, 1000)


@pytest.mark.parametrize("data", [b"", BODY, PACKED[:-4], PACKED + b"x", zlib.compress(BODY)])
def test_what_is_not_packed_as_it_says_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedBody, match="gzip"):
        unpacked(data, "gzip", 1000)


def test_a_bomb_is_unpacked_only_up_to_the_limit() -> None:
    bomb = gzip.compress(b" " * (64 << 20))
    with pytest.raises(BodyTooLarge, match="1000 bytes"):
        unpacked(bomb, "gzip", 1000)
