"""What /metrics says beside TGI's own names: `tropilla_*`, the cluster's, and `gen_ai_*`, in the terms of OpenTelemetry's
conventions for generative AI. Pure.

Counters and histograms are the whole cluster's, whichever process is asked: the processes add up in Redis, and what ends
there is counted by the script that ends it. So one address is to be scraped, not each process, or sums count twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from tropilla.api.counted import COUNTED, Counted
from tropilla.api.exposition import Family, Kind, Sample, histogram
from tropilla.common.catalogue import Catalogue, Worker
from tropilla.common.metrics import Load, Reading, Standing
from tropilla.common.terms import PRIORITIES


def families(catalogue: Catalogue, reading: Reading) -> Iterator[Family]:
    if reading.standing is not None:
        yield from _standing(reading.standing, catalogue)
    yield from _queues(catalogue, reading)
    yield from _workers(catalogue, reading.loads)
    yield from _counted(catalogue, reading)


def _gauge(name: str, help_text: str, samples: Iterable[tuple[Mapping[str, str], float]]) -> Family:
    told = tuple(Sample(tuple(labels.items()), value) for labels, value in samples)
    return Family(f"tropilla_{name}", "gauge", help_text, told)


def _standing(standing: Standing, catalogue: Catalogue) -> Iterator[Family]:
    processes = {"api": standing.api_processes, "worker": len(catalogue.workers), "store": standing.stores}
    yield _gauge("build_info", "The release of the API process that answers.", [({"version": standing.version}, 1)])
    yield _gauge("processes", "Processes that live.", [({"role": role}, n) for role, n in processes.items()])
    yield _gauge("redis_round_trip_seconds", "Asking Redis whether it is there.", [({}, standing.round_trip_seconds)])
    yield _gauge("redis_used_bytes", "Memory that Redis uses.", [({}, standing.redis_used)])
    yield _gauge("redis_limit_bytes", "Redis's maxmemory; 0 is none.", [({}, standing.redis_limit)])
    yield _gauge("dead_requests", "Requests kept aside because of the workers they have cost.", [({}, standing.dead)])
    if standing.disk is not None:
        free, total = standing.disk
        yield _gauge("store_disk_free_bytes", "What is left of the disk of the models' folder.", [({}, free)])
        yield _gauge("store_disk_bytes", "The size of that disk.", [({}, total)])


def _queues(catalogue: Catalogue, reading: Reading) -> Iterator[Family]:
    """Of a model that can answer the queues nobody is in are told, too: what scales by them must not miss a 0."""
    empty = [
        (model.name, flavour, priority)
        for model in catalogue.models
        for flavour in sorted(catalogue.flavours(model.pin)) or ("cpu",)
        for priority in PRIORITIES
    ]
    found = {(queue.model, queue.flavour, queue.priority): queue for queue in reading.queued}
    places = sorted({*empty, *found})
    told = [({"model": model, "flavour": flavour, "class": priority}, found.get((model, flavour, priority)))
            for model, flavour, priority in places]  # fmt: skip
    yield _gauge(
        "queue_requests", "Requests that wait for a worker.", [(labels, q.count if q else 0) for labels, q in told]
    )
    yield _gauge(
        "queue_oldest_seconds",
        "How long the first of them has waited; 0 where nobody does.",
        [(labels, q.oldest_seconds if q else 0.0) for labels, q in told],
    )


def _workers(catalogue: Catalogue, loads: tuple[Load, ...]) -> Iterator[Family]:
    workers = {worker.name: worker for worker in catalogue.workers if worker.model or not catalogue.only}
    states: dict[tuple[str, str, str], int] = defaultdict(int)
    for worker in workers.values():
        states[_model(worker), worker.flavour, worker.state] += 1
    yield _gauge(
        "workers",
        "Workers, by what they do about which model.",
        [
            ({"model": model, "flavour": flavour, "state": state}, count)
            for (model, flavour, state), count in sorted(states.items())
        ],
    )
    known = [(_place(workers[load.worker]), load) for load in loads if load.worker in workers]
    for name, help_text, values in (
        ("slots", "Sequences that a worker may compute at once.", [load.slots for _, load in known]),
        ("slots_used", "Of those, the ones that are taken.", [load.running for _, load in known]),
        (
            "slots_waiting",
            "Sequences that a worker has taken and that wait there for a slot.",
            [load.waiting for _, load in known],
        ),
        ("kv_cells", "Tokens that a worker's KV cache has room for.", [load.cells for _, load in known]),
        (
            "kv_cells_used",
            "Of those, the ones taken, prefixes that are kept included.",
            [load.used for _, load in known],
        ),
    ):
        yield _gauge(name, help_text, zip((labels for labels, _ in known), values, strict=True))
    signs = [(_place(worker), worker.sign) for worker in workers.values() if worker.sign is not None]
    for name, help_text, told in (
        ("canary_age_seconds", "Since a worker's model computed anything.", [sign.age for _, sign in signs]),
        ("canary_seconds", "What its last canary took.", [sign.seconds for _, sign in signs]),
        ("canary_missed", "1 where nothing comes of what it is asked.", [float(bool(s.trouble)) for _, s in signs]),
    ):
        yield _gauge(name, help_text, zip((labels for labels, _ in signs), told, strict=True))
    pinned = [worker for worker in workers.values() if worker.model]
    for name, help_text, sizes in (
        ("model_resident_bytes", "Memory that a worker's model takes.", [worker.resident_bytes for worker in pinned]),
        ("model_gpu_bytes", "Of that, a GPU's.", [worker.gpu_bytes for worker in pinned]),
    ):
        yield _gauge(name, help_text, zip(map(_place, pinned), sizes, strict=True))


def _model(worker: Worker) -> str:
    return worker.model.name if worker.model else ""


def _place(worker: Worker) -> dict[str, str]:
    return {"worker": worker.name, "model": _model(worker), "flavour": worker.flavour}


def _counted(catalogue: Catalogue, reading: Reading) -> Iterator[Family]:
    books: dict[str, dict[tuple[str, str], dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for key, amount in reading.counts.items():
        books[key.name][key.model, key.label][key.place] = amount
    models = [model.name for model in catalogue.models]
    for counted in COUNTED:
        series = books.get(counted.key, {})
        for model in models if counted.model else [""] if reading.standing else []:
            series |= {(model, label): {"": 0.0} for label in counted.starts if (model, label) not in series}
        kind: Kind = "histogram" if counted.bounds else "counter"
        yield Family(counted.name, kind, counted.help, tuple(_samples(counted, series)))


def _samples(counted: Counted, series: Mapping[tuple[str, str], Mapping[str, float]]) -> Iterator[Sample]:
    for (model, label), places in sorted(series.items()):
        named = ((counted.model, model),) if counted.model else ()
        values = label.split(",") if counted.labels else []
        labels = (*counted.constant, *named, *zip(counted.labels, values, strict=False))
        if counted.bounds:
            yield from histogram(labels, places, counted.bounds)
        else:
            yield Sample(labels, places.get("", 0.0))
