"""Images over a real socket: the official clients of every dialect, and answers that outlive their worker and their API
process.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from typing import Any

import anthropic
import huggingface_hub
import ollama
import openai
import psutil
import pytest
from cluster.herd import Herd, wait_for
from cluster.test_faults import holder
from cluster.test_resume import kill_server_of, until_broken
from cluster.wire import get, post
from sight import MODEL, PROJECTOR
from sight.pictures import solid
from tropilla.common import names

QUESTION = "What colour is this picture?"
#: Embeddings that the model's eye makes of any picture.
PLACES = 9
LONG = "Count to 100."


def drawn(colour: str, form: str = "PNG") -> bytes:
    with io.BytesIO() as file:
        solid(colour).save(file, form)
        return file.getvalue()


RED, BLUE = drawn("red"), drawn("blue", "JPEG")
CUT = BLUE[: len(BLUE) // 2]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def link(data: bytes) -> str:
    return f"data:image/png;base64,{b64(data)}"


def part(data: bytes) -> Any:
    return {"type": "image_url", "image_url": {"url": link(data)}}


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Herd]:
    """Two workers with a model that sees, behind two API processes."""
    quick = {"lease_seconds": 1, "stall_seconds": 0.3, "cache_type": "f32", "threads": 1, "slots": 2, "context": 1024}
    herd = Herd(tmp_path_factory.mktemp("seeing"), model=f"sight={MODEL}", projector=PROJECTOR, **quick)
    try:
        workers = [herd.start_worker(ready=False) for _ in range(2)]
        api = herd.start_api(api_processes=2)
        wait_for(lambda: len([w for w in herd.bus.catalogue().workers if w.state == "ready"]) == len(workers), "both")
        wait_for(lambda: len(psutil.Process(api.pid).children()) == 2, "both API processes")
        yield herd
    finally:
        herd.stop()


# -- what each client is told ------------------------------------------------------------------------------------------


def by_openai(herd: Herd, data: bytes) -> tuple[str, int]:
    with openai.OpenAI(base_url=f"{herd.base_url}/v1", api_key="none", max_retries=0) as client:
        content: Any = [part(data), {"type": "text", "text": QUESTION}]
        told = client.chat.completions.create(
            model="sight", messages=[{"role": "user", "content": content}], temperature=0, max_tokens=30
        )
    assert told.usage is not None
    return told.choices[0].message.content or "", told.usage.prompt_tokens


def by_responses(herd: Herd, data: bytes) -> tuple[str, int]:
    with openai.OpenAI(base_url=f"{herd.base_url}/v1", api_key="none", max_retries=0) as client:
        content = [
            {"type": "input_image", "image_url": link(data), "detail": "auto"},
            {"type": "input_text", "text": QUESTION},
        ]
        asked: Any = [{"role": "user", "content": content}]
        told = client.responses.create(model="sight", input=asked, temperature=0, max_output_tokens=30)
        counted = client.responses.input_tokens.count(model="sight", input=asked)
    assert told.usage is not None
    assert counted.input_tokens == told.usage.input_tokens
    return told.output_text, told.usage.input_tokens


def by_anthropic(herd: Herd, data: bytes) -> tuple[str, int]:
    with anthropic.Anthropic(base_url=herd.base_url, api_key="none", max_retries=0) as client:
        source = {"type": "base64", "media_type": "image/png", "data": b64(data)}
        blocks = [{"type": "image", "source": source}, {"type": "text", "text": QUESTION}]
        asked: Any = [{"role": "user", "content": blocks}]
        told = client.messages.create(model="sight", messages=asked, max_tokens=30, extra_body={"temperature": 0})
        counted = client.messages.count_tokens(model="sight", messages=asked).input_tokens
    assert counted == told.usage.input_tokens + (told.usage.cache_read_input_tokens or 0)
    return "".join(block.text for block in told.content if block.type == "text"), counted


def by_ollama_chat(herd: Herd, data: bytes) -> tuple[str, int]:
    asked = [{"role": "user", "content": QUESTION, "images": [data]}]
    with ollama.Client(herd.base_url) as client:
        told = client.chat("sight", messages=asked, options={"temperature": 0, "num_predict": 30})
    return told.message.content or "", told.prompt_eval_count or 0


def by_ollama_generate(herd: Herd, data: bytes) -> tuple[str, int]:
    options = {"temperature": 0, "num_predict": 30}
    with ollama.Client(herd.base_url) as client:
        told = client.generate("sight", f"[img]{QUESTION}", images=[data], options=options)
    assert told.context
    return told.response, told.prompt_eval_count or 0


def by_hub(herd: Herd, data: bytes) -> tuple[str, int]:
    with huggingface_hub.InferenceClient(base_url=herd.base_url) as client:
        content: Any = [part(data), {"type": "text", "text": QUESTION}]
        told = client.chat_completion([{"role": "user", "content": content}], max_tokens=30, temperature=0)
    return told.choices[0].message.content or "", told.usage.prompt_tokens


CLIENTS = {
    "openai": by_openai,
    "responses": by_responses,
    "anthropic": by_anthropic,
    "ollama-chat": by_ollama_chat,
    "ollama-generate": by_ollama_generate,
    "hub": by_hub,
}


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_is_told_the_colour_of_its_picture(seeing: Herd, client: str) -> None:
    with ollama.Client(seeing.base_url) as plainly:
        plain = plainly.chat("sight", messages=[{"role": "user", "content": QUESTION}], options={"num_predict": 1})
    for data, colour in ((RED, "red"), (BLUE, "blue")):
        said, tokens = CLIENTS[client](seeing, data)
        assert colour in said.lower()
        assert tokens == (plain.prompt_eval_count or 0) + PLACES


def test_markdown_shows_a_picture_to_tgis_clients(seeing: Herd) -> None:
    with huggingface_hub.InferenceClient(base_url=seeing.base_url) as client:
        told = [
            client.text_generation(f"![]({link(data)}){QUESTION}", max_new_tokens=1, details=True)
            for data in (RED, BLUE)
        ]
    # To what is no chat it has little to say: but something else of each picture.
    red, blue = (each.details.tokens[0].logprob for each in told if each.details)
    assert red != blue


def test_a_picture_that_is_none_is_refused_and_waits_for_nobody(seeing: Herd) -> None:
    with openai.OpenAI(base_url=f"{seeing.base_url}/v1", api_key="none", max_retries=0) as client:
        content: Any = [part(CUT), {"type": "text", "text": QUESTION}]
        with pytest.raises(openai.BadRequestError, match="broken or cut off") as refused:
            client.chat.completions.create(model="sight", messages=[{"role": "user", "content": content}])
    assert refused.value.param == "messages[0].content[0].image_url.url"
    shown = hashlib.sha256(CUT).hexdigest()
    assert seeing.redis.get(names.image_key(shown)) is None


# -- what a kill changes: nothing --------------------------------------------------------------------------------------


def long_answer() -> dict[str, Any]:
    content = [part(RED), {"type": "text", "text": LONG}]
    asked = {"model": "sight", "messages": [{"role": "user", "content": content}], "temperature": 0}
    return {**asked, "max_tokens": 200, "stream": True, "ignore_eos": True}


def said(items: list[Any]) -> str:
    chunks = [item for item in items if item != "[DONE]"]
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


def test_an_answer_about_a_picture_outlives_its_worker_and_its_api_process(seeing: Herd) -> None:
    with post(seeing, "/v1/chat/completions", long_answer()) as answer:
        expected = list(answer.items())
    with post(seeing, "/v1/chat/completions", long_answer()) as answer:
        items = answer.items()
        heard = [next(items) for _ in range(10)]
        holder(seeing, answer.request_id).kill()
        heard += [next(items) for _ in range(30)]
        kill_server_of(seeing, answer)
        heard += until_broken(items)
        stream = answer.headers["x-stream-id"]
    assert len(heard) < len(expected)
    seeing.redis.delete(names.image_key(hashlib.sha256(RED).hexdigest()))
    with get(seeing, f"/v1/streams/{stream}?from={len(heard)}") as rest:
        assert rest.status == 200
        whole = [*heard, *rest.items()]
    assert said(whole) == said(expected)
    assert len({item["id"] for item in whole if item != "[DONE]"}) == 1
