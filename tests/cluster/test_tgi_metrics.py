"""GET /metrics over several API processes and a worker, which all add up; and the bound on what is in flight."""

from __future__ import annotations

import http.client
import json
import signal

from cluster.conftest import HerdMaker
from cluster.herd import Herd, wait_for
from cluster.wire import get, post


def counted(herd: Herd, path: str = "/metrics") -> dict[str, float]:
    with get(herd, path) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        lines = answer.text().splitlines()
    return {name: float(number) for name, number in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def generate(herd: Herd, tokens: int = 4) -> None:
    with post(herd, "/generate", {"inputs": "abc", "parameters": {"max_new_tokens": tokens}}) as answer:
        assert answer.status == 200
        answer.json()


def test_counts_are_those_of_all_processes_and_outlive_them(make_herd: HerdMaker) -> None:
    herd = make_herd(api_processes=2)
    worker = herd.start_worker()
    api = herd.start_api()
    for _ in range(8):
        generate(herd)
    with post(herd, "/generate", {"inputs": ""}) as refused:
        assert refused.status == 422
    wait_for(lambda: counted(herd)["tgi_request_count"] == 9, "both processes' counts")
    told = counted(herd)
    assert told["tgi_request_success"] == 8
    assert told['tgi_request_failure{err="validation"}'] == 1
    assert told["tgi_request_generated_tokens_sum"] == 32
    assert told['tgi_request_generated_tokens_bucket{le="+Inf"}'] == 8
    assert counted(herd, "/models/endless/metrics")["tgi_request_success"] == 8

    generate(herd)
    api.stop()
    worker.kill(signal.SIGTERM)
    worker.wait()
    herd.start_worker()
    herd.start_api()
    # The processes have left nothing behind in themselves.
    again = counted(herd)
    assert again["tgi_request_success"] == 9
    assert again['tgi_batch_inference_success{method="prefill"}'] >= 9
    # The first token of four comes with the prefill.
    assert again['tgi_batch_inference_success{method="decode"}'] >= 27
    for part in ("inference", "forward", "decode", "filter", "concat"):
        assert again[f'tgi_batch_{part}_duration_count{{method="decode"}}'] >= 27
    assert again["tgi_batch_next_size_count"] == 9


def test_what_runs_and_what_waits_can_be_seen(make_herd: HerdMaker) -> None:
    herd = make_herd(slots=1)
    herd.start_worker()
    herd.start_api()
    body = {"inputs": "abc", "parameters": {"max_new_tokens": 8000}}
    streams = [post(herd, "/generate_stream", body)]
    next(streams[0].lines())
    wait_for(lambda: counted(herd)["tgi_batch_current_size"] == 1, "a running sequence")
    told = counted(herd)
    assert told["tgi_batch_current_max_tokens"] > 8000
    assert told["tgi_batch_total_tokens"] >= 1
    streams[0].close()
    wait_for(lambda: counted(herd)["tgi_batch_current_size"] == 0, "rest")
    wait_for(lambda: counted(herd).get('tgi_request_failure{err="dropped"}') == 1, "the stream that was left")


def test_one_request_too_many_is_refused_at_once_and_the_next_one_is_not(make_herd: HerdMaker) -> None:
    herd = make_herd(max_concurrent_requests=1)
    herd.start_worker()
    herd.start_api()
    with post(herd, "/generate_stream", {"inputs": "abc", "parameters": {"max_new_tokens": 8000}}) as stream:
        next(stream.lines())
        with post(herd, "/generate", {"inputs": "abc"}) as refused:
            assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
            assert refused.json() == {"error": "Model is overloaded", "error_type": "overloaded"}

    def answered() -> bool:
        with post(herd, "/generate", {"inputs": "abc", "parameters": {"max_new_tokens": 1}}) as answer:
            return answer.status == 200

    wait_for(answered, "the place of a stream that was left")


def test_vertex_answers_all_instances_side_by_side_and_one_hang_up_ends_them(make_herd: HerdMaker) -> None:
    herd = make_herd()
    herd.start_worker()
    herd.start_api()
    instances = [{"inputs": text, "parameters": {"max_new_tokens": 3}} for text in ("abc", "x", "yz")]
    with post(herd, "/vertex", {"instances": instances}) as answer:
        assert len(answer.json()["predictions"]) == 3
    endless = [{"inputs": "abc", "parameters": {"max_new_tokens": 8000}}] * 2
    caller = http.client.HTTPConnection("127.0.0.1", herd.api_port)
    caller.request("POST", "/vertex", json.dumps({"instances": endless}))
    wait_for(lambda: counted(herd)["tgi_batch_current_size"] == 2, "both instances, running")
    caller.close()
    wait_for(lambda: counted(herd)["tgi_batch_current_size"] == 0, "rest")
