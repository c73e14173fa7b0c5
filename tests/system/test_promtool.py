"""Prometheus's own tool reads what we write for it: the page, the configuration, the alerts and what they wake up for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import served

FOLDER = Path(__file__).parent.parent.parent / "compose" / "observability"
CASES = Path(__file__).parent / "alerts_test.yml"
KEY_FILE = "/secrets/prometheus/api_key"


def promtool(*arguments: str, stdin: str | None = None) -> str:
    assert shutil.which("promtool"), "promtool is missing: apt-get install prometheus"
    done = subprocess.run(["promtool", *arguments], input=stdin, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Prometheus's files as they lie in its container, with a key."""
    key = tmp_path / "key"
    key.write_text("trp_" + "x" * 43)
    config = (FOLDER / "prometheus.yml").read_text()
    assert KEY_FILE in config
    (tmp_path / "prometheus.yml").write_text(config.replace(KEY_FILE, str(key)))
    shutil.copy(FOLDER / "alerts.yml", tmp_path)
    shutil.copy(CASES, tmp_path)
    return tmp_path


def test_the_page_is_what_prometheus_reads() -> None:
    """TGI's own names break two of its habits, and are TGI's."""
    command = ["promtool", "check", "metrics"]
    done = subprocess.run(command, input=served.page(), capture_output=True, text=True, timeout=60)
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("tgi_")]
    assert complaints == []
    assert done.returncode in (0, 3), done.stderr


def test_the_configuration_and_its_alerts_are_sound(folder: Path) -> None:
    told = promtool("check", "config", str(folder / "prometheus.yml"))
    assert "12 rules found" in told


def test_each_alert_wakes_up_for_its_trouble_and_for_nothing_else(folder: Path) -> None:
    promtool("test", "rules", str(folder / "alerts_test.yml"))
