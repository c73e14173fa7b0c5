"""Helm itself, where it is installed: it takes the chart, and makes the documents that `tests/chart` looks at.

Debian has no package of it; one file from https://github.com/helm/helm/releases on PATH is enough. No cluster is needed.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart.cases import CASES
from chart.engine import CHART, Chart, Document, Release
from chart.test_chart import TOGETHER
from chart.test_values import BAD

#: What is drawn anew each time.
DRAWN = "Secret"


@pytest.fixture(scope="module")
def helm() -> str:
    found = shutil.which("helm")
    assert found, "there is no helm on PATH (Debian has no package): https://helm.sh/docs/intro/install"
    return found


def run(helm: str, folder: Path, values: Mapping[str, Any], *command: str) -> subprocess.CompletedProcess[str]:
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(dict(values)))
    return subprocess.run(
        [helm, *command, "--namespace", Release().namespace, "--values", str(file)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def template(helm: str, folder: Path, values: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
    return run(helm, folder, values, "template", Release().name, str(CHART))


def by_name(documents: list[Document]) -> dict[str, Document]:
    return {f"{each['kind']} {each['metadata']['name']}": each for each in documents if each["kind"] != DRAWN}


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_helm_finds_nothing_to_complain_of(helm: str, tmp_path: Path, values: Mapping[str, Any]) -> None:
    done = run(helm, tmp_path, values, "lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("values", CASES.values(), ids=CASES)
def test_helm_makes_what_we_make(helm: str, tmp_path: Path, values: Mapping[str, Any]) -> None:
    done = template(helm, tmp_path, values)
    assert done.returncode == 0, done.stderr
    theirs = [each for each in yaml.safe_load_all(done.stdout) if each]
    assert by_name(theirs) == by_name(Chart().render(values))


@pytest.mark.parametrize("case", [*TOGETHER, *BAD])
def test_helm_stops_where_we_stop(helm: str, tmp_path: Path, case: str) -> None:
    values = TOGETHER[case][0] if case in TOGETHER else BAD[case][0]
    assert template(helm, tmp_path, values).returncode != 0
