from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from tropilla.common.errors import ConfigurationError
from tropilla.common.gguf import Header, read_arrays, read_header

U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def key(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def array(kind: int, *items: bytes) -> bytes:
    return struct.pack("<IQ", kind, len(items)) + b"".join(items)


def tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


KEYS = [
    key("general.architecture", STRING, text("llama")),
    key("general.file_type", U32, struct.pack("<I", 7)),
    key("llama.context_length", U32, struct.pack("<I", 2048)),
    key("llama.embedding_length", U64, struct.pack("<Q", 64)),
    key("tokenizer.chat_template", STRING, text("{{ messages }} ü")),
    key("tokenizer.ggml.tokens", ARRAY, array(STRING, text("a"), text("bc"), text(""))),
    key("tokenizer.ggml.scores", ARRAY, array(F32, *(struct.pack("<f", n) for n in (0.0, 1.0, 2.0)))),
    key("some.nested", ARRAY, array(ARRAY, array(U32, b"\1\0\0\0"), array(U32))),
    key("some.flag", BOOL, b"\1"),
]
#: A Q8_0 matrix of 64 x 3 (34 bytes for each 32 elements) and an F32 vector of 5.
TENSORS = [tensor("w", (64, 3), 8, 0), tensor("b", (5,), 0, 224)]
DATA_BYTES = 224 + 20


def gguf(
    keys: list[bytes] = KEYS, tensors: list[bytes] = TENSORS, data_bytes: int = DATA_BYTES, version: int = 3
) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys)) + b"".join(keys) + b"".join(tensors)
    if not tensors:
        return head
    return head + bytes(-len(head) % 32) + bytes(data_bytes)


