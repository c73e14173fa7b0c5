"""Write the trained network as the GGUF file that ships: Q8_0 matrices, F32 norms, vocabulary, chat template."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
from tokenizers import Tokenizer
from tropilla.workers.pocket.lessons import TEMPLATE
from tropilla.workers.pocket.network import Network, Shape
from tropilla.workers.pocket.tokenizer import (
    CONTROL,
    END_OF_TEXT,
    GAP_AFTER,
    GAP_BEFORE,
    GAP_MIDDLE,
    TURN_END,
    VISIBLE,
)  # fmt: skip

#: Our parameter names -> llama.cpp's.
_LAYER_NAMES = {
    "attention_norm": "attn_norm", "attention.query": "attn_q", "attention.key": "attn_k", "attention.value": "attn_v",
    "attention.output": "attn_output", "feed_forward_norm": "ffn_norm", "feed_forward.gate": "ffn_gate",
    "feed_forward.up": "ffn_up", "feed_forward.down": "ffn_down",
}  # fmt: skip


def tensors(network: Network) -> Iterator[tuple[str, np.ndarray]]:
    yield "token_embd.weight", network.embedding.weight.detach().numpy()
    for index, layer in enumerate(network.layers):
        weights = dict(layer.named_parameters())
        for ours, theirs in _LAYER_NAMES.items():
            yield f"blk.{index}.{theirs}.weight", weights[f"{ours}.weight"].detach().numpy()
    yield "output_norm.weight", network.norm.weight.detach().numpy()


def _describe(writer: gguf.GGUFWriter) -> None:
    writer.add_name("pocket")
    writer.add_author("The Tropilla authors")
    writer.add_description(
        "A very small chat model trained from generated sentences; it answers small questions and no others."
    )
    writer.add_license("apache-2.0")
    writer.add_languages(["en", "de"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def describe_shape(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_vocab_size(shape.vocabulary)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.shared_heads)
    writer.add_rope_dimension_count(shape.head_width)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(shape.epsilon)


def describe_vocabulary(writer: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    kinds = {**dict.fromkeys(CONTROL, gguf.TokenType.CONTROL), **dict.fromkeys(VISIBLE, gguf.TokenType.USER_DEFINED)}
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types([kinds.get(token, gguf.TokenType.NORMAL) for token, _ in vocabulary])
    writer.add_token_merges([" ".join(merge) for merge in merges])
    identifier = tokenizer.token_to_id
    writer.add_bos_token_id(identifier(END_OF_TEXT))
    writer.add_eos_token_id(identifier(TURN_END))
    writer.add_eot_token_id(identifier(TURN_END))
    writer.add_pad_token_id(identifier(END_OF_TEXT))
    writer.add_uint32("tokenizer.ggml.fim_pre_token_id", identifier(GAP_BEFORE))
    writer.add_uint32("tokenizer.ggml.fim_suf_token_id", identifier(GAP_AFTER))
    writer.add_uint32("tokenizer.ggml.fim_mid_token_id", identifier(GAP_MIDDLE))
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)


def write(network: Network, tokenizer: Tokenizer, target: Path) -> None:
    """Beside the target first, so that a reader never meets half a file."""
    unfinished = target.with_suffix(".unfinished")
    writer = gguf.GGUFWriter(unfinished, "llama")
    _describe(writer)
    describe_shape(writer, network.shape)
    describe_vocabulary(writer, tokenizer)
    for name, weights in tensors(network):
        if weights.ndim == 1:
            writer.add_tensor(name, weights.astype(np.float32))
        else:
            quantised = gguf.quantize(weights.astype(np.float32), gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(name, quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(unfinished, target)
