"""Why a model cannot be loaded here: one sentence for people, and a code for programs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tropilla.common.catalogue import Trouble, TroubleCode
from tropilla.common.errors import ConfigurationError
from tropilla.workers.memory import DoesNotFit


class CannotLoad(ConfigurationError):
    """Why this worker does not get the model up."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble


@contextmanager
def blamed(code: TroubleCode) -> Iterator[None]:
    """What is refused in here is of this kind, unless it is only too large. Raises `CannotLoad`."""
    try:
        yield
    except CannotLoad:
        raise
    except DoesNotFit as error:
        raise CannotLoad(Trouble("out_of_memory", error.message)) from error
    except ConfigurationError as error:
        raise CannotLoad(Trouble(code, error.message)) from error
