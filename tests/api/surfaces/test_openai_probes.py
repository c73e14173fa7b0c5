"""What balancers and orchestrators read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fakes import MODEL, WORKER
from tropilla.api.surface import Surroundings
from tropilla.api.surfaces.openai.probes import liveness, readiness
from tropilla.common.catalogue import Catalogue, Sign, Trouble, Worker, catalogue
from tropilla.common.errors import StoreUnavailable, UnknownModel
from tropilla.common.keys import Principal
from tropilla.common.settings import Settings

WELL = replace(WORKER, sign=Sign(1.5, 0.02))
WEDGED = replace(WORKER, name="x@host", sign=Sign(99.0, 0.02, "a step has been running for 99 s"))


def around(*workers: Worker, **fields: Any) -> Surroundings:
    return Surroundings(catalogue(workers), Settings(), 0.0, staffed=lambda: True, **fields)


def test_it_tells_what_can_answer_and_why_the_rest_cannot() -> None:
    trouble = Trouble("not_gguf", "it is a page of HTML")
    seen = Surroundings(catalogue([WELL], (), {"broken": trouble}), Settings(), 0.0, answered=0.25)
    reply = readiness(seen, {})
    assert (reply.status, reply.body) == (
        200,
        {
            "status": "ready",
            "models": ["m"],
            "unavailable": {"broken": {"code": "not_gguf", "message": "it is a page of HTML"}},
            "workers": {
                "m": [
                    {
                        "name": "w@host",
                        "flavour": "cpu",
                        "state": "ready",
                        "decodes": True,
                        "reason": "",
                        "computed_seconds_ago": 1.5,
                        "canary_seconds": 0.02,
                    }
                ]
            },
            "redis": {"answers": True, "seconds": 0.25},
            "store": {"lives": False},
        },
    )


@pytest.mark.parametrize(
    ("workers", "status", "able", "decoding"),
    [
        ((), "unready", [], []),
        ((WELL,), "ready", ["m"], [True]),
        ((WELL, WEDGED), "ready", ["m"], [True, False]),
        ((WEDGED,), "unready", [], [False]),
        ((WORKER,), "ready", ["m"], [True]),
        ((replace(WELL, state="loading"),), "unready", [], [False]),
    ],
    ids=["nobody", "well", "one of two", "wedged", "of an older release", "loading"],
)
def test_a_model_is_ready_while_one_of_its_workers_decodes(
    workers: tuple[Worker, ...], status: str, able: list[str], decoding: list[bool]
) -> None:
    reply = readiness(around(*workers), {})
    assert (reply.status, reply.body["status"]) == (200 if status == "ready" else 503, status)
    assert reply.body["models"] == able
    assert [each["decodes"] for each in reply.body["workers"].get("m", [])] == decoding
    assert reply.body["store"] == {"lives": True}


def test_why_a_worker_computes_nothing_is_told_twice() -> None:
    body = readiness(around(WEDGED), {}).body
    assert body["unavailable"] == {"m": {"code": "wedged", "message": "x@host: a step has been running for 99 s"}}
    assert body["workers"]["m"][0]["reason"] == "a step has been running for 99 s"


def test_one_model_can_be_asked_for() -> None:
    other = replace(WEDGED, model=replace(MODEL, name="other"))
    assert readiness(around(WELL, other), {}).status == 200
    asked = readiness(around(WELL, other, query={"model": "m"}), {})
    assert (asked.status, asked.body["models"], list(asked.body["workers"])) == (200, ["m"], ["m"])
    asked = readiness(around(WELL, other, query={"model": "other"}), {})
    assert (asked.status, list(asked.body["unavailable"]), list(asked.body["workers"])) == (503, ["other"], ["other"])
    with pytest.raises(UnknownModel):
        readiness(around(WELL, query={"model": "nobody"}), {})


@pytest.mark.parametrize(("query", "status"), [("", 200), ("m", 200), ("broken", 503), ("nobody", 503)])
def test_a_stranger_hears_whether_and_no_names(query: str, status: int) -> None:
    stranger = Principal(private=True, scopes=())
    workers, troubles = catalogue([WELL, WEDGED]), {"broken": Trouble("not_gguf", "of w@host")}
    seen = replace(around(), catalogue=replace(workers, troubles=troubles), query={"model": query} if query else {})
    told = readiness(replace(seen, principal=stranger), {})
    assert (told.status, told.body["status"]) == (status, "ready" if status == 200 else "unready")
    assert (told.body["models"], told.body["unavailable"], told.body["workers"]) == ([], {}, {})
    assert "host" not in str(told.body)
    assert (told.body["redis"], told.body["store"]) == ({"answers": True, "seconds": 0.0}, {"lives": True})
    if query != "nobody":
        assert "host" in str(readiness(replace(seen, principal=Principal("k", scopes=("metrics",))), {}).body)


def test_where_redis_is_away_nobody_is_said_to_be_unknown() -> None:
    seen = Surroundings(Catalogue(), Settings(), 0.0, query={"model": "m"}, answered=None)
    reply = readiness(seen, {})
    assert (reply.status, reply.body["redis"]) == (503, {"answers": False, "seconds": None})


def test_a_redis_that_goes_between_two_questions_knows_of_no_store() -> None:
    def gone() -> bool:
        raise StoreUnavailable("Redis cannot serve")

    assert readiness(replace(around(WELL), staffed=gone), {}).body["store"] == {"lives": False}


def test_a_process_that_is_wedged_says_which_thread() -> None:
    assert (liveness(around(), {}).status, liveness(around(), {}).body) == (200, {"status": "alive", "threads": {}})
    reply = liveness(around(ailing={"steward": "has not turned for 31 s"}, answered=None), {})
    assert (reply.status, reply.body["status"]) == (503, "wedged")
    assert reply.body["threads"] == {"steward": "has not turned for 31 s"}
