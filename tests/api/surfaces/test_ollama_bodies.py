"""Body bytes: the first JSON value, whatever stands behind it; what is none, in Go's words (section 1 and 1.1)."""

from __future__ import annotations

from typing import Any

import pytest
from tropilla.api.surfaces.ollama.bodies import first_value
from tropilla.common.errors import MalformedBody


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'{"a": 1}trailing', {"a": 1}),
        (b' \n{"a": 1} {"b": 2}', {"a": 1}),
        (b'{"a": 1}\x00\xff', {"a": 1}),
        (b'"x" y', "x"),
        (b"null{", None),
        (b"[1]]", [1]),
        ('{"é": "ü"}§'.encode(), {"é": "ü"}),
        # Bytes that are no characters become U+FFFD, as in Go.
        (b'{"a": "\xff"}', {"a": "�"}),
    ],
)
def test_the_first_value_counts(body: bytes, value: Any) -> None:
    assert first_value(body) == value


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "missing request body"),
        (b" \n", "missing request body"),
        (b"{", "unexpected EOF"),
        (b'{"a": "b', "unexpected EOF"),
        (b'{"a": 1,', "unexpected EOF"),
        (b"x", "invalid character 'x' looking for beginning of value"),
        (b'{"a": x}', "invalid character 'x' looking for beginning of value"),
    ],
)
def test_what_is_no_value_is_told_in_gos_words(body: bytes, text: str) -> None:
    with pytest.raises(MalformedBody) as caught:
        first_value(body)
    assert caught.value.message == text


@pytest.mark.parametrize(
    "body", [b"NaN x", b'{"a": Infinity}', b'"\\ud800" x', b"[" * 100_000, b"[" * 2000 + b"]" * 2000 + b"x", b'{"a" 1}']
)
def test_what_python_would_take_and_json_is_not_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        first_value(body)
