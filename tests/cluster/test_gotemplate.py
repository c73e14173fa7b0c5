"""Go templates with the official Ollama client, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import ollama
import pytest
from cluster.herd import Herd

#: What the built-in model's own template makes of one turn, in Go.
CHATML = (
    "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}"
    "<|im_start|>user\n{{ .Prompt }}<|im_end|>\n<|im_start|>assistant\n"
)
QUESTION = "What is the capital of France?"


@pytest.fixture
def client(herd: Herd) -> Iterator[ollama.Client]:
    with ollama.Client(host=herd.base_url) as client:
        yield client


def shown(herd: Herd, path: str, **body: Any) -> dict[str, Any]:
    answer = httpx.post(f"{herd.base_url}{path}", json={"model": "pocket", "_debug_render_only": True, **body})
    assert answer.status_code == 200
    told: dict[str, Any] = answer.json()
    return told


def rendered(herd: Herd, path: str, **body: Any) -> str:
    text: str = shown(herd, path, **body)["_debug_info"]["rendered_template"]
    return text


def test_a_template_says_what_the_model_reads(herd: Herd) -> None:
    assert rendered(herd, "/api/generate", prompt="Hello", template="PROMPT: {{ .Prompt }}") == "PROMPT: Hello"
    own = rendered(herd, "/api/chat", messages=[{"role": "user", "content": "Hello"}])
    assert rendered(herd, "/api/generate", prompt="Hello") == own
    assert rendered(herd, "/api/generate", prompt="Hello", raw=True) == "Hello"
    assert shown(herd, "/api/chat", messages=[{"role": "user", "content": "Hello"}])["done"] is False


def test_the_same_prompt_by_template_and_raw_gets_the_same_answer(herd: Herd, client: ollama.Client) -> None:
    text = rendered(herd, "/api/generate", prompt=QUESTION, template=CHATML)
    assert text == rendered(herd, "/api/generate", prompt=QUESTION)
    options = {"temperature": 0, "num_predict": 32}
    by_template = client.generate(model="pocket", prompt=QUESTION, template=CHATML, options=options)
    by_raw = client.generate(model="pocket", prompt=text, raw=True, options=options)
    by_model = client.generate(model="pocket", prompt=QUESTION, options=options)
    assert "Paris" in by_template.response
    assert by_template.response == by_raw.response == by_model.response
    assert by_template.prompt_eval_count == by_model.prompt_eval_count


def test_a_template_streams(client: ollama.Client) -> None:
    parts = list(
        client.generate(model="pocket", prompt=QUESTION, template=CHATML, stream=True, options={"temperature": 0})
    )
    assert "Paris" in "".join(part.response for part in parts)
    assert parts[-1].done_reason == "stop"


def test_bad_templates_are_refused_in_gos_words(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError) as caught:
        client.generate(model="pocket", prompt="x", template="{{ .Prompt")
    assert (caught.value.status_code, caught.value.error) == (500, "template: :1: unclosed action")
    with pytest.raises(ollama.ResponseError) as caught:
        client.generate(model="pocket", prompt="x", template="{{ .Prompt.Deep }}")
    assert caught.value.status_code == 400
    assert caught.value.error == (
        'template: :1:10: executing "" at <.Prompt.Deep>: can\'t evaluate field Deep in type string'
    )
    with pytest.raises(ollama.ResponseError) as caught:
        client.generate(model="pocket", prompt="x", template="{{ range 1000000000 }}{{ end }}{{ .Prompt }}")
    assert caught.value.error == "template: : it does more work than a template may"
