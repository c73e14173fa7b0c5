"""LoRA adapters on a live cluster: started with a flag's setting, asked for in three dialects, refused where unknown."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import huggingface_hub
import openai
import pytest
from cluster.herd import Herd
from cluster.wire import get, post
from tiny import write_adapter
from tropilla.workers import pocket

PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Herd]:
    """The built-in model with two adapters; a worker has a third, which the other one has not."""
    folder = tmp_path_factory.mktemp("adapted")
    files = {
        name: write_adapter(folder / f"{name}.gguf", pocket.path(), seed=seed, strength=0.8)
        for seed, name in enumerate(("poet", "cook", "lonely"))
    }
    herd = Herd(folder)
    try:
        for names in (("poet", "cook"), ("lonely", "cook", "poet")):
            herd.start_worker(slots=4, threads=1, adapters=",".join(f"{name}={files[name]}" for name in names))
        herd.start_api()
        yield herd
    finally:
        herd.stop()


def generate(herd: Herd, adapter: str | None = None, tokens: int = 16) -> dict[str, Any]:
    with post(
        herd, "/generate", {"inputs": PROMPT, "parameters": {"max_new_tokens": tokens, "adapter_id": adapter}}
    ) as it:
        return {"status": it.status, **it.json()}


def test_tgi_answers_with_the_adapter_that_was_asked_for(adapted: Herd) -> None:
    texts = {adapter: generate(adapted, adapter)["generated_text"] for adapter in (None, "poet", "cook")}
    assert len(set(texts.values())) == 3
    assert "Paris" in texts[None]
    assert generate(adapted, "pocket")["generated_text"] == generate(adapted, "tgi")["generated_text"] == texts[None]
    client = huggingface_hub.InferenceClient(base_url=adapted.base_url)
    # It posts to /, which shows the prompt, too.
    assert client.text_generation(PROMPT, max_new_tokens=16, adapter_id="poet") == PROMPT + texts["poet"]


@pytest.mark.parametrize("unknown", ["nobody", "lonely"])
def test_an_adapter_that_not_all_workers_have_is_refused(adapted: Herd, unknown: str) -> None:
    refused = generate(adapted, unknown)
    assert (refused["status"], refused["error_type"]) == (422, "validation")
    assert refused["error"] == f"Input validation error: adapter {unknown} not found"
    with post(adapted, "/v1/completions", {"model": unknown, "prompt": PROMPT}) as it:
        assert (it.status, it.json()["error"]["code"]) == (404, "model_not_found")


def test_openai_lists_and_asks_for_an_adapter_as_a_model(adapted: Herd) -> None:
    with openai.OpenAI(base_url=f"{adapted.base_url}/v1", api_key="none", max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["pocket", "cook", "poet"]
        answer = client.completions.create(model="poet", prompt=PROMPT, max_tokens=16, temperature=0)
        assert answer.model == "poet"
        assert answer.choices[0].text == generate(adapted, "poet")["generated_text"]
        question: Any = [{"role": "user", "content": "What is the capital of France?"}]
        surest = [
            client.chat.completions.create(model=name, messages=question, temperature=0, max_tokens=4, logprobs=True)
            .choices[0]
            .logprobs
            for name in ("pocket", "cook")
        ]
        # What it has learned best it still says, but less surely.
        firsts = [known.content[0].logprob for known in surest if known and known.content]
        assert 10 * firsts[0] > firsts[1]
    with get(adapted, "/v1/models/cook") as it:
        assert it.json()["parent"] == "pocket"


def test_streams_of_all_adapters_at_once_all_come_to_an_end(adapted: Herd) -> None:
    """On eight slots of two workers; what each says may differ from what it says alone by rounding only."""
    asked = [None, "poet", "cook"] * 8
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda adapter: generate(adapted, adapter, tokens=40), asked))
    assert {answer["status"] for answer in answers} == {200}
    firsts = {adapter: generate(adapted, adapter, tokens=40)["generated_text"].split()[0] for adapter in asked}
    assert [answer["generated_text"].split()[0] for answer in answers] == [firsts[adapter] for adapter in asked]


def test_an_adapter_that_does_not_fit_stops_its_worker_with_one_sentence(adapted: Herd) -> None:
    worker = adapted.start_worker(ready=False, adapters=f"poet={pocket.path()}")
    assert worker.wait() == 2
    # Beside a warning of this Redis's release, which anybody here could reach.
    (said,) = [line for line in worker.log.splitlines() if not line.startswith("WARNING tropilla.common.bus")]
    assert f"{pocket.path()} cannot be an adapter of pocket: it is a GGUF of something else" in said
