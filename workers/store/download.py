"""One file, from the first address that has it into the store: resumed where it broke off, verified, published whole.

Everything that decides is in wanted.py, everything that touches the disk in partial.py (contracts, models sheet 5.4).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from tropilla.common.errands import Progress
from tropilla.common.ggml import what_is
from tropilla.common.gguf import MAGIC
from tropilla.common.recipes import File
from tropilla.workers.store.partial import Partial, Record
from tropilla.workers.store.patience import (
    GLANCE_SECONDS,
    RETRIES,
    backoff,
    breaking_off,
    expect_patience,
    patiently,
    wait,
)
from tropilla.workers.store.pulling import Asked, FetchFailed, Pulling, Report, Stopped
from tropilla.workers.store.wanted import Address, Remote, Wanted, action_for, size_of, validator_of
from tropilla.workers.store.wire import Answer, Unreachable, Wire

#: Between two words about one file, in seconds.
REPORT_SECONDS = 0.2
#: Room that is left on the disk beside a file, as a part of it.
SPARE = 0.05
LEAST_FREE_BYTES = 256 << 20


def download(wanted: Wanted, pulling: Pulling, wire: Wire, *, again: bool, report: Report, stopped: Asked) -> File:
    """The file, verified and in the store. Raises `FetchFailed` and `Stopped`."""
    transfer = _Transfer(wanted, pulling, wire, report, stopped)
    try:
        pulling.blobs.prepare()
        with transfer.partial.locked(transfer.stand_by):
            return transfer.run(again)
    except OSError as error:
        raise FetchFailed("download_failed", f"{wanted.name} cannot be kept: {error.strerror or error}") from error


def look(address: Address, wire: Wire) -> Remote:
    """What the server says of the file. Some know no HEAD, and some do not say a size there: the first byte says more.

    Raises `Unreachable` and `FetchFailed`.
    """
    with wire.ask(address.url, method="HEAD", authorization=address.authorization) as answer:
        size = size_of(answer.status, answer.headers)
        if answer.status == 200 and size is not None:
            return Remote(size, validator_of(answer.headers))
    with wire.ask(address.url, headers={"range": "bytes=0-0"}, authorization=address.authorization) as answer:
        if answer.status not in (200, 206):
            raise _failure(answer, address)
        return Remote(size_of(answer.status, answer.headers), validator_of(answer.headers))


class _Transfer:
    """The state of one file on its way."""

    def __init__(self, wanted: Wanted, pulling: Pulling, wire: Wire, report: Report, stopped: Asked) -> None:
        self._wanted, self._pulling, self._wire = wanted, pulling, wire
        self._report, self._stopped = report, stopped
        self.partial = Partial(pulling.blobs, wanted.key)
        self._size = wanted.size
        self._told = self._looked = float("-inf")
        self._said = 0

    def stand_by(self) -> None:
        """Somebody else writes this file: what they have so far is our progress too. Raises `Stopped`."""
        self._tell(*self.partial.seen())
        wait(GLANCE_SECONDS, self._pulling, self._stopped)

    def run(self, again: bool) -> File:
        """Raises `FetchFailed`, `Stopped` and `OSError`."""
        if not again and self._wanted.sha256 and (file := self._blob(self._wanted.sha256)):
            return file
        troubles: list[FetchFailed] = []
        try:
            for address in self._wanted.addresses:
                try:
                    return self._take(address, again)
                except FetchFailed as error:
                    troubles.append(error)
        except Stopped as stop:
            stop.leftovers.append(self.partial.discard)
            raise
        finally:
            self.partial.close()
        message = "; ".join(dict.fromkeys(trouble.message for trouble in troubles))
        raise FetchFailed(troubles[-1].code, message, refusal=troubles[-1].refusal) from troubles[-1]

    def _take(self, address: Address, again: bool) -> File:
        """Raises `FetchFailed`, `Stopped` and `OSError`."""
        remote = self._remote(address)
        self._size = remote.size
        record = Record(address.shown, remote.validator, remote.size, self._wanted.commit, self._wanted.sha256)
        known = self.partial.record()
        if not again and known and known.digest and known.goes_on_as(record) and (file := self._blob(known.digest)):
            return file
        self.partial.take_up(record, self._glance)
        self._check_room()
        self._tell(self.partial.completed, at_once=True)
        self._transfer(address, remote)
        return self._finish(record)

    def _remote(self, address: Address) -> Remote:
        """What is known by its sum needs no question: whatever the server has, the sum decides."""
        if self._wanted.sha256 and self._wanted.size is not None:
            return Remote(self._wanted.size)
        remote = patiently(lambda: look(address, self._wire), self._pulling, self._stopped)
        if self._wanted.size is not None and remote.size not in (None, self._wanted.size):
            raise FetchFailed("download_failed", self._wrong_size(remote.size or 0))
        return remote

    def _blob(self, digest: str) -> File | None:
        """What is in the store was verified on its way there, and nothing writes it a second time."""
        try:
            size = self._pulling.blobs.path(digest).stat().st_size
        except FileNotFoundError:
            return None
        if self._size is not None and size != self._size:
            return None
        self._size = size
        self._tell(size, at_once=True)
        return File(digest, size, self._wanted.name)

    def _check_room(self) -> None:
        """Of a file whose size nobody tells, so much as leaves the disk usable."""
        missing = LEAST_FREE_BYTES if self._size is None else self._size - self.partial.completed
        needed = int(missing * (1 + SPARE))
        free = self._pulling.free_bytes(self.partial.path.parent)
        if needed > free:
            message = f"{self._wanted.name} needs {needed:,} more bytes on the disk, and {free:,} are free"
            raise FetchFailed("download_failed", message)

    def _transfer(self, address: Address, remote: Remote) -> None:
        """Until all bytes are there; six retries that bring nothing are enough. Raises `FetchFailed` and `Stopped`."""
        furthest, retries = self.partial.completed, 0
        while remote.size is None or self.partial.completed < remote.size:
            self._glance(now=True)
            try:
                self._stream(address, remote)
                return
            except Unreachable as error:
                if self.partial.completed > furthest:
                    furthest, retries = self.partial.completed, 0
                if retries == RETRIES:
                    raise FetchFailed("download_failed", f"{self._wanted.name}: {error.message}") from error
                wait(max(backoff(retries, self._pulling.chance()), error.retry_after), self._pulling, self._stopped)
                retries += 1

    def _stream(self, address: Address, remote: Remote) -> None:
        """One request for what is missing. Raises `Unreachable` where another one may bring more, and `FetchFailed`."""
        have = self.partial.completed
        headers = {"range": f"bytes={have}-"} if have else {}
        if have and remote.validator and not self._wanted.sha256:
            headers["if-range"] = remote.validator
        with self._wire.ask(address.url, headers=headers, authorization=address.authorization) as answer:
            action = action_for(answer.status, answer.headers, have=have, size=remote.size)
            if action == "fail":
                raise _failure(answer, address)
            if action == "finish":
                return
            if action != "append":
                self.partial.truncate()
            if action == "restart":
                raise Unreachable(f"{answer.host} answers with another part of the file than the one asked for")
            self._receive(answer, remote)

    def _receive(self, answer: Answer, remote: Remote) -> None:
        promised = size_of(answer.status, answer.headers)
        if remote.size is not None and promised is not None and promised != remote.size:
            raise FetchFailed("download_failed", self._wrong_size(promised))
        with breaking_off(answer, self._stopped, self._catch_up):
            for chunk in answer.chunks():
                self.partial.append(chunk)
                self._check_beginning()
                if remote.size is not None and self.partial.completed > remote.size:
                    raise self._spoilt("download_failed", self._wrong_size(self.partial.completed))
                self._glance()
                self._tell(self.partial.completed)
        # What was broken off because nobody wants it may look whole.
        self._glance(now=True)
        if remote.size is not None and self.partial.completed < remote.size:
            raise Unreachable(f"{answer.host} ended after {self.partial.completed:,} of {remote.size:,} bytes")

    def _finish(self, record: Record) -> File:
        self._check_beginning(whole=True)
        self._size = self.partial.completed
        self._tell(self._size, at_once=True)
        digest = self.partial.digest
        if self._wanted.sha256 not in ("", digest):
            raise self._spoilt("checksum_mismatch", f"sha256 mismatch: want {self._wanted.sha256} got {digest}")
        self.partial.publish()
        if self._wanted.sha256:
            self.partial.discard()
        else:
            self.partial.write_record(replace(record, size=self._size, digest=digest))
        return File(digest, self._size, self._wanted.name)

    def _check_beginning(self, *, whole: bool = False) -> None:
        """An error page is known by its first bytes: nobody waits for gigabytes of something else."""
        beginning = self.partial.beginning
        if beginning.startswith(MAGIC) or (len(beginning) < len(MAGIC) and not whole):
            return
        found = what_is(beginning)
        message = f"it is {found}" if found else f"it does not begin with {MAGIC.decode()}"
        raise self._spoilt("not_gguf", f"{self._wanted.name} is not a GGUF file: {message}")

    def _spoilt(self, code: Literal["download_failed", "checksum_mismatch", "not_gguf"], message: str) -> FetchFailed:
        """Nobody can go on with these bytes."""
        self.partial.discard()
        return FetchFailed(code, message)

    def _wrong_size(self, found: int) -> str:
        return f"{self._wanted.name} has {found:,} bytes where it is, and {self._size or 0:,} were announced"

    def _glance(self, *, now: bool = False) -> None:
        """Whether it is still wanted: about once a second. Raises `Stopped` and `FetchFailed`."""
        time = self._pulling.clock()
        if now or time - self._looked >= GLANCE_SECONDS:
            self._looked = time
            if self._stopped():
                raise Stopped
            if self._size is None:
                self._check_room()

    def _catch_up(self) -> None:
        """What came right behind the last word, and then nothing more."""
        if self.partial.completed != self._said:
            self._tell(self.partial.completed, at_once=True)

    def _tell(self, completed: int, size: int = 0, *, at_once: bool = False) -> None:
        time = self._pulling.clock()
        if at_once or time - self._told >= REPORT_SECONDS:
            self._told, self._said, wanted = time, completed, self._wanted
            self._report(Progress(wanted.status, wanted.digest, self._size or size, completed, wanted.name))


def _failure(answer: Answer, address: Address) -> FetchFailed:
    """What a status means that brings no file. Raises `Unreachable` where the next time may be better."""
    expect_patience(answer)
    what = f"{address.shown} answers with status {answer.status}"
    if answer.status in (401, 403):
        if answer.url != address.url:
            # A signature that has run out, where we were sent: the first address gives out a new one.
            raise Unreachable(f"{what} at {answer.host}")
        return FetchFailed("download_failed", f"{what}: it is not for everybody", refusal="forbidden")
    if answer.status in (404, 410):
        return FetchFailed("download_failed", f"{what}: there is no such file", refusal="unknown")
    return FetchFailed("download_failed", what)
