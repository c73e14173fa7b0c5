"""Requests that end where the sender likes: refused by the API itself, whoever stands before it (FIELD.md, section 6)."""

from __future__ import annotations

import pytest
from cluster import smuggling
from cluster.herd import Herd
from cluster.wire import get


@pytest.mark.parametrize("probe", smuggling.PROBES)
def test_nothing_is_smuggled_in(herd: Herd, probe: str) -> None:
    with smuggling.plain(herd.api_port) as line:
        smuggling.check(smuggling.PROBES[probe], line)
    with get(herd, "/v1/models") as answer:
        assert answer.status == 200


def test_two_honest_requests_on_one_connection_are_two(herd: Herd) -> None:
    """The way in which a hidden one would be found."""
    with smuggling.plain(herd.api_port) as line:
        assert smuggling.statuses(smuggling.HONEST, line) == [404, 404]
