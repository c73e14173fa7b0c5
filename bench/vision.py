"""`python -m bench.vision`: what text streams notice of requests with images beside them.

One engine in this process. A round has eight text streams, and then four of them beside as many callers who show a new
picture as soon as they were answered: read, measured and encoded in threads of their own, as a ticket's holder does it.
Reported is the time between two tokens of a text stream. --keep keeps the result and writes the table of docs/vision.md.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import io
import itertools
import json
import os
import random
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image as Pillow
from tropilla.common.generation import (
    PICTURE,
    ChatPrompt,
    Finished,
    GenerationRequest,
    Image,
    Message,
    Sampling,
    TextPrompt,
    Token,
    new_request_id,
)
from tropilla.common.gguf import read_header
from tropilla.common.settings import Settings
from tropilla.workers.engine import Engine, size_of
from tropilla.workers.loop import Job, Loop, Outgoing

from bench import machine, measure, page
from bench.figures import MILLISECONDS, percentile
from bench.places import RESULTS, ROOT, say

PAGE = ROOT / "docs" / "vision.md"
FOLDER = RESULTS / "vision"
SIGHT = ROOT / "tests" / "sight"
#: Side by side, and how many of them show pictures where some do.
STREAMS, SEEING = 8, 4
#: Of a text stream's prompt, and of an answer about a picture.
PROMPT_TOKENS, ANSWER_TOKENS = 16, 16
#: What is promised: how much longer the longest of a hundred waits may be.
BAR = 3.0


class Bench:
    """`texts` decodes so many streams side by side, beside so many callers with pictures; answers the times between two
    tokens of a stream, and how many pictures were answered meanwhile.
    """

    def __init__(self, model: Path, projector: Path, *, tokens: int, side: int, threads: int) -> None:
        self._tokens, self._side = tokens, side
        self._files: dict[str, bytes] = {}
        self._random = random.Random(5)
        settings = Settings(slots=STREAMS, context=2 * tokens + 1024, threads=threads)
        header, eyes = read_header(model), read_header(projector)
        size = size_of(settings, header, gpu=False, projector=eyes)
        self._engine = Engine(
            settings, "bench", model, header, size, gpu=False, projector=projector, read=self._files.get
        )

    def texts(self, streams: int, seeing: int) -> tuple[list[float], int]:
        came: dict[str, list[float]] = {}
        over: dict[str, threading.Event] = {}

        def hear(events: list[Outgoing]) -> None:
            now = time.perf_counter()
            for outgoing in events:
                name = outgoing.job.request_id
                if isinstance(outgoing.event, Token) and name in came:
                    came[name].append(now)
                if isinstance(outgoing.event, Finished):
                    over[name].set()

        with self._looping(hear) as loop:
            stopping, answered = threading.Event(), itertools.count()

            def submit(asked: GenerationRequest) -> threading.Event:
                over[asked.id] = threading.Event()
                loop.submit(Job(asked.id, 1, 1), self._engine.sequences(asked))
                return over[asked.id]

            # Drawn before: whoever calls is another process.
            questions = deque(self._seeing() for _ in range(seeing and self._tokens))

            def look() -> None:
                while not stopping.is_set():
                    submit(questions.popleft()).wait()
                    next(answered)

            callers = [threading.Thread(target=look) for _ in range(seeing)]
            asked = [self._reading(number) for number in range(streams)]
            came.update({each.id: [] for each in asked})
            ends = [submit(each) for each in asked]
            for caller in callers:
                caller.start()
            for end in ends:
                end.wait()
            stopping.set()
            for caller in callers:
                caller.join()
        waits = [after - before for times in came.values() for before, after in itertools.pairwise(times)]
        return waits, next(answered)

    @contextmanager
    def _looping(self, hear: Any) -> Iterator[Loop]:
        scheduler = self._engine.scheduler()
        loop = Loop(self._engine.model, scheduler, outbox=hear, worker="bench")
        running = threading.Thread(target=loop.run)
        running.start()
        try:
            yield loop
        finally:
            loop.stop()
            running.join()
            # The next one computes its prompts anew.
            scheduler.forget_idle()
            self._engine.model.move(scheduler.moves())

    def _reading(self, number: int) -> GenerationRequest:
        """A stream of text, as long as can be."""
        text = " ".join(f"{number}" for _ in range(PROMPT_TOKENS))
        return self._asked(TextPrompt(text), self._tokens)

    def _seeing(self) -> GenerationRequest:
        """A question about a picture that nobody has seen before."""
        file = io.BytesIO()
        noise = Pillow.frombytes("RGB", (8, 8), self._random.randbytes(192))
        noise.resize((self._side, self._side)).save(file, "JPEG")
        digest = hashlib.sha256(file.getvalue()).hexdigest()
        self._files[digest] = file.getvalue()
        message = Message("user", f"{PICTURE}What colour is it?", images=(Image(digest),))
        return self._asked(ChatPrompt((message,)), ANSWER_TOKENS)

    def _asked(self, prompt: TextPrompt | ChatPrompt, tokens: int) -> GenerationRequest:
        sampling = Sampling(temperature=0.8, top_k=40, top_p=0.95, seed=self._random.randrange(1 << 31))
        return GenerationRequest(
            new_request_id(), "bench", (prompt,), sampling, max_tokens=tokens, min_tokens=tokens, ignore_eos=True
        )

    def close(self) -> None:
        self._engine.close()


def compare(bench: Bench, rounds: int) -> dict[str, Any]:
    """In turn, so that what the machine does besides hits both alike."""
    seen: dict[str, list[dict[str, float]]] = {"text": [], "beside": []}
    for number in range(rounds + 1):
        for name in ("text", "beside") if number % 2 else ("beside", "text"):
            seeing = SEEING if name == "beside" else 0
            waits, pictures = bench.texts(STREAMS - seeing, seeing)
            found = {
                "p50_ms": statistics.median(waits) * MILLISECONDS,
                "p99_ms": percentile(waits, 0.99) * MILLISECONDS,
                "most_ms": max(waits) * MILLISECONDS,
                "pictures": float(pictures),
            }
            say(f"{name}: " + ", ".join(f"{key} {value:.2f}" for key, value in found.items()))
            # The first round has warmed up.
            if number:
                seen[name].append(found)
    medians = {
        name: {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
        for name, rounds in seen.items()
    }
    return {"rounds": seen, "medians": medians, "ratio": medians["beside"]["p99_ms"] / medians["text"]["p99_ms"]}


def section(result: Mapping[str, Any]) -> str:
    setup, medians = result["setup"], result["medians"]
    names = {
        "text": f"{STREAMS} text streams",
        "beside": f"{STREAMS - SEEING} of them beside {SEEING} that show pictures",
    }
    rows = [
        f"| {called} | {medians[name]['p50_ms']:.2f} | {medians[name]['p99_ms']:.2f} | {medians[name]['most_ms']:.1f} | "
        f"{medians[name]['pictures']:.0f} |"
        for name, called in names.items()
    ]
    return "\n".join(
        [
            "## Measured (`python -m bench.vision --keep`)",
            "",
            f"{result['date']}, {result['processor']}, {result['cores']} cores, {setup['threads']} for the model; load "
            f"average before: {result['load_average'][0]:.1f}. {Path(setup['model']).name} with "
            f"{Path(setup['projector']).name}, {setup['tokens']} tokens a text stream, every picture a new one of "
            f"{setup['side']} x {setup['side']}; medians of {setup['rounds']} rounds.",
            "",
            "| between two tokens of a text stream | p50, ms | p99, ms | most, ms | pictures answered |",
            "| --- | --- | --- | --- | --- |",
            *rows,
            "",
            f"The p99 is {result['ratio']:.2f} times that of text alone; at most {BAR:.0f} times is promised.",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.vision", description=__doc__)
    parser.add_argument("--model", default=str(SIGHT / "sight.gguf"))
    parser.add_argument("--projector", default=str(SIGHT / "mmproj-sight.gguf"))
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--side", type=int, default=512, help="of a picture, in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=max((os.cpu_count() or 2) // 2, 1))
    parser.add_argument("--keep", action="store_true", help="keep the result and write the table of docs/vision.md")
    asked = parser.parse_args()
    load_average = os.getloadavg()
    bench = Bench(Path(asked.model), Path(asked.projector), tokens=asked.tokens, side=asked.side, threads=asked.threads)
    setup = {**vars(asked), "model": Path(asked.model).name, "projector": Path(asked.projector).name}
    result = {
        "date": datetime.date.today().isoformat(),
        "setup": setup,
        "processor": machine.processor(),
        "cores": os.cpu_count(),
        "load_average": load_average,
        **compare(bench, asked.rounds),
    }
    bench.close()
    say(json.dumps(result["medians"]))
    say(f"p99 beside images is {result['ratio']:.2f} times that of text alone")
    if asked.keep:
        measure.keep(FOLDER / f"{result['date']}.json", result)
        PAGE.write_text(page.replaced(PAGE.read_text(), section(result)))
    return 0 if result["ratio"] <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
