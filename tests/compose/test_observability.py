"""Prometheus's and Grafana's files: they ask for what there is, and fit each other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import served
import yaml
from tropilla.compose.observability import dashboards
from tropilla.compose.observability.panels import SOURCE

FOLDER = Path(__file__).parent.parent.parent / "compose" / "observability"
DASHBOARDS = ("cluster.json", "models.json", "request.json")
#: What we serve begins so, and no label does but those of OpenTelemetry.
NAME = re.compile(r"\b(?:tropilla|gen_ai|tgi)_\w+")
LABELS = {"gen_ai_request_model", "gen_ai_token_type", "gen_ai_operation_name", "gen_ai_provider_name"}


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def board(name: str) -> Any:
    return json.loads((dashboards.FOLDER / name).read_text())


def panels(name: str) -> Iterator[Any]:
    yield from board(name)["panels"]


def rules() -> list[Any]:
    return [rule for group in read("alerts.yml")["groups"] for rule in group["rules"]]


def asked(expression: str) -> set[str]:
    return set(NAME.findall(expression)) - LABELS


def test_the_dashboards_are_the_ones_that_are_made() -> None:
    assert {path.name for path in dashboards.FOLDER.iterdir()} == set(DASHBOARDS)
    for name, text in dashboards.files().items():
        assert (dashboards.FOLDER / name).read_text() == text, "python -m tropilla.compose.observability.dashboards"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_asks_for_what_is_served(name: str) -> None:
    expressions = [target["expr"] for panel in panels(name) for target in panel.get("targets", ())]
    assert expressions
    expressions += [variable["query"]["query"] for variable in board(name)["templating"]["list"]]
    assert set().union(*map(asked, expressions)) - served.names() == set()
    assert all(asked(expression) for expression in expressions)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_do_not_overlap_and_have_what_grafana_needs(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels(name):
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "text":
            references = [target["refId"] for target in panel["targets"]]
            assert references == sorted(set(references))
            assert {target["datasource"]["uid"] for target in panel["targets"]} == {SOURCE["uid"]}
    assert len({panel["id"] for panel in panels(name)}) == len(list(panels(name)))


def test_a_dashboard_shows_everything_that_is_worth_a_name_of_ours() -> None:
    shown = {
        found
        for name in DASHBOARDS
        for panel in panels(name)
        for target in panel.get("targets", ())
        for found in asked(target["expr"])
    }
    # TGI's are there for who comes from TGI.
    ours = {re.sub(r"_(bucket|sum|count)$", "", each) for each in served.names() if not each.startswith("tgi_")}
    assert ours - {re.sub(r"_(bucket|sum|count)$", "", each) for each in shown} == set()


def test_boards_have_names_of_their_own_and_their_source_is_provisioned() -> None:
    assert len({board(name)["uid"] for name in DASHBOARDS}) == 3
    [source] = read("grafana/provisioning/datasources/tropilla.yml")["datasources"]
    assert (source["uid"], source["type"]) == (SOURCE["uid"], SOURCE["type"])
    [provider] = read("grafana/provisioning/dashboards/tropilla.yml")["providers"]
    assert provider["options"]["path"].endswith("/grafana/dashboards")


def test_alerts_ask_for_what_is_served_and_say_what_to_do() -> None:
    for rule in rules():
        names = asked(rule["expr"])
        assert names or "up{" in rule["expr"], rule["alert"]
        assert names - served.names() == set(), rule["alert"]
        assert {"summary", "description"} == set(rule["annotations"]), rule["alert"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert len({rule["alert"] for rule in rules()}) == len(rules())


def test_prometheus_reads_the_alerts_and_scrapes_with_a_key_from_a_file() -> None:
    config = read("prometheus.yml")
    assert config["rule_files"] == ["alerts.yml"]
    [job] = config["scrape_configs"]
    assert job["metrics_path"] == "/metrics"
    assert set(job["authorization"]) == {"type", "credentials_file"}
    named = {match for rule in rules() for match in re.findall(r'job="(\w+)"', rule["expr"])}
    assert named == {job["job_name"]}


def test_every_alert_stands_in_the_guide() -> None:
    guide = (FOLDER.parent.parent / "docs" / "observability.md").read_text()
    assert [rule["alert"] for rule in rules() if f"`{rule['alert']}`" not in guide] == []


def test_every_metric_stands_in_the_guide() -> None:
    guide = (FOLDER.parent.parent / "docs" / "observability.md").read_text()
    ours = {re.sub(r"_(bucket|sum|count)$", "", each) for each in served.names() if not each.startswith("tgi_")}
    assert [name for name in sorted(ours) if f"`{name}`" not in guide] == []
