from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator

import pytest
from standin import Said, StandIn, Tropilla
from tropilla.common.settings import PREFIX
from tropilla.compose import cli


@pytest.fixture
def standin() -> Iterator[StandIn]:
    standin = StandIn()
    thread = threading.Thread(target=standin.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield standin
    finally:
        standin.server.shutdown()
        thread.join()
        standin.server.server_close()


@pytest.fixture
def tropilla(standin: StandIn, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tropilla:
    """The command line, talking to the stand-in, with nothing on standard input."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TROPILLA_URL", standin.url)

    def run(*arguments: str, piped: str = "") -> Said:
        monkeypatch.setattr("sys.stdin", io.StringIO(piped))
        try:
            status = cli.main(arguments)
        except SystemExit as left:
            status = int(left.code or 0)
        said = capsys.readouterr()
        return Said(status, said.out, said.err)

    return run
