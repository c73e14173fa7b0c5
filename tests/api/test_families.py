"""What /metrics says beside TGI's names, read back by Prometheus's own parser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from fakes import MODEL, WORKER
from prometheus_client.parser import text_string_to_metric_families
from tropilla.api.counted import COUNTED
from tropilla.api.exposition import Family, Sample, histogram, page
from tropilla.api.families import families
from tropilla.common.catalogue import Catalogue
from tropilla.common.metrics import (
    BETWEEN_TOKENS,
    DURATIONS,
    EACH_TOKEN,
    FIRST_TOKEN,
    TOKENS,
    WAITS,
    Counts,
    Key,
    Load,
    Queued,
    Reading,
    Standing,
    Tally,
)

STANDING = Standing(0.002, 1000, 4000, 3, 1, 2, (50, 200), "1.2")
READY = Catalogue((WORKER, replace(WORKER, name="idle@host", state="idle", model=None)))

Numbers = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def told(reading: Reading, catalogue: Catalogue = READY) -> Numbers:
    """Every sample, as Prometheus would have it."""
    found = text_string_to_metric_families(page(families(catalogue, reading)))
    samples = [sample for family in found for sample in family.samples]
    assert len({(s.name, frozenset(s.labels.items())) for s in samples}) == len(samples), "a sample is told twice"
    return {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}


def of(numbers: Numbers, metric: str, **labels: str) -> float:
    """Of the only sample of that name with these labels among its own. `class_` is `class`."""
    wanted = {(name.rstrip("_"), value) for name, value in labels.items()}
    [number] = [number for (name, has), number in numbers.items() if name == metric and wanted <= has]
    return number


def written(tally: Tally) -> Counts:
    found: dict[Key, float] = {}
    tally.flush(found.update)
    return found


def test_the_cluster_as_it_stands() -> None:
    numbers = told(Reading(standing=STANDING))
    assert of(numbers, "tropilla_build_info", version="1.2") == 1
    assert [of(numbers, "tropilla_processes", role=role) for role in ("api", "worker", "store")] == [3, 2, 1]
    assert of(numbers, "tropilla_redis_round_trip_seconds") == 0.002
    assert (of(numbers, "tropilla_redis_used_bytes"), of(numbers, "tropilla_redis_limit_bytes")) == (1000, 4000)
    assert (of(numbers, "tropilla_store_disk_free_bytes"), of(numbers, "tropilla_store_disk_bytes")) == (50, 200)
    assert of(numbers, "tropilla_dead_requests") == 2
    assert of(numbers, "tropilla_workers", state="ready", model="m", flavour="cpu") == 1
    assert of(numbers, "tropilla_workers", state="idle", model="") == 1


def test_a_store_that_says_nothing_of_its_disk_is_not_told_to_have_none() -> None:
    names = {name for name, _ in told(Reading(standing=replace(STANDING, disk=None)))}
    assert not [name for name in names if "disk" in name]


def test_who_waits_is_told_by_model_flavour_and_class_and_so_is_nobody() -> None:
    queued = (Queued("m", "cpu", "batch", 4, 12.5), Queued("loads-later", "gpu", "normal", 1, 3.0))
    numbers = told(Reading(queued=queued))
    assert of(numbers, "tropilla_queue_requests", model="m", class_="batch") == 4
    assert of(numbers, "tropilla_queue_oldest_seconds", model="m", flavour="cpu", class_="batch") == 12.5
    assert of(numbers, "tropilla_queue_oldest_seconds", model="loads-later", flavour="gpu") == 3.0
    for priority in ("interactive", "normal"):
        assert of(numbers, "tropilla_queue_requests", model="m", class_=priority) == 0


def test_what_workers_have_and_what_of_it_is_taken() -> None:
    ours = Load("m", 2, 40, 10, running=3, slots=4, waiting=2, used=300, cells=4096, worker=WORKER.name)
    gone = replace(ours, worker="gone@host")
    large = replace(WORKER, resident_bytes=10_000, gpu_bytes=6000)
    numbers = told(Reading(loads=(ours, gone)), Catalogue((large,)))
    found = [
        of(numbers, f"tropilla_{name}")
        for name in ("slots", "slots_used", "slots_waiting", "kv_cells", "kv_cells_used")
    ]
    assert found == [4, 3, 2, 4096, 300]
    assert of(numbers, "tropilla_model_resident_bytes", worker=WORKER.name, model="m", flavour="cpu") == 10_000
    assert of(numbers, "tropilla_model_gpu_bytes") == 6000


def test_counters_begin_at_nothing_so_that_their_first_rise_is_seen() -> None:
    numbers = told(Reading(standing=STANDING))
    assert of(numbers, "tropilla_requests_total", model="m", outcome="failed:worker_crashed") == 0
    assert of(numbers, "tropilla_admissions_total", model="m", outcome="key") == 0
    assert of(numbers, "tropilla_workers_lost_total") == 0
    assert of(numbers, "tropilla_generated_tokens_total", model="m") == 0


def test_counters_are_told_as_they_are_counted() -> None:
    counts = {
        Key("requests", "m", "completed"): 2.0,
        Key("requests", "m", "failed:internal"): 1.0,
        Key("generated_tokens", "m"): 1e17,
        Key("generated_tokens", "gone"): 7.0,
        Key("attempts", "m", "worker_lost"): 3.0,
        Key("workers_lost"): 5.0,
    }
    numbers = told(Reading(counts, standing=STANDING))
    assert of(numbers, "tropilla_requests_total", outcome="completed") == 2
    assert of(numbers, "tropilla_requests_total", outcome="failed:internal") == 1
    assert of(numbers, "tropilla_generated_tokens_total", model="m") == 1e17
    assert of(numbers, "tropilla_generated_tokens_total", model="gone") == 7
    assert of(numbers, "tropilla_attempts_total", model="m", cause="worker_lost") == 3
    assert of(numbers, "tropilla_workers_lost_total") == 5


def test_one_models_page_has_nothing_of_the_cluster_or_of_other_models() -> None:
    other = replace(MODEL, name="n")
    both = Catalogue((WORKER, replace(WORKER, name="v@host", model=other)))
    counts = {Key("requests", "m", "completed"): 2.0, Key("requests", "n", "completed"): 3.0}
    reading = Reading(counts, (Queued("n", "cpu", "normal", 1, 1.0),), standing=STANDING)
    numbers = told(reading.of("m"), both.alone(MODEL))
    assert {dict(labels).get("model", "m") for _, labels in numbers} == {"m"}
    assert not [name for name, _ in numbers if "redis" in name or "workers_lost" in name]


def test_the_names_and_bounds_of_opentelemetry() -> None:
    """Its semantic conventions for generative AI, as of November 2026."""
    tally = Tally()
    tally.observe("gen_ai_request", 3.0, DURATIONS, "m", label="chat")
    tally.observe("gen_ai_request", 3.0, DURATIONS, "m", label="chat,dropped")
    tally.observe("gen_ai_first_token", 0.3, FIRST_TOKEN, "m", label="chat")
    tally.observe("gen_ai_each_token", 0.02, EACH_TOKEN, "m", label="chat")
    tally.observe("gen_ai_tokens", 100, TOKENS, "m", label="chat,output")
    numbers = told(Reading(written(tally)))
    ours = {"gen_ai_request_model": "m", "gen_ai_operation_name": "chat", "gen_ai_provider_name": "tropilla"}
    duration = "gen_ai_server_request_duration_seconds_bucket"
    whole = frozenset({*ours.items(), ("le", "2.56")})
    assert (numbers[duration, whole], of(numbers, duration, le="5.12", error_type="dropped")) == (0, 1)
    for name, below, above in (
        ("server_time_to_first_token_seconds", "0.25", "0.5"),
        ("server_time_per_output_token_seconds", "0.01", "0.025"),
        ("client_token_usage", "64", "256"),
    ):
        found = [of(numbers, f"gen_ai_{name}_bucket", **ours, le=bound) for bound in (below, above)]
        assert found == [0, 1], name
    assert of(numbers, "gen_ai_client_token_usage_sum", gen_ai_token_type="output") == 100
    assert (DURATIONS[-1], len(DURATIONS), TOKENS[-1], len(TOKENS)) == (81.92, 14, 67_108_864, 14)


def test_a_wait_that_redis_counts_falls_into_a_bucket_of_ours() -> None:
    counts = {
        Key("queue_wait", "m", "normal", repr(WAITS[4])): 2.0,
        Key("queue_wait", "m", "normal", "+Inf"): 1.0,
        Key("queue_wait", "m", "normal", "sum"): 4000.25,
    }
    numbers = told(Reading(counts))
    buckets = [of(numbers, "tropilla_queue_wait_seconds_bucket", le=bound) for bound in ("0.05", "0.1", "3600")]
    assert buckets == [0, 2, 2]
    assert of(numbers, "tropilla_queue_wait_seconds_count", class_="normal") == 3
    assert of(numbers, "tropilla_queue_wait_seconds_sum") == 4000.25


def test_one_value_may_stand_for_several_answers() -> None:
    tally = Tally()
    tally.observe("inter_token", 0.02, BETWEEN_TOKENS, "m", times=3)
    numbers = told(Reading(written(tally)))
    assert of(numbers, "tropilla_inter_token_seconds_count", model="m") == 3
    assert of(numbers, "tropilla_inter_token_seconds_sum") == pytest.approx(0.06)


def test_every_name_follows_prometheus_habits() -> None:
    assert len({counted.name for counted in COUNTED}) == len({counted.key for counted in COUNTED}) == len(COUNTED)
    for counted in COUNTED:
        assert counted.bounds or counted.name.endswith("_total"), counted.name
        assert not counted.bounds or not counted.name.endswith("_total"), counted.name
        assert list(counted.bounds) == sorted(set(counted.bounds)), counted.name


@pytest.mark.parametrize("value", ['a"b', "a\\b", "a\nb", "a,b={}", "ä"])
def test_any_text_may_be_a_label(value: str) -> None:
    told = page([Family("x", "gauge", f"Help of\n{value}.", (Sample((("l", value),), 1.5),))])
    [family] = text_string_to_metric_families(told)
    assert (family.samples[0].labels, family.samples[0].value) == ({"l": value}, 1.5)


def test_families_without_samples_are_left_out() -> None:
    assert page([Family("x", "gauge", "Nothing.", ())]) == ""


def test_what_was_observed_under_other_bounds_counts_at_the_next_one() -> None:
    samples = histogram((), {"1.0": 1, "3.0": 2, "+Inf": 4, "sum": 50}, (2.0, 4.0))
    assert [sample.value for sample in samples] == [1, 3, 7, 50, 7]
