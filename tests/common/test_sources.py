"""Every way to write a source (contracts, models sheets 1.6 and 5.1)."""

from __future__ import annotations

import pytest
from tropilla.common import names
from tropilla.common.origins import public, spell, stored_name, suggested_name
from tropilla.common.sources import (
    BareRepo,
    HubFile,
    HubRepo,
    InvalidSource,
    LocalFile,
    RegistryModel,
    Source,
    WebFile,
    parse_handle,
    parse_source,
)

OLLAMA = "registry.ollama.ai"
SHA = "f" * 40

SOURCES: dict[str, Source] = {
    # Files of the web
    "https://h.example/x.gguf": WebFile("https://h.example/x.gguf"),
    "https://h.example/x.gguf?download=true#top": WebFile("https://h.example/x.gguf?download=true"),
    "https://h.example/a%20b.gguf": WebFile("https://h.example/a%20b.gguf"),
    "HTTP://h.example/x.gguf": WebFile("http://h.example/x.gguf"),
    "https://h.example/dir/x.gguf": WebFile("https://h.example/dir/x.gguf"),
    "https://h.example:8443/api/download/models/3": WebFile("https://h.example:8443/api/download/models/3"),
    "https://h.example/ns/m?id=3": WebFile("https://h.example/ns/m?id=3"),
    # Addresses of the hub
    "https://huggingface.co/o/r/resolve/main/f.gguf": HubFile("o/r", "main", "f.gguf"),
    "https://huggingface.co/o/r/blob/main/f.gguf": HubFile("o/r", "main", "f.gguf"),
    "https://huggingface.co/o/r/resolve/main/f.gguf?download=true#x": HubFile("o/r", "main", "f.gguf"),
    f"https://huggingface.co/o/r/raw/{SHA}/sub/f.gguf": HubFile("o/r", SHA, "sub/f.gguf"),
    "https://huggingface.co/o/r/resolve/refs%2Fpr%2F1/sub%20dir/x%231.gguf": HubFile(
        "o/r", "refs/pr/1", "sub dir/x#1.gguf"
    ),
    "https://hf.co/o/r/resolve/main/f.gguf": HubFile("o/r", "main", "f.gguf"),
    "https://www.huggingface.co/o/r/resolve/main/f.gguf": HubFile("o/r", "main", "f.gguf"),
    "https://HuggingFace.co/o/r": HubRepo("o/r"),
    "https://huggingface.co/o/r/": HubRepo("o/r"),
    "https://huggingface.co/o/r/tree/dev": HubRepo("o/r", "dev"),
    # Handles of the hub
    "huggingface://o/r/f.gguf": HubFile("o/r", "main", "f.gguf"),
    "huggingface://o/r/rev/f.gguf": HubFile("o/r", "rev", "f.gguf"),
    "huggingface://o/r/rev/sub/deep/f.gguf": HubFile("o/r", "rev", "sub/deep/f.gguf"),
    "hf://o/r/f.gguf": HubFile("o/r", "main", "f.gguf"),
    "hf://o/r@rev/f.gguf": HubFile("o/r", "rev", "f.gguf"),
    "hf://o/r@rev/sub/f.gguf": HubFile("o/r", "rev", "sub/f.gguf"),
    "hf.co/o/r/f.gguf": HubFile("o/r", "main", "f.gguf"),
    "hf.co/o/r": HubRepo("o/r"),
    "hf.co/o/r:Q5_K_M": HubRepo("o/r", quant="Q5_K_M"),
    "huggingface.co/o/r:x.Q4_0.gguf": HubRepo("o/r", quant="x.Q4_0.gguf"),
    "o/r": HubRepo("o/r"),
    "o/r:q5_k_m": HubRepo("o/r", quant="q5_k_m"),
    "author:repo:f.gguf": HubFile("author/repo", "main", "f.gguf"),
    # Models of registries
    "llama3": RegistryModel(OLLAMA, "library", "llama3", "latest"),
    "llama3:8b": RegistryModel(OLLAMA, "library", "llama3", "8b"),
    "llama3.2:1b-instruct-q4_0": RegistryModel(OLLAMA, "library", "llama3.2", "1b-instruct-q4_0"),
    "host:5000/ns/m:t": RegistryModel("host:5000", "ns", "m", "t"),
    "h/nn/mm:t": RegistryModel("h", "nn", "mm", "t"),
    "http://h.example/ns/m": RegistryModel("h.example", "ns", "m", "latest", insecure=True),
    "https://h.example:5000/ns/m.5:t": RegistryModel("h.example:5000", "ns", "m.5", "t"),
    "oci://registry.ollama.ai/library/llama3:8b": RegistryModel(OLLAMA, "library", "llama3", "8b"),
    "oci://registry.ollama.ai/library/llama3": RegistryModel(OLLAMA, "library", "llama3", "latest"),
    "oci://registry.ollama.ai/user/m:t": RegistryModel(OLLAMA, "user", "m", "t"),
    "oci://hf.co/a.dotted.owner/r:Q4_K_M": RegistryModel("hf.co", "a.dotted.owner", "r", "Q4_K_M"),
    "ollama://llama3": RegistryModel(OLLAMA, "library", "llama3", "latest"),
    # Files of this machine
    "foo.gguf": LocalFile("foo.gguf"),
    "./foo.gguf": LocalFile("foo.gguf"),
    "models/foo.gguf": LocalFile("models/foo.gguf"),
    "/srv/x.gguf": LocalFile("/srv/x.gguf"),
    "file:///srv/a%20b.gguf": LocalFile("/srv/a b.gguf"),
}


