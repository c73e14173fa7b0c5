"""What a result has to say of the machine and the programs, so that it can be judged later."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

from bench.build import OPTIONS, LlamaServer, system_information


def facts(built: LlamaServer) -> dict[str, Any]:
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "load_average_before": os.getloadavg(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in ("tropilla", "llama-cpp-python", "gguf")},
        "build_options": dict(OPTIONS),
        "system_information": system_information(built),
    }


def processor() -> str:
    """As Linux names it; elsewhere what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
