"""Who wants spans, what is said where they cannot be had, and what it costs where nobody does."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterable

import pytest
from tropilla.common import tracing
from tropilla.common.errors import ConfigurationError
from tropilla.common.settings import Settings
from tropilla.common.spans import Place, Span

SOMEWHERE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("setting", "environment", "wanted"),
    [
        ("auto", {}, False),
        ("auto", SOMEWHERE, True),
        ("auto", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ("auto", {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ("auto", {**SOMEWHERE, "OTEL_SDK_DISABLED": "true"}, False),
        ("on", {}, True),
        ("off", SOMEWHERE, False),
    ],
)
def test_spans_are_made_where_somebody_collects_them(setting: str, environment: dict[str, str], wanted: bool) -> None:
    assert tracing.wanted(Settings(traces=setting), environment) is wanted


def test_where_nobody_collects_there_is_no_collector() -> None:
    assert tracing.collector(Settings(traces="off"), "api", environment=SOMEWHERE) is None


def test_without_the_extra_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigurationError, match=r"is not installed: pip install 'tropilla\[otel\]'"):
        tracing.collector(Settings(), "api", environment=SOMEWHERE)
    tracing.check(Settings(), {})


def test_nothing_of_it_is_imported_where_nobody_collects() -> None:
    """redis-py looks for the metrics half by itself, where that is installed."""
    script = (
        "import sys, tropilla.api.app, tropilla.workers.pin\n"
        "from tropilla.common import tracing\n"
        "from tropilla.common.settings import Settings\n"
        "assert tracing.collector(Settings(), 'api', environment={}) is None\n"
        "ours = ('opentelemetry.exporter', 'opentelemetry.sdk.trace')\n"
        "print([name for name in sys.modules if name.startswith(ours)])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


class Kept:
    """In place of an exporter."""

    def __init__(self) -> None:
        self.spans: list[object] = []

    def on_end(self, span: object) -> None:
        self.spans.append(span)


@pytest.fixture
def otlp(monkeypatch: pytest.MonkeyPatch) -> Iterable[tracing.Collector]:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=mine,deployment.environment=test")
    found = tracing.collector(Settings(traces="on"), "api", environment={})
    assert found is not None
    yield found
    found.close()


def test_a_span_arrives_as_it_was_told(otlp: tracing.Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Kept()
    monkeypatch.setattr(otlp, "_processor", kept)
    above = otlp.begin(None)
    below, before = otlp.begin(above), above.derived("before")
    assert (below.trace, below.sampled) == (above.trace, True)
    otlp.tell([Span("x", below, above, 5, 9, {"a": 1}, kind="server", error="worker_lost", links=(before,))])
    (span,) = kept.spans
    assert (span.name, span.start_time, span.end_time) == ("x", 5, 9)  # type: ignore[attr-defined]
    assert f"{span.context.span_id:016x}" == below.span  # type: ignore[attr-defined]
    assert f"{span.parent.span_id:016x}" == above.span  # type: ignore[attr-defined]
    assert span.attributes == {"a": 1, "error.type": "worker_lost"}  # type: ignore[attr-defined]
    assert not span.status.is_ok  # type: ignore[attr-defined]
    assert [f"{link.context.span_id:016x}" for link in span.links] == [before.span]  # type: ignore[attr-defined]
    assert span.resource.attributes["service.name"] == "mine"  # type: ignore[attr-defined]
    assert span.resource.attributes["service.version"]  # type: ignore[attr-defined]
    monkeypatch.undo()


def test_a_trace_that_its_caller_does_not_collect_is_not_collected_here(
    otlp: tracing.Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept()
    monkeypatch.setattr(otlp, "_processor", kept)
    place = otlp.begin(Place("ab" * 16, "cd" * 8, sampled=False))
    assert not place.sampled
    otlp.tell([Span("x", place, None, 1, 2, {})])
    assert kept.spans == []
    monkeypatch.undo()


def test_nobody_who_leaves_waits_for_a_collector_that_is_away(
    otlp: tracing.Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, over = threading.Event(), threading.Event()

    class Away:
        def shutdown(self) -> None:
            asked.set()
            over.wait(60)

    monkeypatch.setattr(otlp, "_processor", Away())
    monkeypatch.setattr(tracing, "CLOSE_SECONDS", 0.01)
    otlp.close()
    assert asked.wait(10)
    assert not over.is_set()
    over.set()
    monkeypatch.undo()
