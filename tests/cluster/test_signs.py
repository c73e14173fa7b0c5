"""Health, logs and traces of a real cluster: one herd that logs JSON at level debug, and a collector of spans."""

from __future__ import annotations

import http.client
import http.server
import json
import re
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from cluster.herd import Herd, Process, wait_for
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tropilla.common.settings import Settings
from tropilla.compose import health

pytestmark = pytest.mark.cluster

SECRET = "xyzzyplugh"
TRACE = "0af7651916cd43dd8448eb211c80319c"
ABOVE = "b7ad6b7169203331"


class Collector:
    """Takes spans by OTLP over HTTP, as protobuf, and keeps them."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        kept = self.spans

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
                for of_process in told.resource_spans:
                    for of_scope in of_process.scope_spans:
                        kept.extend(of_scope.spans)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def trace(self, trace: str) -> list[Any]:
        return [span for span in list(self.spans) if span.trace_id.hex() == trace]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.close()


@pytest.fixture(scope="module")
def herd(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Herd]:
    patch = pytest.MonkeyPatch()
    patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    # Sooner than every five seconds.
    patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    found = Herd(
        tmp_path_factory.mktemp("signs"), log_format="json", log_level="debug", canary_seconds=0.2, lease_seconds=0.6
    )
    try:
        found.start_worker()
        found.start_store()
        found.start_api()
        yield found
    finally:
        found.stop()
        patch.undo()


def post(herd: Herd, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", herd.api_port, timeout=30)
    try:
        sent = {"Content-Type": "application/json", **{name.replace("_", "-"): told for name, told in headers.items()}}
        connection.request("POST", path, json.dumps(body), sent)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def get(herd: Herd, path: str, method: str = "GET") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", herd.api_port, timeout=30)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        told = response.read()
        return response.status, json.loads(told) if told else None
    finally:
        connection.close()


def chat(content: str, **fields: Any) -> dict[str, Any]:
    return {"model": "pocket", "messages": [{"role": "user", "content": content}], "max_tokens": 4, **fields}


def lines(process: Process) -> list[dict[str, Any]]:
    """Every whole line of a process's log, each of which is an object."""
    return [json.loads(line) for line in process.log.splitlines(keepends=True) if line.endswith("\n")]


def of_role(herd: Herd, role: str) -> Process:
    return next(process for process in herd.processes if process.name == role and process.alive)


# -- health ------------------------------------------------------------------------------------------------------------


def test_who_decodes_is_told_and_the_canary_goes_on_by_itself(herd: Herd) -> None:
    status, told = get(herd, "/readyz?model=pocket")
    assert (status, told["status"], told["models"], told["redis"]["answers"]) == (200, "ready", ["pocket"], True)
    (worker,) = told["workers"]["pocket"]
    assert (worker["decodes"], worker["reason"], told["store"]) == (True, "", {"lives": True})
    assert worker["canary_seconds"] > 0

    def fresh() -> bool:
        (shown,) = get(herd, "/readyz")[1]["workers"]["pocket"]
        return bool(shown["computed_seconds_ago"] < 1.5 and shown["canary_seconds"] != worker["canary_seconds"])

    # Nobody asks for anything, and it has computed something since.
    wait_for(fresh, "another canary", 10)
    # What it computes stands in no books.
    assert herd.redis.xlen("tropilla:ledger") == 0
    assert get(herd, "/readyz", "HEAD") == (200, None)
    assert get(herd, "/readyz?model=nobody")[0] == 404
    assert get(herd, "/livez") == (200, {"status": "alive", "threads": {}})


def test_each_process_has_a_check_for_its_container(herd: Herd) -> None:
    settings = Settings(redis_url=herd.redis_url, port=herd.api_port)
    for what in ("api", "worker", "store"):
        verdict = health.CHECKS[what](settings, "")
        assert verdict.well, verdict.sentence
    name = next(iter(herd.bus.catalogue().workers)).name
    assert health.worker(settings, name.partition("@")[0]).sentence.startswith(f"{name} computed a step")
    assert health.worker(settings, "nobody").sentence == f"Redis knows no worker nobody@{socket.gethostname()}"