Write = Callable[[bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(data: bytes) -> Path:
        path = tmp_path / "some model.gguf"
        path.write_bytes(data)
        return path

    return put


def refusal(path: Path) -> str:
    """What the operator is told: one sentence that names the file."""
    with pytest.raises(ConfigurationError) as caught:
        read_header(path)
    message = caught.value.message
    assert str(path) in message
    assert "\n" not in message
    return message


def facts(header: Header) -> tuple[object, ...]:
    """Everything that is read of a header; must never raise."""
    return (
        header.architecture,
        header.quantization,
        header.chat_template,
        dict(header.chat_templates),
        header.fills_in,
        header.vocabulary,
        header.of_architecture("context_length"),
        header.of_architecture("embedding_length"),
    )


@pytest.mark.parametrize("version", [2, 3])
def test_the_facts_of_a_file_are_read(write: Write, version: int) -> None:
    data = gguf(version=version)
    header = read_header(write(data))
    assert facts(header) == ("llama", "Q8_0", "{{ messages }} ü", {}, False, 3, 2048, 64)
    assert (header.parameter_count, header.size_bytes) == (64 * 3 + 5, len(data))
    assert (header.values["some.flag"], header.values["some.nested"]) == (True, 2)


def test_what_a_file_does_not_say_is_unknown(write: Write) -> None:
    header = read_header(write(gguf([], [])))
    assert facts(header) == ("unknown", "unknown", "", {}, False, 0, 0, 0)


def test_named_templates_are_read(write: Write) -> None:
    named = [
        key("tokenizer.chat_templates", ARRAY, array(STRING, text("default"), text("tool_use"))),
        key("tokenizer.chat_template.tool_use", STRING, text("{{ tools }}")),
    ]
    assert read_header(write(gguf([*KEYS, *named]))).chat_templates == {"tool_use": "{{ tools }}"}


def test_tokens_to_fill_in_with_are_seen_in_the_vocabulary(write: Write) -> None:
    tokens = ["a", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>"]
    header = read_header(write(gguf([key("tokenizer.ggml.tokens", ARRAY, array(STRING, *map(text, tokens)))], [])))
    assert header.fill_markers == frozenset(tokens[1:4])
    assert header.fills_in
    elsewhere = read_header(write(gguf([key("general.tags", ARRAY, array(STRING, *map(text, tokens)))], [])))
    assert not elsewhere.fills_in


def test_a_key_of_an_unexpected_type_says_nothing(write: Write) -> None:
    odd = [
        key("general.architecture", U32, struct.pack("<I", 1)),
        key("general.file_type", STRING, text("seven")),
        key("tokenizer.ggml.tokens", STRING, text("none")),
        key("tokenizer.chat_template", U32, struct.pack("<I", 1)),
        key("tokenizer.chat_template.rag", U32, struct.pack("<I", 1)),
        key("tokenizer.ggml.prefix_token_id", STRING, text("1")),
        key("1.context_length", STRING, text("long")),
        key("1.embedding_length", F32, struct.pack("<f", float("inf"))),
    ]
    assert facts(read_header(write(gguf(odd, [])))) == ("1", "unknown", "", {}, False, 0, 0, 0)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent.gguf").endswith("cannot be read: No such file or directory")


def test_a_folder_is_named(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize("data", [b"", b"GG", b"<html>", b"version https://git-lfs.github.com/spec/v1", b"\0" * 99])
def test_something_else_is_not_a_gguf(write: Write, data: bytes) -> None:
    assert "is not a GGUF file" in refusal(write(data))


@pytest.mark.parametrize("version", [0, 1, 4, 3 << 24])
def test_other_versions_are_refused(write: Write, version: int) -> None:
    assert f"version {version}" in refusal(write(gguf(version=version)))


def test_a_file_that_is_cut_short_anywhere_is_truncated(write: Write) -> None:
    whole = gguf()
    read_header(write(whole))
    for length in range(4, len(whole)):
        assert "is truncated" in refusal(write(whole[:length])), length


HUGE = struct.pack("<Q", 2**63)
ABSURD = {
    "tensors": b"GGUF" + struct.pack("<I", 3) + HUGE + struct.pack("<Q", 0),
    "keys": b"GGUF" + struct.pack("<IQ", 3, 0) + HUGE,
    "the length of a key": b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + HUGE + b"x",
    "the length of a string": gguf([text("k") + struct.pack("<I", STRING) + HUGE + b"x"], []),
    "the length of an array": gguf([text("k") + struct.pack("<II", ARRAY, U32) + HUGE], []),
    "the length of an array of strings": gguf([text("k") + struct.pack("<II", ARRAY, STRING) + HUGE], []),
    "a value's type": gguf([key("k", 99, b"")], []),
    "nesting": gguf([text("k") + struct.pack("<I", ARRAY) + struct.pack("<IQ", ARRAY, 1) * 50], []),
    "dimensions": gguf(tensors=[text("w") + struct.pack("<I", 1_000_000)]),
    "elements": gguf(tensors=[tensor("w", (2**63,) * 4, 0, 0)]),
    "elements of a type we cannot measure": gguf(tensors=[tensor("w", (2**63,) * 4, 99, 0)]),
    "an offset": gguf(tensors=[tensor("w", (1,), 0, 2**63)]),
    "the alignment": gguf([key("general.alignment", U64, HUGE)]),
    "an alignment that is infinite": gguf([key("general.alignment", F32, struct.pack("<f", float("inf")))]),
    "an alignment that is no number": gguf([key("general.alignment", STRING, text("much"))]),
}


@pytest.mark.parametrize("absurd", ABSURD)
def test_absurd_numbers_are_refused_without_allocating_for_them(write: Write, absurd: str) -> None:
    refusal(write(ABSURD[absurd]))


def test_no_mutation_of_a_header_gets_past_as_another_exception(write: Write) -> None:
    chance, whole = random.Random(11), gguf()
    complaints: list[str] = []
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data) - DATA_BYTES)
            match chance.randrange(3):
                case 0:
                    data[at] = chance.randrange(256)
                case 1:
                    data[at : at + 4] = chance.choice([b"\xff" * 4, b"\0" * 4, b"\0\0\xc0\x7f"])
                case 2:
                    del data[at : at + chance.randint(1, 9)]
        path = write(bytes(data))
        try:
            facts(read_header(path))
        except ConfigurationError as error:
            complaints.append(error.message)
    assert len(complaints) > 500
    assert all("some model.gguf" in complaint for complaint in complaints)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "the pointer that git-lfs leaves"),
        (b"lmgg\0\0", "an old GGML file"),
        (b"fmgg\1\0\0\0", "an old GGML file of version 1"),
        (b"tjgg\3\0\0\0", "an old GGML file of version 1 to 3"),
        (b"algg\1\0\0\0", "an old GGML adapter"),
        ((90).to_bytes(8, "little") + b'{"__metadata__":{}}', "a safetensors file"),
        (b"PK\x03\x04" + bytes(30) + b"model.gguf", "a zip archive"),
        (b"PK\x03\x04" + bytes(30) + b"archive/data.pkl", "a PyTorch .bin file"),
        (b"\x80\x02}q\0", "a Python pickle"),
        (b"\x1f\x8b\x08", "a gzip archive"),
        (b"\n <!DOCTYPE html><html>", "a web page (HTML)"),
        (b"<html>", "a web page (HTML)"),
        (b'{"error": "not found"}', "a JSON text"),
        (b"\xef\xbb\xbf[1]", "a JSON text"),
        (b"GGU", "it does not begin with GGUF"),
    ],
)
def test_what_a_file_is_instead_is_said(write: Write, data: bytes, what: str) -> None:
    assert refusal(write(data)).partition(" is not a GGUF file: ")[2].removeprefix("it is ").startswith(what)


