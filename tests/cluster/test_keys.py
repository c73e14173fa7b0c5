"""A cluster whose callers need keys: official clients with and without one, limits, revocation, and the first key."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import anthropic
import huggingface_hub
import ollama
import openai
import psutil
import pytest
import text_generation
from cluster.herd import Herd, Process, wait_for
from fakes import request
from huggingface_hub import errors as hub_errors
from text_generation.errors import OverloadedError, UnknownError
from tropilla.api.batches.book import Book
from tropilla.api.batches.records import Asked, new_batch_id
from tropilla.common import names
from tropilla.common.bus import Bus
from tropilla.common.catalogue import Lane
from tropilla.common.errors import StoreUnavailable
from tropilla.common.generation import new_request_id
from tropilla.common.keys import Key, Limits, new_key
from tropilla.common.keystore import DAY_SECONDS, Keystore
from tropilla.common.ledger import Ledger
from tropilla.common.room import Admitted, Room
from tropilla.common.terms import Bounds, Terms
from tropilla.compose import cli

MESSAGES: Any = [{"role": "user", "content": "What is the capital of France?"}]
SHORT = 4
# text-generation was written for pydantic 1.
pytestmark = pytest.mark.filterwarnings("ignore:The `dict` method is deprecated")
FIRST = re.compile(r"^tropilla: the first API key is (trp_[A-Za-z0-9_-]{43})$", re.MULTILINE)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Herd, Process]]:
    """Two API processes of `tropilla web`, and a worker."""
    herd = Herd(tmp_path_factory.mktemp("kept"), keys="on")
    try:
        web = herd.start_web(api_processes=2)
        wait_for(lambda: len(psutil.Process(web.pid).children()) == 2, "both API processes")
        herd.start_worker(slots=4)
        yield herd, web
    finally:
        herd.stop()


@pytest.fixture(scope="module")
def herd(started: tuple[Herd, Process]) -> Herd:
    return started[0]


@pytest.fixture
def typed(herd: Herd, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`tropilla keys ...`, and what it says on stdout."""

    def run(*words: str) -> str:
        assert cli.main(["keys", *words, "--redis", herd.redis_url]) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def secret(typed: Callable[..., str]) -> str:
    """Of a key for inference that every API process knows."""
    return typed("create").strip()


