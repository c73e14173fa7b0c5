"""What the file of a source is called once it is here, as aikit names it (models sheet 1.6); no name leaves its folder.

Which sources are served, and from where, is `common/sources.py`'s to say: here they are text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tropilla.common.manifest.faults import ManifestError
from tropilla.common.shards import shard_of

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_ESCAPE = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")
MAX_SOURCE = 4096
_HUB = ("huggingface", "hf")
#: Whose names have a tag, and whose files none of their own.
_REGISTRIES = ("oci", "ollama")


@dataclass(frozen=True, slots=True)
class Naming:
    stored_name: str
    aliases: tuple[str, ...] = ()


def named(source: str, model: str, where: str) -> Naming:
    """model: `models[].name`, of which only a folder counts. Raises `ManifestError`."""

    def refused(message: str) -> ManifestError:
        return ManifestError(message, param=where)

    if not source:
        raise refused(f"{where}: source is required")
    if len(source) > MAX_SOURCE or _UNSAFE.search(source):
        raise refused(f"{where} has more than {MAX_SOURCE} characters, or some that no address has")
    found = _SCHEME.fullmatch(source)
    scheme, rest = (found[1].lower(), found[2]) if found else ("", source)
    match scheme:
        case "http" | "https":
            host, _, path = re.split(r"[?#]", rest)[0].partition("/")
            last = _decoded(path.rpartition("/")[2])
            folder = model.rpartition("/")[0]
            naming = Naming(f"{folder}/{last}" if folder and last else last) if host else Naming("")
        case _ if scheme in _HUB:
            parts = re.split(r"[?#]", rest)[0].split("/")
            if len(parts) < 3 or not all(parts):
                raise refused("invalid Hugging Face URL format")
            naming = Naming(_decoded(parts[-1]))
        case _ if scheme in _REGISTRIES:
            naming = _tagged(rest)
        case "file" | "":
            naming = Naming(rest.rpartition("/")[2])
        case _:
            raise refused(f"unsupported URL scheme: {found[1] if found else ''}")
    for name in (naming.stored_name, *naming.aliases):
        if not name.rpartition("/")[2]:
            raise refused(f"{where} names no file: {source}")
        if not safe(name):
            raise refused(f"{where} would be stored outside of the models' folder: {name}")
    return naming


def _tagged(rest: str) -> Naming:
    """`registry.ollama.ai/library/llama3:8b`; aikit stores it as `llama3`."""
    name, _, digest = rest.partition("@")
    host_and_path, slash, last = name.rpartition("/")
    model, _, tag = last.partition(":")
    if not slash or not host_and_path or not model:
        return Naming("")
    label = tag or (digest.removeprefix("sha256:")[:12] if digest else "latest")
    return Naming(f"{model}-{label}.gguf", (model,))


def safe(name: str) -> bool:
    """Whether it is a relative path that stays where it is."""
    return bool(name) and not _UNSAFE.search(name) and all(part not in ("", ".", "..") for part in name.split("/"))


def _decoded(segment: str) -> str:
    """Percent escapes; an escaped slash would make a folder of what is a name."""

    def piece(found: re.Match[str]) -> str:
        return bytes.fromhex(found[0].replace("%", "")).decode("utf-8", "surrogateescape")

    name = _ESCAPE.sub(piece, segment)
    return "" if "/" in name or re.search("[\ud800-\udfff]", name) else name


def further_shard(name: str) -> bool:
    """Whether it is a shard that llama.cpp finds by itself, beside the first one."""
    shard = shard_of(name)
    return shard is not None and shard.index > 1


def projector(name: str) -> bool:
    """A file that reads images for a model, and is none itself."""
    return "mmproj" in name.rpartition("/")[2].lower()
