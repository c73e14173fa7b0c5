"""Write the trained network as two GGUF files: the Llama, and the eye as llama.cpp's mtmd reads it. F16 matrices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
from tokenizers import Tokenizer
from tropilla.workers.pocket.export import describe_shape, describe_vocabulary, tensors

from sight.network import Eye, Sight

#: Our parameter names -> mtmd's; those of a layer, and those of the whole.
_LAYER_NAMES = {
    "attention_norm": "ln1", "query": "attn_q", "key": "attn_k", "value": "attn_v", "output": "attn_out",
    "feed_forward_norm": "ln2", "up": "ffn_up", "down": "ffn_down",
}  # fmt: skip
_EYE_NAMES = {"patches": "v.patch_embd", "norm": "v.post_ln", "inner": "mm.0", "outer": "mm.2"}


def _seeing(eye: Eye) -> Iterator[tuple[str, np.ndarray]]:
    weights = {name: weight.detach().numpy() for name, weight in eye.named_parameters()}
    yield "v.position_embd.weight", weights.pop("position_embedding")
    patch = eye.shape.patch
    # A convolution's kernel by its own account: (width, channel, y, x).
    weights["patches.weight"] = weights["patches.weight"].reshape(-1, 3, patch, patch)
    for name, weight in weights.items():
        path, _, kind = name.rpartition(".")
        match path.split("."):
            case ["layers", index, part]:
                yield f"v.blk.{index}.{_LAYER_NAMES[part]}.{kind}", weight
            case [part]:
                yield f"{_EYE_NAMES[part]}.{kind}", weight


def _describe_text(writer: gguf.GGUFWriter) -> None:
    writer.add_name("sight")
    writer.add_author("The Tropilla authors")
    writer.add_description("A very small model that names the colours of pictures, for tests.")
    writer.add_license("apache-2.0")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)


def _describe_eye(writer: gguf.GGUFWriter, eye: Eye) -> None:
    shape = eye.shape
    writer.add_type(gguf.GGUFType.MMPROJ)
    writer.add_name("sight")
    writer.add_author("The Tropilla authors")
    writer.add_description("The eye of sight: nine embeddings of a picture.")
    writer.add_license("apache-2.0")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type("mlp")
    writer.add_vision_projection_dim(eye.outer.out_features)
    writer.add_vision_image_size(shape.side)
    writer.add_vision_patch_size(shape.patch)
    writer.add_vision_embedding_length(shape.width)
    writer.add_vision_feed_forward_length(shape.feed_forward)
    writer.add_vision_block_count(shape.layers)
    writer.add_vision_head_count(shape.heads)
    writer.add_vision_attention_layernorm_eps(shape.epsilon)
    writer.add_vision_use_gelu(True)
    writer.add_vision_image_mean([shape.mean] * 3)
    writer.add_vision_image_std([shape.deviation] * 3)
    # Without it, mtmd leaves out the last layer, as LLaVA does.
    writer.add_array("clip.vision.feature_layer", [shape.layers])


def _finish(writer: gguf.GGUFWriter, weights: Iterator[tuple[str, np.ndarray]]) -> None:
    for name, weight in weights:
        whole = weight.ndim == 1 or "position" in name
        writer.add_tensor(name, np.ascontiguousarray(weight, np.float32 if whole else np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write(network: Sight, tokenizer: Tokenizer, model: Path, projector: Path) -> None:
    """Beside the targets first, so that a reader never meets half a file."""
    text = gguf.GGUFWriter(model.with_suffix(".unfinished"), "llama")
    _describe_text(text)
    describe_shape(text, network.text.shape)
    describe_vocabulary(text, tokenizer)
    _finish(text, tensors(network.text))
    eye = gguf.GGUFWriter(projector.with_suffix(".unfinished"), "clip")
    _describe_eye(eye, network.eye)
    _finish(eye, _seeing(network.eye))
    for target in (model, projector):
        os.replace(target.with_suffix(".unfinished"), target)
