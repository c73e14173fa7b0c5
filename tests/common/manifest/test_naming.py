"""What files are called once they are here (models sheet 1.6)."""

from __future__ import annotations

import pytest
from tropilla.common.manifest.faults import ManifestError
from tropilla.common.manifest.naming import Naming, further_shard, named, projector, safe

REGISTRY = "oci://registry.ollama.ai"

#: (source, models[].name, stored as)
STORED = [
    ("https://h/x.gguf?download=true", "", "x.gguf"),
    ("https://h/x.gguf#part", "", "x.gguf"),
    ("https://h/a%20b.gguf", "", "a b.gguf"),
    ("https://h/%C3%A9.gguf", "", "é.gguf"),
    ("HTTP://h/x.gguf", "", "x.gguf"),
    ("https://h/deep/er/x.gguf", "m", "x.gguf"),
    ("https://h/x.gguf", "dir/m", "dir/x.gguf"),
    ("https://h/x.gguf", "a/b/m", "a/b/x.gguf"),
    # A name that begins with a slash names no folder.
    ("https://h/x.gguf", "/m", "x.gguf"),
    ("huggingface://org/repo/f.gguf", "", "f.gguf"),
    ("huggingface://org/repo/rev/f.gguf", "dir/m", "f.gguf"),
    ("huggingface://org/repo/rev/sub/f.gguf", "", "f.gguf"),
    ("hf://org/repo/f.gguf", "", "f.gguf"),
    ("file:///models/x.gguf", "", "x.gguf"),
    ("/models/x.gguf", "", "x.gguf"),
    ("foo.gguf", "", "foo.gguf"),
    ("./foo.gguf", "", "foo.gguf"),
    ("models/foo.gguf", "", "foo.gguf"),
]


@pytest.mark.parametrize(("source", "name", "stored"), STORED)
def test_a_file_is_stored_as_aikit_stores_it(source: str, name: str, stored: str) -> None:
    assert named(source, name, "models[0].source") == Naming(stored)


@pytest.mark.parametrize(
    ("source", "stored"),
    [
        (f"{REGISTRY}/library/llama3:8b", Naming("llama3-8b.gguf", ("llama3",))),
        (f"{REGISTRY}/library/llama3", Naming("llama3-latest.gguf", ("llama3",))),
        (f"{REGISTRY}/user/m:t", Naming("m-t.gguf", ("m",))),
        (f"oci://ghcr.io/o/m@sha256:{'ab' * 32}", Naming("m-abababababab.gguf", ("m",))),
    ],
)
def test_a_model_of_a_registry_has_its_tag_in_its_name(source: str, stored: Naming) -> None:
    assert named(source, "", "models[0].source") == stored


#: (source, models[].name, message)
REFUSED = [
    ("", "", "models[0].source: source is required"),
    ("ftp://h/x.gguf", "", "unsupported URL scheme: ftp"),
    ("S3://b/x.gguf", "", "unsupported URL scheme: S3"),
    ("huggingface://org/f", "", "invalid Hugging Face URL format"),
    ("huggingface://org//f", "", "invalid Hugging Face URL format"),
    ("hf://", "", "invalid Hugging Face URL format"),
    ("https://h/", "", "models[0].source names no file: https://h/"),
    ("https://h", "", "models[0].source names no file: https://h"),
    ("https:///x.gguf", "", "models[0].source names no file: https:///x.gguf"),
    ("https://h/a%2Fb.gguf", "", "models[0].source names no file: https://h/a%2Fb.gguf"),
    ("https://h/%FF.gguf", "", "models[0].source names no file: https://h/%FF.gguf"),
    ("https://h/%2e%2e", "", "models[0].source would be stored outside of the models' folder: .."),
    ("https://h/x.gguf", "../m", "models[0].source would be stored outside of the models' folder: ../x.gguf"),
    ("..", "", "models[0].source would be stored outside of the models' folder: .."),
    ("a/", "", "models[0].source names no file: a/"),
    ("oci://x", "", "models[0].source names no file: oci://x"),
    ("a\0b", "", None),
    ("a\\b", "", None),
    ("a" * 5000, "", None),
]


@pytest.mark.parametrize(("source", "name", "message"), REFUSED)
def test_what_names_no_file_is_refused(source: str, name: str, message: str | None) -> None:
    with pytest.raises(ManifestError) as caught:
        named(source, name, "models[0].source")
    assert message is None or caught.value.message == message


def test_names_that_leave_their_folder_are_not_safe() -> None:
    assert all(map(safe, ("a", "a/b.gguf", "a b", "..a", "é")))
    assert not any(map(safe, ("", "/a", "a/", "a//b", "../a", "a/../b", ".", "a\nb", "a\\b", "a\0")))


def test_shards_and_projectors_are_no_models() -> None:
    assert further_shard("x-00002-of-00003.gguf")
    assert not any(map(further_shard, ("x-00001-of-00003.gguf", "x-00004-of-00003.gguf", "best-of-breed.gguf")))
    assert projector("dir/mmproj-model-f16.gguf")
    assert not projector("mmproj/model.gguf")
