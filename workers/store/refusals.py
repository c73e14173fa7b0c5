"""How an errand comes to nothing, as exceptions.

TropillaError
├── Refusal    what was asked cannot be done: the errand's last word
└── Unfit      a file that this cluster cannot serve, and why: a model's trouble
"""

from __future__ import annotations

from tropilla.common.catalogue import Trouble, TroubleCode
from tropilla.common.errands import RefusalCode, Refused
from tropilla.common.errors import TropillaError


class Refusal(TropillaError):
    """`field` is the one at fault, by its name in the errand."""

    def __init__(self, code: RefusalCode, message: str, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.field = field

    @property
    def word(self) -> Refused:
        return Refused(self.code, self.message, self.field)


class Unfit(TropillaError):
    def __init__(self, code: TroubleCode, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def trouble(self) -> Trouble:
        return Trouble(self.code, self.message)