def client(herd: Herd, secret: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{herd.base_url}/v1", api_key=secret, max_retries=0)


def say(herd: Herd, secret: str) -> str:
    """On a connection of its own: another process may answer each time."""
    with client(herd, secret) as fresh:
        said = fresh.chat.completions.create(model="pocket", messages=MESSAGES, max_tokens=SHORT, temperature=0)
        return said.choices[0].message.content or ""


def known(herd: Herd, secret: str) -> None:
    """Until both processes have heard of the key: each connection is another one's."""

    def everywhere() -> bool:
        answers = []
        for _ in range(8):
            with client(herd, secret) as fresh:
                try:
                    fresh.models.list()
                    answers.append(True)
                except openai.AuthenticationError:
                    answers.append(False)
        return all(answers)

    wait_for(everywhere, "the key to be known", seconds=5)


# -- official clients --------------------------------------------------------------------------------------------------


def test_openais_client_passes_with_a_key_and_not_without(herd: Herd, secret: str) -> None:
    known(herd, secret)
    assert say(herd, secret)
    with pytest.raises(openai.AuthenticationError) as refused:
        say(herd, "none")
    assert refused.value.code == "invalid_api_key"
    with client(herd, secret) as fresh, pytest.raises(openai.PermissionDeniedError) as closed:
        fresh.models.delete("pocket")
    assert closed.value.code == "insufficient_permissions"


def test_anthropics_client_passes_with_a_key_and_not_without(herd: Herd, secret: str) -> None:
    known(herd, secret)
    asked: Any = {"model": "pocket", "messages": MESSAGES, "max_tokens": SHORT}
    # Its key goes as x-api-key, its token as a Bearer.
    for given in ({"api_key": secret}, {"auth_token": secret}):
        with anthropic.Anthropic(base_url=herd.base_url, max_retries=0, **given) as kept:
            assert kept.messages.create(**asked).usage.output_tokens
    with (
        anthropic.Anthropic(base_url=herd.base_url, api_key="none", max_retries=0) as stranger,
        pytest.raises(anthropic.AuthenticationError) as refused,
    ):
        stranger.messages.create(**asked)
    assert refused.value.type == "authentication_error"


def test_ollamas_client_passes_with_a_key_and_not_without(
    herd: Herd, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(herd, secret)
    monkeypatch.delenv("OLLAMA_API_KEY", raising=False)
    with ollama.Client(host=herd.base_url) as stranger, pytest.raises(ollama.ResponseError) as refused:
        stranger.chat("pocket", MESSAGES)
    assert (refused.value.status_code, refused.value.error) == (401, "unauthorized")
    monkeypatch.setenv("OLLAMA_API_KEY", secret)
    with ollama.Client(host=herd.base_url) as kept:
        assert kept.chat("pocket", MESSAGES, options={"num_predict": SHORT}).message.content
        with pytest.raises(ollama.ResponseError, match="it needs the scope admin") as closed:
            kept.delete("pocket")
    assert closed.value.status_code == 403


def test_tgis_clients_pass_with_a_key_and_not_without(herd: Herd, secret: str) -> None:
    known(herd, secret)
    with huggingface_hub.InferenceClient(base_url=herd.base_url, token=secret) as hub:
        assert hub.text_generation("The capital of", max_new_tokens=SHORT)
    with (
        huggingface_hub.InferenceClient(base_url=herd.base_url, token="none") as hub,
        pytest.raises(hub_errors.UnknownError, match="this API key is not known here") as refused,
    ):
        hub.text_generation("The capital of")
    # Neither client has a class for it; this one keeps the status, and has one on the shared routes.
    assert isinstance(refused.value.__cause__, hub_errors.HfHubHTTPError)
    assert refused.value.__cause__.response.status_code == 401
    with (
        huggingface_hub.InferenceClient(base_url=herd.base_url, token="none") as hub,
        pytest.raises(hub_errors.HfHubHTTPError, match="Incorrect API key provided"),
    ):
        hub.chat_completion(MESSAGES)
    kept = text_generation.Client(herd.base_url, headers={"Authorization": f"Bearer {secret}"})
    assert kept.generate("The capital of", max_new_tokens=SHORT).generated_text
    with pytest.raises(UnknownError, match="no API key was given"):
        text_generation.Client(herd.base_url).generate("The capital of")


# -- the command line --------------------------------------------------------------------------------------------------


def test_the_first_key_is_said_once_opens_everything_and_is_in_no_books(started: tuple[Herd, Process]) -> None:
    herd, web = started
    (first,) = FIRST.findall(web.log)
    assert say(herd, first)
    again = herd.start_web(port=0)
    assert FIRST.findall(again.log) == []
    again.stop()
    kept = b"".join(herd.redis.dump(key) or b"" for key in herd.redis.keys("*"))
    assert first.encode() not in kept


def test_several_that_start_at_once_make_one_first_key(herd: Herd) -> None:
    buses = [Bus.connect(herd.redis_url.replace("/0", "/5")) for _ in range(8)]
    stores = [Keystore(bus) for bus in buses]
    with ThreadPoolExecutor(len(stores)) as pool:
        outcomes = list(pool.map(lambda store: store.keep(new_key(created=1)[0], first=True), stores))
    assert sorted(outcomes) == ["kept", *["later"] * 7]
    assert len(stores[0].all()) == 1
    assert len({store.internal_secret() for store in stores}) == 1
    for bus in buses:
        bus.close()


def test_whoever_asks_again_after_a_broken_connection_has_kept_his_key(herd: Herd) -> None:
    with closing(Bus.connect(herd.redis_url.replace("/0", "/7"))) as bus:
        store = Keystore(bus)
        key, other = (new_key(name="first", created=1)[0] for _ in range(2))
        assert [store.keep(key, first=True) for _ in range(2)] == ["kept", "kept"]
        assert [store.keep(key), store.keep(other), store.keep(other, first=True)] == ["kept", "taken", "later"]
        # Nor does it bring back what was revoked.
        store.revoke(key, now=2)
        store.keep(key)
        assert [each.revoked for each in store.all()] == [2]


def test_a_key_is_revoked_and_a_secret_told_though_redis_is_full(herd: Herd) -> None:
    with closing(Bus.connect(herd.redis_url.replace("/0", "/8"))) as bus:
        store = Keystore(bus)
        key, other = (new_key(name="one", created=1)[0] for _ in range(2))
        secret = store.internal_secret()
        assert store.keep(key) == "kept"
        herd.redis.config_set("maxmemory", 1)
        try:
            with pytest.raises(StoreUnavailable):
                store.keep(new_key(created=1)[0])
            store.revoke(key, now=2)
            assert store.internal_secret() == secret
        finally:
            herd.redis.config_set("maxmemory", 0)
        assert [each.revoked for each in store.all()] == [2]
        assert store.keep(other) == "kept"
        # Somebody revoked it, too, and was late: the name is another one's by now.
        store.revoke(key, now=3)
        assert store.keep(new_key(name="one", created=1)[0]) == "taken"


def test_a_key_is_made_listed_used_and_revoked(herd: Herd, typed: Callable[..., str]) -> None:
    told = json.loads(
        typed("create", "--json", "--name", "ci", "--scope", "admin", "--scope", "inference", "--expires", "30d")
    )
    secret = told["key"]
    assert (told["name"], told["scopes"]) == ("ci", ["admin", "inference"])
    known(herd, secret)
    assert cli.main(["keys", "create", "--name", "ci", "--redis", herd.redis_url]) == 1
    assert say(herd, secret)

    def listed() -> Any:
        lines = (json.loads(line) for line in typed("list", "--json").splitlines())
        return next(each for each in lines if each["id"] == told["id"])

    wait_for(lambda: listed()["last_used"] and listed()["tokens_today"], "its use to be told", seconds=10)
    row = next(line for line in typed("list").splitlines() if told["id"] in line)
    assert row.startswith("ci ")
    assert secret not in row

    typed("revoke", "ci")
    began = time.monotonic()

    def closed() -> bool:
        with client(herd, secret) as fresh:
            try:
                fresh.models.list()
            except openai.AuthenticationError as refused:
                return "was revoked" in refused.message
        return False

    wait_for(lambda: all(closed() for _ in range(6)), "every process to hear of it", seconds=5)
    assert time.monotonic() - began < 2
    assert listed()["revoked"]
    # Its name is free again.
    assert typed("create", "--name", "ci")
    usage = sum_of(herd, told["id"])
    assert usage == listed()["tokens_today"]


def test_what_a_key_has_begun_does_not_go_on_without_it(herd: Herd, capsys: pytest.CaptureFixture[str]) -> None:
    # Where nobody runs batches.
    url = herd.redis_url.replace("/0", "/6")
    bus = Bus.connect(url)
    mine, theirs = (new_key(name=name, created=1)[0] for name in ("mine", "theirs"))
    book = Book(bus)
    batches = []
    assert [Keystore(bus).keep(key) for key in (mine, theirs)] == ["kept", "kept"]
    for key in (mine, mine, theirs):
        asked = Asked(new_batch_id(1.0), "/v1/embeddings", "file-x", "1h", 1, 9, 60, key=key.id)
        batches.append(book.begin(asked).asked.id)
    assert cli.main(["keys", "revoke", "mine", "--redis", url]) == 0
    assert f"mine (...{mine.last_four}) is revoked, and 2 of its batches are cancelled." in capsys.readouterr().err
    found = [book.find(each) for each in batches]
    assert [each and each.status for each in found] == ["cancelling", "cancelling", "validating"]
    assert cli.main(["keys", "revoke", "nobody", "theirs", "--redis", url]) == 1
    assert "there is no key nobody" in capsys.readouterr().err
    assert {key.name: key.revoked is None for key in Keystore(bus).all()} == {"mine": False, "theirs": True}
    bus.close()


def sum_of(herd: Herd, key: str) -> int:
    """Tokens, by the ledger."""
    return sum(row.prompt + row.generated for row in Ledger(herd.bus).rows(key=key))


# -- limits ------------------------------------------------------------------------------------------------------------


def test_requests_a_minute_are_counted_over_all_processes(herd: Herd, typed: Callable[..., str]) -> None:
    secret = typed("create", "--requests-per-minute", "3").strip()
    known(herd, secret)
    for _ in range(3):
        assert say(herd, secret)
    with pytest.raises(openai.RateLimitError) as refused:
        say(herd, secret)
    assert refused.value.code == "rate_limit_exceeded"
    assert 0 < int(refused.value.response.headers["Retry-After"]) <= 60
    # Every protocol has its own word for it; and what asks no model is free.
    with pytest.raises(OverloadedError, match="3 times a minute"):
        text_generation.Client(herd.base_url, headers={"Authorization": f"Bearer {secret}"}).generate("x")
    with (
        anthropic.Anthropic(base_url=herd.base_url, api_key=secret, max_retries=0) as claude,
        pytest.raises(anthropic.RateLimitError),
    ):
        claude.messages.create(model="pocket", messages=MESSAGES, max_tokens=SHORT)
    with client(herd, secret) as fresh:
        assert fresh.models.list().data


def test_tokens_a_day_are_the_ledgers(herd: Herd, typed: Callable[..., str]) -> None:
    secret = typed("create", "--tokens-per-day", "5").strip()
    known(herd, secret)
    # What was admitted is finished, though it takes more.
    assert say(herd, secret)
    with pytest.raises(openai.RateLimitError) as refused:
        say(herd, secret)
    assert refused.value.code == "insufficient_quota"
    assert 0 < int(refused.value.response.headers["Retry-After"]) <= DAY_SECONDS


def admit(herd: Herd, key: Key, lane: str) -> Admitted:
    bus = Bus.connect(herd.redis_url)
    try:
        return Room(bus).admit(
            request(new_request_id()),
            Lane(lane, "cpu"),
            Terms(key.id, limits=key.limits),
            inbox="",
            bounds=Bounds(1000, key.limits.max_queue, 1000),
            deadline_seconds=5,
            kept_seconds=5,
        )
    finally:
        bus.close()


def test_of_many_that_come_at_once_exactly_as_many_are_admitted(herd: Herd) -> None:
    minute, _ = new_key(limits=Limits(requests_per_minute=7), created=1)
    queue, _ = new_key(limits=Limits(max_queue=5), created=1)
    for key, refused, admitted in ((minute, "requests", 7), (queue, "key", 5)):
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _, key=key: admit(herd, key, f"limited-{key.id}"), range(24)))
        outcomes = [each.outcome for each in found]
        assert (outcomes.count("admitted"), outcomes.count(refused)) == (admitted, 24 - admitted)  # type: ignore[arg-type]
    assert herd.redis.llen(names.asked_key(minute.id)) == 7
    assert herd.redis.ttl(names.asked_key(minute.id)) <= 60


