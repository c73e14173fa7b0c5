"""The network of `sight`: the Llama of `pocket`, smaller, and an eye, written so that llama.cpp computes the very same.

The eye is a vision transformer with LLaVA's projector, as `clip_graph_llava` of llama.cpp's mtmd builds it: patches as one
linear map, learned positions, no class embedding, layers that normalise first, no biases in them, GELU by its tanh
approximation, a last normalisation, then two linear maps into the Llama's width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from tropilla.workers.pocket.network import Network, Shape


@dataclass(frozen=True, slots=True)
class EyeShape:
    """Every number that the projector's file must repeat."""

    side: int = 48
    patch: int = 16
    width: int = 64
    layers: int = 2
    heads: int = 2
    feed_forward: int = 192
    epsilon: float = 1e-5
    mean: float = 0.5
    deviation: float = 0.5

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.side // self.patch

    @property
    def tokens(self) -> int:
        """Embeddings that a picture becomes."""
        return self.grid**2


def text_shape(vocabulary: int) -> Shape:
    return Shape(vocabulary=vocabulary, width=128, layers=3, heads=4, shared_heads=2, feed_forward=320)


class EyeLayer(nn.Module):  # type: ignore[misc]
    """One residual block in which every patch looks at every other."""

    def __init__(self, shape: EyeShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.attention_norm = nn.LayerNorm(shape.width, shape.epsilon)
        self.query = nn.Linear(shape.width, shape.width, bias=False)
        self.key = nn.Linear(shape.width, shape.width, bias=False)
        self.value = nn.Linear(shape.width, shape.width, bias=False)
        self.output = nn.Linear(shape.width, shape.width, bias=False)
        self.feed_forward_norm = nn.LayerNorm(shape.width, shape.epsilon)
        self.up = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.down = nn.Linear(shape.feed_forward, shape.width, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        normed = self.attention_norm(hidden)
        query, key, value = (self._by_head(part(normed)) for part in (self.query, self.key, self.value))
        mixed = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(-1) @ value
        hidden = hidden + self.output(mixed.transpose(1, 2).flatten(2))
        return hidden + self.down(functional.gelu(self.up(self.feed_forward_norm(hidden)), approximate="tanh"))

    def _by_head(self, flat: Tensor) -> Tensor:
        """(pictures, patches, width) to (pictures, heads, patches, head width)."""
        return flat.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Eye(nn.Module):  # type: ignore[misc]
    """From (pictures, side, side, 3) bytes to (pictures, tokens, text width) embeddings."""

    def __init__(self, shape: EyeShape, text_width: int) -> None:
        super().__init__()
        self.shape = shape
        self.patches = nn.Linear(3 * shape.patch**2, shape.width)
        self.position_embedding = nn.Parameter(0.02 * torch.randn(shape.tokens, shape.width))
        self.layers = nn.ModuleList(EyeLayer(shape) for _ in range(shape.layers))
        self.norm = nn.LayerNorm(shape.width, shape.epsilon)
        self.inner = nn.Linear(shape.width, text_width)
        self.outer = nn.Linear(text_width, text_width)

    def forward(self, pictures: Tensor) -> Tensor:
        shape = self.shape
        points = (pictures.float() / 255 - shape.mean) / shape.deviation
        cut = points.unflatten(1, (shape.grid, shape.patch)).unflatten(3, (shape.grid, shape.patch))
        # (picture, row, y, column, x, channel) to patches in reading order, each by channel, y and x.
        flat = cut.permute(0, 1, 3, 5, 2, 4).flatten(3).flatten(1, 2)
        hidden = self.patches(flat) + self.position_embedding
        for layer in self.layers:
            hidden = layer(hidden)
        return self.outer(functional.gelu(self.inner(self.norm(hidden)), approximate="tanh"))


class Sight(nn.Module):  # type: ignore[misc]
    """Both; where a row has a picture, its embeddings stand instead of tokens."""

    def __init__(self, shape: Shape, eye: EyeShape) -> None:
        super().__init__()
        self.text = Network(shape)
        self.eye = Eye(eye, shape.width)

    def forward(self, tokens: Tensor, shown: Tensor, pictures: Tensor, mask: Tensor) -> Tensor:
        """`shown` (batch, length) marks the places of pictures, in reading order; `mask` is added to the scores."""
        hidden = self.text.embedding(tokens)
        seen = self.eye(pictures).flatten(0, 1)
        return self.text.through(hidden.masked_scatter(shown.unsqueeze(-1), seen.to(hidden.dtype)), mask)
