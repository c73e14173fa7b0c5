"""Train `pocket` from nothing and write its file: `python -m tropilla.workers.pocket.train --out pocket.gguf`.

Needs the `pocket` extra (PyTorch), two cores and less than half an hour. Corpus, start and order are seeded; documents
are generated as they are needed, so hardly any is seen twice.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from tropilla.workers.pocket import corpus, export, lessons, tokenizer
from tropilla.workers.pocket.network import Network, Shape

#: Documents from which the vocabulary is learned.
VOCABULARY_DOCUMENTS = 40_000

#: Learned positions per step are padded to a multiple of this.
SHAPE_GRAIN = 256

#: Steps between two checkpoints.
CHECKPOINT_STEPS = 500

#: Seconds between two lines of progress.
REPORT_SECONDS = 10.0


class Stage(NamedTuple):
    """Steps over batches of one shape."""

    steps: int
    rows: int
    row_length: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Every number of the training that is not the network's shape.

    Short rows first, because attention over long ones is costly; long ones at the end, for long conversations.
    """

    stages: tuple[Stage, ...] = (Stage(5200, rows=8, row_length=256), Stage(300, rows=2, row_length=1024))
    warm_up_steps: int = 100
    learning_rate: float = 6e-3
    final_share: float = 0.01
    weight_decay: float = 0.1
    seed: int = 20_260

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.stages)

    def rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to a small share."""
        if step < self.warm_up_steps:
            return self.learning_rate * (step + 1) / self.warm_up_steps
        done = (step - self.warm_up_steps) / max(1, self.steps - self.warm_up_steps)
        share = self.final_share + (1 - self.final_share) * (1 + math.cos(math.pi * done)) / 2
        return self.learning_rate * share


class Progress:
    """One line every few seconds: loss, speed, time to go."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.started = self.reported = time.monotonic()
        self.tokens = 0
        self.loss = 0.0

    def report(self, step: int, loss: float, tokens: int) -> None:
        self.tokens += tokens
        self.loss = loss if step == 0 else 0.98 * self.loss + 0.02 * loss
        now, done = time.monotonic(), step + 1
        if now - self.reported < REPORT_SECONDS and done < self.steps:
            return
        self.reported = now
        seconds = now - self.started
        speed, left = self.tokens / seconds, seconds / done * (self.steps - done)
        print(
            f"step {done}/{self.steps}  loss {self.loss:.4f}  {self.tokens:,} tokens  {speed:.0f} tokens/s  "
            f"{left:.0f} s to go",
            flush=True,
        )


class Optimizers:
    """Muon for the matrices inside, which halves the steps this corpus takes; AdamW for embedding and norms."""

    def __init__(self, network: Network, plan: Plan) -> None:
        inner = [weight for name, weight in network.named_parameters() if weight.dim() == 2 and "embedding" not in name]
        outer = [weight for name, weight in network.named_parameters() if weight.dim() < 2 or "embedding" in name]
        self.plan = plan
        self.both: list[torch.optim.Optimizer] = [
            torch.optim.Muon(
                inner, lr=plan.learning_rate, weight_decay=plan.weight_decay, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(outer, lr=plan.learning_rate, weight_decay=0.0, betas=(0.9, 0.95), fused=True),
        ]

    def step(self, step: int) -> None:
        """Apply the gradients and forget them."""
        for optimizer in self.both:
            for group in optimizer.param_groups:
                group["lr"] = self.plan.rate(step)
            optimizer.step()
            optimizer.zero_grad()


def _loss(network: Network, tokens: Tensor, learned: Tensor) -> Tensor:
    """Cross-entropy of the learned tokens, each predicted from those before it in its row.

    Their number is padded to a multiple of a few hundred: a matrix shape never seen before costs as much as ten steps.
    """
    places = learned[:, 1:].flatten().nonzero().squeeze(1)
    padding = -len(places) % SHAPE_GRAIN
    targets = functional.pad(tokens[:, 1:].flatten()[places], (0, padding), value=-100)
    places = functional.pad(places, (0, padding))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = network.scores(network(tokens[:, :-1]).flatten(0, 1)[places])
    return functional.cross_entropy(scores.float(), targets, ignore_index=-100)


def batches(plan: Plan, vocabulary: Tokenizer) -> Iterator[tuple[Tensor, Tensor]]:
    """(tokens, learned) for every step; a stage goes on in the stream of documents where the last one ended."""
    documents = corpus.documents(plan.seed + 1)
    for stage in plan.stages:
        stream = lessons.batches(documents, vocabulary, length=stage.row_length + 1, size=stage.rows)
        for tokens, learned in islice(stream, stage.steps):
            yield torch.from_numpy(tokens), torch.from_numpy(learned)


def train(plan: Plan, checkpoint: Path | None = None) -> tuple[Network, Tokenizer]:
    """A checkpoint holds the weights alone: enough to look at an unfinished model, not to resume it."""
    torch.manual_seed(plan.seed)
    sample = islice(corpus.documents(plan.seed), VOCABULARY_DOCUMENTS)
    vocabulary = tokenizer.train(lessons.text_of(document) for document in sample)
    network = Network(Shape(vocabulary=tokenizer.SIZE))
    print(f"{sum(weight.numel() for weight in network.parameters()):,} parameters", flush=True)
    optimizers, progress = Optimizers(network, plan), Progress(plan.steps)
    for step, (tokens, learned) in enumerate(batches(plan, vocabulary)):
        loss = _loss(network, tokens, learned)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizers.step(step)
        progress.report(step, loss.item(), tokens.numel())
        if checkpoint and (step + 1) % CHECKPOINT_STEPS == 0:
            export.write(network, vocabulary, checkpoint)
    return network, vocabulary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("pocket.gguf"))
    parser.add_argument("--checkpoint", type=Path, help="where to write the unfinished model from time to time")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network, vocabulary = train(Plan(), options.checkpoint)
    export.write(network, vocabulary, options.out)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
