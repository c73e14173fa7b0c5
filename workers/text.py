"""Token bytes -> text that can no longer change: whole characters, and no part of a string that may become a stop.

Theory of operation. Two things can still change the end of what was said: a character whose bytes are not all there, and
a stop string of which only the beginning is there. Both are held back. Of several stop strings the one that *completes*
first ends the text (and of two completing together the longer), so that the outcome does not depend on how the bytes were
cut into tokens; taking the leftmost would.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class Text:
    """One choice's text while it grows. Feed it bytes; it answers with what may be shown.

    keep_stop: show the stop string that ends the text (TGI) instead of cutting it. Nothing need be held back then.
    """

    def __init__(self, stops: Sequence[str] = (), *, keep_stop: bool = False) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stops = tuple(stop for stop in stops if stop)
        self._keep = keep_stop
        #: Said but not shown; with keep_stop shown, but still the possible beginning of a stop string.
        self._tail = ""
        self.stopped: str = ""

    def feed(self, data: bytes, *, armed: bool = True) -> str:
        """What these bytes release. After a stop string has completed (`stopped`) nothing more may be fed.

        armed: whether a stop string may complete or begin here (not before `min_tokens`).
        """
        assert not self.stopped, "fed after the text had ended"
        fresh = self._decoder.decode(data)
        if not self._stops or not armed:
            return fresh
        text = self._tail + fresh
        found = self._completed(text)
        if found is None:
            held = self._possible_beginning(text)
            shown = fresh if self._keep else text[: len(text) - held]
            self._tail = text[len(text) - held :]
            return shown
        end, self.stopped = found
        return text[len(self._tail) : end] if self._keep else text[: end - len(self.stopped)]

    def flush(self) -> str:
        """What was held back, once nothing more comes. The bytes of an unfinished character are dropped."""
        text = "" if self._keep or self.stopped else self._tail
        self._tail = ""
        return text

    def _completed(self, text: str) -> tuple[int, str] | None:
        """(end, stop string) of the stop that completes first."""
        hits = [(at + len(stop), -len(stop), stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if not hits:
            return None
        end, _, stop = min(hits)
        return end, stop

    def _possible_beginning(self, text: str) -> int:
        """The length of the longest end of `text` that begins a stop string."""
        longest = max(len(stop) for stop in self._stops) - 1
        for length in range(min(longest, len(text)), 0, -1):
            end = text[-length:]
            if any(stop.startswith(end) for stop in self._stops):
                return length
        return 0
