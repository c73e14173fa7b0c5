"""Files on the disk: whole or not there, listed in their order, gone when their time is over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fakes import Clock
from tropilla.api.batches.archive import ABANDONED_SECONDS, Archive
from tropilla.api.batches.records import File, new_file_id


@pytest.fixture
def clock() -> Clock:
    return Clock(1_700_000_000.0)


@pytest.fixture
def archive(tmp_path: Path, clock: Clock) -> Archive:
    return Archive(tmp_path / "files", clock)


def kept(archive: Archive, data: bytes = b"x", *, seconds: int | None = None, purpose: str = "batch") -> File:
    now = archive.clock()
    archive.clock.advance(0.01)  # type: ignore[attr-defined]
    expires = None if seconds is None else int(now) + seconds
    file = File(new_file_id(now), "in.jsonl", purpose, len(data), int(now), expires)  # type: ignore[arg-type]
    with archive.partial() as (path, out):
        out.write(data)
        out.flush()
        archive.keep(file, path)
    return file


def names(archive: Archive) -> list[str]:
    return sorted(path.name for path in archive.folder.rglob("*") if path.is_file())


def test_a_kept_file_is_found_again_with_its_bytes(archive: Archive) -> None:
    file = kept(archive, b"hello")
    assert archive.find(file.id) == file
    assert archive.path(file.id).read_bytes() == b"hello"
    assert names(archive) == [file.id, f"{file.id}.json"]


def test_what_nobody_keeps_leaves_nothing(archive: Archive) -> None:
    with archive.partial() as (_, out):
        out.write(b"half")
    assert names(archive) == []


@pytest.mark.parametrize("name", ["file-0", "../x", "", "file-" + "0" * 32, "batch_" + "0" * 32])
def test_what_is_no_file_is_not_there(archive: Archive, name: str) -> None:
    assert archive.find(name) is None


def test_a_file_without_its_card_is_not_there(archive: Archive) -> None:
    file = kept(archive)
    archive.path(file.id).with_suffix(".json").unlink()
    assert archive.find(file.id) is None
    assert list(archive.listing("", newest_first=True)) == []


def test_a_dropped_file_is_gone_and_may_be_dropped_again(archive: Archive) -> None:
    file = kept(archive)
    archive.drop(file.id)
    archive.drop(file.id)
    assert archive.find(file.id) is None
    assert names(archive) == []


def test_a_listing_goes_on_behind_an_id_even_of_a_file_that_is_gone(archive: Archive) -> None:
    first, second, third = (kept(archive) for _ in range(3))
    assert list(archive.listing("", newest_first=True)) == [third, second, first]
    assert list(archive.listing("", newest_first=False)) == [first, second, third]
    archive.drop(second.id)
    assert list(archive.listing(second.id, newest_first=True)) == [first]
    assert list(archive.listing(second.id, newest_first=False)) == [third]


def test_a_listing_is_of_one_purpose_or_of_any(archive: Archive) -> None:
    asked, left = kept(archive), kept(archive, purpose="batch_output")
    assert list(archive.listing("", newest_first=False, purpose="batch_output")) == [left]
    assert list(archive.listing("", newest_first=False)) == [asked, left]


def test_a_file_whose_time_is_over_is_not_there_and_is_swept_unless_it_is_in_use(
    archive: Archive, clock: Clock
) -> None:
    short, used, long = kept(archive, seconds=60), kept(archive, seconds=60), kept(archive, seconds=6000)
    clock.advance(61)
    assert [archive.find(each.id) for each in (short, used, long)] == [None, None, long]
    assert archive.sweep({used.id}, ()) == 1
    assert names(archive) == sorted(f"{each.id}{suffix}" for each in (used, long) for suffix in ("", ".json"))


def test_what_a_crash_has_left_is_swept_after_a_day(archive: Archive, clock: Clock) -> None:
    file = kept(archive)
    (archive.folder / "partial").mkdir(exist_ok=True)
    half, cardless = archive.folder / "partial" / new_file_id(1.0), archive.path(new_file_id(1.0))
    for path in (half, cardless):
        path.write_bytes(b"x")
        os.utime(path, (clock.now, clock.now))
    assert archive.sweep((), ()) == 0
    clock.advance(ABANDONED_SECONDS + 1)
    assert archive.sweep((), ()) == 2
    assert names(archive) == [file.id, f"{file.id}.json"]


def test_what_lay_of_a_batch_that_is_over_is_swept(archive: Archive) -> None:
    kept(archive)
    going, over = "batch_" + "0" * 32, "batch_" + "1" * 32
    for batch_id in (going, over):
        archive.bench(batch_id).mkdir(parents=True)
        (archive.bench(batch_id) / "1.rows").write_bytes(b"x")
    assert archive.sweep((), {going}) == 1
    assert [archive.bench(each).exists() for each in (going, over)] == [True, False]
