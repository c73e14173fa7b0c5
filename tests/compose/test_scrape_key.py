from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tropilla.common.keys import Key, digest_of, new_key
from tropilla.compose.scrape_key import NAME, Taken, ensure

NOW = 1_700_000_000


class Store:
    """Keys in memory."""

    def __init__(self) -> None:
        self.keys: dict[str, Key] = {}
        self.before_keeping: Callable[[], None] = lambda: None

    def all(self) -> tuple[Key, ...]:
        return tuple(self.keys.values())

    def keep(self, key: Key) -> str:
        self.before_keeping()
        if any(one.name == key.name and one.revoked is None for one in self.all()):
            return "taken"
        self.keys[key.id] = key
        return "kept"

    def revoke(self, key: Key, *, now: int) -> Key:
        self.keys[key.id] = replace(key, revoked=now)
        return self.keys[key.id]


@pytest.fixture
def store() -> Store:
    return Store()


def good(store: Store) -> Key:
    (one,) = [key for key in store.all() if key.standing(NOW) == "good"]
    return one


def test_prometheus_gets_a_key_that_reads_figures_and_opens_nothing_else(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "api_key"
    assert ensure(store, file, NOW)
    assert good(store).digest == digest_of(file.read_text().strip())
    assert (good(store).name, good(store).scopes) == (NAME, ("metrics",))
    assert stat.S_IMODE(file.stat().st_mode) == 0o400


def test_a_good_key_stays(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "api_key"
    ensure(store, file, NOW)
    before = file.read_text()
    assert not ensure(store, file, NOW + 1)
    assert (file.read_text(), len(store.keys)) == (before, 1)


def test_a_lost_or_revoked_key_is_replaced(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "api_key"
    ensure(store, file, NOW)
    lost = good(store)
    file.unlink()
    assert ensure(store, file, NOW)
    assert store.keys[lost.id].revoked == NOW
    store.revoke(good(store), now=NOW)
    assert ensure(store, file, NOW)
    assert good(store).digest == digest_of(file.read_text().strip())


def test_a_key_of_a_person_is_none_for_prometheus(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "api_key"
    person, secret = new_key(name="anna", created=NOW)
    store.keep(person)
    file.write_text(secret)
    assert ensure(store, file, NOW)
    assert store.keys[person.id].revoked is None


def test_a_key_that_another_process_has_made_meanwhile_is_none_to_write_down(store: Store, tmp_path: Path) -> None:
    """What stood in the file would open nothing, and Prometheus would be refused until somebody looked."""
    file = tmp_path / "api_key"
    theirs, _ = new_key(name=NAME, scopes=("metrics",), created=NOW)

    def another() -> None:
        store.keys[theirs.id] = theirs

    store.before_keeping = another
    with pytest.raises(Taken, match="start this again"):
        ensure(store, file, NOW)
    assert (file.exists(), good(store)) == (False, theirs)
