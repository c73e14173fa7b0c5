"""What the page says of a measurement."""

from __future__ import annotations

from bench.vision import section


def test_the_table_has_text_alone_and_text_beside_pictures_and_what_is_promised() -> None:
    medians = {
        "text": {"p50_ms": 1.0, "p99_ms": 2.0, "most_ms": 3.0, "pictures": 0.0},
        "beside": {"p50_ms": 1.5, "p99_ms": 3.0, "most_ms": 9.0, "pictures": 40.0},
    }
    setup = {"threads": 1, "model": "m.gguf", "projector": "p.gguf", "tokens": 400, "side": 512, "rounds": 5}
    result = {
        "date": "2026-01-01", "processor": "P", "cores": 2, "load_average": (0.5, 0.0, 0.0), "setup": setup,
        "medians": medians, "ratio": 1.5,
    }  # fmt: skip
    lines = section(result).splitlines()
    assert "| 8 text streams | 1.00 | 2.00 | 3.0 | 0 |" in lines
    assert "| 4 of them beside 4 that show pictures | 1.50 | 3.00 | 9.0 | 40 |" in lines
    assert lines[-1] == "The p99 is 1.50 times that of text alone; at most 3 times is promised."