@pytest.mark.parametrize("text", SOURCES)
def test_a_source_is_what_it_says(text: str) -> None:
    assert parse_source(text) == SOURCES[text]
    assert parse_source(f"  {text}\n") == SOURCES[text]


@pytest.mark.parametrize("bare_repo", ["hf", "ollama"])
@pytest.mark.parametrize("source", dict.fromkeys(SOURCES.values()), ids=repr)
def test_a_spelled_source_is_read_as_itself(source: Source, bare_repo: BareRepo) -> None:
    assert parse_source(spell(source), bare_repo=bare_repo) == source


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("o/r", RegistryModel(OLLAMA, "o", "r", "latest")),
        ("ns/m:t", RegistryModel(OLLAMA, "ns", "m", "t")),
        ("hf.co/o/r", HubRepo("o/r")),
        ("llama3", RegistryModel(OLLAMA, "library", "llama3", "latest")),
    ],
)
def test_ollama_callers_mean_ollama_by_a_bare_pair(text: str, source: Source) -> None:
    assert parse_source(text, bare_repo="ollama") == source


PIECE = "is a piece of a file: put the pieces together with cat, and import the whole"
FAULTS = {
    "": "source is required",
    "  ": "source is required",
    "huggingface://org/f": "invalid Hugging Face URL format",
    "huggingface://org": "invalid Hugging Face URL format",
    "hf://o": "invalid Hugging Face URL format",
    "hf://o/r@/f.gguf": "invalid Hugging Face URL format",
    "hf://o/r@..%2F..%2Fx/f.gguf": "invalid Hugging Face URL format",
    "hf://o/r:Q4/f.gguf": "invalid Hugging Face URL format",
    "https://huggingface.co/o": "invalid Hugging Face URL format",
    "https://huggingface.co/datasets/o/r/resolve/main/f": "invalid Hugging Face URL format",
    "https://huggingface.co/o/r/resolve/main": "invalid Hugging Face URL format",
    "https://huggingface.co/o/r/commits/main/f": "invalid Hugging Face URL format",
    "ftp://h/x.gguf": "unsupported URL scheme: ftp",
    "github://o/r/x": "unsupported URL scheme: github",
    "file://host/x.gguf": "a file address must be file:///path",
    "https:///x.gguf": "invalid URL: a host is wanted, without a user or a password",
    "https://user:secret@h/x.gguf": "invalid URL: a host is wanted, without a user or a password",
    "https://h/": "'' is no file name",
    "https://h/a/..": "'..' is no file name",
    "https://h/..%2Fetc%2Fpasswd": "'../etc/passwd' is no file name",
    "https://h/x%00.gguf": "'x\\x00.gguf' is no file name",
    "hf://o/r/main/../../x.gguf": "'..' is no file name",
    "hf://o/r/main/%2e%2e/x.gguf": "'..' is no file name",
    "hf://o/r//x.gguf": "invalid Hugging Face URL format",
    "../x.gguf": "../x.gguf leads out of its folder",
    "models/../../x.gguf": "models/../../x.gguf leads out of its folder",
    "file:///srv/../etc/x.gguf": "/srv/../etc/x.gguf leads out of its folder",
    "C:\\models\\x.gguf": "the source has a backslash or a control character in it, or is too long",
    "x\0.gguf": "the source has a backslash or a control character in it, or is too long",
    "x" * 3000: "the source has a backslash or a control character in it, or is too long",
    "m:": "'m:' is no name of a model, and no other source that is known",
    "a//b": "'a//b' is no name of a model, and no other source that is known",
    "h/n.s/m": "'h/n.s/m' is no name of a model, and no other source that is known",
    "-x": "'-x' is no name of a model, and no other source that is known",
    "oci://ghcr.io/o/m@sha256:00": "ghcr.io/o/m@sha256:00 is asked for by a digest, which is not supported: ask for a tag",
    "x.gguf.part1of2": f"x.gguf.part1of2 {PIECE}",
    "https://huggingface.co/o/r/resolve/main/x.gguf-split-a": f"x.gguf-split-a {PIECE}",
}


