"""Which sound GGUF files are refused all the same, and that no file whatever gets past as anything but a sentence."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import llama_cpp
import pytest
import tiny
from store_scene import put
from tropilla.common.blobs import Blobs
from tropilla.common.errors import ConfigurationError
from tropilla.common.generation import LocalTemplates
from tropilla.common.gguf import read_arrays, read_header
from tropilla.common.header import Header
from tropilla.common.recipes import File, Overlay
from tropilla.workers import pocket
from tropilla.workers.store import facts
from tropilla.workers.store.architectures import ARCHITECTURES, PARTS, TOKENIZERS
from tropilla.workers.store.refusals import Unfit
from tropilla.workers.store.soundness import check_model, check_projector, in_order

SOUND: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.context_length": 10,
    "llama.embedding_length": 8,
    "llama.block_count": 1,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.tokens": 5,
}


def header(**changes: Any) -> Header:
    """A sound one, with keys changed (`_` for `.`) or, by None, left out."""
    values = SOUND | changes
    return Header({key: value for key, value in values.items() if value is not None}, 1, 1, tensors={"w": (1,)})


def test_a_sound_model_passes() -> None:
    check_model("m.gguf", header())


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"general.type": "adapter"}, "not_gguf", "is an adapter, and no model"),
        ({"general.type": "mmproj"}, "not_gguf", "only a part of a model (mmproj)"),
        ({"general.architecture": None}, "not_gguf", "does not say of which architecture"),
        ({"general.architecture": 7}, "not_gguf", "does not say of which architecture"),
        ({"general.architecture": "clip"}, "unsupported_arch", "reads images"),
        ({"general.architecture": "llama99"}, "unsupported_arch", "is a llama99, which this llama.cpp does not know"),
        ({"general.architecture": "gptj"}, "unsupported_arch", "gptj"),
        ({"llama.context_length": None}, "not_gguf", "lacks llama.context_length"),
        ({"llama.context_length": 0, "llama.block_count": "1"}, "not_gguf", "llama.context_length, llama.block_count"),
        ({"tokenizer.ggml.model": None}, "not_gguf", "has no tokenizer (tokenizer.ggml.model)"),
        ({"tokenizer.ggml.model": "none"}, "not_gguf", "has no tokenizer"),
        ({"tokenizer.ggml.tokens": None}, "not_gguf", "has no tokenizer (tokenizer.ggml.tokens)"),
        ({"tokenizer.ggml.model": "psychic"}, "unsupported_arch", "a tokenizer (psychic) that"),
    ],
)
def test_what_llama_cpp_could_not_serve_is_refused_with_the_reason(
    changes: dict[str, Any], code: str, text: str
) -> None:
    with pytest.raises(Unfit) as caught:
        check_model("m.gguf", header(**changes))
    assert caught.value.code == code
    assert caught.value.message.startswith("m.gguf ")
    assert text in caught.value.message
    assert caught.value.trouble.code == code


def test_a_vocabulary_alone_is_no_model() -> None:
    with pytest.raises(Unfit, match="only a vocabulary"):
        check_model("m.gguf", replace(header(), tensors={}))


def part(number: object, count: object) -> Header:
    return header(**{"split.no": number, "split.count": count})


def test_parts_are_put_in_their_order() -> None:
    assert in_order([("m", header())]) == [0]
    assert in_order([("m", part(0, 1))]) == [0]
    assert in_order([("c", part(2, 3)), ("a", part(0, 3)), ("b", part(1, 3))]) == [1, 2, 0]


@pytest.mark.parametrize(
    ("parts", "code", "text"),
    [
        ([part(1, 3)], "file_missing", "a is part 2 of 3, and the other parts are not here"),
        ([part(0, 3), part(2, 3)], "file_missing", "in 3 parts, and 2 are here, part 2 is not among them"),
        ([part(0, 2), part(0, 2)], "file_missing", "part 2 is not among them"),
        ([part(0, 2), part(1, 3)], "not_gguf", "they speak of 2 and 3 parts"),
        ([part(0, 2), header()], "not_gguf", "they speak of 0 and 2 parts"),
        ([header(), header()], "not_gguf", "a and b are two models"),
        ([part(0, 1 << 60)], "file_missing", "part 1 of"),
        ([part("x", 2), part(1, 2)], "file_missing", "part 1 is not among them"),
    ],
)
def test_parts_that_do_not_make_a_model_are_refused(parts: list[Header], code: str, text: str) -> None:
    with pytest.raises(Unfit) as caught:
        in_order(list(zip("abc", parts, strict=False)))
    assert (caught.value.code, text in caught.value.message) == (code, True), caught.value.message


def test_the_tables_are_the_installed_librarys() -> None:
    """Each name stands in it as a C string, or as the end of one: linkers fold those."""
    folder = Path(llama_cpp.__file__).parent / "lib"
    library = next(path for path in folder.iterdir() if path.name.startswith("libllama.")).read_bytes()
    for name in (*ARCHITECTURES, *PARTS, *TOKENIZERS):
        assert name.encode() + b"\0" in library, name


# -- facts -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    blobs = Blobs.below(tmp_path)
    blobs.prepare()
    return blobs


def test_everything_the_header_says_is_told(tmp_path: Path, blobs: Blobs) -> None:
    path = tiny.write_decoder(tmp_path / "m.gguf")
    weights = facts.read_weights([put(blobs, path)], blobs)
    told = json.loads(facts.information(weights.header))
    info = told["model_info"]
    assert "general.name" not in info
    assert (info["general.architecture"], info["llama.context_length"]) == ("llama", tiny.TRAINED)
    assert info["general.parameter_count"] == weights.header.parameter_count > 1000
    assert info["tokenizer.ggml.tokens"] is None
    assert told["template"] == ""
    embedding = next(tensor for tensor in told["tensors"] if tensor["name"] == "token_embd.weight")
    assert embedding == {"name": "token_embd.weight", "type": "F32", "shape": [tiny.WIDTH, len(tiny.TOKENS)]}
    assert read_arrays(path)["tokenizer.ggml.tokens"] == tiny.TOKENS
    pocketed = json.loads(facts.information(read_header(pocket.path())))
    assert pocketed["template"] == read_header(pocket.path()).chat_template != ""
    assert "tokenizer.chat_template" not in pocketed["model_info"]


def test_numbers_that_json_does_not_know_are_null() -> None:
    told = facts.information(header(**{"llama.rope.freq_base": float("inf")}))
    assert json.loads(told)["model_info"]["llama.rope.freq_base"] is None


def test_a_file_that_is_gone_is_named(blobs: Blobs) -> None:
    with pytest.raises(Unfit) as caught:
        facts.read_weights([File("0" * 64, 1, "gone.gguf")], blobs)
    assert caught.value.trouble.code == "file_missing"
    assert "gone.gguf is not in the store" in caught.value.message


JINJA = "{{ tools }}<think></think>{{ messages }}"


@pytest.mark.parametrize(
    ("values", "overlay", "expected"),
    [
        ({}, Overlay(), ("completion",)),
        ({"tokenizer.chat_template": JINJA}, Overlay(template="{{ .Prompt }}"), ("completion",)),
        ({}, Overlay(template="{{ .Prompt }}{{ .Suffix }}"), ("completion", "insert")),
        ({}, Overlay(template="{{ range .Messages }}{{ .Thinking }}{{ end }}"), ("completion", "thinking")),
        ({}, Overlay(template="{{ .Tools }}{{ .Messages }}"), ("completion", "tools")),
        ({"llama.pooling_type": 1}, Overlay(template="{{ .Tools }}"), ("embedding",)),
        ({"llama.vision.block_count": 3}, Overlay(), ("completion",)),
        (
            {"tokenizer.chat_template": "{{ tools }}{{ messages }}"},
            Overlay(template=LocalTemplates(chat="x")),
            ("completion",),
        ),
        ({}, Overlay(template=LocalTemplates(chat="x", function="y")), ("completion", "tools")),
        (
            {"tokenizer.chat_template": "{{ tools }}{{ messages }}"},
            Overlay(template=LocalTemplates(system_prompt="be")),
            ("completion", "tools"),
        ),
    ],
)
def test_what_a_model_can_do_is_its_templates_to_say(
    values: dict[str, Any], overlay: Overlay, expected: tuple[str, ...]
) -> None:
    assert facts.capabilities(header(**values), overlay) == expected


# -- no byte gets past -------------------------------------------------------------------------------------------------

#: One look at a header; a 150,000-token vocabulary takes a second or so, this one has 23.
LONGEST_SECONDS = 2.0


def test_thousands_of_mutations_give_a_sentence_or_a_model(tmp_path: Path, blobs: Blobs) -> None:
    chance = random.Random(7)
    whole = tiny.write_decoder(tmp_path / "m.gguf", layers=1).read_bytes()
    head = whole.index(b"\0" * 64) if b"\0" * 64 in whole else len(whole) // 2
    file = File("f" * 64, len(whole), "mutant.gguf")
    sentences: set[str] = set()
    for number in range(4000):
        blobs.path(file.digest).write_bytes(_mutated(whole, min(head, 4000), chance))
        began = time.monotonic()
        try:
            weights = facts.read_weights([file], blobs)
            json.loads(facts.information(weights.header))
            if number % 20 == 0:
                facts.capabilities(weights.header, Overlay())
        except Unfit as error:
            sentences.add(error.message)
        assert time.monotonic() - began < LONGEST_SECONDS
    assert len(sentences) > 300
    assert not [each for each in sentences if str(tmp_path) in each], "callers are not told of folders"


def _mutated(whole: bytes, head: int, chance: random.Random) -> bytes:
    data = bytearray(whole)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(head)
        match chance.randrange(5):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                data[at : at + 8] = chance.choice([b"\xff" * 8, bytes(8), b"\0\0\0\0\1\0\0\0", b"\xff" * 7 + b"\x7f"])
            case 2:
                del data[at : at + chance.randint(1, 9)]
            case 3:
                data[at:at] = chance.randbytes(chance.randint(1, 9))
            case 4:
                del data[chance.randrange(len(data)) :]
                data += bytes(1)
                head = min(head, len(data))
    return bytes(data)


def test_the_arrays_of_a_mutant_are_a_sentence_too(tmp_path: Path) -> None:
    chance, path = random.Random(8), tmp_path / "m.gguf"
    whole = tiny.write_decoder(path, layers=1).read_bytes()
    sentences: list[str] = []
    for _ in range(500):
        path.write_bytes(_mutated(whole, 2000, chance))
        try:
            read_arrays(path, called="it")
        except ConfigurationError as error:
            sentences.append(error.message)
    assert len(sentences) > 100
    assert all(sentence.startswith("it ") for sentence in sentences)


def test_shards_that_came_under_other_names_get_names_that_llama_cpp_finds(tmp_path: Path, blobs: Blobs) -> None:
    whole = read_header(tiny.write_decoder(tmp_path / "whole.gguf"))
    tiny.write_decoder(tmp_path / "m.gguf", shards_of=8)
    shards = [put(blobs, path) for path in sorted(tmp_path.glob("m-*.gguf"))]
    assert facts.read_weights(shards, blobs).files == tuple(shards)
    renamed = [replace(file, name=f"{place}.gguf") for place, file in enumerate(shards)]
    weights = facts.read_weights(renamed[::-1], blobs)
    assert [file.digest for file in weights.files] == [file.digest for file in shards]
    assert [file.name for file in weights.files] == [f"0-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    assert weights.header.parameter_count == whole.parameter_count
    assert weights.header.tensors == whole.tensors
    with pytest.raises(Unfit, match="is part 1 of 3"):
        facts.read_weights(shards[:1], blobs)


# -- projectors --------------------------------------------------------------------------------------------------------

EYE: dict[str, Any] = {"general.architecture": "clip", "clip.has_vision_encoder": True, "clip.projector_type": "mlp"}


def eye(shapes: dict[str, tuple[int, ...]], **changes: Any) -> Header:
    values = EYE | changes
    return Header({key: value for key, value in values.items() if value is not None}, 1, 1, tensors=shapes)


@pytest.mark.parametrize(
    ("shapes", "changes"),
    [
        ({"mm.2.weight": (32, 8)}, {}),
        # Whatever is not certain is llama.cpp's to say.
        ({"mm.2.weight": (32, 9), "mm.3.weight": (9, 9)}, {}),
        ({"v.blk": (1,)}, {}),
        ({"mm.2.weight": (32, 9)}, {"clip.projector_type": "brand_new"}),
        ({"mm.2.weight": (32, 9)}, {"clip.projector_type": None}),
        ({"mm.2.weight": (32, 9)}, {"clip.projector_type": 7}),
        ({"mm.input_projection.weight": (8, 32)}, {"clip.projector_type": "gemma3"}),
        ({"mm.2.bias": (8,)}, {"clip.projector_type": None, "clip.vision.projector_type": "qwen2.5vl_merger"}),
        ({"mm.2.weight": (32,)}, {}),
    ],
)
def test_a_projector_that_may_fit_passes(shapes: dict[str, tuple[int, ...]], changes: dict[str, Any]) -> None:
    check_projector("eye.gguf", eye(shapes, **changes), header())


@pytest.mark.parametrize(
    ("shapes", "changes", "text"),
    [
        ({"mm.2.weight": (32, 9)}, {}, "is not for this model: it gives embeddings of 9, and 8 are wanted"),
        ({"mm.model.fc.weight": (1, 4)}, {"clip.projector_type": "idefics3"}, "it gives embeddings of 4"),
        ({"w": (1,)}, {"general.architecture": "llama"}, "is no projector: its architecture is llama, not clip"),
        ({"w": (1,)}, {"general.architecture": None}, "is no projector"),
        ({"w": (1,)}, {"clip.has_vision_encoder": None, "clip.has_audio_encoder": True}, "reads no images"),
        ({}, {}, "has no tensors"),
        ({"w": (1,)}, {"clip.projector_type": "hunyuanvl"}, "its number among all images is known only in a prompt"),
        ({"w": (1,)}, {"clip.projector_type": "deepseek4v"}, "how far it is padded is known only in a prompt"),
    ],
)
def test_a_projector_that_cannot_is_refused(
    shapes: dict[str, tuple[int, ...]], changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(Unfit) as caught:
        check_projector("eye.gguf", eye(shapes, **changes), header())
    assert text in caught.value.message


def test_a_model_that_takes_more_than_its_width_is_llama_cpps_to_compare() -> None:
    deep = header(**{"llama.n_deepstack_layers": 3})
    check_projector("eye.gguf", eye({"mm.2.weight": (32, 32)}), deep)
