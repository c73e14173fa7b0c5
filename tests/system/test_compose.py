"""`docker compose up` for real: what people get from it, what strangers do not, and what is left when containers die."""

from __future__ import annotations

import base64
import http.client
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import huggingface_hub
import ollama
import openai
import pytest
from system.containers import UP_SECONDS, Compose, Container, docker, engine_with_images, say
from tropilla.common import names

pytestmark = pytest.mark.timeout(7200)

SERVICES = {"redis": 1, "api": 1, "store": 1, "worker-cpu": 1, "flower": 1}
OURS = ("api", "store", "worker-cpu", "flower")
#: The parts of a settings file that shorten the tests: one thread each, since all containers share this machine.
SETTINGS = {"TROPILLA_THREADS": "1", "TROPILLA_CONTEXT": "1024", "TROPILLA_ORPHAN_SECONDS": "120"}
QUESTION = "What is the capital of France?"
STORY = [{"role": "user", "content": "Tell me a short story."}]
#: A worker this slow takes seconds for a story, so that it can be killed in the middle.
SLOW_CPUS, USUAL_CPUS = "0.15", "2"
FIRST_KEY = re.compile(r"tropilla: the first API key is (trp_[\w-]{43})")


@dataclass(frozen=True)
class Cluster:
    compose: Compose
    key: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.compose.api_port}"

    def redis(self, *command: str) -> str:
        """As its operator, who may do everything, from within Redis's own container."""
        script = 'exec redis-cli --no-auth-warning --user operator --pass "$(cat /secrets/redis/operator)" "$@"'
        done = self.compose.container("redis").execute("sh", "-c", script, "sh", *command)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    engine_with_images()
    compose = Compose(SETTINGS)
    say("building tropilla:cpu (minutes the first time: llama.cpp is compiled)")
    compose.build("api")
    try:
        compose.show("up", "-d", seconds=UP_SECONDS)
        compose.await_health(SERVICES)
        yield Cluster(compose, FIRST_KEY.findall(compose.logs("api"))[0])
    finally:
        compose.show("down", "--volumes", "--remove-orphans", seconds=UP_SECONDS)


# -- what people get -------------------------------------------------------------------------------------------------


def test_the_first_key_and_flowers_password_are_said_once(cluster: Cluster) -> None:
    assert FIRST_KEY.findall(cluster.compose.logs("api")) == [cluster.key]
    assert len(re.findall("Flower asks for a name and a password", cluster.compose.logs("init"))) == 1