@pytest.mark.parametrize("text", FAULTS, ids=lambda text: repr(text[:60]))
def test_what_is_no_source_is_refused(text: str) -> None:
    with pytest.raises(InvalidSource) as caught:
        parse_source(text)
    assert caught.value.message == FAULTS[text]


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("tinyllama:1b-gguf", HubRepo("cortexso/tinyllama", "1b-gguf")),
        ("author:repo:f.gguf", HubFile("author/repo", "main", "f.gguf")),
        ("https://huggingface.co/o/r/blob/main/f.gguf", HubFile("o/r", "main", "f.gguf")),
        ("o/r", HubRepo("o/r")),
    ],
)
def test_cortex_handles(text: str, source: Source) -> None:
    assert parse_handle(text) == source


@pytest.mark.parametrize("text", ["", "a:b:c:d", "/srv/x.gguf", "ftp://x/y", "https://huggingface.co/o"])
def test_a_wrong_handle_is_refused_in_cortex_words(text: str) -> None:
    with pytest.raises(InvalidSource) as caught:
        parse_handle(text)
    assert caught.value.message == "Invalid model handle or not supported!"


CALLED: dict[str, tuple[str, str, str]] = {
    # source: (stored name, suggested name, shown)
    "https://h.example/a%20b.gguf?token=s": ("a b.gguf", "a-b", "https://h.example/a%20b.gguf"),
    "https://h.example/X-00001-of-00002.gguf": ("X-00001-of-00002.gguf", "X", "https://h.example/X-00001-of-00002.gguf"),
    "hf://o/r@rev/sub/.x.GGUF": (".x.GGUF", "x", "https://huggingface.co/o/r/resolve/rev/sub/.x.GGUF"),
    "o/r": ("r.gguf", "hf.co/o/r:latest", "https://huggingface.co/o/r"),
    "o/r:Q4_K_M": ("r.gguf", "hf.co/o/r:Q4_K_M", "https://huggingface.co/o/r"),
    "hf.co/o/r:x.gguf": ("r.gguf", "hf.co/o/r:x", "https://huggingface.co/o/r"),
    "llama3": ("llama3-latest.gguf", "llama3:latest", "oci://registry.ollama.ai/library/llama3:latest"),
    "oci://registry.ollama.ai/library/llama3:8b": (
        "llama3-8b.gguf", "llama3:8b", "oci://registry.ollama.ai/library/llama3:8b",
    ),
    "oci://registry.ollama.ai/me/m:t": ("m-t.gguf", "me/m:t", "oci://registry.ollama.ai/me/m:t"),
    "http://127.0.0.1:5000/ns/m": ("m-latest.gguf", "127.0.0.1-5000/ns/m:latest", "http://127.0.0.1:5000/ns/m:latest"),
    "/home/me/secret/x.gguf": ("x.gguf", "x", "file:x.gguf"),
}  # fmt: skip


@pytest.mark.parametrize("text", CALLED)
def test_what_a_source_is_called_and_shown_as(text: str) -> None:
    source = parse_source(text)
    assert (stored_name(source), suggested_name(source), public(source)) == CALLED[text]
    assert names.MODEL_NAME.fullmatch(suggested_name(source))
