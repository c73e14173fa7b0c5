from __future__ import annotations

from dataclasses import replace

import pytest
from fakes import WORKER
from tropilla.api.placement import lane
from tropilla.common.catalogue import Catalogue, catalogue
from tropilla.common.errors import UnknownModel

CPU, GPU = WORKER, replace(WORKER, name="g", flavour="gpu")


def test_a_request_waits_where_a_worker_will_find_it() -> None:
    assert lane(catalogue([CPU]), "m").name == "m.cpu"
    assert lane(catalogue([GPU]), "m").name == "m.gpu"
    assert lane(catalogue([CPU, GPU]), "m").name == "m.gpu"


def test_a_gpu_worker_that_is_not_ready_draws_nothing() -> None:
    assert lane(catalogue([CPU, replace(GPU, state="draining")]), "m").name == "m.cpu"


def test_a_model_that_nobody_serves_is_unknown() -> None:
    for seen in (Catalogue(), catalogue([replace(CPU, state="loading")])):
        with pytest.raises(UnknownModel):
            lane(seen, "m")
