from __future__ import annotations

from pathlib import Path

from gguf_fuzz import run


def test_no_spoilt_header_gets_past_or_takes_long(tmp_path: Path) -> None:
    """`python -m gguf_fuzz N` tries more of them."""
    outcome = run(1000, tmp_path)
    assert outcome.refused > 500
    assert outcome.read > 10
    assert outcome.slowest < 1.0
