"""A Redis that cannot be reached, in every dialect's words, and on the pages that balancers look at."""

from __future__ import annotations

import pytest
from tropilla.api.surface import Dialect, Page
from tropilla.api.surfaces import DIALECTS
from tropilla.common.errors import StoreUnavailable

AWAY = StoreUnavailable("Redis cannot serve: Error 111 connecting to 10.0.0.1:6379")
#: 503 makes @huggingface/inference repeat a request at once and without end, so it is Ollama's alone.
STATUSES = {"ollama": 503}


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_it_is_refused_with_a_time_to_come_again_and_without_the_operators_details(dialect: Dialect) -> None:
    reply = dialect.fault(AWAY)
    assert reply.status == STATUSES.get(dialect.name, 500)
    assert reply.headers["Retry-After"] == "5"
    assert "10.0.0.1" not in str(reply.body)


def test_every_page_of_health_answers_without_redis() -> None:
    vital = {route.path for dialect in DIALECTS for route in dialect.routes if isinstance(route, Page) and route.vital}
    assert vital >= {"/health", "/ping", "/readyz", "/v1/health"}
