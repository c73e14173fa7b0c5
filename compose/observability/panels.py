"""Grafana's JSON, as far as our dashboards need it: panels laid out in rows of a grid 24 wide. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

#: As grafana/provisioning/datasources has it.
SOURCE = {"type": "prometheus", "uid": "tropilla-prometheus"}
#: Of Grafana 11 and later.
SCHEMA = 39
WIDTH, HEIGHT = 24, 8

Unit = Literal["short", "s", "bytes", "percentunit", "reqps", "ops", "none"]


@dataclass(frozen=True, slots=True)
class Query:
    """`legend` is Grafana's template: {{model}}."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """`kind` is Grafana's own word. `about` is shown behind the i."""

    title: str
    queries: tuple[Query, ...] = ()
    unit: Unit = "short"
    kind: Literal["timeseries", "stat", "text"] = "timeseries"
    about: str = ""
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    """`variables`: name -> the query of its values."""

    uid: str
    title: str
    rows: tuple[tuple[Panel, ...], ...]
    variables: tuple[tuple[str, str], ...] = ()


def json_of(dashboard: Dashboard) -> dict[str, Any]:
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["tropilla"],
        "schemaVersion": SCHEMA,
        "editable": True,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_variable(name, query) for name, query in dashboard.variables]},
        "links": [{"type": "dashboards", "title": "Tropilla", "tags": ["tropilla"], "keepTime": True}],
        "panels": list(_panels(dashboard.rows)),
    }


def _panels(rows: Sequence[Sequence[Panel]]) -> Iterator[dict[str, Any]]:
    number, top = 0, 0
    for row in rows:
        height = HEIGHT if any(panel.kind == "timeseries" for panel in row) else HEIGHT // 2
        width = WIDTH // len(row)
        for place, panel in enumerate(row):
            number += 1
            yield _panel(panel, number, {"x": place * width, "y": top, "w": width, "h": height})
        top += height


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    told: dict[str, Any] = {"id": number, "type": panel.kind, "title": panel.title, "gridPos": place}
    if panel.kind == "text":
        return {**told, "options": {"mode": "markdown", "content": panel.about}}
    custom = {"fillOpacity": 10, "stacking": {"mode": "normal" if panel.stacked else "none"}}
    told["description"] = panel.about
    told["datasource"] = SOURCE
    told["fieldConfig"] = {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}, "overrides": []}
    told["targets"] = [
        {"refId": chr(ord("A") + at), "datasource": SOURCE, "expr": query.expression, "legendFormat": query.legend}
        for at, query in enumerate(panel.queries)
    ]
    return told


def _variable(name: str, query: str) -> dict[str, Any]:
    everything = {"selected": True, "text": "All", "value": "$__all"}
    asked = {"query": query, "refId": name}
    return {"name": name, "type": "query", "datasource": SOURCE, "query": asked, "refresh": 2, "multi": True,
            "includeAll": True, "allValue": ".*", "current": everything}  # fmt: skip
