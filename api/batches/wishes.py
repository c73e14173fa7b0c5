"""What a dialect may want of the desk where files and batches are kept: one value for each thing that can be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tropilla.api.batches.records import Batch, File, Purpose
from tropilla.common.errors import RequestError


class UnknownObject(RequestError):
    """No file or batch of this id, or not any more."""

    status = 404


@dataclass(frozen=True, slots=True)
class KeepFile:
    """The file that came with the form is kept under this name, for so long."""

    name: str
    purpose: Purpose
    seconds: int


@dataclass(frozen=True, slots=True)
class ListFiles:
    """So many, behind the id `after`; `purpose` "" is any."""

    after: str
    limit: int
    newest_first: bool = True
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class FindFile:
    id: str


@dataclass(frozen=True, slots=True)
class ReadFile:
    """Answered with its bytes, in no dialect."""

    id: str


@dataclass(frozen=True, slots=True)
class DropFile:
    id: str


@dataclass(frozen=True, slots=True)
class BeginBatch:
    endpoint: str
    input_file_id: str
    window: str
    window_seconds: int
    output_seconds: int
    metadata: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class ListBatches:
    """The newest first, so many, behind the id `after`."""

    after: str
    limit: int


@dataclass(frozen=True, slots=True)
class FindBatch:
    id: str


@dataclass(frozen=True, slots=True)
class CancelBatch:
    id: str


Wish = KeepFile | ListFiles | FindFile | ReadFile | DropFile | BeginBatch | ListBatches | FindBatch | CancelBatch


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of files or batches; `more` says that others follow."""

    items: Sequence[File] | Sequence[Batch]
    more: bool


#: What comes of a wish: of `DropFile` the id of what is gone.
Granted = File | Batch | Listed | str
