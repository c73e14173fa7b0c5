"""Small GGUF files with random weights, made on the spot: two encoders with a word-piece vocabulary, and decoders.

The weights are drawn from a seed, and `Encoder.embed` computes in numpy what llama.cpp should compute from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import gguf
import numpy
from numpy.typing import NDArray

Array = NDArray[numpy.float32]
Pooling = gguf.PoolingType

PAD, UNK, CLS, SEP, MASK = range(5)
#: A phantom space begins a word; what has none continues one.
WORDS = ["the", "cat", "dog", "house", "river", "green", "old", "sings", "sleeps", "runs", "of", "and", "a", "in"]
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *("▁" + word for word in WORDS), "s", "ing", "er", "\u2581."]
WIDTH, HEADS, FEED_FORWARD, TRAINED = 32, 4, 64, 96
EPSILON = 1e-5


def _start(path: Path, architecture: str, layers: int, *, shards_of: int = 0) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(path, architecture, split_max_tensors=shards_of)
    writer.add_name("tiny")
    writer.add_vocab_size(len(TOKENS))
    writer.add_context_length(TRAINED)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_tokenizer_model("bert")
    writer.add_token_list(TOKENS)
    writer.add_token_types([gguf.TokenType.CONTROL] * 5 + [gguf.TokenType.NORMAL] * (len(TOKENS) - 5))
    writer.add_unk_token_id(UNK)
    writer.add_bos_token_id(CLS)
    writer.add_sep_token_id(SEP)
    writer.add_pad_token_id(PAD)
    writer.add_mask_token_id(MASK)
    return writer


def _finish(writer: gguf.GGUFWriter, weights: dict[str, Array]) -> None:
    for name, values in weights.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@dataclass(frozen=True)
class Encoder:
    """A BERT. `pooling` None says nothing in the header."""

    pooling: gguf.PoolingType | None = Pooling.MEAN
    layers: int = 2
    seed: int = 1

    @cached_property
    def weights(self) -> dict[str, Array]:
        draw = numpy.random.default_rng(self.seed)

        def some(*shape: int, scale: float = 0.3, around: float = 0.0) -> Array:
            return (around + scale * draw.standard_normal(shape)).astype(numpy.float32)

        weights = {
            "token_embd.weight": some(len(TOKENS), WIDTH, scale=1.0),
            "token_types.weight": some(2, WIDTH),
            "position_embd.weight": some(TRAINED, WIDTH),
        }
        norms, linear = ["token_embd_norm"], {}
        for layer in range(self.layers):
            norms += [f"blk.{layer}.attn_output_norm", f"blk.{layer}.layer_output_norm"]
            linear |= {f"blk.{layer}.attn_{part}": (WIDTH, WIDTH) for part in ("q", "k", "v", "output")}
            linear |= {f"blk.{layer}.ffn_up": (FEED_FORWARD, WIDTH), f"blk.{layer}.ffn_down": (WIDTH, FEED_FORWARD)}
        for name in norms:
            weights |= {f"{name}.weight": some(WIDTH, scale=0.1, around=1.0), f"{name}.bias": some(WIDTH)}
        for name, shape in linear.items():
            weights |= {f"{name}.weight": some(*shape), f"{name}.bias": some(shape[0])}
        return weights

    def write(self, path: Path) -> Path:
        writer = _start(path, "bert", self.layers)
        writer.add_layer_norm_eps(EPSILON)
        writer.add_causal_attention(False)
        writer.add_token_type_count(2)
        if self.pooling is not None:
            writer.add_pooling_type(self.pooling)
        _finish(writer, self.weights)
        return path

    def embed(self, ids: list[int]) -> Array:
        """By hand: embeddings, then attention and feed-forward, each added and normalized; then the mean or the first."""
        w = self.weights
        x = w["token_embd.weight"][ids] + w["token_types.weight"][0] + w["position_embd.weight"][: len(ids)]
        x = self._norm("token_embd_norm", x)
        for layer in range(self.layers):
            block = f"blk.{layer}"
            x = self._norm(f"{block}.attn_output_norm", x + self._attention(block, x))
            inner = self._linear(f"{block}.ffn_up", x)
            inner = 0.5 * inner * (1 + numpy.tanh(numpy.sqrt(2 / numpy.pi) * (inner + 0.044715 * inner**3)))
            x = self._norm(f"{block}.layer_output_norm", x + self._linear(f"{block}.ffn_down", inner))
        return {Pooling.CLS: x[0], Pooling.LAST: x[-1]}.get(self.pooling, x.mean(0))

    def _attention(self, block: str, x: Array) -> Array:
        query, key, value = (
            self._linear(f"{block}.attn_{part}", x).reshape(len(x), HEADS, -1).transpose(1, 0, 2) for part in "qkv"
        )
        scores = query @ key.transpose(0, 2, 1) / numpy.sqrt(WIDTH // HEADS)
        scores = numpy.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ value
        return self._linear(f"{block}.attn_output", mixed.transpose(1, 0, 2).reshape(len(x), WIDTH))

    def _linear(self, name: str, x: Array) -> Array:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, name: str, x: Array) -> Array:
        spread = numpy.sqrt(x.var(-1, keepdims=True) + EPSILON)
        return (x - x.mean(-1, keepdims=True)) / spread * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def write_decoder(
    path: Path,
    *,
    pooling: gguf.PoolingType | None = None,
    causal: bool = True,
    layers: int = 2,
    shards_of: int = 0,
) -> Path:
    """A llama with the encoder's vocabulary; an embedding model where it has a pooling.

    With `shards_of`, in several files of so many tensors, beside `path`.
    """
    draw = numpy.random.default_rng(2)
    writer = _start(path, "llama", layers, shards_of=shards_of)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(EPSILON)
    if pooling is not None:
        writer.add_pooling_type(pooling)
    if not causal:
        writer.add_causal_attention(False)
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (len(TOKENS), WIDTH), "output_norm": (WIDTH,)}
    for layer in range(layers):
        block = f"blk.{layer}"
        shapes |= {f"{block}.attn_norm": (WIDTH,), f"{block}.ffn_norm": (WIDTH,)}
        shapes |= {f"{block}.attn_{part}": (WIDTH, WIDTH) for part in ("q", "k", "v", "output")}
        shapes |= {f"{block}.ffn_{part}": (FEED_FORWARD, WIDTH) for part in ("gate", "up")}
        shapes[f"{block}.ffn_down"] = (WIDTH, FEED_FORWARD)
    _finish(writer, {f"{k}.weight": (draw.standard_normal(s) * 0.4).astype(numpy.float32) for k, s in shapes.items()})
    return path


def write_wordy(path: Path, *, words: int) -> Path:
    """A header that takes its time: a model of so many words, and of one tensor."""
    writer = _start(path, "llama", 1)
    writer.add_token_list([f"w{number}" for number in range(words)])
    _finish(writer, {"token_embd.weight": numpy.zeros((1, WIDTH), numpy.float32)})
    return path


def write_t5_encoder(path: Path) -> Path:
    """What llama.cpp evaluates with `llama_encode`."""
    draw = numpy.random.default_rng(3)
    writer = _start(path, "t5encoder", layers=1)
    writer.add_key_length(WIDTH // HEADS)
    writer.add_value_length(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(EPSILON)
    writer.add_relative_attn_buckets_count(8)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd": (len(TOKENS), WIDTH),
        "enc.output_norm": (WIDTH,),
        "enc.blk.0.attn_norm": (WIDTH,),
        "enc.blk.0.ffn_norm": (WIDTH,),
        "enc.blk.0.attn_rel_b": (8, HEADS),
        "enc.blk.0.ffn_up": (FEED_FORWARD, WIDTH),
        "enc.blk.0.ffn_down": (WIDTH, FEED_FORWARD),
    }
    shapes |= {f"enc.blk.0.attn_{part}": (WIDTH, WIDTH) for part in ("q", "k", "v", "o")}
    _finish(writer, {f"{k}.weight": (draw.standard_normal(s) * 0.4).astype(numpy.float32) for k, s in shapes.items()})
    return path


#: What a common LoRA recipe adapts.
ADAPTED = ("attn_q", "attn_v", "attn_output", "ffn_up", "ffn_down")


def write_adapter(
    path: Path, base: Path, *, seed: int = 5, rank: int = 4, strength: float = 1.0, names: tuple[str, ...] = ADAPTED
) -> Path:
    """A LoRA of random matrices for a decoder's file: strong enough at 1.0 to change what it says."""
    draw = numpy.random.default_rng(seed)
    reader = gguf.GGUFReader(base)
    writer = gguf.GGUFWriter(path, str(reader.fields["general.architecture"].contents()))
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string(gguf.Keys.Adapter.TYPE, "lora")
    writer.add_float32(gguf.Keys.Adapter.LORA_ALPHA, float(rank))
    pairs: dict[str, Array] = {}
    for tensor in reader.tensors:
        if not any(tensor.name.endswith(f"{name}.weight") for name in names):
            continue
        # GGUF counts dimensions from the innermost: a matrix is (inputs, outputs).
        inputs, outputs = map(int, tensor.shape)
        scale = strength / numpy.sqrt(inputs * rank)
        pairs[f"{tensor.name}.lora_a"] = (draw.standard_normal((rank, inputs)) * scale).astype(numpy.float32)
        pairs[f"{tensor.name}.lora_b"] = draw.standard_normal((outputs, rank)).astype(numpy.float32)
    _finish(writer, pairs)
    return path


