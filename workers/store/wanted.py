"""One file to be downloaded, what a server says of it, and what an answer to a request for a part of it means."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

#: What is done about an answer: put it behind what is there; put it in place of that; ask again for all of it; see
#: whether what is there is all; or nothing.
Action = Literal["append", "replace", "restart", "finish", "fail"]
_CONTENT_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+|\*)")
_UNSATISFIED = re.compile(r"bytes \*/([0-9]+)")


@dataclass(frozen=True, slots=True)
class Address:
    """A place that has the file. `authorization` is for its host only; `shown` is the address without secrets."""

    url: str
    shown: str
    authorization: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file: its `name`, and the addresses that have it, tried in order.

    `sha256` (64 hex digits) and `size` are what it must have, where that is known before; `commit` is which version of it.
    """

    name: str
    addresses: tuple[Address, ...]
    sha256: str = ""
    size: int | None = None
    commit: str = ""

    @property
    def key(self) -> str:
        """64 hex digits that stand for this content; the same file of another version has others."""
        return self.sha256 or hashlib.sha256(f"{self.addresses[0].url}\n{self.commit}".encode()).hexdigest()

    @property
    def status(self) -> str:
        """Ollama's word for its progress. What nobody knows the digest of goes by its name."""
        return f"pulling {self.sha256[:12] or self.name}"

    @property
    def digest(self) -> str:
        return f"sha256:{self.sha256}" if self.sha256 else ""


@dataclass(frozen=True, slots=True)
class Remote:
    """What a server says of a file now: its size in bytes, None where it does not say, and a validator for `If-Range`."""

    size: int | None
    validator: str = ""


def validator_of(headers: Mapping[str, str]) -> str:
    """What says that a file is still the same: a strong ETag, or else its time; "" for neither."""
    etag = headers.get("etag", "")
    return etag if etag.startswith('"') else headers.get("last-modified", "")


def size_of(status: int, headers: Mapping[str, str]) -> int | None:
    """The size of the whole file, by an answer to HEAD, to GET, or to GET of one byte."""
    if status == 206:
        found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        return int(found[3]) if found and found[3] != "*" else None
    length = headers.get("content-length", "")
    # A packed body's length says nothing of the file's.
    return int(length) if length.isdecimal() and headers.get("content-encoding", "identity") == "identity" else None


def action_for(status: int, headers: Mapping[str, str], *, have: int, size: int | None) -> Action:
    """What an answer means to who has `have` bytes of a file of `size`, and asked for those behind them."""
    if status == 206:
        found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        if found is None or int(found[1]) != have:
            return "restart"
        same = size is None or found[3] == "*" or int(found[3]) == size
        return "append" if same else "restart"
    if status == 200:
        # The server knows no ranges: behind what is there, the file's beginning would be the classic corruption.
        return "replace"
    if status == 416:
        found = _UNSATISFIED.fullmatch(headers.get("content-range", ""))
        total = size if size is not None else int(found[1]) if found else None
        return "finish" if have == total else "restart"
    return "fail"
