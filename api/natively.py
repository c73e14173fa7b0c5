"""Work that takes a core for a while, done beside this process's greenlets, not instead of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeVar, cast

import gevent
from gevent import monkey
from gevent.threadpool import ThreadPool

T = TypeVar("T")

#: Each piece of work may take some hundred megabytes.
THREADS = 2


def natively(work: Callable[[], T]) -> T:
    """What the work answers; it must not raise, nor touch anything that waits. In a native thread where this process serves
    by greenlets, a plain call elsewhere.
    """
    if not monkey.is_module_patched("threading"):
        return work()
    return cast(T, _threads().apply(work))


def breathe() -> None:
    """Between two pieces of work that take some hundredths of a second each and are done here: whoever else waits in this
    process goes on first.
    """
    if monkey.is_module_patched("threading"):
        gevent.sleep(0)


@cache
def _threads() -> ThreadPool:
    return ThreadPool(THREADS, hub=gevent.get_hub())
