"""An answer's tokens -> its segments: consecutive text of one kind, and each call."""

from __future__ import annotations

import pytest
from openai_events import Bit, called, said
from tropilla.api.surfaces.segments import Closed, Kind, More, Opened, Segments
from tropilla.common.generation import Token

Told = tuple[Kind, str, str]

#: tokens -> (kind, name, text) of each segment
CASES: list[tuple[list[str | Bit], list[Told]]] = [
    ([], []),
    ([""], []),
    (["a", "", "b"], [("text", "", "ab")]),
    ([Bit("x", reasoning="h"), Bit("y", reasoning="m"), "a"], [("reasoning", "", "hm"), ("text", "", "a")]),
    # Within one token reasoning stands before text, and text before calls.
    (
        [Bit("x", "a", "h", called(0, "f", "{}"))],
        [("reasoning", "", "h"), ("text", "", "a"), ("call", "f", "{}")],
    ),
    (
        [Bit("x", calls=called(0, "f")), Bit("y", calls=(*called(0, "", "{", "}"), *called(1, "f", "{}")))],
        [("call", "f", "{}"), ("call", "f", "{}")],
    ),
    ([Bit("x", calls=called(0, "f")), "a"], [("call", "f", ""), ("text", "", "a")]),
    (["a", Bit("x", reasoning="h"), "b"], [("text", "", "a"), ("reasoning", "", "h"), ("text", "", "b")]),
]


@pytest.mark.parametrize(("bits", "expected"), CASES)
def test_tokens_make_segments_one_after_the_other(bits: list[str | Bit], expected: list[Told]) -> None:
    segments = Segments()
    told: list[Told] = []
    opened = spelled = None
    tokens = [event for event in said(0, bits, "stop") if isinstance(event, Token)]
    for step in [step for token in tokens for step in segments.feed(token)] + list(segments.end()):
        segment = step.segment
        match step:
            case Opened():
                assert opened is None
                assert segment.place == len(told)
                opened, spelled = segment, ""
            case More(piece=piece):
                assert (segment, piece != "") == (opened, True)
                spelled = (spelled or "") + piece
            case Closed():
                assert (segment, segment.said) == (opened, spelled)
                told.append((segment.kind, segment.name, segment.said))
                opened = None
    assert opened is None
    assert told == expected
    assert list(segments.end()) == []
