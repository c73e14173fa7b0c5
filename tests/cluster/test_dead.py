"""What workers are killed over, with the whole cluster: it is booked, it is kept aside, and an operator can ask again."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from cluster.herd import wait_for
from cluster.wire import OPENAI, ask, post
from faults import scripted
from faults.booked import book
from faults.flock import Flock
from faults.runs import Size
from standin import Said, Tropilla
from tropilla.common import names
from tropilla.common.ledger import Ledger
from tropilla.common.settings import PREFIX
from tropilla.compose import cli
from tropilla.compose.home import ADDRESSES

#: The prompt is computed for a second, so that its worker can be killed before it says a word.
SLOW_PROMPT, TOKENS = "over and over " * 180, 5


@pytest.fixture(scope="module")
def flock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flock]:
    """Three workers that run the script, behind one API process; quick to notice a loss."""
    quick = {"stall_seconds": 0.3, "visibility_seconds": 4, "lease_seconds": 0.8, "context": scripted.CONTEXT}
    flock = Flock(tmp_path_factory.mktemp("flock"), step_ms=5, slots=8, step_tokens=16, **quick)
    try:
        flock.populate(3)
        flock.start_api()
        # Commands find its Redis as they find that of `tropilla up`.
        (flock.folder / ADDRESSES).write_text(json.dumps({"api": flock.base_url, "redis": flock.redis_url}))
        yield flock
    finally:
        flock.stop()


@pytest.fixture
def tropilla(flock: Flock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tropilla:
    """The command line, which knows nothing but the home folder."""
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TROPILLA_HOME", str(flock.folder))

    def run(*arguments: str) -> Said:
        status = cli.main(arguments)
        said = capsys.readouterr()
        return Said(status, said.out, said.err)

    return run


def test_every_request_is_booked_once_and_exactly_whoever_leaves_or_dies(flock: Flock, tropilla: Tropilla) -> None:
    result = book(flock, Size(300, clients=16), seed=3, kills=3, say=lambda line: None)
    assert [each for each in result["bars"] if not each["met"]] == []
    assert result["losses"] == 3
    assert result["rows"] > 200
    assert result["outcomes"].keys() == {"completed", "cancelled"}
    told = [json.loads(line) for line in tropilla("usage", "--json").out.splitlines()]
    assert sum(row["generated"] for row in told) == result["tokens"]
    *_, total = tropilla("usage", "--by", "outcome", "--since", "1h").out.splitlines()
    assert total.split()[2] == str(result["rows"])
    assert total.split()[-1] == str(result["tokens"])


def test_what_was_given_up_is_listed_shown_and_asked_again(flock: Flock, tropilla: Tropilla) -> None:
    with ThreadPoolExecutor(1) as caller:
        body = ask(OPENAI, SLOW_PROMPT, scripted.NAME, tokens=TOKENS, stream=False, seed=1)
        answer = caller.submit(post, flock, OPENAI, body)
        lost = [kill_its_worker(flock) for _ in range(2)]
        with answer.result() as given_up:
            assert (given_up.status, given_up.headers["x-should-retry"]) == (500, "false")
            assert given_up.json()["error"]["code"] == "worker_crashed"
            request_id = given_up.request_id
    flock.populate(1)

    (listed,) = [json.loads(line) for line in tropilla("dead", "list", "--json").out.splitlines()]
    assert (listed["id"], listed["model"], listed["generated"]) == (request_id, scripted.NAME, 0)
    assert [worker.partition("@")[0] for worker in listed["workers"]] == lost
    assert request_id in tropilla("dead", "list").out
    shown = tropilla("dead", "show", request_id).out
    assert lost[1] in shown
    assert "over and over" not in shown
    assert "over and over" in tropilla("dead", "show", request_id, "--prompt").out

    again = tropilla("dead", "retry", request_id)
    with post(flock, OPENAI, body) as undisturbed:
        assert again.out.rstrip("\n") == undisturbed.json()["choices"][0]["text"]
    new_id = again.err.partition(":")[0]
    outcomes = {row.request: row.outcome for row in Ledger(flock.bus).rows()}
    assert (outcomes[request_id], outcomes[new_id]) == ("failed:worker_crashed", "completed")
    assert "No request was given up" in tropilla("dead", "list").err
    refused = tropilla("dead", "retry", request_id)
    assert (refused.status, refused.err) == (
        1,
        f"tropilla: no request '{request_id}' is kept aside: `tropilla dead list` shows which are\n",
    )


def kill_its_worker(flock: Flock) -> str:
    """Of the only request that runs, once it does."""
    ((name, (request_id,)),) = wait_for(lambda: list(flock.holding().items()), "somebody to take it")
    state = names.state_key(request_id)
    wait_for(lambda: not flock.redis.hexists(state, "unbegun"), "it to be computed")
    # A kill -9 would be nobody's fault.
    flock.kill(flock.living[name], signal.SIGSEGV)
    wait_for(lambda: name not in flock.holding(), "its lease to run out")
    return str(name)
