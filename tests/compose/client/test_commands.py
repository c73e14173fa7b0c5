"""Every command against a cluster that answers as Ollama does, and against everything else that may answer."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from ollama_words import DIGEST, DONE, PS, PULL, SHOW, TAGS, chunk
from standin import StandIn, Tropilla, endless, lines
from tropilla.compose.client import wire


def test_list_shows_models_in_columns(standin: StandIn, tropilla: Tropilla) -> None:
    standin.answers["GET", "/api/tags"] = (200, TAGS)
    shown = tropilla("list")
    assert shown.status == 0
    assert [line.split()[:4] for line in shown.out.splitlines()] == [
        ["NAME", "ID", "SIZE", "MODIFIED"],
        ["llama3:latest", "abababababab", "4.7", "GB"],
        ["pocket", "cdcdcdcdcdcd", "5.0", "MB"],
    ]
    assert len(tropilla("list", "lla").out.splitlines()) == 2


def test_an_empty_cluster_says_how_to_get_a_model_and_keeps_stdout_for_answers(
    standin: StandIn, tropilla: Tropilla
) -> None:
    standin.answers["GET", "/api/tags"] = (200, {"models": []})
    shown = tropilla("list")
    assert (shown.status, shown.out) == (0, "")
    assert "tropilla pull MODEL" in shown.err


def test_ps_shows_what_is_loaded_and_until_when(standin: StandIn, tropilla: Tropilla) -> None:
    standin.answers["GET", "/api/ps"] = (200, PS)
    assert tropilla("ps").out.splitlines()[1].split() == [
        "pocket", "cdcdcdcdcdcd", "8.0", "MB", "100%", "CPU", "2048", "for", "ever",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "method", "path", "answer"),
    [
        (("list",), "GET", "/api/tags", TAGS),
        (("ps",), "GET", "/api/ps", PS),
        (("show", "pocket"), "POST", "/api/show", SHOW),
        (("stop", "pocket"), "POST", "/api/generate", {"model": "pocket", "done": True, "done_reason": "unload"}),
    ],
)
def test_json_is_one_object_on_one_line(
    standin: StandIn, tropilla: Tropilla, command: tuple[str, ...], method: str, path: str, answer: Any
) -> None:
    standin.answers[method, path] = (200, answer)
    shown = tropilla(*command, "--json")
    assert (shown.status, shown.err) == (0, "")
    assert [json.loads(line) for line in shown.out.splitlines()] == [answer]


def test_show_shows_sections_or_one_text_alone(standin: StandIn, tropilla: Tropilla) -> None:
    standin.answers["POST", "/api/show"] = (200, SHOW)
    words = tropilla("show", "pocket").out.split()
    assert {"Model", "architecture", "llama", "2.34M", "Q8_0", "Capabilities", "completion", '"<end>"'} <= set(words)
    assert tropilla("show", "pocket", "--modelfile").out == "FROM pocket\n"
    assert tropilla("show", "pocket", "--template").out == "{{ .Prompt }}\n"
    assert tropilla("show", "pocket", "--system").out == ""
    assert tropilla("show", "--verbose", "pocket").status == 0
    assert [asked.body["verbose"] for asked in standin.asked] == [False, False, False, False, True]


def test_stop_rm_and_cp_ask_what_ollama_asks(standin: StandIn, tropilla: Tropilla) -> None:
    standin.answers["POST", "/api/generate"] = (200, {"model": "m", "done": True, "done_reason": "unload"})
    standin.answers["DELETE", "/api/delete"] = (200, None)
    standin.answers["POST", "/api/copy"] = (200, None)
    for command in (("stop", "m"), ("rm", "m", "n"), ("cp", "m", "new")):
        assert tropilla(*command).status == 0
    assert [(asked.method, asked.path, asked.body) for asked in standin.asked] == [
        ("POST", "/api/generate", {"model": "m", "keep_alive": 0}),
        ("DELETE", "/api/delete", {"model": "m"}),
        ("DELETE", "/api/delete", {"model": "n"}),
        ("POST", "/api/copy", {"source": "m", "destination": "new"}),
    ]


def test_rm_goes_on_behind_one_that_is_not_there_and_says_so(standin: StandIn, tropilla: Tropilla) -> None:
    gone = tropilla("rm", "a", "b")
    assert gone.status == 1
    assert gone.err == "tropilla: model 'a' not found\ntropilla: model 'b' not found\n"


def test_an_unknown_model_is_told_how_to_get_it(standin: StandIn, tropilla: Tropilla) -> None:
    standin.answers["GET", "/api/tags"] = (200, TAGS)
    for command in (("run", "ghost", "hi"), ("show", "ghost")):
        refused = tropilla(*command)
        assert refused.status == 1
        assert refused.err.startswith("tropilla: model 'ghost' not found: `tropilla pull ghost` fetches it")
    # This one is there, so whatever the cluster has not found is something else.
    assert "pull" not in tropilla("show", "llama3").err


# -- run ---------------------------------------------------------------------------------------------------------------


def test_run_streams_the_answer_of_one_question(standin: StandIn, tropilla: Tropilla) -> None:
    standin.streams("/api/chat", b"  ", chunk("Hel"), b" ", chunk("lo."), DONE)
    said = tropilla("run", "m", "how", "are", "--system", "be kind", "you?", "--think", "--keepalive", "5m")
    assert (said.status, said.out, said.err) == (0, "Hello.\n", "")
    assert standin.asked[0].body == {
        "model": "m", "stream": True, "options": {}, "think": True, "keep_alive": "5m",
        "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "how are you?"}],
    }  # fmt: skip


def test_run_sends_pictures_along_and_names_one_that_cannot_be_read(
    standin: StandIn, tropilla: Tropilla, tmp_path: Path
) -> None:
    standin.streams("/api/chat", chunk("red"), DONE)
    (tmp_path / "cat.png").write_bytes(b"picture")
    (tmp_path / "empty.png").touch()
    assert tropilla("run", "m", "which colour?", "--image", str(tmp_path / "cat.png")).out == "red\n"
    assert standin.asked[0].body["messages"] == [
        {"role": "user", "content": "which colour?", "images": [base64.b64encode(b"picture").decode()]}
    ]
    for name, why in (("gone.png", "cannot be read: No such file"), ("empty.png", "is empty")):
        said = tropilla("run", "m", "hi", "--image", str(tmp_path / name))
        assert said.status != 0
        assert f"{name} {why}" in said.err
    assert len(standin.asked) == 1


def test_lines_may_be_cut_anywhere(standin: StandIn, tropilla: Tropilla) -> None:
    whole = lines(chunk("fünf "), chunk("🦊"), DONE)
    for size in (1, 2, 7, 64):
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        standin.answers["POST", "/api/chat"] = (200, pieces)
        assert tropilla("run", "m", "x").out == "fünf 🦊\n"


def test_what_is_piped_in_stands_behind_the_question(standin: StandIn, tropilla: Tropilla) -> None:
    standin.streams("/api/chat", chunk("ok"), DONE)
    tropilla("run", "m", "sum up:", piped="a text\n")
    tropilla("run", "m", piped="only this")
    assert [asked.body["messages"][-1]["content"] for asked in standin.asked] == ["sum up:\n\na text\n", "only this"]


def test_what_is_no_text_is_refused(standin: StandIn) -> None:
    for typed, piped in (([], b"caf\xe9 \xff"), ([b"caf\xe9"], b"")):
        done = subprocess.run(
            [sys.executable, "-m", "tropilla.compose.cli", "run", "--url", standin.url, "m", *typed],
            input=piped, capture_output=True, timeout=60, check=False, env={**os.environ, "PYTHONUTF8": "1"},
        )  # fmt: skip
        assert done.returncode == 2
        assert done.stderr == b"tropilla: the prompt, or what is piped in, is not UTF-8 text\n"
    assert standin.asked == []


def test_without_a_question_there_is_nothing_to_answer(standin: StandIn, tropilla: Tropilla) -> None:
    refused = tropilla("run", "m")
    assert refused.status == 2
    assert "a prompt is wanted" in refused.err
    assert standin.asked == []


def test_thoughts_are_kept_apart_from_a_piped_answer(standin: StandIn, tropilla: Tropilla) -> None:
    standin.streams("/api/chat", chunk(thinking="hm"), chunk(thinking=", 4"), chunk("4"), DONE)
    said = tropilla("run", "m", "2+2?")
    assert said.out == "4\n"
    assert said.err == "Thinking...\nhm, 4\n...done thinking.\n\n"
    assert tropilla("run", "m", "2+2?", "--hide-thinking").err == ""


def test_verbose_gives_the_timings(standin: StandIn, tropilla: Tropilla) -> None:
    standin.streams("/api/chat", chunk("a"), DONE)
    said = tropilla("run", "m", "x", "--verbose")
    assert said.out == "a\n"
    assert dict(line.split(":") for line in said.err.replace(" ", "").splitlines()) == {
        "totalduration": "2.00s", "loadduration": "1ms", "promptevalcount": "9tokens", "promptevalduration": "3ms",
        "promptevalrate": "3000.00tokens/s", "evalcount": "2tokens", "evalduration": "1.00s", "evalrate": "2.00tokens/s",
    }  # fmt: skip


def test_an_answer_that_was_cut_off_says_so(standin: StandIn, tropilla: Tropilla) -> None:
    standin.streams("/api/chat", chunk("a"), {**DONE, "done_reason": "length"})
    assert "cut off" in tropilla("run", "m", "x").err


def test_json_gives_every_object_as_it_came(standin: StandIn, tropilla: Tropilla) -> None:
    standin.streams("/api/chat", chunk("a"), DONE)
    said = tropilla("run", "m", "x", "--json", "--format", "json")
    assert [json.loads(line) for line in said.out.splitlines()] == [chunk("a"), DONE]
    assert standin.asked[0].body["format"] == "json"


def test_an_error_in_the_middle_is_the_status(standin: StandIn, tropilla: Tropilla) -> None:
    standin.streams("/api/chat", chunk("a"), {"error": "the worker was lost"})
    said = tropilla("run", "m", "x")
    assert (said.status, said.out, said.err) == (1, "a\n", "tropilla: the worker was lost\n")


# -- pull --------------------------------------------------------------------------------------------------------------


def test_pull_says_how_it_goes_in_lines_where_nobody_watches(standin: StandIn, tropilla: Tropilla) -> None:
    standin.streams("/api/pull", *PULL)
    pulled = tropilla("pull", "hf.co/o/r:Q4_K_M", "--insecure")
    assert (pulled.status, pulled.out) == (0, "")
    assert [line.split(" (")[0] for line in pulled.err.splitlines()] == [
        "pulling manifest", "efefefefefef: 400 B of 1.0 KB", "efefefefefef: 1.0 KB of 1.0 KB",
        "verifying sha256 digest",
        "hf.co/o/r:Q4_K_M is here",
    ]  # fmt: skip
    assert standin.asked[0].body == {"model": "hf.co/o/r:Q4_K_M", "stream": True, "insecure": True}


def test_pull_as_json_is_what_came(standin: StandIn, tropilla: Tropilla) -> None:
    standin.streams("/api/pull", *PULL)
    pulled = tropilla("pull", "m", "--json")
    assert (pulled.err, [json.loads(line) for line in pulled.out.splitlines()]) == ("", PULL)


@pytest.mark.parametrize(
    ("items", "status", "words"),
    [
        ([{"status": "pulling manifest"}, {"error": "pull model manifest: file does not exist"}], 1, "does not exist"),
        (PULL[:-1], 69, "broke off at 'verifying sha256 digest': the same command goes on from there"),
        ([{"state": "?"}], 1, "cannot be understood"),
    ],
)
def test_a_pull_that_does_not_end_well_says_why(
    standin: StandIn, tropilla: Tropilla, items: list[Any], status: int, words: str
) -> None:
    standin.streams("/api/pull", *items)
    pulled = tropilla("pull", "m")
    assert pulled.status == status
    assert words in pulled.err


# -- whatever else may answer ------------------------------------------------------------------------------------------


def test_nobody_there_is_a_status_of_its_own(tropilla: Tropilla) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refused = tropilla("list", "--url", f"http://u:secret@127.0.0.1:{closed.getsockname()[1]}")
    assert refused.status == 69
    assert "no cluster answers at http://127.0.0.1:" in refused.err
    assert "Connection refused" in refused.err
    assert "tropilla up" in refused.err
    assert "secret" not in refused.err
    assert refused.err.count("\n") == 1


def test_silence_is_nobody_there(standin: StandIn, tropilla: Tropilla, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "SILENCE_SECONDS", 0.05)
    over = threading.Event()
    standin.streams("/api/chat", chunk("a"), over.wait)
    said = tropilla("run", "m", "x")
    over.set()
    assert (said.status, said.out) == (69, "a\n")
    assert "broke in the middle (no answer in time)" in said.err


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((200, b"<html>"), "something else than JSON"),
        ((200, {"models": [{}]}), "cannot be understood"),
        ((200, []), "cannot be understood"),
        ((200, {"models": [{**TAGS["models"][0], "modified_at": "yesterday"}]}), "cannot be understood"),
        ((500, b"<html>"), "HTTP status 500"),
        ((503, {"error": {"message": "full", "type": "x"}}), "full"),
        ((301, b""), "HTTP status 301"),
        ((200, b""), "cannot be understood"),
    ],
)
def test_what_is_no_cluster_is_one_sentence(
    standin: StandIn, tropilla: Tropilla, answer: tuple[int, Any], words: str
) -> None:
    standin.answers["GET", "/api/tags"] = answer
    refused = tropilla("list")
    assert (refused.status, refused.out) == (1, "")
    assert words in refused.err
    assert refused.err.count("\n") == 1


def test_a_line_without_an_end_is_given_up(
    standin: StandIn, tropilla: Tropilla, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "LONGEST_LINE_BYTES", 1000)
    standin.streams("/api/chat", *[b"x" * 500] * 4)
    assert "a line that does not end" in tropilla("run", "m", "x").err


def test_credentials_in_the_address_are_sent_and_a_path_is_kept(standin: StandIn, tropilla: Tropilla) -> None:
    standin.answers["GET", "/llm/api/tags"] = (200, TAGS)
    assert tropilla("list", "--url", standin.url.replace("//", "//u:p@") + "/llm").status == 0
    assert standin.asked[0].headers["authorization"] == "Basic dTpw"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "MODEL"),
        (["pull"], "MODEL"),
        (["cp", "a"], "NAME"),
        (["rm"], "MODEL"),
        (["show", "m", "--system", "--license"], "not allowed with"),
        (["run", "m", "x", "--think=hard"], "--think: 'hard' is not one of true,"),
        (["run", "m", "x", "--keepalive", "soon"], "--keepalive: 'soon' is not a length of time"),
        (["run", "m", "x", "--format", "xml"], "--format"),
        (["list", "--url", "ftp://h"], "is not the address of a cluster"),
        (["run", "m", "x", "--nonsense"], "--nonsense"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_asks_nobody(
    standin: StandIn, tropilla: Tropilla, arguments: list[str], words: str
) -> None:
    refused = tropilla(*arguments)
    assert refused.status == 2
    assert words in refused.err
    assert refused.err.count("\n") == 1
    assert standin.asked == []


@pytest.mark.parametrize(
    ("typed", "sent"), [("60", 60.0), ("-1", -1.0), ("0", 0.0), ("1.5", 1.5), ("1h30m", "1h30m"), ("-1m", "-1m")]
)
def test_a_number_of_seconds_goes_as_a_number(standin: StandIn, tropilla: Tropilla, typed: str, sent: object) -> None:
    standin.streams("/api/chat", chunk("a"), DONE)
    assert tropilla("run", "m", "x", f"--keepalive={typed}").status == 0
    assert standin.asked[0].body["keep_alive"] == sent


def test_a_flag_behind_two_dashes_is_a_word_of_the_prompt(standin: StandIn, tropilla: Tropilla) -> None:
    standin.streams("/api/chat", chunk("a"), DONE)
    assert tropilla("run", "m", "--", "what", "is", "--think").status == 0
    assert standin.asked[0].body["messages"][0]["content"] == "what is --think"


def process(*arguments: str, url: str, **more: Any) -> subprocess.Popen[bytes]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TROPILLA_")}
    return subprocess.Popen(
        [sys.executable, "-m", "tropilla.compose.cli", *arguments, "--url", url],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean, **more,
    )  # fmt: skip


def test_a_reader_that_leaves_ends_the_command_and_the_request(standin: StandIn) -> None:
    standin.answers["POST", "/api/chat"] = (200, endless(standin, lambda: lines(chunk("word " * 100))))
    with process("run", "m", "x", url=standin.url) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.read(10)
        child.stdout.close()
        assert child.wait(20) == 141
        assert child.stderr.read() == b""
    assert standin.left.wait(20)


def test_ctrl_c_stops_a_pull_hangs_up_and_says_that_it_can_go_on(standin: StandIn) -> None:
    begun = threading.Event()
    part = lines({"status": "pulling ef", "digest": DIGEST, "total": 1000, "completed": 1})
    standin.answers["POST", "/api/pull"] = (200, endless(standin, lambda: (begun.set(), part)[1]))
    with process("pull", "m", url=standin.url) as child:
        assert begun.wait(20)
        assert child.stderr is not None
        child.stderr.read(1)
        child.send_signal(2)
        assert child.wait(20) == 130
        assert b"stopped; what has come is kept: `tropilla pull m` goes on from there" in child.stderr.read()
    assert standin.left.wait(20)


# -- API keys ----------------------------------------------------------------------------------------------------------


def test_the_key_of_the_environment_is_sent(
    standin: StandIn, tropilla: Tropilla, monkeypatch: pytest.MonkeyPatch
) -> None:
    standin.answers["GET", "/api/tags"] = (200, TAGS)
    tropilla("list")
    monkeypatch.setenv("TROPILLA_API_KEY", "trp_x")
    tropilla("list")
    # Whoever stands in the address goes before it.
    tropilla("list", "--url", standin.url.replace("//", "//me:other@"))
    given = [asked.headers.get("authorization") for asked in standin.asked]
    assert given == [None, "Bearer trp_x", "Basic bWU6b3RoZXI="]


def test_a_cluster_that_wants_a_key_is_one_clear_sentence(
    standin: StandIn, tropilla: Tropilla, monkeypatch: pytest.MonkeyPatch
) -> None:
    standin.answers["GET", "/api/tags"] = (401, {"error": "unauthorized"})
    without = tropilla("list")
    wants = "wants an API key: set TROPILLA_API_KEY to one, `tropilla keys create` makes them"
    assert (without.status, without.err) == (1, f"tropilla: the cluster at {standin.url} {wants}\n")
    monkeypatch.setenv("TROPILLA_API_KEY", "trp_x")
    wrong = tropilla("list")
    assert wrong.err == (
        f"tropilla: the cluster at {standin.url} does not take this API key: it is unknown, revoked or has expired\n"
    )
    standin.answers["GET", "/api/tags"] = (403, {"error": "this API key may not do that: it needs the scope admin"})
    assert tropilla("list").err == "tropilla: this API key may not do that: it needs the scope admin\n"
