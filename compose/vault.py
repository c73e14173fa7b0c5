"""`python -m tropilla.compose.vault`: makes the secrets of `docker compose up` at its first start, a folder for each role.

    /secrets/ROLE/redis_url    how a role gets into Redis: api, worker, store, flower
    /secrets/flower/auth       USER:PASSWORD for people who look at Flower
    /secrets/grafana/password  of Grafana's `admin`
    /secrets/prometheus        a folder: scrape_key.py keeps a key in it, once there is a cluster
    /secrets/redis/users.acl   what Redis is told of all of them (roles.py)
    /secrets/redis/operator    the passwords of two users that are needed nowhere else: who may do everything, and
    /secrets/redis/metrics     who may only look at figures

Each folder is a volume, and a container sees its own role's alone. What is there stays, the ACL file excepted, which is
written anew at every start, since the rules belong to the release. `--renew` makes all passwords new but Grafana's, which
it reads at its first start only.

The only container that runs as root: volumes are made as root's, and this gives them to the one user of all others.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tropilla.compose import roles

#: The user of the images: Dockerfile.
USER = 10001
SECRETS, VOLUMES = Path("/secrets"), Path("/volumes")
REDIS = "redis:6379/0"
#: Folders that must be there before a worker, which may not write beside models, mounts memory over one of them.
INNER = ("models/shards",)
#: Bits of a password, 32 characters.
PASSWORD_BYTES = 24
#: Who finds his way to Redis in his folder; the others' passwords are for whoever is in Redis's own container.
TALKING = ("api", "worker", "store", "flower")


@dataclass(frozen=True)
class Vault:
    """The folders at `secrets`. `give` makes a file or folder the images' user's own.
    renew: what is there does not stay.
    """

    secrets: Path
    give: Callable[[Path], None]
    renew: bool = False

    def fill(self) -> dict[str, str]:
        """Makes what is missing. Answers what people need to know of it: USER:PASSWORD by whoever asks for that."""
        passwords = {role: self._password(role) for role in roles.ROLES}
        self._write(self.secrets / "redis" / "users.acl", roles.acl(passwords))
        self._folder(self.secrets / "prometheus")
        flower = self._news("Flower", "flower/auth", "tropilla:", renew=self.renew)
        return {**flower, **self._news("Grafana", "grafana/password", "", renew=False)}

    def _news(self, whose: str, name: str, user: str, *, renew: bool) -> dict[str, str]:
        """What one asks people for, where that is new."""
        file = self.secrets / name
        known = file.is_file() and not renew
        if not known:
            self._write(file, user + _fresh())
        secret = file.read_text().strip()
        return {} if known else {whose: secret if user else f"admin:{secret}"}

    def _password(self, role: str) -> str:
        """The role's, made where it has none."""
        if role not in TALKING:
            return self._kept(self.secrets / "redis" / role, _fresh)
        url = self._kept(self.secrets / role / "redis_url", lambda: f"redis://{role}:{_fresh()}@{REDIS}")
        password = urlsplit(url).password
        if not password:
            raise SystemExit(f"tropilla: {self.secrets / role / 'redis_url'} has no password: take the file away")
        return password

    def _kept(self, file: Path, make: Callable[[], str]) -> str:
        if self.renew or not file.is_file():
            self._write(file, make())
        return file.read_text().strip()

    def _write(self, file: Path, text: str) -> None:
        self._folder(file.parent)
        write(file, text, self.give)

    def _folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.give(folder)


def write(file: Path, text: str, give: Callable[[Path], None] = lambda _: None) -> None:
    """Whole or not at all, and nobody else's to read. Raises `OSError`."""
    whole = file.with_suffix(".new")
    whole.unlink(missing_ok=True)
    with os.fdopen(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as opened:
        opened.write(text.rstrip("\n") + "\n")
        opened.flush()
        os.fsync(opened.fileno())
    give(whole)
    whole.replace(file)


def prepare(volumes: Path, give: Callable[[Path], None]) -> None:
    """The volumes of data are the images' user's, and nobody else's."""
    for inner in INNER:
        (volumes / inner).mkdir(mode=0o700, parents=True, exist_ok=True)
        give(volumes / inner)
    for volume in sorted(volumes.iterdir()):
        volume.chmod(0o700)
        give(volume)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tropilla.compose.vault", description="The secrets of docker compose up.")
    parser.add_argument(
        "--renew", action="store_true", help="make all passwords new but Grafana's; recreate all containers then"
    )
    asked = parser.parse_args(arguments)
    try:
        prepare(VOLUMES, _give)
        news = Vault(SECRETS, _give, renew=asked.renew).fill()
    except OSError as error:
        print(f"tropilla: {error.filename} cannot be prepared: {error.strerror}", file=sys.stderr)
        return 1
    for what, secret in news.items():
        user, _, password = secret.partition(":")
        print(f"tropilla: {what} asks for a name and a password: {user} and {password} (shown this once)")
    return 0


def _fresh() -> str:
    return secrets.token_urlsafe(PASSWORD_BYTES)


def _give(path: Path) -> None:
    os.chown(path, USER, USER)


if __name__ == "__main__":
    sys.exit(main())
