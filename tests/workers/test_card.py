from __future__ import annotations

import hashlib

import pytest
from tropilla.common.errors import ConfigurationError
from tropilla.common.gguf import Header, read_header
from tropilla.workers import pocket
from tropilla.workers.card import capabilities_of, describe, named_model


def test_without_a_setting_the_model_in_the_box_is_pinned() -> None:
    assert named_model("") == ("pocket", pocket.path())


def test_a_setting_names_a_model_and_its_file() -> None:
    name, path = named_model("org/llama-3:8b=/models/a=b.gguf")
    assert (name, str(path)) == ("org/llama-3:8b", "/models/a=b.gguf")


@pytest.mark.parametrize(
    "setting", ["pocket", "pocket=", "=x.gguf", "../up=x.gguf", "a b=x.gguf", "-x=x.gguf", "a:b:c=x.gguf"]
)
def test_a_setting_that_is_no_name_and_file_is_refused_by_name(setting: str) -> None:
    with pytest.raises(ConfigurationError):
        named_model(setting)


def test_what_is_told_of_a_model_comes_from_its_file() -> None:
    path = pocket.path()
    model = describe("pocket", path, read_header(path), 1024)
    assert model.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (model.size_bytes, model.context_length) == (path.stat().st_size, 1024)
    assert (model.family, model.quantization) == ("llama", "Q8_0")
    assert model.parameter_count > 1_000_000
    assert model.vocabulary > 1000
    assert model.capabilities[0] == "completion"
    assert model.adapters == ()
    assert describe("pocket", path, read_header(path), 1024, ["poet", "cook"]).adapters == ("cook", "poet")


SHOWS_TOOLS = "{{ tools | tojson }}{{ messages[0].content }}"
FILLS = {f"tokenizer.ggml.{name}_token_id": 7 for name in ("prefix", "suffix", "middle")}


@pytest.mark.parametrize(
    ("values", "markers", "capabilities"),
    [
        ({}, (), ("completion",)),
        ({"tokenizer.chat_template": SHOWS_TOOLS}, (), ("completion", "tools")),
        (
            {"tokenizer.chat_template": "{{ 1 }}", "tokenizer.chat_template.tool_use": SHOWS_TOOLS},
            (),
            ("completion", "tools"),
        ),
        ({"tokenizer.chat_template": "{% if enable_thinking %}{% endif %}"}, (), ("completion", "thinking")),
        ({"tokenizer.chat_template": "{% nonsense %}"}, (), ("completion",)),
        ({"tokenizer.chat_template": 7}, (), ("completion",)),
        (FILLS, (), ("completion", "insert")),
        ({}, ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"), ("completion", "insert")),
        ({"tokenizer.ggml.fim_pre_token_id": 1}, ("<SUF>", "▁<MID>"), ("completion", "insert")),
        ({}, ("<|fim_prefix|>", "<|fim_suffix|>"), ("completion",)),
        ({"llama.pooling_type": 3}, (), ("embedding",)),
        ({"general.architecture": "nomic-bert"}, (), ("embedding",)),
    ],
)
def test_what_a_model_can_do_is_read_from_its_file(
    values: dict[str, object], markers: tuple[str, ...], capabilities: tuple[str, ...]
) -> None:
    header = Header({"general.architecture": "llama", **values}, 1, 1, frozenset(markers))
    assert capabilities_of(header) == capabilities
