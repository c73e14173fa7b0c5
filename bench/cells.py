"""What is measured: each cell is a job, the figure it is judged by, and the bar it has to take."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bench import figures
from bench.bars import Bar
from bench.client import PATH
from bench.figures import Figures
from bench.jobs import Job, Record
from bench.models import ModelFile

ServerName = Literal["tropilla", "llama-server", "llama-server-unified", "llama_cpp.server"]
#: With its default cache llama-server wins the prefix cell; with --kv-unified it decodes 8 of 16 slots a quarter faster.
BOTH_CACHES: tuple[ServerName, ...] = ("llama-server", "llama-server-unified")
SHORT_PROMPT = 16
SHARED_PREFIX = 600
SUFFIX = 24
PREFIX_REQUESTS = 48
PREFIX_ANSWER = 32
INTRUDER_PROMPT = 2000
INTRUDE_AFTER = 8
#: Each of these is a token of its own, and so are its digits: about 30 tokens.
TEXT_WORDS = 5
#: Sent to everybody in words, because the defaults differ.
SAMPLING: Mapping[str, Any] = {
    "temperature": 0.8,
    "top_k": 40,
    "top_p": 0.95,
    "min_p": 0.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repeat_penalty": 1.0,
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is generated in each cell: tokens of each stream, but requests for `first_tokens`."""

    decode_1: int
    decode_8: int
    decode_16: int
    first_tokens: int
    interrupted: int
    text_8: int


SIZES: Mapping[str, Sizes] = {
    "135m": Sizes(decode_1=128, decode_8=64, decode_16=48, first_tokens=24, interrupted=64, text_8=32),
    "0.5b": Sizes(decode_1=64, decode_8=32, decode_16=24, first_tokens=20, interrupted=48, text_8=16),
}
QUICK = Sizes(decode_1=32, decode_8=16, decode_16=16, first_tokens=20, interrupted=40, text_8=8)


class Asker:
    """Makes the requests of one cell in one round: the same for every server, different in every other round."""

    def __init__(self, model: ModelFile, sizes: Sizes, *, port: int, seed: str) -> None:
        self.sizes = sizes
        self._model = model
        self._port = port
        self._random = random.Random(seed)

    def ids(self, count: int) -> list[int]:
        return self._random.choices(self._model.words, k=count)

    def text(self, words: int) -> str:
        return "".join(f" w{number}" for number in self.ids(words))

    def body(self, prompt: list[int] | str, max_tokens: int) -> Mapping[str, Any]:
        return {
            "model": self._model.name,
            "prompt": prompt,
            "max_tokens": max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
            "seed": self._random.randrange(1 << 31),
            "ignore_eos": True,
            **SAMPLING,
        }

    def job(self, streams: int, bodies: list[Mapping[str, Any]], intruder: Mapping[str, Any] | None = None) -> Job:
        return Job(self._port, PATH, streams, bodies, intruder, INTRUDE_AFTER if intruder else 0)

    def equal_streams(self, streams: int, max_tokens: int) -> Job:
        return self.job(streams, [self.body(self.ids(SHORT_PROMPT), max_tokens) for _ in range(streams)])


@dataclass(frozen=True, slots=True)
class Cell:
    """`headline` is the figure that the bar is about, in `unit`; the other figures are kept beside it.

    Of several `peers` the one that makes the bar hardest counts.
    """

    name: str
    title: str
    peers: tuple[ServerName, ...]
    bar: Bar
    headline: str
    unit: str
    plan: Callable[[Asker], Job]
    read: Callable[[Record], Figures]


def _shared_prefix(asker: Asker) -> Job:
    prefix = asker.ids(SHARED_PREFIX)
    bodies = [asker.body(prefix + asker.ids(SUFFIX), PREFIX_ANSWER) for _ in range(PREFIX_REQUESTS)]
    return asker.job(16, bodies)


def _first_tokens(asker: Asker) -> Job:
    return asker.job(1, [asker.body(asker.ids(SHORT_PROMPT), 2) for _ in range(asker.sizes.first_tokens)])


def _interruption(asker: Asker) -> Job:
    bodies = [asker.body(asker.ids(SHORT_PROMPT), asker.sizes.interrupted) for _ in range(8)]
    return asker.job(8, bodies, asker.body(asker.ids(INTRUDER_PROMPT), 2))


def _texts(asker: Asker) -> Job:
    return asker.job(8, [asker.body(asker.text(TEXT_WORDS), asker.sizes.text_8) for _ in range(8)])


def warm_up(asker: Asker) -> Job:
    """Touches the weights, the widest batch and every thread once. Text, because llama_cpp.server takes nothing else."""
    return asker.job(8, [asker.body(asker.text(TEXT_WORDS), 4) for _ in range(8)])


def _decode_cell(streams: int, limit: float, plan: Callable[[Asker], Job]) -> Cell:
    title = f"decode, {streams} stream{'s' if streams > 1 else ''}"
    bar = Bar("ratio", "at least", limit)
    return Cell(f"decode-{streams}", title, BOTH_CACHES, bar, "decode", "tokens/s", plan, figures.decode)


CELLS: tuple[Cell, ...] = (
    _decode_cell(1, 0.97, lambda asker: asker.equal_streams(1, asker.sizes.decode_1)),
    _decode_cell(8, 1.00, lambda asker: asker.equal_streams(8, asker.sizes.decode_8)),
    _decode_cell(16, 1.05, lambda asker: asker.equal_streams(16, asker.sizes.decode_16)),
    Cell(
        name="prefix",
        title=f"{PREFIX_REQUESTS} requests, 16 at once, one {SHARED_PREFIX}-token prefix",
        peers=("llama-server",),
        bar=Bar("ratio", "at least", 2.5),
        headline="overall",
        unit="tokens/s",
        plan=_shared_prefix,
        read=figures.throughput,
    ),
    Cell(
        name="ttft",
        title="first token, 1 stream, p50",
        peers=("llama-server",),
        bar=Bar("difference", "at most", 8.0),
        headline="ttft_p50_ms",
        unit="ms",
        plan=_first_tokens,
        read=figures.first_token,
    ),
    Cell(
        name="stall",
        title=f"between tokens of 8 streams while {INTRUDER_PROMPT} prompt tokens come in, p99",
        peers=("llama-server",),
        bar=Bar("ratio", "at most", 1 / 3),
        headline="interval_p99_ms",
        unit="ms",
        plan=_interruption,
        read=figures.interruption,
    ),
    Cell(
        name="peer-8",
        title="8 streams, start to end",
        peers=("llama_cpp.server",),
        bar=Bar("ratio", "at least", 4.0),
        headline="overall",
        unit="tokens/s",
        plan=_texts,
        read=figures.decode,
    ),
)
