"""An engine run by hand: requests in, events out, turn by turn."""

from __future__ import annotations

from typing import Any

from fakes import request
from tropilla.common.generation import Event, Finished, GenerationRequest, Sampling, TextPrompt, Token
from tropilla.workers.continuation import Past
from tropilla.workers.embeddings import Desk
from tropilla.workers.engine import Engine
from tropilla.workers.loop import Job, Loop, Outgoing

GREEDY = Sampling(temperature=0.0)


class Run:
    """A loop over the engine, turned by hand; afterwards the KV cache is empty again."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.events: dict[str, list[Event]] = {}
        self.scheduler = engine.scheduler()
        desk = Desk(engine._embedder, worker="w")
        self.loop = Loop(engine.model, self.scheduler, outbox=self._take, worker="w", desk=desk)
        self.jobs: list[Job] = []

    def _take(self, events: list[Outgoing]) -> None:
        for outgoing in events:
            self.events.setdefault(outgoing.job.request_id, []).append(outgoing.event)
            if outgoing.ends:
                outgoing.job.ended.set()

    def submit(self, asked: GenerationRequest, said: dict[int, list[Token]] | None = None) -> None:
        told = Past({choice: tuple(tokens) for choice, tokens in (said or {}).items()})
        sequences = self.engine.sequences(asked, told)
        self.jobs.append(Job(asked.id, 1, asked.choices))
        self.loop.submit(self.jobs[-1], sequences)

    def finish(self) -> None:
        self.loop.turn()
        while not self.loop.idle:
            self.loop.turn()
        self.scheduler.forget_idle()
        self.engine.model.move(self.scheduler.moves())

    def tokens(self, name: str = "r", choice: int = 0) -> list[Token]:
        return [e for e in self.events.get(name, []) if isinstance(e, Token) and e.choice == choice]

    def text(self, name: str = "r", choice: int = 0) -> str:
        return "".join(token.text for token in self.tokens(name, choice))

    def finished(self, name: str = "r") -> Finished:
        (found, *_) = [event for event in self.events[name] if isinstance(event, Finished)]
        return found


def answer(engine: Engine, **fields: Any) -> Run:
    run = Run(engine)
    run.submit(ask(**fields))
    run.finish()
    return run


ONCE = TextPrompt("Once upon a time")


def ask(prompt: Any = ONCE, name: str = "r", **fields: Any) -> GenerationRequest:
    return request(name, prompts=(prompt,), **{"sampling": GREEDY, "max_tokens": 24, **fields})
