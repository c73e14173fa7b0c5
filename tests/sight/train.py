"""Train `sight` from nothing and write its two files: `python -m sight.train --out sight`, in the folder `tests`.

Needs the extras `pocket` (PyTorch) and `test` (Pillow), one core and a quarter of an hour. Vocabulary, start,
lessons and pictures are seeded; all are made as they are needed, so hardly any is seen twice.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional
from tropilla.workers.pocket import tokenizer
from tropilla.workers.pocket.train import CHECKPOINT_STEPS, SHAPE_GRAIN, Optimizers, Plan, Progress, Stage

from sight import MODEL, PROJECTOR, export, lessons
from sight.network import EyeShape, Sight, text_shape
from sight.rows import Batch, batches, texts

#: Tokens; single bytes and control tokens are 276 of them.
VOCABULARY = 768

#: Texts from which it is learned.
VOCABULARY_TEXTS = 20_000

#: Short rows mostly, because attention over long ones is costly; long ones in between, for pictures far back.
PLAN = Plan(
    stages=(
        Stage(1600, rows=8, row_length=256),
        Stage(250, rows=2, row_length=1024),
        Stage(50, rows=1, row_length=2048),
        Stage(900, rows=8, row_length=256),
        Stage(30, rows=2, row_length=1024),
    ),
    learning_rate=4e-3,
)

#: Rows above this have room for long lessons, which then are every other one.
SHORT = 256


def _mask(lesson: Tensor, heads: int) -> Tensor:
    """(rows, length) lesson numbers to (rows * heads, length, length): none sees what comes later, or another lesson."""
    length = lesson.shape[1]
    hidden = (lesson.unsqueeze(1) != lesson.unsqueeze(2)) | torch.ones(length, length, dtype=torch.bool).triu(1)
    return torch.zeros(hidden.shape).masked_fill(hidden, float("-inf")).repeat_interleave(heads, dim=0)


def loss_of(network: Sight, batch: Batch) -> Tensor:
    """Cross-entropy of the learned tokens, each predicted from those before it in its lesson.

    Their number is padded, as for `pocket`: a matrix shape never seen before costs as much as ten steps.
    """
    tokens, learned, shown, lesson, drawn = map(torch.from_numpy, batch)
    places = learned[:, 1:].flatten().nonzero().squeeze(1)
    padding = -len(places) % SHAPE_GRAIN
    targets = functional.pad(tokens[:, 1:].flatten()[places], (0, padding), value=-100)
    places = functional.pad(places, (0, padding))
    # Whole rows, with the last token: a picture must keep all its places.
    hidden = network(tokens, shown, drawn, _mask(lesson, network.text.shape.heads))
    scores = network.text.scores(hidden[:, :-1].flatten(0, 1)[places])
    return functional.cross_entropy(scores, targets, ignore_index=-100)


def lesson_batches(plan: Plan, vocabulary: Tokenizer, eye: EyeShape) -> Iterator[Batch]:
    """For every step; each stage has lessons and pictures of its own."""
    for seed, stage in enumerate(plan.stages, plan.seed + 1):
        stream = lessons.stream(seed, long=0.5 if stage.row_length > SHORT else 0.0)
        endless = batches(stream, vocabulary, eye, length=stage.row_length, size=stage.rows, seed=seed)
        yield from islice(endless, stage.steps)


def train(plan: Plan, model: Path, projector: Path) -> None:
    """The unfinished model is written from time to time, too."""
    torch.manual_seed(plan.seed)
    vocabulary = tokenizer.train(islice(texts(lessons.stream(plan.seed)), VOCABULARY_TEXTS), size=VOCABULARY)
    network = Sight(text_shape(VOCABULARY), EyeShape())
    print(f"{sum(weight.numel() for weight in network.parameters()):,} parameters", flush=True)
    optimizers, progress = Optimizers(network, plan), Progress(plan.steps)
    for step, batch in enumerate(lesson_batches(plan, vocabulary, network.eye.shape)):
        loss = loss_of(network, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizers.step(step)
        progress.report(step, loss.item(), batch.tokens.size)
        if (step + 1) % CHECKPOINT_STEPS == 0:
            export.write(network, vocabulary, model, projector)
    export.write(network, vocabulary, model, projector)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=MODEL.parent, help="the folder for both files")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, projector = options.out / MODEL.name, options.out / PROJECTOR.name
    train(PLAN, model, projector)
    for file in (model, projector):
        print(f"{file}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