def write_projector(
    path: Path,
    *,
    kind: str = "mlp",
    side: int = 112,
    patch: int = 14,
    width: int = 32,
    spread: int = 64,
    out: int = 128,
) -> Path:
    """What reads pictures for a model of `out` numbers a token: LLaVA's `mlp`, or `gemma3`, whose places see each other."""
    draw, layers, patches = numpy.random.default_rng(7), 2, (side // patch) ** 2
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type(kind)
    writer.add_vision_projection_dim(out)
    writer.add_vision_image_size(side)
    writer.add_vision_patch_size(patch)
    writer.add_vision_embedding_length(width)
    writer.add_vision_feed_forward_length(spread)
    writer.add_vision_block_count(layers)
    writer.add_vision_head_count(4)
    writer.add_vision_attention_layernorm_eps(EPSILON)
    writer.add_vision_use_gelu(True)
    writer.add_vision_image_mean([0.5] * 3)
    writer.add_vision_image_std([0.5] * 3)
    writer.add_vision_projector_scale_factor(2)
    shapes: dict[str, tuple[int, ...]] = {
        "v.position_embd.weight": (patches, width),
        "v.patch_embd.weight": (width, 3, patch, patch),
    }
    norms = ["v.post_ln"]
    linear = {"mm.0": (out, width), "mm.2": (out, out)} if kind == "mlp" else {}
    if kind == "gemma3":
        shapes |= {"mm.input_projection.weight": (width, out), "mm.soft_emb_norm.weight": (width,)}
    for layer in range(layers):
        norms += [f"v.blk.{layer}.ln1", f"v.blk.{layer}.ln2"]
        linear |= {f"v.blk.{layer}.attn_{part}": (width, width) for part in ("q", "k", "v", "out")}
        linear |= {f"v.blk.{layer}.ffn_up": (spread, width), f"v.blk.{layer}.ffn_down": (width, spread)}
    shapes |= {f"{name}.{part}": (width,) for name in norms for part in ("weight", "bias")}
    shapes |= {f"{name}.weight": shape for name, shape in linear.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in linear.items()}
    weights = {name: (0.3 * draw.standard_normal(shape)).astype(numpy.float32) for name, shape in shapes.items()}
    _finish(writer, weights)
    return path
