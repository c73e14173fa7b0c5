"""Which lane a request waits in, over catalogues by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import MODEL, WORKER
from simulated import definition
from tropilla.api.placement import lane, look_again
from tropilla.common.catalogue import Catalogue, Definition, Lane, Trouble, Worker, catalogue
from tropilla.common.errors import ModelUnavailable, UnknownModel, UnsupportedBackend

CPU, GPU = WORKER, replace(WORKER, name="g", flavour="gpu")
IDLE, IDLE_GPU = (replace(worker, state="idle", model=None, name=f"i{worker.name}") for worker in (CPU, GPU))
#: With another model.
BUSY, BUSY_GPU = (replace(worker, model=replace(MODEL, name="o"), name=f"b{worker.name}") for worker in (CPU, GPU))
M, ON_GPU = definition("m"), definition("m", flavours=("gpu",))
MISSING = Trouble("file_missing", "its file is gone")
FAILED = Trouble("out_of_memory", "m takes 9 GB; 4 GB are free")


def chosen(*workers: Worker, stored: tuple[Definition, ...] = (), backlog: int = 0) -> str:
    def waiting(asked: Lane) -> int:
        assert asked == Lane("m", "gpu")
        return backlog

    return lane(catalogue(workers, stored), "m", waiting, 64).name


@pytest.mark.parametrize(
    ("workers", "stored", "name"),
    [
        pytest.param((CPU,), (), "m.cpu", id="cpu"),
        pytest.param((GPU,), (), "m.gpu", id="gpu"),
        pytest.param((CPU, GPU), (), "m.gpu", id="both"),
        pytest.param((CPU, replace(GPU, state="draining")), (), "m.cpu", id="the gpu worker leaves"),
        pytest.param((CPU, IDLE_GPU), (M,), "m.cpu", id="whoever has it comes before whoever could"),
        pytest.param((replace(CPU, state="loading"), IDLE_GPU), (M,), "m.cpu", id="and so does whoever loads it"),
        pytest.param((IDLE, replace(BUSY_GPU, next_pin="m")), (M,), "m.gpu", id="or will"),
        pytest.param((IDLE, IDLE_GPU), (M,), "m.gpu", id="idle ones of both flavours"),
        pytest.param((IDLE, BUSY_GPU), (M,), "m.cpu", id="an idle one before a busy gpu"),
        pytest.param((BUSY, BUSY_GPU), (M,), "m.gpu", id="busy ones of both flavours"),
        pytest.param((BUSY,), (M,), "m.cpu", id="a busy one"),
        pytest.param((IDLE, BUSY_GPU), (ON_GPU,), "m.gpu", id="a recipe for gpus"),
    ],
)
def test_a_request_waits_where_a_worker_will_find_it(
    workers: tuple[Worker, ...], stored: tuple[Definition, ...], name: str
) -> None:
    assert chosen(*workers, stored=stored) == name


@pytest.mark.parametrize(("backlog", "name"), [(0, "m.gpu"), (64, "m.gpu"), (65, "m.cpu")])
def test_what_gpu_workers_do_not_manage_spills_over_to_cpu_workers(backlog: int, name: str) -> None:
    assert chosen(CPU, GPU, backlog=backlog) == name


def test_nothing_spills_over_to_a_worker_that_is_not_ready() -> None:
    for other in (replace(CPU, state="loading"), replace(CPU, state="draining"), IDLE):
        assert chosen(GPU, other, stored=(M,), backlog=1000) == "m.gpu"


def test_a_model_that_nobody_serves_is_unknown() -> None:
    for seen in (Catalogue(), catalogue([replace(CPU, state="loading")])):
        with pytest.raises(UnknownModel):
            lane(seen, "m", lambda _: 0, 64)


@pytest.mark.parametrize(
    ("seen", "kind", "message", "retry"),
    [
        (catalogue([IDLE], [M], failures={"m": {IDLE.name: FAILED}}), ModelUnavailable, FAILED.message, None),
        (catalogue([IDLE], [ON_GPU]), ModelUnavailable, "no worker can load m", 10),
        (catalogue([], [M]), ModelUnavailable, "no worker can load m", 10),
        (catalogue([], [], {"m": Trouble("downloading", "40 %")}), ModelUnavailable, "40 %", 10),
        (catalogue([], [], {"m": Trouble("not_gguf", "HTML")}), ModelUnavailable, "HTML", None),
        (catalogue([], [], {"m": Trouble("backend_unsupported", "vllm")}), UnsupportedBackend, "vllm", None),
    ],
)
def test_what_is_the_matter_with_a_model_is_said_before_anybody_waits(
    seen: Catalogue, kind: type[ModelUnavailable], message: str, retry: int | None
) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        lane(seen, "m", lambda _: 0, 64)
    assert (type(caught.value), caught.value.message, caught.value.retry_after_seconds) == (kind, message, retry)


ON_CPU_LANE, ON_GPU_LANE = Lane("m", "cpu"), Lane("m", "gpu")


@pytest.mark.parametrize(
    ("workers", "stored", "waits", "goes_on"),
    [
        pytest.param((GPU,), (M,), ON_GPU_LANE, ON_GPU_LANE, id="served"),
        pytest.param((GPU,), (M,), ON_CPU_LANE, ON_CPU_LANE, id="served by one that helps"),
        pytest.param((CPU,), (M,), ON_GPU_LANE, ON_CPU_LANE, id="the gpu worker is gone"),
        pytest.param((CPU,), (), ON_GPU_LANE, ON_CPU_LANE, id="of a model that nobody defined, too"),
        pytest.param((CPU, replace(GPU, state="draining")), (M,), ON_GPU_LANE, ON_CPU_LANE, id="or goes"),
        pytest.param((CPU, replace(GPU, state="loading")), (M,), ON_GPU_LANE, ON_GPU_LANE, id="or comes back"),
        pytest.param((replace(CPU, state="loading"),), (M,), ON_GPU_LANE, ON_CPU_LANE, id="a cpu worker loads it"),
        pytest.param((IDLE,), (M,), ON_GPU_LANE, ON_CPU_LANE, id="a cpu worker could load it"),
        pytest.param((BUSY,), (M,), ON_GPU_LANE, ON_CPU_LANE, id="later"),
        pytest.param((IDLE, BUSY_GPU), (M,), ON_GPU_LANE, ON_GPU_LANE, id="a gpu worker will"),
        pytest.param((IDLE, BUSY_GPU), (ON_GPU,), ON_GPU_LANE, ON_GPU_LANE, id="a recipe for gpus stays"),
        pytest.param((IDLE_GPU,), (M,), ON_CPU_LANE, ON_CPU_LANE, id="a gpu worker finds it here"),
    ],
)
def test_a_request_goes_on_waiting_where_somebody_comes(
    workers: tuple[Worker, ...], stored: tuple[Definition, ...], waits: Lane, goes_on: Lane
) -> None:
    assert look_again(catalogue(workers, stored), "m", waits) == goes_on


@pytest.mark.parametrize(
    ("seen", "trouble"),
    [
        (Catalogue(), Trouble("no_worker", "no worker serves m any more")),
        (catalogue([BUSY]), Trouble("no_worker", "no worker serves m any more")),
        (catalogue([], [M]), Trouble("no_worker", "no worker can load m")),
        (catalogue([IDLE], [ON_GPU]), Trouble("no_worker", "no worker can load m")),
        (catalogue([IDLE], [M], failures={"m": {IDLE.name: FAILED}}), FAILED),
        (catalogue([], [], {"m": MISSING}), MISSING),
    ],
)
def test_a_request_for_which_nobody_will_come_is_told_why(seen: Catalogue, trouble: Trouble) -> None:
    assert look_again(seen, "m", ON_GPU_LANE) == trouble
