"""OpenTelemetry, and nothing else imports it, not even this file before somebody collects: spans to a collector, by OTLP.

Wanted where OTEL_EXPORTER_OTLP_ENDPOINT (or ..._TRACES_ENDPOINT) says where the collector is, or `TROPILLA_TRACES` is on.
The SDK's own variables say the rest: sampler, headers, time-outs, resource attributes.
"""

from __future__ import annotations

import importlib
import os
import secrets
import threading
import time
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any, Protocol

from tropilla.common.errors import ConfigurationError
from tropilla.common.settings import Settings
from tropilla.common.spans import Place, Span

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
EXTRA = "pip install 'tropilla[otel]'"
#: How long whoever leaves waits for its last spans to go out.
CLOSE_SECONDS = 2.0


class Collector(Protocol):
    """Where spans go."""

    def begin(self, parent: Place | None) -> Place:
        """The place of a new span: below the parent, or the first of its trace."""

    def tell(self, spans: Iterable[Span]) -> None:
        """Spans that are over; never waits, and never raises."""

    def close(self) -> None:
        """Sends what was told and has not gone out, if that takes no longer than a moment."""


def wanted(settings: Settings, environment: Mapping[str, str]) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    named = any(environment.get(variable) for variable in ENDPOINTS)
    return settings.traces == "on" or (settings.traces == "auto" and named)


def collector(
    settings: Settings, role: str, name: str = "", environment: Mapping[str, str] = os.environ
) -> Collector | None:
    """None where nobody wants spans. Raises as `check`."""
    check(settings, environment)
    return _Otlp(role, name) if wanted(settings, environment) else None


def check(settings: Settings, environment: Mapping[str, str] = os.environ) -> None:
    """Raises `ConfigurationError` where somebody wants spans, and OpenTelemetry is not installed."""
    if not wanted(settings, environment):
        return
    try:
        importlib.import_module("opentelemetry.sdk.trace")
        importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError as error:
        raise ConfigurationError(f"traces are wanted, and {error.name} is not installed: {EXTRA}") from error


def now() -> int:
    """Unix nanoseconds: spans bear the time of their own machine."""
    return time.time_ns()


class _Otlp:
    """The SDK's provider knows sampler and resource from the environment; spans are made whole, when they are over."""

    def __init__(self, role: str, name: str) -> None:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self._api, self._span = trace, ReadableSpan
        about = {"service.name": f"tropilla-{role}", "service.version": metadata.version("tropilla")}
        about |= {"service.instance.id": name or f"{role}-{os.getpid()}", "process.pid": str(os.getpid())}
        # What the operator says in OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME counts more.
        resource = Resource.create(about).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._processor = BatchSpanProcessor(OTLPSpanExporter())
        self._scope = InstrumentationScope("tropilla", about["service.version"])

    def begin(self, parent: Place | None) -> Place:
        trace_id = parent.trace if parent else secrets.token_hex(16)
        above = self._api.set_span_in_context(self._api.NonRecordingSpan(self._context(parent))) if parent else None
        decided = self._provider.sampler.should_sample(above, int(trace_id, 16), "request")
        return Place(trace_id, secrets.token_hex(8), decided.decision.is_sampled())

    def tell(self, spans: Iterable[Span]) -> None:
        for span in spans:
            if span.place.sampled:
                self._processor.on_end(self._made(span))

    def close(self) -> None:
        # The exporter tries again for ten seconds: no process that leaves waits for a collector that is away.
        sending = threading.Thread(target=self._processor.shutdown, name="last spans", daemon=True)
        sending.start()
        sending.join(CLOSE_SECONDS)

    def _made(self, span: Span) -> Any:
        api = self._api
        status = api.Status(api.StatusCode.ERROR, span.error) if span.error else api.Status()
        return self._span(
            span.name,
            context=self._context(span.place),
            parent=self._context(span.parent) if span.parent else None,
            resource=self._provider.resource,
            attributes={**span.attributes, **({"error.type": span.error} if span.error else {})},
            links=[api.Link(self._context(place)) for place in span.links],
            kind=getattr(api.SpanKind, span.kind.upper()),
            status=status,
            start_time=span.start,
            end_time=span.end,
            instrumentation_scope=self._scope,
        )

    def _context(self, place: Place) -> Any:
        flags = self._api.TraceFlags(int(place.sampled))
        return self._api.SpanContext(int(place.trace, 16), int(place.span, 16), is_remote=True, trace_flags=flags)