#: What ggml would refuse as well, each with a word of why.
UNSOUND = {
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "it is big-endian: 3"),
    "a key twice": (gguf([KEYS[0], KEYS[0]], []), "two keys are called 'general.architecture'"),
    "a tensor twice": (gguf(tensors=[tensor("w", (8,), 0, 0), tensor("w", (8,), 0, 32)]), "two tensors are called 'w'"),
    "an unknown type": (gguf(tensors=[tensor("w", (32,), 31, 0)]), "tensor 'w' is of type 31, which this llama.cpp"),
    "a row that does not fill blocks": (gguf(tensors=[tensor("w", (33,), 8, 0)]), "has rows of 33, which Q8_0 cannot"),
    "an unaligned tensor": (gguf(tensors=[*TENSORS[:1], tensor("b", (5,), 0, 204)]), "is not where it is due"),
    "tensors that overlap": (gguf(tensors=[*TENSORS[:1], tensor("b", (5,), 0, 32)]), "overlaps the one before"),
    "a gap between tensors": (gguf(tensors=[*TENSORS[:1], tensor("b", (5,), 0, 256)]), "not at 224"),
    "a first tensor that is late": (gguf(tensors=[tensor("w", (8,), 0, 32)]), "not at 0"),
    "an alignment of three": (gguf([key("general.alignment", U32, struct.pack("<I", 3))]), "its alignment is 3"),
}


@pytest.mark.parametrize("unsound", UNSOUND)
def test_what_ggml_would_refuse_is_refused_in_words(write: Write, unsound: str) -> None:
    data, why = UNSOUND[unsound]
    assert why in refusal(write(data))


def test_types_and_arrays_are_read(write: Write) -> None:
    path = write(gguf())
    header = read_header(path, called="m.gguf")
    assert header.tensor_types == {"w": "Q8_0", "b": "F32"}
    assert header.arrays == {"tokenizer.ggml.tokens", "tokenizer.ggml.scores", "some.nested"}
    arrays = read_arrays(path)
    assert arrays["tokenizer.ggml.tokens"] == ["a", "bc", ""]
    assert arrays["tokenizer.ggml.scores"] == [0.0, 1.0, 2.0]
    assert set(arrays) == header.arrays


def test_a_sentence_calls_the_file_what_its_reader_does(write: Write) -> None:
    path = write(b"GG")
    with pytest.raises(ConfigurationError) as caught:
        read_header(path, called="m.gguf")
    assert caught.value.message == "m.gguf is not a GGUF file: it does not begin with GGUF"
