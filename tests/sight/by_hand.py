"""The eye computed in numpy from its own file: what llama.cpp should make of a picture."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from PIL import Image

from sight import pictures

Array = np.ndarray


class Eye:
    """`embed` goes through the same steps as `clip_graph_llava` of mtmd."""

    def __init__(self, file: Path) -> None:
        reader = gguf.GGUFReader(file)
        self.weights = {tensor.name: np.array(tensor.data, np.float32) for tensor in reader.tensors}
        numbers = {
            name: reader.fields[f"clip.vision.{name}"].contents()
            for name in ("image_size", "patch_size", "block_count", "attention.head_count")
        }
        self.side, self.patch, self.layers, self.heads = numbers.values()
        self.epsilon = reader.fields["clip.vision.attention.layer_norm_epsilon"].contents()
        self.mean, self.deviation = (reader.fields[f"clip.vision.image_{name}"].contents() for name in ("mean", "std"))

    def embed(self, picture: Image.Image) -> Array:
        """(tokens, text width)."""
        w, grid = self.weights, self.side // self.patch
        points = (pictures.fitted(picture, self.side) / np.float32(255) - self.mean) / self.deviation
        cut = points.reshape(grid, self.patch, grid, self.patch, 3).transpose(0, 2, 4, 1, 3).reshape(grid**2, -1)
        kernel = w["v.patch_embd.weight"].reshape(-1, cut.shape[1])
        x = cut @ kernel.T + w["v.patch_embd.bias"] + w["v.position_embd.weight"]
        for layer in range(self.layers):
            block = f"v.blk.{layer}"
            x = x + self._attention(block, self._norm(f"{block}.ln1", x))
            inner = self._norm(f"{block}.ln2", x) @ w[f"{block}.ffn_up.weight"].T
            x = x + _gelu(inner) @ w[f"{block}.ffn_down.weight"].T
        inner = self._norm("v.post_ln", x) @ w["mm.0.weight"].T + w["mm.0.bias"]
        return _gelu(inner) @ w["mm.2.weight"].T + w["mm.2.bias"]

    def _attention(self, block: str, x: Array) -> Array:
        query, key, value = (
            (x @ self.weights[f"{block}.attn_{part}.weight"].T).reshape(len(x), self.heads, -1).transpose(1, 0, 2)
            for part in "qkv"
        )
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1])
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ value
        return mixed.transpose(1, 0, 2).reshape(len(x), -1) @ self.weights[f"{block}.attn_out.weight"].T

    def _norm(self, name: str, x: Array) -> Array:
        spread = np.sqrt(x.var(-1, keepdims=True) + self.epsilon)
        return (x - x.mean(-1, keepdims=True)) / spread * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def _gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
