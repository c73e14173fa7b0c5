"""The scripted model: what `workers.llama.model.Llama` is to an engine, without llama.cpp.

Everything else of a worker is the real thing, its sampler's bookkeeping and its scheduler included. A token per byte of the
prompt, one per word of the answer, and a step takes as long as it is told to.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence as SequenceOf
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import gguf
import numpy
from faults.script import VARIANTS, Script, word
from tropilla.common.generation import Alternative
from tropilla.workers import engine
from tropilla.workers.llama.model import Size
from tropilla.workers.loop import Draw, Drawn
from tropilla.workers.prefixes import Move
from tropilla.workers.scheduler import Chunk
from tropilla.workers.sequence import Sequence

NAME = "scripted"
START, END = 256, 257
MARKERS = {START: b"<s>", END: b"</s>"}
#: The id of the first word: index 0, variant 0.
WORDS = 512
CONTEXT = 8192
#: Indices there are ids for.
MOST_WORDS = CONTEXT


class Vocabulary:
    """Bytes, two markers, and the words of the script."""

    size = WORDS + MOST_WORDS * VARIANTS
    start, ends = START, frozenset({END})
    bos_text, eos_text = "<s>", "</s>"
    adds_bos, adds_eos = True, False
    infill = None
    marker_texts = ("<s>", "</s>")

    def tokenize(self, text: str, *, special: bool, start: bool) -> list[int]:
        return [*([START] if start else []), *text.encode()]

    def piece(self, token: int) -> bytes:
        if token >= WORDS:
            return word(*divmod(token - WORDS, VARIANTS)).encode()
        return MARKERS.get(token) or bytes([token])

    @property
    def tags(self) -> dict[str, int]:
        return {piece.decode(): token for token, piece in MARKERS.items()}

    def is_marker(self, token: int) -> bool:
        return token in MARKERS

    def ends_turn(self, token: int) -> bool:
        return token == END


class Scripted:
    """`step_seconds` is what a pass takes, `set_pace` says how much that is for all of them."""

    step_seconds = 0.0
    shares_prefixes, shifts_positions, generates = False, False, True
    pointer = None

    def __init__(self, path: Path, size: Size, **_: Any) -> None:
        self.size = size
        self.vocabulary = Vocabulary()
        self.adapters: dict[str, object] = {}
        self._scripts: WeakKeyDictionary[Sequence, Script] = WeakKeyDictionary()
        self._rows: dict[int, Sequence] = {}

    def move(self, moves: SequenceOf[Move]) -> None:
        """There are no cells."""

    def evaluate(self, chunks: SequenceOf[Chunk]) -> list[int]:
        time.sleep(self.step_seconds)
        self._rows, rows, at = {}, [], -1
        for chunk in chunks:
            at += chunk.stop - chunk.start
            rows.append(at)
            if chunk.stop - chunk.sequence.prompt_length >= self._script(chunk.sequence).kills_at:
                # This thread's, as a true one: another's would let it go on for a moment.
                signal.raise_signal(signal.SIGSEGV)
            if chunk.samples:
                self._rows[at] = chunk.sequence
        return rows

    def draw(self, draws: SequenceOf[Draw]) -> list[Drawn | Exception]:
        return [self._draw(draw) for draw in draws]

    def _draw(self, draw: Draw) -> Drawn:
        sequence = self._rows[draw.row]
        index = len(sequence.tokens) - sequence.prompt_length
        before = (sequence.tokens[-1] - WORDS) % VARIANTS if index else 0
        token = WORDS + index * VARIANTS + self._script(sequence).variant(index, before)
        draw.sampler.accept(token)
        return Drawn(token)

    def score(self, row: int, tokens: SequenceOf[int], top: int) -> list[tuple[float, tuple[Alternative, ...]]]:
        raise NotImplementedError("the script knows no probabilities")

    def _script(self, sequence: Sequence) -> Script:
        if sequence not in self._scripts:
            prompt = bytes(token for token in sequence.tokens[: sequence.prompt_length] if token < START)
            self._scripts[sequence] = Script(prompt, sequence.seed)
        return self._scripts[sequence]

    def close(self) -> None:
        pass


class NoEmbedder:
    """In place of the one that computes with llama.cpp."""

    longest = CONTEXT

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def close(self) -> None:
        pass


def take_the_place_of_llama(step_seconds: float) -> None:
    """Every engine that is made in this process from here on runs the script."""
    Scripted.step_seconds = step_seconds
    engine.Llama, engine.Embedder = Scripted, NoEmbedder  # type: ignore[assignment, misc]


def write(path: Path) -> Path:
    """A GGUF file with a header that workers can describe and size, and next to no weights."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(NAME)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(64)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(1)
    # As if: its memory is planned by this, and there are no logits.
    writer.add_vocab_size(WORDS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tensor("token_embd.weight", numpy.zeros((4, 64), numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
