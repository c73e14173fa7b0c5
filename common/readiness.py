"""A pipe on which a process says that it can be used, to whoever started it and wants to know.

What stands in Redis says as much of a worker and its name, but not of which process: the one before it had the same name.
"""

from __future__ import annotations

import os
from contextlib import suppress

#: The number of the open file; who was given none has nobody to tell.
VARIABLE = "READY_FD"


def tell(pid: int | None = None) -> None:
    """Says that this process, or the one of that number, can be used."""
    number = os.environ.get(VARIABLE)
    if number is not None:
        # Nobody reads any more, or for long: it is not worth waiting or failing for.
        with suppress(OSError, ValueError):
            os.write(int(number), f"{pid or os.getpid()}\n".encode())
