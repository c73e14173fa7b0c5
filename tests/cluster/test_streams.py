"""The whole path on the built-in model: many at once, in order, the same on every surface."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from cluster.conftest import HerdMaker
from cluster.herd import Herd
from cluster.wire import OLLAMA, OPENAI, TGI, ask, get, post, text_of

COUNTING = [{"role": "user", "content": "Count from 1 to 40."}]
COUNTED = " ".join(str(number) for number in range(1, 41))


def streamed(herd: Herd, path: str, body: dict[str, Any]) -> list[Any]:
    with post(herd, path, body) as answer:
        assert answer.status == 200, answer.text()
        return list(answer.items())


def test_thirty_two_streams_through_eight_slots_all_arrive_in_order(herd: Herd) -> None:
    def one(number: int) -> list[Any]:
        return streamed(
            herd, TGI, ask(TGI, f"Once upon a time {number}", "pocket", tokens=60, temperature=1.0, seed=number)
        )

    with ThreadPoolExecutor(32) as pool:
        streams = list(pool.map(one, range(1, 33)))
    for items in streams:
        assert [item["index"] for item in items] == list(range(1, len(items) + 1))
        assert items[-1]["generated_text"] == text_of(TGI, items)
        assert items[-1]["details"]["generated_tokens"] == len(items)


def test_the_first_token_of_a_short_answer_is_never_missed(herd: Herd) -> None:
    """Three hundred answers of one token, sixteen at a time: nothing to repair a missed message with but the journal."""
    body = ask(TGI, "The capital of France is", "pocket", tokens=1)
    with ThreadPoolExecutor(16) as pool:
        for items in pool.map(lambda _: streamed(herd, TGI, body), range(300)):
            assert [item["index"] for item in items] == [1]


def test_a_stream_is_the_same_alone_and_among_others(herd: Herd) -> None:
    body = {"model": "pocket", "messages": COUNTING, "temperature": 0, "stream": True}

    def text(_: int) -> str:
        items = streamed(herd, "/v1/chat/completions", body)
        return "".join(item["choices"][0]["delta"].get("content", "") for item in items if isinstance(item, dict))

    with ThreadPoolExecutor(16) as pool:
        together = set(pool.map(text, range(16)))
    assert len(together) == 1
    assert COUNTED.split() == [word.strip(",.") for word in together.pop().split()][:40]


@pytest.mark.parametrize(
    "sampling", [{"temperature": 0.0}, {"temperature": 0.9, "top_k": 40, "top_p": 0.95, "seed": 7}]
)
def test_the_same_request_gives_the_same_text_on_all_three_surfaces(
    make_herd: HerdMaker, sampling: dict[str, Any]
) -> None:
    prompt = "Once upon a time"
    texts = {}
    herd = make_herd(model="", context=0)
    herd.start_api()
    for path in (OPENAI, OLLAMA, TGI):
        # A fresh one: what lies in other KV cells, and where, changes the last bits of a sum, and with them the name of
        # the hero.
        worker = herd.start_worker()
        body = ask(path, prompt, "pocket", tokens=48, **sampling)
        texts[path] = text_of(path, streamed(herd, path, body))
        worker.stop()
    assert len(set(texts.values())) == 1, texts
    assert len(texts[TGI]) > 20


def test_a_chat_reads_the_same_over_openai_and_ollama(herd: Herd) -> None:
    openai = post(herd, "/v1/chat/completions", {"model": "pocket", "messages": COUNTING, "temperature": 0})
    ollama = post(
        herd, "/api/chat", {"model": "pocket", "messages": COUNTING, "options": {"temperature": 0}, "stream": False}
    )
    with openai, ollama:
        assert openai.json()["choices"][0]["message"]["content"] == ollama.json()["message"]["content"]


@pytest.mark.parametrize("path", [OPENAI, OLLAMA])
def test_a_stop_string_never_shows_not_even_in_part(herd: Herd, path: str) -> None:
    """The counting goes ... 7 8 9 10 ...: cut where "9 1" would begin."""
    chat = {OPENAI: "/v1/chat/completions", OLLAMA: "/api/chat"}[path]
    stop = ["9, 1", "9 1"]
    options = {"temperature": 0, "stop": stop}
    body: dict[str, Any] = {"model": "pocket", "messages": COUNTING, "stream": True}
    body |= options if path == OPENAI else {"options": options}
    items = streamed(herd, chat, body)
    if path == OPENAI:
        pieces = [item["choices"][0]["delta"].get("content", "") for item in items if isinstance(item, dict)]
    else:
        pieces = [item["message"]["content"] for item in items]
    text = "".join(pieces)
    assert text.rstrip(" ,").endswith("8")
    for shown in itertools.accumulate(pieces):
        assert text.startswith(shown)


def test_characters_of_several_tokens_arrive_whole(herd: Herd) -> None:
    """An emoji is four bytes; any sampled text is whole characters, cut anywhere by max_tokens."""
    for tokens in range(1, 24):
        messages = [{"role": "user", "content": "Send me a smiley."}]
        body = {"model": "pocket", "messages": messages, "temperature": 0, "max_tokens": tokens, "stream": True}
        with post(herd, "/v1/chat/completions", body) as answer:
            assert "\ufffd" not in answer.text()


def test_several_choices_of_several_prompts_keep_their_places(herd: Herd) -> None:
    body = {
        "model": "pocket", "prompt": ["The capital of France is", "The capital of Italy is"], "n": 2,
        "temperature": 0, "max_tokens": 8, "stream": False,
    }  # fmt: skip
    with post(herd, OPENAI, body) as answer:
        choices = answer.json()["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2, 3]
    assert choices[0]["text"] == choices[1]["text"] != choices[2]["text"] == choices[3]["text"]


def test_a_long_prompt_does_not_stall_a_running_stream(make_herd: Any) -> None:
    """While 4,000 prompt tokens are prefilled in chunks, a stream that runs gets a token with every chunk."""
    herd = make_herd(step_tokens=64)
    herd.start_worker()
    herd.start_api()
    with post(herd, TGI, ask(TGI, "a", "endless", tokens=3000)) as running:
        items = running.items()
        next(items)
        with ThreadPoolExecutor(1) as pool:
            prefilled = pool.submit(lambda: streamed(herd, TGI, ask(TGI, "b" * 2000, "endless", tokens=2)))
            meanwhile = sum(1 for _ in itertools.takewhile(lambda _: not prefilled.done(), items))
    # 4,000 bytes are two tokens each at the least one a byte: 2000 tokens are 32 chunks of 63.
    assert meanwhile >= 2000 // 64


def test_the_ticket_in_the_queue_shows_its_model_and_no_prompt(herd: Herd) -> None:
    listener = herd.redis.monitor()
    with listener as monitor:
        with post(herd, "/generate", ask(TGI, "a secret prompt", "pocket", tokens=1)) as answer:
            assert answer.status == 200
        for command in monitor.listen():
            if command["command"].startswith("LPUSH pocket.cpu"):
                break
    message = json.loads(command["command"].split(" ", 2)[2].encode().decode("unicode_escape"))
    assert message["headers"]["argsrepr"] == "('pocket')"


def test_every_listing_names_the_model(herd: Herd) -> None:
    with get(herd, "/v1/models") as openai, get(herd, "/api/tags") as ollama, get(herd, "/info") as tgi:
        assert openai.json()["data"][0]["id"] == "pocket"
        assert ollama.json()["models"][0]["name"] == "pocket:latest"
        assert tgi.json()["model_id"] == "pocket"
