"""One command's cluster and terminal, and what people are told beyond the cluster's own words."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tropilla.common.errors import TropillaError
from tropilla.compose.client import answers
from tropilla.compose.client.address import cluster_url
from tropilla.compose.client.answers import understood
from tropilla.compose.client.errors import Refusal
from tropilla.compose.client.screen import Screen
from tropilla.compose.client.wire import Wire
from tropilla.compose.flags import read_settings

NOT_FOUND = 404
#: The tag of a name without one.
DEFAULT_TAG = ":latest"


class Client:
    def __init__(self, asked: Namespace, environment: Mapping[str, str]) -> None:
        self.settings = read_settings(asked, environment)
        self.wire = Wire(cluster_url(self.settings), self.settings.api_key)
        self.screen = Screen(sys.stdout, sys.stderr, environment)
        self.json: bool = asked.json

    @contextmanager
    def hinting(self, model: str) -> Iterator[None]:
        """A model that is not there is refused with how to get it."""
        try:
            yield
        except Refusal as error:
            if error.code != NOT_FOUND or self._has(model):
                raise
            hint = f"`tropilla pull {model}` fetches it, `tropilla list` shows what is there"
            raise Refusal(f"{error.message}: {hint}", error.code) from error

    def _has(self, model: str) -> bool:
        """Also where that cannot be found out: then the refusal is about something else."""
        try:
            known = {each.name.lower() for each in understood(answers.listed, self.wire.ask("GET", "/api/tags"))}
        except TropillaError:
            return True
        return not known.isdisjoint({model.lower(), model.lower() + DEFAULT_TAG})
