from __future__ import annotations

import json
import shlex

from tropilla.compose.banner import commands, ready_block


def test_every_command_is_a_curl_whose_body_survives_the_shell() -> None:
    for command in commands("http://127.0.0.1:8000", "it's:q4").values():
        words = shlex.split(command)
        body = json.loads(words[words.index("-d") + 1])
        assert words[:2] == ["curl", "-N"]
        assert body.get("model", "it's:q4") == "it's:q4"


def test_there_is_one_command_per_dialect_and_all_of_them_stream() -> None:
    paste = commands("http://127.0.0.1:8000", "pocket")
    assert list(paste) == ["OpenAI", "Ollama", "TGI"]
    assert '"stream": true' in paste["OpenAI"]
    assert "http://127.0.0.1:8000/generate_stream " in paste["TGI"]


def test_the_block_says_where_everything_is() -> None:
    block = ready_block(api="http://a:1", flower="http://f:2", home="/h", models={"pocket": "cpu-1, cpu-2"})
    for fact in ("http://a:1", "http://f:2", "/h", "pocket on cpu-1, cpu-2", "Ctrl-C"):
        assert fact in block
    assert "off" in ready_block(api="http://a:1", flower=None, home="/h", models={"pocket": "cpu-1"})
