"""Where spans stand: W3C's header, read and written, and ids that two processes find alike."""

from __future__ import annotations

import pytest
from tropilla.common.spans import Place, attempt_place, parse

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"00-{TRACE}-{SPAN}-01", Place(TRACE, SPAN, True)),
        (f"00-{TRACE}-{SPAN}-00", Place(TRACE, SPAN, False)),
        (f" 00-{TRACE}-{SPAN}-03 ", Place(TRACE, SPAN, True)),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", Place(TRACE, SPAN, True)),
        (f"cc-{TRACE}-{SPAN}-01", Place(TRACE, SPAN, True)),
        ("", None),
        ("nonsense", None),
        (f"00-{TRACE}-{SPAN}", None),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}-0x", None),
    ],
)
def test_the_header_is_read_as_w3c_has_it(header: str, found: Place | None) -> None:
    assert parse(header) == found


@pytest.mark.parametrize("sampled", [True, False])
def test_what_is_written_can_be_read(sampled: bool) -> None:
    place = Place(TRACE, SPAN, sampled)
    assert parse(place.traceparent) == place


def test_an_attempt_has_one_place_whoever_writes_it_down() -> None:
    place = Place(TRACE, SPAN)
    assert attempt_place(place, 1) == attempt_place(Place(TRACE, SPAN), 1)
    assert len({attempt_place(place, number).span for number in range(1, 50)}) == 49
    assert attempt_place(place, 1).trace == TRACE
    assert parse(attempt_place(place, 1).traceparent) == attempt_place(place, 1)
