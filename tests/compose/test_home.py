from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from tropilla.common.errors import ConfigurationError
from tropilla.compose import home as module
from tropilla.compose.home import Home


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_PATIENCE_SECONDS", 0.0)


def test_a_home_has_one_owner_at_a_time(tmp_path: Path) -> None:
    with Home(tmp_path), pytest.raises(ConfigurationError, match=rf"process {os.getpid()}\).*{tmp_path}.*--home"):
        Home(tmp_path)
    with Home(tmp_path):
        pass


def test_different_homes_do_not_mind_each_other(tmp_path: Path) -> None:
    with Home(tmp_path / "a") as a, Home(tmp_path / "b") as b:
        assert a.suffix != b.suffix


def test_what_redis_writes_and_what_is_fetched_is_for_its_owner_only(tmp_path: Path) -> None:
    with Home(tmp_path / "deep" / "home") as home:
        for folder in (home.redis_folder, home.folder / "models"):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_addresses_are_for_the_owner_only_and_gone_afterwards(tmp_path: Path) -> None:
    with Home(tmp_path) as home:
        home.publish({"api": "http://127.0.0.1:1"})
        file = tmp_path / "up.json"
        assert json.loads(file.read_text()) == {"api": "http://127.0.0.1:1"}
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not file.exists()


def test_a_home_that_cannot_be_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"cannot be used.*--home"):
        Home(tmp_path / "file")
