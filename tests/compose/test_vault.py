from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest
from tropilla.compose import roles
from tropilla.compose.vault import TALKING, USER, Vault, prepare


class Given(list[Path]):
    """Whom `chown` was called for."""

    def __call__(self, path: Path) -> None:
        self.append(path)


def fill(folder: Path, *, renew: bool = False) -> tuple[dict[str, str], dict[str, str]]:
    """The news, and every file's text by its path."""
    news = Vault(folder, Given(), renew=renew).fill()
    return news, {
        str(file.relative_to(folder)): file.read_text().strip() for file in folder.rglob("*") if file.is_file()
    }


def test_each_role_finds_his_own_way_into_redis(tmp_path: Path) -> None:
    _, files = fill(tmp_path)
    urls = {role: files[f"{role}/redis_url"] for role in TALKING}
    assert len(set(urls.values())) == len(TALKING)
    for role, url in urls.items():
        assert url.startswith(f"redis://{role}:")
        assert url.endswith("@redis:6379/0")


def test_what_redis_is_told_fits_what_the_others_say(tmp_path: Path) -> None:
    _, files = fill(tmp_path)
    passwords = {role: files[f"{role}/redis_url"].split(":")[2].split("@")[0] for role in TALKING}
    passwords |= {role: files[f"redis/{role}"] for role in ("operator", "metrics")}
    order = {role: passwords[role] for role in roles.ROLES}
    assert files["redis/users.acl"] == roles.acl(order).strip()


def test_a_second_start_changes_nothing_and_says_nothing(tmp_path: Path) -> None:
    news, files = fill(tmp_path)
    assert news == {"Flower": files["flower/auth"], "Grafana": f"admin:{files['grafana/password']}"}
    assert fill(tmp_path) == ({}, files)


def test_a_start_after_an_upgrade_tells_redis_the_new_rules(tmp_path: Path) -> None:
    _, files = fill(tmp_path)
    (tmp_path / "redis" / "users.acl").unlink()
    (tmp_path / "redis" / "users.acl").write_text("user api on nopass\n")
    assert fill(tmp_path)[1] == files


def test_renewing_changes_every_password_but_grafanas_own(tmp_path: Path) -> None:
    _, before = fill(tmp_path)
    news, after = fill(tmp_path, renew=True)
    assert set(news) == {"Flower"}
    assert before.keys() == after.keys()
    # It reads that at its first start and never again: another one would open nothing.
    assert [name for name in before if before[name] == after[name]] == ["grafana/password"]


def test_a_role_that_lost_its_secret_gets_another_and_the_others_keep_theirs(tmp_path: Path) -> None:
    _, before = fill(tmp_path)
    (tmp_path / "worker" / "redis_url").unlink()
    _, after = fill(tmp_path)
    assert {name for name in before if before[name] != after[name]} == {"worker/redis_url", "redis/users.acl"}


def test_secrets_are_for_one_user_only(tmp_path: Path) -> None:
    given = Given()
    Vault(tmp_path, given).fill()
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o400}
    assert {stat.S_IMODE(file.parent.stat().st_mode) for file in files} == {0o700}
    # Each was given away before it took its name, so that nobody ever finds one that he cannot read.
    assert {path.with_suffix("") for path in given} >= {file.with_suffix("") for file in files}


def test_every_volume_of_secrets_is_the_users_own(tmp_path: Path) -> None:
    """Docker makes them root's, and whoever is to write into one is not root."""
    compose = (Path(__file__).parents[2] / "compose.yaml").read_text()
    mounted = set(re.findall(r"^  secrets-(\w+):$", compose, re.MULTILINE))
    for role in mounted:
        (tmp_path / role).mkdir(mode=0o755)
    given = Given()
    Vault(tmp_path, given).fill()
    assert len(mounted) > 5
    assert {path.name for path in given if path.is_dir()} == mounted
    assert {stat.S_IMODE((tmp_path / role).stat().st_mode) for role in mounted} == {0o700}


def test_a_url_without_a_password_is_no_secret(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "redis_url").write_text("redis://redis:6379/0\n")
    with pytest.raises(SystemExit, match="has no password"):
        Vault(tmp_path, Given()).fill()


def test_volumes_become_the_users_own_and_links_to_shards_find_a_place(tmp_path: Path) -> None:
    for volume in ("redis", "models", "batches"):
        (tmp_path / volume).mkdir(mode=0o755)
    given = Given()
    prepare(tmp_path, given)
    assert set(given) == {tmp_path / name for name in ("redis", "models", "batches", "models/shards")}
    assert {stat.S_IMODE(path.stat().st_mode) for path in given} == {0o700}


def test_the_images_user_is_the_one_that_is_given_everything() -> None:
    dockerfile = (Path(__file__).parents[2] / "Dockerfile").read_text()
    assert dockerfile.count(f"--uid {USER} ") == dockerfile.count(f"USER {USER}:{USER}") == 2
