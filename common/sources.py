"""Where a model's files come from: every way to write it (contracts, models sheets 1.6 and 5.1), as one of five values.

What begins with a scheme, or with a name of the hub, says itself what it is. Of the rest,

    author:repo:file       is cortex's way to write a file of the hub
    /x  ./x  x.gguf        is a file of the store's machine
    owner/name[:tag]       is what `bare_repo` says
    everything else        is a model of a registry, as Ollama reads names
"""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from tropilla.common.origins import OLLAMA_HOST, OLLAMA_NAMESPACE, OLLAMA_TAG, file_name, stored_name
from tropilla.common.origins import HubFile as HubFile
from tropilla.common.origins import HubRepo as HubRepo
from tropilla.common.origins import InvalidSource as InvalidSource
from tropilla.common.origins import LocalFile as LocalFile
from tropilla.common.origins import RegistryModel as RegistryModel
from tropilla.common.origins import Source as Source
from tropilla.common.origins import WebFile as WebFile
from tropilla.common.shards import is_piece

BareRepo = Literal["hf", "ollama"]

MAX_LENGTH = 2048
HUB_HOSTS = ("huggingface.co", "hf.co", "www.huggingface.co")
#: Whose repositories cortex means by `name:branch`.
CORTEX_OWNER = "cortexso"

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://(.*)", re.DOTALL)
_HUB_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,95}")
#: Ollama's grammar of a name's parts: a dot is fine everywhere but in a namespace.
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,79}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]{0,79}")
_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:\-]{0,349}")
#: `llama3.2` has none.
_SUFFIX = re.compile(r".*\.[A-Za-z][A-Za-z0-9]*")
_WRONG_HUB = "invalid Hugging Face URL format"
_WRONG_HANDLE = "Invalid model handle or not supported!"


def parse_source(text: str, *, bare_repo: BareRepo = "hf") -> Source:
    """Raises `InvalidSource`. `bare_repo` is what `owner/name` without anything before it means."""
    text = text.strip()
    if not text:
        raise InvalidSource("source is required")
    if len(text) > MAX_LENGTH or "\\" in text or any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise InvalidSource("the source has a backslash or a control character in it, or is too long")
    if found := _SCHEME.fullmatch(text):
        return _with_scheme(found[1].lower(), found[2], text)
    host, _, rest = text.partition("/")
    if host.lower() in HUB_HOSTS:
        return _hub(rest)
    return _cortex_file(text) or _bare(text, bare_repo)


def parse_handle(text: str) -> Source:
    """What cortex and Jan take: an address, `author:repo:file`, or `name:branch`, which is cortex's own repository.

    Raises `InvalidSource`.
    """
    name, colon, branch = text.strip().partition(":")
    if colon and _HUB_PART.fullmatch(name) and _HUB_PART.fullmatch(branch):
        return HubRepo(f"{CORTEX_OWNER}/{name}", branch)
    try:
        source = parse_source(text)
    except InvalidSource as error:
        raise InvalidSource(_WRONG_HANDLE) from error
    if isinstance(source, LocalFile):
        raise InvalidSource(_WRONG_HANDLE)
    return source


def _with_scheme(scheme: str, rest: str, text: str) -> Source:
    match scheme:
        case "http" | "https":
            return _web(scheme, text)
        case "huggingface":
            return _hub(rest, whole=False)
        case "hf":
            return _hub(rest)
        case "oci" | "ollama":
            return _registry(rest)
        case "file":
            host, slash, path = rest.partition("/")
            if host.lower() not in ("", "localhost") or not slash:
                raise InvalidSource("a file address must be file:///path")
            return _local("/" + unquote(path))
    raise InvalidSource(f"unsupported URL scheme: {scheme}")


def _web(scheme: str, text: str) -> Source:
    """An address of the hub is what it says of the hub, so that a mirror serves it as well."""
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InvalidSource(f"invalid URL: {error}") from error
    if not host or parts.username is not None:
        raise InvalidSource("invalid URL: a host is wanted, without a user or a password")
    if host in HUB_HOSTS:
        return _hub_address(parts)
    owner, slash, name = parts.path.removeprefix("/").partition("/")
    model, _, tag = name.partition(":")
    if slash and not parts.query and not _SUFFIX.fullmatch(model):
        found = RegistryModel(parts.netloc, owner, model, tag or OLLAMA_TAG, scheme == "http")
        if _sound(found):
            return found
    source = WebFile(parts._replace(scheme=scheme, fragment="").geturl())
    stored_name(source)
    return source


