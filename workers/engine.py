"""One model loaded into this process, and everything that runs on it: a setting and a file -> sequences and a loop."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from collections.abc import Sequence as SequenceOf
from pathlib import Path
from types import MappingProxyType

from tropilla.common.errors import ConfigurationError, InvalidPrompt
from tropilla.common.generation import (
    EmbeddingRequest,
    GenerationRequest,
    PromptToken,
    Sampling,
    TokenizeRequest,
    TokenPrompt,
)
from tropilla.common.gguf import Header
from tropilla.common.metrics import Tally
from tropilla.common.settings import Settings, threads_for
from tropilla.workers import embeddings, machine, memory
from tropilla.workers.answers import Answers
from tropilla.workers.constraint import Grammars
from tropilla.workers.continuation import NOTHING, Past
from tropilla.workers.embeddings import Desk
from tropilla.workers.gallery import Gallery, GoOn, Read
from tropilla.workers.intake import Intake
from tropilla.workers.llama.embedder import Embedder
from tropilla.workers.llama.eyes import Eyes
from tropilla.workers.llama.grammar import tokenizer_of
from tropilla.workers.llama.model import MAX_SEQUENCES, Llama, Size
from tropilla.workers.loop import Job, Loop, Outgoing
from tropilla.workers.pace import Pace
from tropilla.workers.prompt import ChatTemplate
from tropilla.workers.scheduler import Limits, Scheduler
from tropilla.workers.sequence import Sequence
from tropilla.workers.shape import CACHE_TYPES

log = logging.getLogger(__name__)

#: Idle prefixes kept beside one for each slot.
SPARE_SEQUENCES = 16
#: How many parameters of a layer's head are worth one look at a cell that is somebody else's. Measured on a CPU: with the
#: 135M shape (393,000 parameters a head and layer) a look costs a 9,300th of computing the cell.
PARAMETERS_PER_LOOK = 42
#: A tiny model's prefixes are kept for a turn of conversation, whatever they cost.
LEAST_IDLE_TOKENS = 4096
#: Loading is reported this often.
PROGRESS_SECONDS = 1.0
#: Images are encoded by one thread of so many: streams go on meanwhile, on the others.
ENCODING_SHARE = 2
#: Tokens of one pass over embeddings on a GPU; a CPU gains nothing beyond the embedder's own default.
GPU_PASS_TOKENS = 512


class Engine:
    """Raises `ConfigurationError` when the model or its projector cannot be loaded. gpu: layers go there. adapters: files
    by name. projector: the file that reads images, whose files `read` finds by their digest. `on_progress` hears how much
    of the weights is there, 0 to 1, from the thread that loads.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        path: Path,
        header: Header,
        size: Size,
        *,
        gpu: bool,
        adapters: Mapping[str, Path] = MappingProxyType({}),
        projector: Path | None = None,
        read: Read = lambda digest: None,
        tally: Tally | None = None,
        on_progress: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._name = name
        threads = settings.threads or threads_for(os.cpu_count() or 1)
        layers = settings.gpu_layers if gpu else 0
        self.model = _load(
            name, path, size, settings, threads=threads, gpu_layers=layers, adapters=adapters, on_progress=on_progress
        )
        vocabulary = self.model.vocabulary
        template = ChatTemplate(
            header.chat_template,
            bos=vocabulary.bos_text,
            eos=vocabulary.eos_text,
            adds_bos=vocabulary.adds_bos,
            markers=vocabulary.marker_texts,
            named=header.chat_templates,
        )
        heads = header.of_architecture("attention.head_count") * header.of_architecture("block_count")
        looks = header.parameter_count // max(heads, 1) // PARAMETERS_PER_LOOK
        self._idle_tokens = max(looks, LEAST_IDLE_TOKENS)
        answers = Answers(template, Grammars(lambda: tokenizer_of(vocabulary)), special=vocabulary.tags)
        self.eyes: Eyes | None = None
        gallery = None
        if projector is not None:
            self.eyes = self._opened(projector, gpu=gpu, threads=max(threads // ENCODING_SHARE, 1))
            longest = self.model.size.longest_view
            gallery = Gallery(self.eyes, read, settings, model=name, tally=tally or Tally(), longest=longest)
        self._intake = Intake(vocabulary, template, answers, context=size.context, gallery=gallery)
        passes = {"pass_tokens": GPU_PASS_TOKENS} if gpu else {}
        self._embedder = Embedder(self.model.pointer, vocabulary, context=size.context, threads=threads, **passes)

    def _opened(self, projector: Path, *, gpu: bool, threads: int) -> Eyes:
        try:
            return Eyes(projector, self.model.pointer, threads=threads, gpu=gpu)
        except ConfigurationError:
            self.model.close()
            raise

    def loop(self, outbox: Callable[[list[Outgoing]], None], *, worker: str, pace: Pace | None = None) -> Loop:
        """What runs it; to be run in one thread."""
        desk = Desk(self._embedder, worker=worker)
        return Loop(self.model, self.scheduler(), outbox=outbox, worker=worker, desk=desk, pace=pace)

    def sequences(self, request: GenerationRequest, past: Past = NOTHING, go_on: GoOn = lambda: None) -> list[Sequence]:
        """A request's sequences, from any thread; `past` is what of its answer is there already. Raises
        `GenerationFailed`s, and what `go_on` raises, which is asked before each piece of its images.
        """
        if not self.model.generates:
            raise InvalidPrompt("this model makes embeddings and cannot generate", code="unsupported")
        if request.adapter and request.adapter not in self.model.adapters:
            # The API refuses those that nobody has: another worker of this model had it until a moment ago.
            raise InvalidPrompt(f"adapter {request.adapter} not found on this worker", code="unsupported")
        return self._intake.sequences(request, past, go_on=go_on)

    def probe(self, loop: Loop, job: Job) -> None:
        """Has the model compute one token, or one vector where it makes vectors, for nobody's request; from any thread."""
        token = self.model.vocabulary.start
        if not self.model.generates:
            loop.embed(job, [[token]], dimensions=None, normalize=False)
            return
        asked = GenerationRequest(
            job.request_id, self._name, (TokenPrompt((token,)),), Sampling(temperature=0.0, seed=0), max_tokens=1
        )
        sequences = self._intake.sequences(asked)
        for sequence in sequences:
            sequence.alone = True
        loop.submit(job, sequences)

    def inputs(self, request: EmbeddingRequest) -> list[list[int]]:
        """An embedding request's inputs as tokens, from any thread. Raises `GenerationFailed`s."""
        embedder = self._embedder
        return embeddings.inputs(request, self.model.vocabulary, longest=embedder.longest, length=embedder.length)

    def tokenized(self, request: TokenizeRequest) -> list[tuple[tuple[PromptToken, ...], str]]:
        """Each prompt's tokens and text, from any thread. Raises `GenerationFailed`s."""
        return self._intake.tokenized(request)

    def scheduler(self) -> Scheduler:
        """A scheduler for what the context holds."""
        size, shares = self.model.size, self.model.shares_prefixes
        if not shares:
            log.info("this model's memory cannot be shared in part: every prompt is computed from its beginning")
        limits = Limits(
            slots=size.slots,
            cells=size.cells,
            step_tokens=size.step_tokens,
            sequences=size.sequences if shares else size.slots,
            idle_tokens=self._idle_tokens,
            reuse=shares,
            shift=self.model.shifts_positions,
        )
        return Scheduler(limits)

    def close(self) -> None:
        """After the loop's thread has ended: gives all memory back."""
        self._embedder.close()
        if self.eyes is not None:
            self.eyes.close()
        self.model.close()


def size_of(
    settings: Settings,
    header: Header,
    *,
    gpu: bool,
    adapters: SequenceOf[Header] = (),
    projector: Header | None = None,
) -> Size:
    """What fits beside adapters and projector, with the numbers logged; before anything is loaded. What a GPU has free is
    llama.cpp's to say, later.

    Raises `DoesNotFit`, with the numbers, when nothing does.
    """
    slots = settings.slots
    step_tokens = max(settings.step_tokens, slots)
    trained = header.of_architecture("context_length")
    if settings.context and trained and settings.context > trained:
        log.warning("context %d is more than the %d tokens the model was trained for", settings.context, trained)
    sequences = min(2 * slots + SPARE_SEQUENCES, MAX_SEQUENCES)
    budget = memory.plan(
        header,
        slots=slots,
        context=settings.context,
        cells=settings.kv_cells,
        step_tokens=step_tokens,
        free_bytes=1 << 62 if gpu else machine.free_bytes(),
        cache_type=settings.cache_type,
        sequences=sequences,
        outputs=Size(slots, 0, 0, sequences=sequences).outputs,
        adapters=adapters,
        projector=projector,
    )
    log.info("%s", budget)
    return Size(budget.slots, budget.context, step_tokens, budget.cells, budget.sequences, budget.needed_bytes)


def _load(
    name: str,
    path: Path,
    size: Size,
    settings: Settings,
    *,
    threads: int,
    gpu_layers: int,
    adapters: Mapping[str, Path],
    on_progress: Callable[[float], None],
) -> Llama:
    began = reported = time.monotonic()
    log.info("loading %s from %s (%.1f MB)", name, path, path.stat().st_size / 1e6)

    def report(done: float) -> None:
        nonlocal reported
        on_progress(done)
        if time.monotonic() - reported >= PROGRESS_SECONDS:
            reported = time.monotonic()
            log.info("loading %s: %.0f %%", name, done * 100)

    cache_type = CACHE_TYPES[settings.cache_type].number
    model = Llama(
        path,
        size,
        threads=threads,
        gpu_layers=gpu_layers,
        cache_type=cache_type,
        adapters=adapters,
        on_progress=report,
    )
    log.info("loaded %s in %.1f s", name, time.monotonic() - began)
    if adapters:
        log.info("adapters of %s: %s", name, ", ".join(adapters))
    return model
