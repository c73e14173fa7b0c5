"""What can go wrong between the command line and a cluster, and the exit status of each.

TropillaError
├── Unreachable       nobody answers there, or no longer                69 (EX_UNAVAILABLE of sysexits.h)
├── Refusal           the cluster says no, in its own words              1
└── Misunderstood     what answers there does not speak Ollama           1
"""

from __future__ import annotations

from tropilla.common.errors import TropillaError

UNREACHABLE_STATUS = 69


class Unreachable(TropillaError):
    pass


class Refusal(TropillaError):
    """`code` is the HTTP status, 0 in the middle of a stream."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class Misunderstood(TropillaError):
    pass
