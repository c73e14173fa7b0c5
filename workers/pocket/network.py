"""The network of `pocket`: a small Llama, written so that llama.cpp computes the very same function.

Three choices must agree with llama.cpp's `llama` architecture, or the exported file would run and talk nonsense: rotary
embedding turns neighbouring pairs (0, 1), (2, 3), ... (its NORM type: no weight is permuted on export); key and value
heads are shared by consecutive groups of query heads; the output matrix is the embedding itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Shape:
    """Every number the exported file must repeat. Widths are multiples of 32, the block size of Q8_0."""

    vocabulary: int
    width: int = 256
    layers: int = 5
    heads: int = 4
    shared_heads: int = 2
    feed_forward: int = 640
    context: int = 4096
    rope_base: float = 10_000.0
    epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def shared_width(self) -> int:
        return self.shared_heads * self.head_width


class Norm(nn.Module):  # type: ignore[misc]
    """Root mean square normalisation."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.epsilon = epsilon

    def forward(self, hidden: Tensor) -> Tensor:
        return functional.rms_norm(hidden, self.weight.shape, self.weight, self.epsilon)


def rotations(shape: Shape, length: int) -> Tensor:
    """A unit complex number by position and pair: (length, 1, head_width / 2)."""
    pairs = torch.arange(0, shape.head_width, 2).float() / shape.head_width
    angles = torch.outer(torch.arange(length).float(), shape.rope_base**-pairs)
    return torch.polar(torch.ones_like(angles), angles).unsqueeze(1)


def rotate(heads: Tensor, turns: Tensor) -> Tensor:
    """Turn each neighbouring pair of a (batch, length, heads, head_width) tensor by its position's angle."""
    pairs = torch.view_as_complex(heads.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * turns).flatten(-2)


def future(length: int) -> Tensor:
    """What to add to the scores so that no position sees a later one."""
    return torch.full((length, length), float("-inf")).triu(1)


class Attention(nn.Module):  # type: ignore[misc]
    """Causal attention with grouped key and value heads.

    Written out, because for many short rows on a CPU it is several times faster than `scaled_dot_product_attention`.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.query = nn.Linear(shape.width, shape.width, bias=False)
        self.key = nn.Linear(shape.width, shape.shared_width, bias=False)
        self.value = nn.Linear(shape.width, shape.shared_width, bias=False)
        self.output = nn.Linear(shape.width, shape.width, bias=False)

    def forward(self, hidden: Tensor, turns: Tensor, mask: Tensor) -> Tensor:
        query = self._by_head(rotate(self._split(self.query(hidden)), turns))
        key = self._by_head(rotate(self._split(self.key(hidden)), turns))
        value = self._by_head(self._split(self.value(hidden)))
        scores = torch.baddbmm(mask, query, key.transpose(1, 2), alpha=self.shape.head_width**-0.5)
        mixed = scores.softmax(-1) @ value
        return self.output(mixed.unflatten(0, (-1, self.shape.heads)).transpose(1, 2).flatten(2))

    def _split(self, flat: Tensor) -> Tensor:
        return flat.unflatten(-1, (-1, self.shape.head_width))

    def _by_head(self, heads: Tensor) -> Tensor:
        """(batch, length, heads, head_width) to (batch * query heads, length, head_width)."""
        group = self.shape.heads // heads.shape[2]
        return heads.transpose(1, 2).repeat_interleave(group, dim=1).flatten(0, 1)


class FeedForward(nn.Module):  # type: ignore[misc]
    """SwiGLU."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.up = nn.Linear(shape.width, shape.feed_forward, bias=False)
        self.down = nn.Linear(shape.feed_forward, shape.width, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.down(functional.silu(self.gate(hidden)) * self.up(hidden))


class Layer(nn.Module):  # type: ignore[misc]
    """One residual block: attention, then feed-forward, each normalised before."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = Norm(shape.width, shape.epsilon)
        self.attention = Attention(shape)
        self.feed_forward_norm = Norm(shape.width, shape.epsilon)
        self.feed_forward = FeedForward(shape)

    def forward(self, hidden: Tensor, turns: Tensor, mask: Tensor) -> Tensor:
        hidden = hidden + self.attention(self.attention_norm(hidden), turns, mask)
        return hidden + self.feed_forward(self.feed_forward_norm(hidden))


class Network(nn.Module):  # type: ignore[misc]
    """The whole model; `forward` gives hidden states: a caller pays for the vocabulary only where it has a loss."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.width)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.norm = Norm(shape.width, shape.epsilon)
        self._start()

    def _start(self) -> None:
        """Small normal weights; what writes into the residual stream is scaled down by depth, as in GPT-2."""
        quiet = 0.02 / (2 * self.shape.layers) ** 0.5
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=quiet if name.endswith(("output.weight", "down.weight")) else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.through(self.embedding(tokens), future(tokens.shape[1]))

    def through(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """From embeddings (batch, length, width), wherever they come from, to hidden states."""
        turns = rotations(self.shape, hidden.shape[1])
        for layer in self.layers:
            hidden = layer(hidden, turns, mask)
        return self.norm(hidden)

    def scores(self, hidden: Tensor) -> Tensor:
        """Logits by the tied output matrix."""
        return functional.linear(hidden, self.embedding.weight)
