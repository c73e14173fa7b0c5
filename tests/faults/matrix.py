"""The faults that this cluster promises to survive, and where each promise is proven. Pure."""

from __future__ import annotations

from dataclasses import dataclass

#: What the page calls each run, in its order.
TITLES = {
    "killed": "Workers killed in mid-stream",
    "pocket": "The same with llama.cpp and the model in the box",
    "told-to-leave": "Workers told to leave",
    "frozen": "Workers frozen, and thawed when others have their work",
    "api-killed": "API processes killed",
    "hung-up": "Callers that leave",
    "poison": "Prompts that kill their worker",
    "burst": "Ten thousand posts at once",
    "booked": "Ten thousand requests beside the usage ledger",
}

FAULTS = "tests/cluster/test_faults.py"
MASS = "tests/cluster/test_mass.py"
REDIS = "tests/cluster/test_redis_faults.py"


@dataclass(frozen=True)
class Row:
    """`runs`: by their names in `TITLES`. `tests`: files."""

    number: str
    fault: str
    outcome: str
    runs: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()


MATRIX = (
    Row(
        "F1",
        "`kill -9` of a worker while it generates",
        "its lease runs out; another worker goes on behind the last token in the journal",
        ("killed", "pocket"),
        (MASS, FAULTS),
    ),
    Row(
        "F2",
        "`kill -9` of a worker in prefill",
        "another one computes the prompt; the client hears heartbeats",
        ("killed",),
        (MASS,),
    ),
    Row(
        "F3",
        "SIGTERM to a worker",
        "it takes nothing more, gives back what runs, and leaves",
        ("told-to-leave",),
        (MASS, FAULTS),
    ),
    Row(
        "F4",
        "SIGSTOP to a worker, later SIGCONT",
        "others have its work; what it still writes is refused",
        ("frozen",),
        (MASS, FAULTS),
    ),
    Row(
        "F5",
        "an API process is killed",
        "another one goes on with the stream for a client that comes back; else the worker is freed",
        ("api-killed",),
        ("tests/cluster/test_resume.py", FAULTS),
    ),
    Row("F6", "Redis restarts, with an append-only file", "streams pause and go on", (), (REDIS,)),
    Row("F7", "Redis restarts empty", "open requests end with an error, nothing hangs", (), (REDIS,)),
    Row("F8", "Redis has lost what it acknowledged", "a gap in the indices is found, and said", (), (REDIS,)),
    Row("F9", "a worker is cut off from Redis", "it drops its sequences; another one goes on", (), (REDIS,)),
    Row("F10", "an API process is cut off from Redis", "it is not ready; new requests are refused", (), (REDIS,)),
    Row("F11", "a slow and lossy network", "slower, in order", (), (REDIS,)),
    Row("F12", "a client that hardly reads", "bounded memory, then it is left", (), (REDIS, FAULTS)),
    Row(
        "F13",
        "a caller leaves: queued, in prefill, generating, or half",
        "its slot is free within a step",
        ("hung-up",),
        (FAULTS, MASS),
    ),
    Row(
        "F14",
        "a broken model file",
        "refused by name, other models go on",
        (),
        ("tests/cluster/test_worker_life.py", "tests/common/test_gguf.py"),
    ),
    Row(
        "F15",
        "not enough memory for a model",
        "a smaller fit, or a refusal with the numbers",
        (),
        ("tests/cluster/test_worker_life.py", "tests/workers/test_memory.py"),
    ),
    Row(
        "F16",
        "disk full, wrong checksum, or kill during a pull",
        "refused, or gone on with",
        (),
        ("tests/cluster/test_store.py",),
    ),
    Row(
        "F17",
        "a prompt that kills its worker",
        "it ends after two workers; what ran beside it goes on",
        ("poison",),
        (MASS, FAULTS),
    ),
    Row("F18", "clocks that differ or jump", "only durations count", (), (REDIS,)),
    Row("F19", "a ticket is delivered twice", "one generation", ("killed",), (MASS, "tests/cluster/test_bus.py")),
    Row("F20", "ten thousand posts at once", "exactly as many are taken in as may wait", ("burst",), (MASS,)),
    Row("F21", "Redis is full, or would evict", "no start; admission stops first", (), (REDIS,)),
    Row(
        "F22",
        "a step that never ends",
        "the worker ends itself",
        (),
        ("tests/workers/test_watchdog.py",),
    ),
    Row(
        "F23",
        "workers and API of different releases",
        "what is too new waits for a worker that can read it",
        (),
        ("tests/cluster/test_tickets.py", MASS),
    ),
    Row(
        "F24",
        "a batch through all of this",
        "every line has one answer",
        (),
        ("tests/cluster/test_batches.py",),
    ),
)