# -- traces ------------------------------------------------------------------------------------------------------------


def attributes(span: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}


def test_one_trace_has_the_request_and_what_its_worker_did(herd: Herd, collector: Collector) -> None:
    status, _ = post(herd, "/v1/chat/completions", chat("Once"), traceparent=f"00-{TRACE}-{ABOVE}-01")
    assert status == 200
    wait_for(lambda: len(collector.trace(TRACE)) >= 5, "five spans", 15)
    by_name = {span.name: span for span in collector.trace(TRACE)}
    assert set(by_name) == {"chat pocket", "queue", "attempt", "prefill", "decode"}
    server, attempt = by_name["chat pocket"], by_name["attempt"]
    assert server.parent_span_id.hex() == ABOVE
    assert {by_name["queue"].parent_span_id, attempt.parent_span_id} == {server.span_id}
    assert {by_name["prefill"].parent_span_id, by_name["decode"].parent_span_id} == {attempt.span_id}
    told = attributes(server)
    assert (told["gen_ai.operation.name"], told["gen_ai.provider.name"]) == ("chat", "tropilla")
    assert (told["gen_ai.request.model"], told["gen_ai.request.max_tokens"]) == ("pocket", 4)
    assert (told["gen_ai.usage.output_tokens"], told["http.response.status_code"]) == (4, 200)
    assert told["gen_ai.usage.input_tokens"] == attributes(by_name["prefill"])["gen_ai.usage.input_tokens"] > 0
    for span in by_name.values():
        assert server.start_time_unix_nano <= span.start_time_unix_nano + 5_000_000
        assert span.start_time_unix_nano <= span.end_time_unix_nano


def test_a_worker_that_is_killed_leaves_two_attempts_in_one_trace(herd: Herd, collector: Collector) -> None:
    trace = TRACE[::-1]
    worker = of_role(herd, "worker")
    connection = http.client.HTTPConnection("127.0.0.1", herd.api_port, timeout=60)
    # More than a worker computes before it is killed, on however busy a machine.
    asked = {"model": "pocket", "prompt": "Once", "max_tokens": 4000, "n": 8, "stream": True, "ignore_eos": True}
    headers = {"Content-Type": "application/json", "traceparent": f"00-{trace}-{ABOVE}-01"}
    connection.request("POST", "/v1/completions", json.dumps(asked), headers)
    response = connection.getresponse()
    request_id = response.headers["x-stream-id"]
    assert response.readline()
    worker.kill(signal.SIGKILL)
    worker.wait()
    herd.start_worker()
    wait_for(lambda: herd.bus.attempts(request_id) == 2, "a second attempt")
    # Who has seen enough: the rest need not be computed.
    response.close()
    connection.close()

    def attempts() -> list[Any]:
        return sorted(
            (span for span in collector.trace(trace) if span.name == "attempt"),
            key=lambda span: int(attributes(span)["tropilla.attempt"]),
        )

    wait_for(lambda: len(attempts()) == 2 and any(s.parent_span_id.hex() == ABOVE for s in collector.trace(trace)),
             "two attempts", 15)  # fmt: skip
    lost, last = attempts()
    (server,) = [span for span in collector.trace(trace) if span.parent_span_id.hex() == ABOVE]
    assert lost.parent_span_id == last.parent_span_id == server.span_id
    assert [link.span_id for link in last.links] == [lost.span_id]
    assert attributes(lost)["error.type"] == "worker_lost"
    assert attributes(lost)["tropilla.worker"] != attributes(last)["tropilla.worker"]
    assert lost.end_time_unix_nano <= last.start_time_unix_nano


# -- logs --------------------------------------------------------------------------------------------------------------


