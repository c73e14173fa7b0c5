"""Where a model's files come from, as one of five values; how each is written, shown and called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from tropilla.common.errors import RequestError
from tropilla.common.shards import is_piece

OLLAMA_HOST, OLLAMA_NAMESPACE, OLLAMA_TAG = "registry.ollama.ai", "library", "latest"


class InvalidSource(RequestError):
    """What was given as a source is none, in one sentence."""


@dataclass(frozen=True, slots=True)
class WebFile:
    """A file at an http or https address, as it was given but for the fragment."""

    url: str


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file in a repository (`owner/name`) of the Hugging Face hub. `path` has `/` between its parts."""

    repo: str
    revision: str
    path: str


@dataclass(frozen=True, slots=True)
class HubRepo:
    """A repository of the hub, of which one quantization is wanted, or a file by its name; "" is whichever is usual."""

    repo: str
    revision: str = "main"
    quant: str = ""


@dataclass(frozen=True, slots=True)
class RegistryModel:
    """A model of a registry that speaks Ollama's protocol. `insecure`: over plain http."""

    host: str
    namespace: str
    model: str
    tag: str
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file of the store's machine, as the path was given."""

    path: str


Source = WebFile | HubFile | HubRepo | RegistryModel | LocalFile


def spell(source: Source) -> str:
    """A text that `parse_source` reads as this source again, whatever `bare_repo` is."""
    match source:
        case WebFile(url):
            return url
        case HubFile(repo, revision, path):
            return f"hf://{repo}@{quote(revision, safe='')}/{quote(path)}"
        case HubRepo(repo, revision, quant):
            return f"hf://{repo}@{quote(revision, safe='')}" + (f":{quote(quant, safe='')}" if quant else "")
        case RegistryModel(host, namespace, model, tag, insecure):
            return f"{'http' if insecure else 'oci'}://{host}/{namespace}/{model}:{tag}"
        case LocalFile(path):
            return path if path.startswith("/") else f"./{path}"


def public(source: Source) -> str:
    """Where it came from, for everybody to see: without tokens, and without paths of this machine."""
    match source:
        case WebFile(url):
            return urlsplit(url)._replace(query="").geturl()
        case HubFile(repo, revision, path):
            return f"https://huggingface.co/{repo}/resolve/{quote(revision, safe='')}/{quote(path)}"
        case HubRepo(repo):
            return f"https://huggingface.co/{repo}"
        case LocalFile():
            return f"file:{stored_name(source)}"
        case RegistryModel():
            return spell(source)


def stored_name(source: Source) -> str:
    """What its file is called. Raises `InvalidSource` for what is no file name."""
    match source:
        case WebFile(url):
            return file_name(unquote(urlsplit(url).path.rpartition("/")[2]))
        case HubFile(path=path) | LocalFile(path):
            return file_name(path.rpartition("/")[2])
        case HubRepo(repo):
            return f"{repo.rpartition('/')[2]}.gguf"
        case RegistryModel(model=model, tag=tag):
            return f"{model}-{tag}.gguf"


def suggested_name(source: Source) -> str:
    """What a model may be called that nobody named, in the grammar of `names.MODEL_NAME`: Ollama's way where it has one."""
    match source:
        case WebFile() | HubFile() | LocalFile():
            name = re.sub(r"(?i)(-[0-9]{5}-of-[0-9]{5})?\.gguf$", "", stored_name(source))
            return _word(name)
        case HubRepo(repo, _, quant):
            return f"hf.co/{repo}:{_word(re.sub(r'(?i)[.]gguf$', '', quant)) if quant else OLLAMA_TAG}"
        case RegistryModel(host, namespace, model, tag):
            if host.lower() != OLLAMA_HOST:
                return f"{_word(host)}/{namespace}/{model}:{tag}"
            return f"{model}:{tag}" if namespace.lower() == OLLAMA_NAMESPACE else f"{namespace}/{model}:{tag}"


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.\-]+", "-", text).lstrip(".-") or "model"


def file_name(name: str) -> str:
    """The name, if it is one. Raises `InvalidSource`."""
    if name in ("", ".", "..") or len(name) > 255 or re.search(r"[/\\\x00-\x1f\x7f]", name):
        raise InvalidSource(f"{name!r} is no file name")
    if is_piece(name):
        raise InvalidSource(f"{name} is a piece of a file: put the pieces together with cat, and import the whole")
    return name
