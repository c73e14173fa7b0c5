"""What a result has to say of itself, so that it can be judged later and run again."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent


def facts(seed: int) -> dict[str, Any]:
    return {
        "date": datetime.date.today().isoformat(),
        "seed": seed,
        "commit": commit(),
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
            "load_average_before": [round(load, 2) for load in os.getloadavg()],
        },
    }


def commit() -> str:
    """With a star where the folder held something else; empty outside of git."""
    try:
        said = ("git", "-C", str(ROOT))
        head = subprocess.run([*said, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*said, "diff", "--quiet", "HEAD", "--", ":!docs", ":!tests/faults/results"])
        return head.stdout.strip() + ("*" if changed.returncode else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def processor() -> str:
    """As Linux names it; elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
