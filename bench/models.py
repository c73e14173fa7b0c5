"""GGUF files of true shapes with random weights: as heavy as the real models, and nothing to download.

Every token but the 256 bytes and two control tokens is a word of its own, ` w1234`, so each generated token is whole text
and can be counted in the answer. The bytes and controls have tiny embeddings; their logits are near zero, far below the
forty best of tens of thousands, so that no generation ends early or shows half a character.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from bench.places import MODELS, BenchError, say

CONTEXT = 4096
SEED = 20260
EPSILON = 1e-5
BYTES = 256
#: The one merge that llama.cpp's loader asks for; what it makes is a token, too.
MERGE = ("\u0120", "w")
START, END = "<|startoftext|>", "<|endoftext|>"
#: Spread of the logits: the width of a hidden state times that of an embedding.
LOGIT_SPREAD = 3.0
#: What the embeddings of bytes and controls are multiplied by.
UNLIKELY = 0.01
#: Changes whenever the files would.
EDITION = 3
TEMPLATE = "{% for message in messages %}{{ message['role'] + ' ' + message['content'] + ' ' }}{% endfor %}"


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides how much there is to compute."""

    name: str
    architecture: str
    tokenizer: str
    layers: int
    width: int
    heads: int
    shared_heads: int
    feed_forward: int
    vocabulary: int
    rope_base: float
    biases: bool

    @property
    def head_width(self) -> int:
        return self.width // self.heads


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("135m", "llama", "smollm", 30, 576, 9, 3, 1536, 151_936, 10_000.0, biases=False),
        Shape("0.5b", "qwen2", "qwen2", 24, 896, 14, 2, 4864, 151_936, 1_000_000.0, biases=True),
    )
}
QUANTIZATIONS = {
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (gguf.GGMLQuantizationType.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0),
}


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One of them, on disk once `make` was called."""

    shape: Shape
    quantization: str

    @property
    def name(self) -> str:
        return f"{self.shape.name}-{self.quantization}"

    @property
    def path(self) -> Path:
        return MODELS / f"{self.name}-{EDITION}.gguf"

    @property
    def words(self) -> range:
        """The ids of tokens that are words."""
        return range(BYTES + 1, self.shape.vocabulary - 2)


def model_file(name: str) -> ModelFile:
    shape, _, quantization = name.rpartition("-")
    if shape not in SHAPES or quantization not in QUANTIZATIONS:
        known = ", ".join(f"{one}-{other}" for one in SHAPES for other in QUANTIZATIONS)
        raise BenchError(f"There is no model {name!r}; there are {known}.")
    return ModelFile(SHAPES[shape], quantization)


def make(model: ModelFile) -> ModelFile:
    """Writes the file unless it is there."""
    if model.path.exists():
        return model
    say(f"model {model.name}: making {model.path.name}")
    MODELS.mkdir(parents=True, exist_ok=True)
    unfinished = model.path.with_suffix(".unfinished")
    writer = gguf.GGUFWriter(unfinished, model.shape.architecture)
    _describe(writer, model)
    _add_tokenizer(writer, model.shape)
    kind, _ = QUANTIZATIONS[model.quantization]
    for name, weights in _tensors(model.shape):
        _add(writer, name, weights, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    unfinished.rename(model.path)
    return model


def _describe(writer: Any, model: ModelFile) -> None:
    shape = model.shape
    writer.add_name(f"random weights in the shape of {shape.name}")
    writer.add_file_type(QUANTIZATIONS[model.quantization][1])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.shared_heads)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(EPSILON)


def vocabulary(size: int) -> list[str]:
    """The 256 bytes as GPT-2 spells them, the merged ` w`, words, the two controls."""
    words = (f"\u0120w{number}" for number in range(size - BYTES - 3))
    return [*_spelled_bytes(), "".join(MERGE), *words, START, END]


def _spelled_bytes() -> Iterator[str]:
    shown = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    moved = 0
    for byte in range(BYTES):
        yield chr(byte if byte in shown else BYTES + moved)
        moved += byte not in shown


def _add_tokenizer(writer: Any, shape: Shape) -> None:
    tokens = vocabulary(shape.vocabulary)
    controls = {START, END}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(shape.tokenizer)
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if token in controls else gguf.TokenType.NORMAL for token in tokens])
    writer.add_token_merges([" ".join(MERGE)])
    writer.add_bos_token_id(tokens.index(START))
    writer.add_eos_token_id(tokens.index(END))
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def _tensors(shape: Shape) -> Iterator[tuple[str, Any]]:
    """Names and float32 weights, rows first, the same ones every time."""
    random = np.random.default_rng(SEED)
    width, shared = shape.width, shape.shared_heads * shape.head_width

    def matrix(rows: int, columns: int) -> Any:
        return random.standard_normal((rows, columns), dtype=np.float32) / np.float32(np.sqrt(columns))

    embeddings = matrix(shape.vocabulary, width) * np.float32(LOGIT_SPREAD)
    embeddings[: BYTES + 1] *= UNLIKELY
    embeddings[-2:] *= UNLIKELY
    yield "token_embd", embeddings
    for layer in range(shape.layers):
        block = f"blk.{layer}."
        yield f"{block}attn_norm", np.ones(width, dtype=np.float32)
        for part, rows in (("q", width), ("k", shared), ("v", shared)):
            yield f"{block}attn_{part}", matrix(rows, width)
            if shape.biases:
                yield f"{block}attn_{part}.bias", random.standard_normal(rows, dtype=np.float32) * np.float32(0.1)
        yield f"{block}attn_output", matrix(width, width)
        yield f"{block}ffn_norm", np.ones(width, dtype=np.float32)
        yield f"{block}ffn_gate", matrix(shape.feed_forward, width)
        yield f"{block}ffn_up", matrix(shape.feed_forward, width)
        yield f"{block}ffn_down", matrix(width, shape.feed_forward)
    yield "output_norm", np.ones(width, dtype=np.float32)


def _add(writer: Any, name: str, weights: Any, kind: Any) -> None:
    if name.endswith(".bias"):
        writer.add_tensor(name, weights)
    elif weights.ndim == 1:
        writer.add_tensor(f"{name}.weight", weights)
    else:
        # Also in a Q4_0 file: these widths are no multiples of 256, which keeps llama-quantize from its first choice for
        # tied embeddings, Q6_K, and this is its second.
        kind = gguf.GGMLQuantizationType.Q8_0 if name == "token_embd" else kind
        writer.add_tensor(f"{name}.weight", gguf.quants.quantize(weights, kind), raw_dtype=kind)
