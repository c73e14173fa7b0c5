"""The page of GET /metrics, by the sheet's section 13."""

from __future__ import annotations

from dataclasses import replace

from scene import POCKET
from tropilla.api.surface import Surroundings
from tropilla.api.surfaces.tgi.metrics import METRICS, metrics
from tropilla.common.catalogue import Catalogue, Worker
from tropilla.common.metrics import SECONDS, Counts, Key, Load, Queued, Reading, Tally, hundredths
from tropilla.common.settings import Settings

QUEUED = (Queued("a", "cpu", "normal", 2, 1.0), Queued("b", "cpu", "normal", 3, 1.0))
SMALL = replace(POCKET, name="small", context_length=100)
#: Section 13, word for word.
NAMES = {
    *("request_count", "request_success", "request_failure", "request_duration", "request_validation_duration"),
    *("request_queue_duration", "request_inference_duration", "request_mean_time_per_token_duration"),
    *("request_generated_tokens", "request_input_length", "request_max_new_tokens", "request_skipped_tokens"),
    *("batch_inference_count", "batch_inference_success", "batch_inference_failure", "batch_inference_duration"),
    *("batch_forward_duration", "batch_decode_duration", "batch_filter_duration", "batch_concat_duration"),
    *("batch_concat", "batch_next_size"),
}


def page(counts: Counts | None = None, reading: Reading | None = None) -> list[str]:
    workers = tuple(Worker(m.name, "cpu", "ready", 1, m) for m in (SMALL, replace(POCKET, context_length=200)))
    around = Surroundings(Catalogue(workers), Settings(), 0.0)
    reply = metrics(around, reading or Reading(counts or {}))
    assert reply.headers["Content-Type"].startswith("text/plain")
    assert reply.body.endswith("\n")
    return str(reply.body).splitlines()


def counted(tally: Tally) -> list[str]:
    found: dict[Key, float] = {}
    tally.flush(found.update)
    return page(found)


def test_every_name_of_the_sheet_is_there_and_no_other() -> None:
    assert {metric.name for metric in METRICS} == NAMES


def test_counters_have_no_suffix_and_start_at_nothing() -> None:
    assert "tgi_request_count 5" in page({Key("request_count", "m"): 4, Key("request_count"): 1})
    assert "tgi_request_count 0" in page()
    assert "# TYPE tgi_request_count counter" in page()


def test_a_label_makes_its_own_series() -> None:
    lines = page({Key("request_failure", "m", "overloaded"): 2, Key("request_failure", "", "validation"): 1})
    assert lines.count("# TYPE tgi_request_failure counter") == 1
    assert 'tgi_request_failure{err="overloaded"} 2' in lines
    assert 'tgi_request_failure{err="validation"} 1' in lines


def test_a_histogram_is_cumulative_over_all_its_bounds() -> None:
    tally = Tally()
    for seconds in (0.0, 0.0002, 0.0002, 1e6):
        tally.observe("batch_forward_duration", seconds, SECONDS, "m", label="decode")
    lines = [line for line in counted(tally) if line.startswith("tgi_batch_forward")]
    assert lines[0] == 'tgi_batch_forward_duration_bucket{method="decode",le="0.00015"} 1'
    assert lines[1] == 'tgi_batch_forward_duration_bucket{method="decode",le="0.000225"} 3'
    assert lines[34].endswith(" 3")
    assert lines[35:] == [
        'tgi_batch_forward_duration_bucket{method="decode",le="+Inf"} 4',
        'tgi_batch_forward_duration_sum{method="decode"} 1000000.0004',
        'tgi_batch_forward_duration_count{method="decode"} 4',
    ]


def test_models_of_other_contexts_are_told_in_the_largest_ones_buckets() -> None:
    tally = Tally()
    tally.observe("request_generated_tokens", 3, hundredths(100), "small")
    tally.observe("request_generated_tokens", 3, hundredths(200), "pocket")
    lines = counted(tally)
    assert 'tgi_request_generated_tokens_bucket{le="2"} 0' in lines
    assert 'tgi_request_generated_tokens_bucket{le="4"} 2' in lines
    assert "tgi_request_generated_tokens_sum 6" in lines
    assert 'tgi_request_input_length_bucket{le="1.99"} 0' not in lines


def test_gauges_add_up_over_workers_and_models() -> None:
    lines = page(reading=Reading({}, QUEUED, (Load("a", 1, 10, 5), Load("b", 2, 20, 7))))
    values = ("queue_size 5", "batch_current_size 3", "batch_current_max_tokens 30", "batch_total_tokens 12")
    assert all(f"tgi_{value}" in lines for value in values)
    assert "# TYPE tgi_queue_size gauge" in lines


def test_each_line_is_a_comment_or_a_number() -> None:
    tally = Tally()
    tally.count("batch_concat", "m", label="joined")
    tally.observe("request_duration", 0.1, SECONDS, "m")
    for line in counted(tally):
        if not line.startswith(("# HELP ", "# TYPE ")):
            name, number = line.rsplit(" ", 1)
            assert name.startswith(("tgi_", "tropilla_"))
            assert float(number) >= 0