def _hub_address(parts: SplitResult) -> Source:
    """`/owner/name`, or `/owner/name/{resolve,blob,raw,tree}/revision/path`."""
    owner, _, rest = parts.path.strip("/").partition("/")
    name, _, rest = rest.partition("/")
    if not rest:
        return _hub(f"{owner}/{name}")
    verb, _, rest = rest.partition("/")
    revision, _, path = rest.partition("/")
    if verb == "tree" and not path and revision:
        return HubRepo(_repo(owner, name), _revision(unquote(revision)))
    if verb not in ("resolve", "blob", "raw") or not path:
        raise InvalidSource(_WRONG_HUB)
    return HubFile(_repo(owner, name), _revision(unquote(revision)), _path(path))


def _hub(text: str, *, whole: bool = True) -> Source:
    """`owner/name[@revision]`, then nothing, `:quant`, `/file`, or (as aikit has it) `/revision/path`.

    `whole`: a repository without a file will do.
    """
    owner, _, rest = text.strip("/").partition("/")
    head, slash, path = rest.partition("/")
    head, colon, quant = head.partition(":")
    name, at, revision = head.partition("@")
    repo, revision = _repo(owner, name), _revision(unquote(revision) if at else "main")
    if not slash:
        if not whole or (colon and not quant):
            raise InvalidSource(_WRONG_HUB)
        return HubRepo(repo, revision, file_name(unquote(quant).rpartition("/")[2]) if quant else "")
    if colon or not path:
        raise InvalidSource(_WRONG_HUB)
    first, slash, below = path.partition("/")
    if slash and not at:
        return HubFile(repo, _revision(unquote(first)), _path(below))
    return HubFile(repo, revision, _path(path))


def _repo(owner: str, name: str) -> str:
    if not all(_HUB_PART.fullmatch(part) and ".." not in part for part in (owner, name)):
        raise InvalidSource(_WRONG_HUB)
    return f"{owner}/{name}"


def _revision(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_./\-]{0,199}", text) or ".." in text:
        raise InvalidSource(_WRONG_HUB)
    return text


def _path(quoted: str) -> str:
    """Each part by itself: a part that has a slash in it after all is no name."""
    return "/".join(file_name(unquote(part)) for part in quoted.split("/"))


def _cortex_file(text: str) -> Source | None:
    parts = text.split(":")
    if len(parts) != 3 or "/" in parts[0] or "/" in parts[1]:
        return None
    return HubFile(_repo(parts[0], parts[1]), "main", _path(parts[2]))


def _bare(text: str, bare_repo: BareRepo) -> Source:
    if text.startswith(("/", "./", "../")) or text.lower().endswith(".gguf") or is_piece(text):
        return _local(text)
    if bare_repo == "hf" and text.count("/") == 1 and ":" not in text.partition("/")[0]:
        return _hub(text)
    return _registry(text)


def _local(path: str) -> Source:
    if ".." in path.split("/"):
        raise InvalidSource(f"{path} leads out of its folder")
    file_name(path.rpartition("/")[2])
    return LocalFile(path.removeprefix("./"))


def _registry(text: str) -> Source:
    """`[host/][namespace/]model[:tag]`; a colon before the last slash belongs to the host's port."""
    if "@" in text:
        raise InvalidSource(f"{text} is asked for by a digest, which is not supported: ask for a tag")
    before, colon, after = text.rpartition(":")
    rest, tag = (before, after) if colon and "/" not in after else (text, OLLAMA_TAG)
    rest, _, model = rest.rpartition("/")
    host, slash, namespace = rest.rpartition("/")
    found = RegistryModel(host if slash else OLLAMA_HOST, namespace, model, tag)
    if "/" not in text:
        found = RegistryModel(OLLAMA_HOST, OLLAMA_NAMESPACE, model, tag)
    if not _sound(found):
        raise InvalidSource(f"{text!r} is no name of a model, and no other source that is known")
    return found


def _sound(name: RegistryModel) -> bool:
    # The hub speaks the protocol too, and its owners' names may have dots.
    namespace = _HUB_PART if name.host.lower() in HUB_HOSTS else _NAMESPACE
    return bool(
        _HOST.fullmatch(name.host)
        and namespace.fullmatch(name.namespace)
        and _PART.fullmatch(name.model)
        and _PART.fullmatch(name.tag)
    )
