"""What following a request needs of the rest: `bus.Bus`, and `room.Room`."""

from __future__ import annotations

from typing import Protocol

from tropilla.common.bus import Delivered
from tropilla.common.catalogue import Lane
from tropilla.common.generation import Request
from tropilla.common.room import Admitted, Position
from tropilla.common.terms import Bounds, Terms


class Store(Protocol):
    """What is needed of `bus.Bus`."""

    def read_journal(self, request_id: str, start: int = 0) -> list[Delivered]: ...
    def held_for(self, request_id: str) -> float | None: ...
    def attempts(self, request_id: str) -> int | None: ...
    def conclude(
        self, request_id: str, payload: bytes, *, outcome: str, attempt: int | None, journal_seconds: float
    ) -> int | None: ...
    def release(self, request_id: str) -> None: ...


class Room(Protocol):
    """What is needed of `room.Room`."""

    def admit(
        self,
        request: Request,
        lane: Lane,
        terms: Terms,
        *,
        inbox: str,
        bounds: Bounds,
        deadline_seconds: float,
        kept_seconds: float,
        call: bytes = b"",
        listener: str = "",
    ) -> Admitted: ...
    def position(self, request_id: str) -> Position | None: ...
    def put_back(self, request_id: str) -> list[Lane]: ...
    def move(self, request_id: str, lane: Lane) -> bool: ...
    def tickets(self, lane: str) -> int: ...
    def cancel(self, request_id: str, *, seconds: float, journal_seconds: float) -> bool: ...
    def join(self, request_id: str, *, inbox: str, listener: str) -> float | None: ...
    def leave(self, request_id: str, *, inbox: str, listener: str) -> bool: ...
