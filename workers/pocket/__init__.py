"""`pocket`: the small chat model that ships with Tropilla, and everything that made it.

Serving needs the file alone; the generator needs the standard library; only `train` needs the `pocket` extra.
"""

from __future__ import annotations

from pathlib import Path


def path() -> Path:
    """The packaged model file."""
    return Path(__file__).with_name("pocket.gguf")