def test_every_line_is_an_object_and_each_request_has_two(herd: Herd) -> None:
    status, _ = post(herd, "/api/generate", {"model": "pocket", "prompt": "Once", "stream": False,
                                             "options": {"num_predict": 3}}, x_request_id="mine-1")  # fmt: skip
    assert status == 200
    api, worker = of_role(herd, "api"), of_role(herd, "worker")
    (said,) = wait_for(
        lambda: [line for line in lines(api) if line.get("request", {}).get("client_request_id") == "mine-1"],
        "the API's line", 10,
    )  # fmt: skip
    request = said["request"]
    assert (request["route"], request["dialect"], request["status"]) == ("/api/generate", "ollama", 200)
    assert (request["outcome"], request["model"], request["generated_tokens"]) == ("completed", "pocket", 3)
    assert 0 < request["ttft_seconds"] <= request["seconds"]
    assert 0 <= request["queue_seconds"] <= request["ttft_seconds"]
    (done,) = wait_for(
        lambda: [line for line in lines(worker) if "attempt" in line and line["request_id"] == said["request_id"]],
        "the worker's line", 10,
    )  # fmt: skip
    assert (done["attempt"]["number"], done["attempt"]["generated_tokens"]) == (1, 3)
    assert (done["role"], done["model"], said["role"]) == ("worker", "pocket", "api")
    loggers = {line["logger"].partition(".")[0] for process in (api, worker) for line in lines(process)}
    assert {"tropilla", "gunicorn", "celery"} <= loggers
    for role in ("api", "worker", "store"):
        for line in lines(of_role(herd, role)):
            assert {"time", "level", "logger", "message", "role", "pid"} <= line.keys()


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "description": SECRET,
        "properties": {SECRET: {"type": "string"}}}}}  # fmt: skip


def test_nothing_that_is_asked_or_answered_is_ever_logged(herd: Herd, collector: Collector) -> None:
    """At level debug, of what succeeds, is refused, and breaks; nor is it in a span."""
    key = {"authorization": f"Bearer sk-{SECRET}"}
    picture = {"type": "image_url", "image_url": {"url": f"http://{SECRET}/a.png"}}
    asked: list[tuple[str, Any, int]] = [
        ("/v1/chat/completions", chat(SECRET, messages=[{"role": "system", "content": SECRET},
                                                        {"role": "user", "content": SECRET}]), 200),
        ("/v1/chat/completions", chat(SECRET, tools=[TOOL]), 200),
        ("/v1/chat/completions", chat(SECRET, tools=SECRET), 400),
        ("/v1/chat/completions", chat(SECRET, messages=[{"role": "user", "content": [picture]}]), 400),
        ("/v1/chat/completions", chat(SECRET, response_format={"type": "json_schema", "json_schema": {
            "name": "x", "schema": {"type": "string", "pattern": f"(?<={SECRET})["}}}), 400),
        ("/v1/completions", {"model": "pocket", "prompt": f"{SECRET} " * 4000, "max_tokens": 4}, 400),
        ("/v1/completions", {"model": SECRET, "prompt": "x"}, 404),
        ("/api/chat", {"model": "pocket", "stream": False, "messages": [{"role": "user", "content": SECRET}],
                       "options": {"num_predict": 4}}, 200),
        # Worker's own failures: a template that is none, and one that breaks on what was asked.
        ("/api/generate", {"model": "pocket", "prompt": SECRET, "stream": False, "template": f"{{{{ {SECRET} }}}}"},
         500),
        ("/api/generate", {"model": "pocket", "prompt": SECRET, "stream": False,
                           "template": "{{ index .Prompt .Prompt }}"}, 400),
        ("/generate", {"inputs": SECRET, "parameters": {"max_new_tokens": 4}}, 200),
        ("/generate", {"inputs": SECRET, "parameters": {"max_new_tokens": 4, "grammar": {
            "type": "regex", "value": f"[{SECRET}"}}}, 422),
    ]  # fmt: skip
    for path, body, expected in asked:
        status, answer = post(herd, path, body, **key)
        assert status == expected, (path, body, answer)
    api = of_role(herd, "api")
    heads = re.compile(r'"request":')
    wait_for(lambda: len(heads.findall(api.log)) >= len(asked), "a line for each", 10)
    for process in herd.processes:
        assert SECRET not in process.log, process.name
    assert all(SECRET not in str(span) for span in list(collector.spans))