def test_openais_client_gets_a_stream(cluster: Cluster) -> None:
    with openai.OpenAI(base_url=f"{cluster.url}/v1", api_key=cluster.key) as client:
        stream = client.chat.completions.create(
            model="pocket", messages=[{"role": "user", "content": QUESTION}], stream=True, temperature=0
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert "Paris" in text


def test_ollamas_client_gets_a_stream(cluster: Cluster) -> None:
    with ollama.Client(cluster.url, headers={"Authorization": f"Bearer {cluster.key}"}) as client:
        parts = client.chat("pocket", [{"role": "user", "content": QUESTION}], stream=True, options={"temperature": 0})
        assert "Paris" in "".join(part.message.content or "" for part in parts)


def test_tgis_client_gets_a_stream(cluster: Cluster) -> None:
    with huggingface_hub.InferenceClient(base_url=cluster.url, token=cluster.key) as client:
        parts = list(client.text_generation("The capital of France is", stream=True, max_new_tokens=8))
    assert "Paris" in "".join(parts)


def test_whoever_has_no_key_is_refused(cluster: Cluster) -> None:
    with (
        openai.OpenAI(base_url=f"{cluster.url}/v1", api_key="trp_" + "x" * 43, max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.models.list()


def flower(cluster: Cluster, path: str, login: str = "") -> tuple[int, str]:
    """One of its pages, with its status."""
    connection = http.client.HTTPConnection("127.0.0.1", cluster.compose.flower_port, timeout=30)
    headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"} if login else {}
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def login(cluster: Cluster) -> str:
    """Flower's USER:PASSWORD, as `init` says it."""
    return ":".join(
        re.findall(r"Flower asks for a name and a password: (\S+) and (\S+)", cluster.compose.logs("init"))[0]
    )


@pytest.mark.parametrize("page", ["/workers", "/tasks", "/api/workers", "/api/tasks"])
def test_flower_asks_for_its_password(cluster: Cluster, login: str, page: str) -> None:
    user, _, _ = login.partition(":")
    assert flower(cluster, page)[0] == 401
    assert flower(cluster, page, f"{user}:wrong")[0] == 401
    assert flower(cluster, page, login)[0] == 200


def test_flower_shows_workers_and_what_they_did(cluster: Cluster, login: str) -> None:
    """With no more rights in Redis than to listen and to ask."""
    test_openais_client_gets_a_stream(cluster)
    worker = cluster.compose.container("worker-cpu")
    workers = json.loads(flower(cluster, "/api/workers?refresh=1", login)[1])
    assert any(name.endswith(f"@{worker.hostname}") for name in workers)
    tasks = json.loads(flower(cluster, "/api/tasks", login)[1]).values()
    assert {"tropilla.generate"} == {task["name"] for task in tasks}
    assert any("pocket" in task["args"] for task in tasks)


# -- what strangers do not get -----------------------------------------------------------------------------------------


def test_only_the_api_and_flower_are_published_and_only_to_this_machine(cluster: Cluster) -> None:
    ports = {
        service: [binding for bindings in one.facts["NetworkSettings"]["Ports"].values() for binding in bindings or ()]
        for service in SERVICES
        for one in cluster.compose.containers(service)
    }
    assert {service for service, bindings in ports.items() if bindings} == {"api", "flower"}
    assert {binding["HostIp"] for bindings in ports.values() for binding in bindings} == {"127.0.0.1"}


CONNECT = "import socket; socket.create_connection(('{}', 8000), timeout=3)"


def test_a_worker_has_no_way_out(cluster: Cluster) -> None:
    """The API is in both networks: at one address a worker reaches it, at the other nobody from the inner network does."""
    inside, outside = (f"{cluster.compose.project}_{name}" for name in ("inside", "outside"))
    networks = cluster.compose.container("api").facts["NetworkSettings"]["Networks"]
    worker = cluster.compose.container("worker-cpu")
    assert list(worker.facts["NetworkSettings"]["Networks"]) == [inside]
    assert worker.execute("python", "-c", CONNECT.format(networks[inside]["IPAddress"])).returncode == 0
    refused = worker.execute("python", "-c", CONNECT.format(networks[outside]["IPAddress"]))
    assert "TimeoutError" in refused.stderr or "unreachable" in refused.stderr


def test_redis_asks_who_it_is(cluster: Cluster) -> None:
    assert "NOAUTH" in cluster.compose.container("redis").execute("redis-cli", "PING").stdout
    said = cluster.compose.container("redis").execute("redis-cli", "AUTH", "worker", "wrong")
    assert "WRONGPASS" in said.stdout


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("worker", "HGETALL tropilla:keys"),
        ("worker", "HSET tropilla:keys trp x"),
        ("worker", "GET tropilla:batch:x"),
        ("worker", "FLUSHALL"),
        ("worker", "CONFIG SET dir /tmp"),
        ("worker", "ACL LIST"),
        ("worker", "KEYS *"),
        ("store", "HGETALL tropilla:keys"),
        ("store", "XRANGE tropilla:request:x:journal - +"),
        ("store", "SHUTDOWN"),
        ("api", "FLUSHDB"),
        ("api", "DEBUG SLEEP 1"),
        ("api", "MODULE LIST"),
        ("api", "GET of-somebody-else"),
        ("flower", "EVAL return 0"),
        ("flower", "LPUSH pocket.cpu ticket"),
        ("flower", "BRPOP pocket.cpu 1"),
        ("flower", "HGETALL tropilla:keys"),
        ("flower", "XRANGE tropilla:request:x:journal - +"),
        ("flower", "PUBLISH tropilla:cancels x"),
        ("metrics", "GET tropilla:counts"),
        ("metrics", "CONFIG GET maxmemory"),
    ],
)
def test_redis_refuses_each_role_what_is_not_its_business(cluster: Cluster, user: str, command: str) -> None:
    words = [*command.split(), "0"] if command.startswith("EVAL") else command.split()
    assert "has no permissions" in cluster.redis("ACL", "DRYRUN", user, *words)


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_is_nobody_and_writes_nowhere(cluster: Cluster, service: str) -> None:
    container = cluster.compose.container(service)
    status = container.execute("cat", "/proc/1/status").stdout
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert set(facts["Uid"].split()) == {"10001"}
    assert int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 0
    assert facts["NoNewPrivs"] == "1"
    for place in ("/", "/etc", "/opt/tropilla"):
        refused = container.execute("sh", "-c", f"echo x >{place}/written")
        assert refused.returncode != 0, place
    assert container.execute("sh", "-c", "echo x >/tmp/written").returncode == 0


def test_a_worker_cannot_change_a_model_or_read_the_others_secrets(cluster: Cluster) -> None:
    container = cluster.compose.container("worker-cpu")
    assert container.execute("sh", "-c", "echo x >/var/lib/tropilla/models/written").returncode != 0
    assert container.execute("ls", "/secrets").stdout.split() == ["worker"]


# -- what is left when containers die ----------------------------------------------------------------------------------


class Stream:
    """A story over a connection of its own: its text, and how far it was heard."""

    def __init__(self, cluster: Cluster, heard: str = "") -> None:
        """heard: the last event of another one, behind which this goes on."""
        asked = {"model": "pocket", "messages": STORY, "stream": True, "temperature": 0, "max_tokens": 200}
        headers = {"Authorization": f"Bearer {cluster.key}", **({"Last-Event-ID": heard} if heard else {})}
        self._connection = http.client.HTTPConnection("127.0.0.1", cluster.compose.api_port, timeout=120)
        self._connection.request("POST", "/v1/chat/completions", json.dumps(asked), headers)
        self._response = self._connection.getresponse()
        assert self._response.status == 200, self._response.read()
        self.request_id = self._response.headers["x-request-id"].removeprefix("req_")
        self.heard = heard
        self.text = ""
        self.ended = False

    def read(self, *, until: Callable[[Stream], bool] = lambda _: False) -> Stream:
        """To its end, or until something is so."""
        for line in self._response:
            field, _, value = line.decode().strip().partition(":")
            value = value.strip()
            if field == "id":
                self.heard = value
            elif field == "data" and value == "[DONE]":
                self.ended = True
            elif field == "data":
                event: Any = json.loads(value)
                assert "error" not in event, event
                self.text += "".join(choice["delta"].get("content") or "" for choice in event["choices"])
            # Behind an event, whose number may be its last line.
            if not line.strip() and until(self):
                return self
        self.close()
        return self

    def close(self) -> None:
        self._connection.close()


def has_begun(stream: Stream) -> bool:
    return len(stream.text) > 10


def holder(cluster: Cluster, stream: Stream) -> Container:
    """The container of the worker that computes it."""
    worker = cluster.redis("GET", names.lease_key(stream.request_id)).rpartition("/")[0]
    (found,) = [one for one in cluster.compose.containers("worker-cpu") if worker.endswith(f"@{one.hostname}")]
    return found


@pytest.fixture
def two_workers(cluster: Cluster) -> Iterator[Cluster]:
    """Both as slow as it takes to be killed in the middle of a story."""
    cluster.compose.run("up", "-d", "--no-recreate", "--scale", "worker-cpu=2", seconds=UP_SECONDS)
    cluster.compose.await_health({**SERVICES, "worker-cpu": 2})
    for worker in cluster.compose.containers("worker-cpu"):
        docker("update", "--cpus", SLOW_CPUS, worker.id)
    yield cluster
    for worker in cluster.compose.containers("worker-cpu"):
        docker("update", "--cpus", USUAL_CPUS, worker.id)


def test_a_stream_goes_on_when_the_container_of_its_worker_is_killed(two_workers: Cluster) -> None:
    whole = Stream(two_workers).read()
    assert whole.ended
    stream = Stream(two_workers).read(until=has_begun)
    victim = holder(two_workers, stream)
    victim.kill()
    assert not stream.ended
    assert victim.id not in [one.id for one in two_workers.compose.containers("worker-cpu")]
    stream.read()
    assert stream.ended
    assert stream.text == whole.text
    assert len(stream.text) > 100


def test_a_stream_is_told_to_its_end_when_the_container_of_the_api_was_killed(cluster: Cluster) -> None:
    (worker, *_) = cluster.compose.containers("worker-cpu")
    docker("update", "--cpus", SLOW_CPUS, worker.id)
    whole = Stream(cluster).read()
    first = Stream(cluster).read(until=has_begun)
    cluster.compose.container("api").kill()
    first.close()
    cluster.compose.run("up", "-d", "--no-recreate", seconds=UP_SECONDS)
    cluster.compose.await_health({"api": 1})
    rest = Stream(cluster, first.heard).read()
    assert rest.request_id == first.request_id
    assert rest.ended
    assert first.text + rest.text == whole.text
    # Compose may have taken one of two away again.
    for worker in cluster.compose.containers("worker-cpu"):
        docker("update", "--cpus", USUAL_CPUS, worker.id)


def test_redis_had_to_refuse_nothing_of_what_the_cluster_does(cluster: Cluster) -> None:
    """Whoever gave a role too few rights finds here which were missing."""
    entries = cluster.redis("--json", "ACL", "LOG")
    refused = {(one["username"], one["object"]) for one in json.loads(entries) if one["reason"] != "auth"}
    # Until a worker has brought kombu's scripts, Flower tries to.
    assert refused <= {("flower", "script|load")}


def test_everything_leaves_when_it_is_told_to(cluster: Cluster) -> None:
    before = {service: cluster.compose.containers(service) for service in OURS}
    began = time.monotonic()
    cluster.compose.run("stop", seconds=UP_SECONDS)
    assert time.monotonic() - began < 60
    for service, containers in before.items():
        for one in containers:
            state = one.facts["State"]
            assert (service, state["ExitCode"], state["OOMKilled"]) in [(service, 0, False), (service, 143, False)]


def test_everything_comes_back_with_the_same_keys(cluster: Cluster) -> None:
    cluster.compose.run("down", seconds=UP_SECONDS)
    cluster.compose.run("up", "-d", seconds=UP_SECONDS)
    cluster.compose.await_health(SERVICES)
    assert FIRST_KEY.findall(cluster.compose.logs("api")) == []
    test_openais_client_gets_a_stream(cluster)
