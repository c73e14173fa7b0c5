"""What ggml's numbers mean: types of tensors and of files, as the pinned llama.cpp has them (ggml.h, llama.h).

And what a file is that is not GGUF at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TensorType:
    """How numbers are kept: `block` of them in `block_bytes`."""

    name: str
    block: int
    block_bytes: int

    def size_bytes(self, elements: int) -> int:
        return elements // self.block * self.block_bytes


#: ggml_type -> what it is. What is missing here was removed from GGUF, or is newer than this llama.cpp.
TENSOR_TYPES: Mapping[int, TensorType] = {
    number: TensorType(name, block, block_bytes)
    for number, name, block, block_bytes in (
        (0, "F32", 1, 4), (1, "F16", 1, 2), (2, "Q4_0", 32, 18), (3, "Q4_1", 32, 20), (6, "Q5_0", 32, 22),
        (7, "Q5_1", 32, 24), (8, "Q8_0", 32, 34), (9, "Q8_1", 32, 36), (10, "Q2_K", 256, 84), (11, "Q3_K", 256, 110),
        (12, "Q4_K", 256, 144), (13, "Q5_K", 256, 176), (14, "Q6_K", 256, 210), (15, "Q8_K", 256, 292),
        (16, "IQ2_XXS", 256, 66), (17, "IQ2_XS", 256, 74), (18, "IQ3_XXS", 256, 98), (19, "IQ1_S", 256, 50),
        (20, "IQ4_NL", 32, 18), (21, "IQ3_S", 256, 110), (22, "IQ2_S", 256, 82), (23, "IQ4_XS", 256, 136),
        (24, "I8", 1, 1), (25, "I16", 1, 2), (26, "I32", 1, 4), (27, "I64", 1, 8), (28, "F64", 1, 8),
        (29, "IQ1_M", 256, 56), (30, "BF16", 1, 2), (34, "TQ1_0", 256, 54), (35, "TQ2_0", 256, 66),
        (39, "MXFP4", 32, 17), (40, "NVFP4", 64, 36), (41, "Q1_0", 128, 18), (42, "Q2_0", 64, 18),
    )
}  # fmt: skip

#: general.file_type -> its name in every listing.
FILE_TYPES: Mapping[int, str] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S",
    12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K",
    19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL",
    26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0",
    37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0", 41: "Q2_0",
}  # fmt: skip

#: Bytes that a file begins with -> what it is, in words that a person who expected a model understands.
_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "the pointer that git-lfs leaves in place of a large file"),
    (b"lmgg", "an old GGML file, from before there were versions"),
    (b"fmgg", "an old GGML file of version 1 (ggmf)"),
    (b"tjgg", "an old GGML file of version 1 to 3 (ggjt)"),
    (b"algg", "an old GGML adapter (ggla)"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x80\x02", "a Python pickle, as PyTorch wrote its .bin files"),
    (b"\x80\x03", "a Python pickle, as PyTorch wrote its .bin files"),
    (b"\x80\x04", "a Python pickle, as PyTorch wrote its .bin files"),
)
#: How much of a file's beginning `what_is` wants to see.
BEGINNING_BYTES = 4096
#: safetensors begins with the length of its JSON header.
_MAX_SAFETENSORS_HEADER = 100_000_000


def what_is(beginning: bytes) -> str:
    """What a file that is no GGUF is, by its first bytes; "" when that is not known."""
    if not beginning:
        return "an empty file"
    known = next((name for magic, name in _BEGINNINGS if beginning.startswith(magic)), "")
    if known == "a zip archive" and b"data.pkl" in beginning:
        return "a PyTorch .bin file (a zip archive with a pickle in it)"
    if known:
        return known
    if beginning[8:9] == b"{" and int.from_bytes(beginning[:8], "little") <= _MAX_SAFETENSORS_HEADER:
        return "a safetensors file"
    text = beginning.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<body", b"<?xml")):
        return "a web page (HTML)"
    return "a JSON text" if text.startswith((b"{", b"[")) else ""
