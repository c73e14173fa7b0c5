"""The Hugging Face hub: what it says of a file and of a repository, and what its own clients left on this machine.

Read from the environment, as its clients do: HF_ENDPOINT (or HF_MIRROR), HF_TOKEN or a token file, HF_HUB_OFFLINE,
HF_HUB_CACHE or HF_HOME (contracts, models sheet 5.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from tropilla.common.blobs import digest_of
from tropilla.common.hosts import DEFAULT_PORTS, Place
from tropilla.common.origins import HubFile, public
from tropilla.workers.store.patience import expect_patience
from tropilla.workers.store.pulling import FetchFailed
from tropilla.workers.store.wanted import Address, Wanted
from tropilla.workers.store.wire import Answer, Wire

ENDPOINT = "https://huggingface.co"
#: Of 1000 files each.
MAX_PAGES = 50
_TRUE = ("1", "on", "yes", "true")
_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')


@dataclass(frozen=True, slots=True)
class Hub:
    """Where it is, who we are, and where its clients keep files."""

    endpoint: str
    token: str
    offline: bool
    cache: Path

    @property
    def authorization(self) -> str:
        return f"Bearer {self.token}" if self.token else ""

    @property
    def place(self) -> Place | None:
        """The host and port of an endpoint that an operator chose; None for the hub itself."""
        if self.endpoint == ENDPOINT:
            return None
        parts = urlsplit(self.endpoint)
        return parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme)

    def address(self, file: HubFile) -> Address:
        url = f"{self.endpoint}/{file.repo}/resolve/{quote(file.revision, safe='')}/{quote(file.path)}"
        return Address(url, public(file), self.authorization)

    def cached(self, file: HubFile) -> Path | None:
        """Where a client of the hub has the file already."""
        commit = self._commit(file.repo, file.revision)
        found = self._repo(file.repo) / "snapshots" / commit / file.path
        return found if found.is_file() else None

    def cached_paths(self, repo: str, revision: str) -> Iterator[str]:
        """What a client of the hub has of a revision."""
        snapshot = self._repo(repo) / "snapshots" / self._commit(repo, revision)
        return (path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file())

    def _commit(self, repo: str, revision: str) -> str:
        try:
            return (self._repo(repo) / "refs" / revision).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return quote(revision, safe="")

    def _repo(self, repo: str) -> Path:
        return self.cache / f"models--{repo.replace('/', '--')}"


def hub_of(environment: Mapping[str, str]) -> Hub:
    """What the environment says of the hub."""
    endpoint = (environment.get("HF_MIRROR") or environment.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
    endpoint = endpoint if "://" in endpoint else f"https://{endpoint}"
    caches = Path(environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or Path.home()) / ".cache")
    home = Path(environment.get("HF_HOME") or caches / "huggingface").expanduser()
    cache = Path(environment.get("HF_HUB_CACHE") or home / "hub").expanduser()
    token = environment.get("HF_TOKEN", "").strip() or _token(Path(environment.get("HF_TOKEN_PATH") or home / "token"))
    return Hub(endpoint, token, environment.get("HF_HUB_OFFLINE", "").lower() in _TRUE, cache)


def _token(path: Path) -> str:
    try:
        text = path.expanduser().read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
    return text if text.isprintable() else ""


def describe(file: HubFile, hub: Hub, wire: Wire) -> Wanted:
    """What the hub says of one file: pinned to the commit it has now. Raises `Unreachable` and `FetchFailed`."""
    address = hub.address(file)
    # The answer that says most of the file is the redirect to its content itself.
    with wire.ask(address.url, method="HEAD", authorization=address.authorization, follow="here") as answer:
        if answer.status >= 400:
            raise _failure(answer, file.repo, file.path)
        etag = answer.headers.get("x-linked-etag", "").removeprefix("W/").strip('"')
        # The length of a redirect says nothing.
        own = answer.headers.get("content-length", "") if answer.status == 200 else ""
        size = answer.headers.get("x-linked-size", own)
        found = re.fullmatch("[0-9a-f]{40}", answer.headers.get("x-repo-commit", ""))
        commit = found[0] if found else ""
    pinned = HubFile(file.repo, commit or file.revision, file.path)
    return Wanted(
        name=file.path.rpartition("/")[2],
        addresses=(hub.address(pinned),),
        # Of a small file the hub tells git's sum, which is no sha256.
        sha256=digest_of(etag) or "",
        size=int(size) if size.isdecimal() else None,
        commit=commit,
    )


def paths_of(repo: str, revision: str, hub: Hub, wire: Wire) -> tuple[str, ...]:
    """Every file of a repository. Raises `Unreachable` and `FetchFailed`."""
    url = f"{hub.endpoint}/api/models/{repo}/tree/{quote(revision, safe='')}?recursive=true"
    found: list[str] = []
    for _ in range(MAX_PAGES):
        with wire.ask(url, authorization=hub.authorization, follow="here") as answer:
            if answer.status != 200:
                raise _failure(answer, repo, "")
            found += _files(answer.json(), repo)
            following = _NEXT.search(answer.headers.get("link", ""))
        if following is None:
            return tuple(found)
        # Of the address only what comes behind the endpoint: the token goes nowhere else.
        parts = urlsplit(urljoin(url, following[1]))
        url = urlsplit(url)._replace(path=parts.path, query=parts.query).geturl()
    raise FetchFailed("download_failed", f"{repo} has too many files to list")


def _files(listing: Any, repo: str) -> list[str]:
    if not isinstance(listing, list):
        raise FetchFailed("download_failed", f"the listing of {repo} makes no sense")
    paths = [item.get("path") for item in listing if isinstance(item, dict) and item.get("type") == "file"]
    # A listing that leads out of the repository would lead out of the cache's folder, too.
    return [path for path in paths if isinstance(path, str) and not {"", ".", ".."} & set(path.split("/"))]


def _failure(answer: Answer, repo: str, path: str) -> FetchFailed:
    """What the hub's own codes say; a repository that is private looks like one that is not there."""
    expect_patience(answer)
    page = f"{ENDPOINT}/{repo}"
    code = answer.headers.get("x-error-code", "")
    if code == "GatedRepo":
        message = f"{repo} is gated: accept its terms at {page}, and set HF_TOKEN"
        return FetchFailed("download_failed", message, refusal="forbidden")
    if code == "EntryNotFound":
        return FetchFailed("file_missing", f"{repo} has no file {path}", refusal="unknown")
    if code == "RevisionNotFound":
        return FetchFailed("download_failed", f"{repo} has no such revision", refusal="unknown")
    if code == "RepoNotFound" or answer.status in (401, 404):
        return FetchFailed("download_failed", f"{repo} is not found or private; set HF_TOKEN", refusal="unknown")
    if answer.status == 403:
        return FetchFailed("download_failed", f"{repo} is not for us, see {page}", refusal="forbidden")
    return FetchFailed("download_failed", f"{answer.host} answers with status {answer.status} about {repo}")
