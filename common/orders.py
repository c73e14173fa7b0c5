"""What a worker is told to do about its pin."""

from __future__ import annotations

from dataclasses import dataclass

from tropilla.common.catalogue import Definition


@dataclass(frozen=True, slots=True)
class Order:
    """Pin this, or with None nothing. What runs is finished first; what waits stays in its lane for whoever comes next."""

    definition: Definition | None
