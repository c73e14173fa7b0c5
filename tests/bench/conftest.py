"""Lets these tests import `bench`, which lies in the repository root and is installed nowhere."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = str(Path(__file__).parent.parent.parent)
# Last, so that no room is found there under a second name before its own.
if ROOT not in sys.path:
    sys.path.append(ROOT)
