from __future__ import annotations

import json
import shlex

from tropilla.compose.banner import Typed, commands, ready_block


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
    block = ready_block(api="http://a:1", flower="http://f:2", home="/h", models={"pocket": "on cpu-1, cpu-2"})
    for fact in ("http://a:1", "http://f:2", "/h", "pocket on cpu-1, cpu-2", "Ctrl-C"):
        assert fact in block
    assert "off" in ready_block(api="http://a:1", flower=None, home="/h", models={"pocket": "on cpu-1"})


def test_it_says_how_to_talk_to_a_model_and_how_to_get_another() -> None:
    block = ready_block(api="http://a:1", flower=None, home="/h", models={"pocket": "on cpu-1"})
    assert "\n  tropilla run pocket\n" in block
    assert "\n  tropilla pull llama3.2\n" in block


def test_where_callers_need_a_key_every_command_sends_one() -> None:
    block = ready_block(api="http://a:1", flower=None, home="/h", models={"pocket": "on cpu-1"}, keys=True)
    assert block.count('"Authorization: Bearer $TROPILLA_API_KEY"') == len(commands("", ""))
    assert "callers need one, in TROPILLA_API_KEY" in block
    without = ready_block(api="http://a:1", flower=None, home="/h", models={"pocket": "on cpu-1"})
    assert "API_KEY" not in without


def test_a_cluster_without_a_model_says_who_waits_for_one() -> None:
    block = ready_block(api="http://a:1", flower=None, home="/h", models={}, idle="cpu-1")
    assert "idle     cpu-1" in block
    assert block.rstrip().endswith("tropilla pull llama3.2")
    assert "curl" not in block


def test_commands_are_typed_as_they_are_found_and_find_the_cluster() -> None:
    typed = Typed(".venv/bin/tropilla", ("--home", "/my home"))
    assert typed.command("run", "m") == ".venv/bin/tropilla run m --home '/my home'"
