"""Spoils the headers of a sound GGUF file by the thousand: `PYTHONPATH=tests python -m gguf_fuzz 20000`.

Whatever comes in, the checker reads it or refuses it, and never takes long: llama.cpp's own parser has overflowed on such
files (Talos 2024, CVE-2026-7482).
"""

from __future__ import annotations

import random
import struct
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import gguf
import tiny
from tropilla.common.errors import ConfigurationError
from tropilla.common.gguf import read_arrays, read_header
from tropilla.workers.store.refusals import Unfit
from tropilla.workers.store.soundness import check_model

#: Numbers on which lengths, counts and offsets have overflowed, as they stand in a file.
WORST = tuple(
    struct.pack("<Q", number)[:size]
    for number in (
        0,
        1,
        0x7F,
        0x80,
        0xFF,
        2**16 - 1,
        2**31 - 1,
        2**31,
        2**32 - 1,
        2**63 - 1,
        2**63,
        2**64 - 1,
        2**64 - 32,
    )
    for size in (1, 4, 8)
)


@dataclass(slots=True)
class Outcome:
    """`slowest` in seconds, of one file."""

    read: int = 0
    refused: int = 0
    slowest: float = 0.0


def spoilt(chance: random.Random, whole: bytes, header_bytes: int) -> bytes:
    """Up to four changes in the header, and sometimes an end that comes too early."""
    data = bytearray(whole)
    for _ in range(chance.randint(1, 4)):
        # Behind the magic; half of them where counts and the first lengths are.
        at = chance.randrange(4, 64 if chance.random() < 0.5 else header_bytes)
        match chance.randrange(5):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                data[at] ^= 1 << chance.randrange(8)
            case 2:
                worst = chance.choice(WORST)
                data[at : at + len(worst)] = worst
            case 3:
                del data[at : at + chance.randint(1, 16)]
            case 4:
                source = chance.randrange(header_bytes)
                data[at:at] = data[source : source + chance.randint(1, 64)]
    return bytes(data[: chance.randrange(len(data))] if chance.random() < 0.1 else data)


def run(count: int, folder: Path, *, seed: int = 0) -> Outcome:
    """Raises whatever is neither a header nor a refusal; the file that did it is left in the folder."""
    chance, outcome = random.Random(seed), Outcome()
    sound = tiny.Encoder().write(folder / "sound.gguf")
    whole, header_bytes = sound.read_bytes(), int(gguf.GGUFReader(sound).data_offset)
    path = folder / "spoilt.gguf"
    for _ in range(count):
        path.write_bytes(spoilt(chance, whole, header_bytes))
        began = time.perf_counter()
        try:
            check_model("spoilt.gguf", read_header(path))
            read_arrays(path)
        except (ConfigurationError, Unfit):
            outcome.refused += 1
        else:
            outcome.read += 1
        outcome.slowest = max(outcome.slowest, time.perf_counter() - began)
    return outcome


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    # In memory, where there is such a place.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        began = time.perf_counter()
        outcome = run(count, Path(folder))
        seconds = time.perf_counter() - began
    print(
        f"{count} headers in {seconds:.0f} s: {outcome.read} read, {outcome.refused} refused, "
        f"slowest {outcome.slowest * 1000:.1f} ms, nothing else"
    )


if __name__ == "__main__":
    main()
