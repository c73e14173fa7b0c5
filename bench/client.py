"""The one client of all servers, a process of its own: reads a job on stdin, writes a record on stdout.

While it measures it only cuts events apart and notes when they came; their JSON is read when everything has ended. Whoever
gives fewer tokens than were asked for ends the run: unequal work has no ratio.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from bench.jobs import Job, Record, Seen
from bench.places import ROOT, BenchError
from bench.wire import Answer, post
from bench.words import words_in

PATH = "/v1/completions"
DONE = b"[DONE]"
READ_BYTES = 1 << 16
SHOWN_ERROR = 300
SECONDS_AT_MOST = 900.0


def run(job: Job) -> Record:
    """The record of a job, done by a fresh process."""
    command = [sys.executable, "-m", "bench.client"]
    done = subprocess.run(command, input=job.encode(), capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        raise BenchError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "The client died.")
    return Record.decode(done.stdout)


class Stream:
    """One request on its way: what came, and when."""

    def __init__(self, job: Job, body: Mapping[str, Any]) -> None:
        self.body = body
        self.sent = 0.0
        self.events: list[tuple[float, list[bytes]]] = []
        self.progressed = asyncio.Event()
        self._job = job
        self._request = post(job.path, job.port, json.dumps(body).encode())
        self._answer = Answer()
        self._seen = 0

    async def run(self) -> None:
        self.sent = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._job.port)
        writer.write(self._request)
        while data := await reader.read(READ_BYTES):
            now = time.perf_counter()
            if events := self._answer.feed(data):
                self.events.append((now, events))
                self._seen += len(events)
                if self._seen >= self._job.intrude_after:
                    self.progressed.set()
                if events[-1] == DONE:
                    break
        writer.close()

    def read(self) -> Seen:
        """What it all meant. Raises where it is not the work that was asked for."""
        head = self._answer.head
        if head is None or head.status != 200:
            said = self._answer.rest.decode(errors="replace")[:SHOWN_ERROR]
            raise BenchError(f"Port {self._job.port} answered {head.status if head else 'nothing'}: {said}")
        arrivals: list[float] = []
        tokens: list[int] = []
        usage: dict[str, Any] = {}
        for when, events in self.events:
            count = 0
            for event in events:
                if event == DONE:
                    continue
                said = json.loads(event)
                if "error" in said:
                    raise BenchError(f"Port {self._job.port} broke off: {event.decode()[:SHOWN_ERROR]}")
                usage = said.get("usage") or usage
                count += sum(words_in(choice.get("text") or "") for choice in said["choices"])
            if count:
                arrivals.append(when)
                tokens.append(count)
        self._check(sum(tokens), usage)
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        counts = (usage.get("completion_tokens"), usage.get("prompt_tokens"), cached)
        return Seen(self.sent, tuple(arrivals), tuple(tokens), *counts)

    def _check(self, shown: int, usage: Mapping[str, Any]) -> None:
        asked = self.body["max_tokens"]
        told = usage.get("completion_tokens", asked)
        if not shown == told == asked:
            raise BenchError(f"Port {self._job.port} gave {shown} tokens and said {told} where {asked} were asked for.")
        prompt = self.body["prompt"]
        if isinstance(prompt, list) and usage.get("prompt_tokens", len(prompt)) != len(prompt):
            raise BenchError(f"Port {self._job.port} read {usage['prompt_tokens']} of {len(prompt)} prompt tokens.")


async def perform(job: Job) -> Record:
    streams = [Stream(job, body) for body in job.bodies]
    intruder = Stream(job, job.intruder) if job.intruder is not None else None
    waiting = iter(streams)

    async def lane() -> None:
        for stream in waiting:
            await stream.run()

    async def intrude(stream: Stream) -> None:
        for other in streams[: job.streams]:
            await other.progressed.wait()
        await stream.run()

    running = [lane() for _ in range(job.streams)]
    if intruder:
        running.append(intrude(intruder))
    await asyncio.wait_for(asyncio.gather(*running), SECONDS_AT_MOST)
    return Record(tuple(stream.read() for stream in streams), intruder.read() if intruder else None)


def main() -> int:
    job = Job.decode(sys.stdin.read())
    gc.disable()
    try:
        print(asyncio.run(perform(job)).encode())
    except (BenchError, OSError, TimeoutError) as error:
        print(f"{error or type(error).__name__}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