def test_a_minute_is_any_minute_and_a_day_is_redis_own(herd: Herd) -> None:
    key, _ = new_key(limits=Limits(requests_per_minute=2, tokens_per_day=100), created=1)
    assert [admit(herd, key, "slow").outcome for _ in range(2)] == ["admitted"] * 2
    late = admit(herd, key, "slow")
    assert (late.outcome, late.number) == ("requests", 2)
    assert late.wait is not None
    assert 50 < late.wait <= 60
    # The older of the two was so long ago that one more may come, and no second one.
    herd.redis.lset(names.asked_key(key.id), 1, int(herd.redis.lindex(names.asked_key(key.id), 1)) - 60_000)  # type: ignore[arg-type]
    assert [admit(herd, key, "slow").outcome for _ in range(2)] == ["admitted", "requests"]
    herd.redis.delete(names.asked_key(key.id))
    seconds, _ = herd.redis.time()  # type: ignore[misc]
    herd.redis.hset(names.spent_key(seconds // DAY_SECONDS), key.id, "100")
    herd.redis.hset(names.spent_key(seconds // DAY_SECONDS - 1), key.id, "100")
    assert admit(herd, key, "slow").outcome == "tokens"
    herd.redis.hset(names.spent_key(seconds // DAY_SECONDS), key.id, "99")
    assert admit(herd, key, "slow").outcome == "admitted"
