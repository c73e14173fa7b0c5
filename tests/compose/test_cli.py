from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tropilla.common.errors import ConfigurationError
from tropilla.common.settings import Settings
from tropilla.compose import cli, prepare, program
from tropilla.compose.flags import read_settings
from tropilla.compose.program import ModelFile, Program

TROPILLA = (sys.executable, "-m", "tropilla.compose.cli")


def options(*arguments: str, **environment: str) -> prepare.Options:
    return cli.up_options(cli.parser().parse_args(["up", *arguments]), environment)


def test_by_default_one_cpu_worker_serves_the_built_in_model() -> None:
    asked = options()
    assert asked.models == (ModelFile(),)
    assert dict(asked.counts) == {"cpu": 1, "gpu": 0}
    assert asked.own_redis
    assert asked.flower


@pytest.mark.parametrize(
    ("arguments", "cpu", "gpu"),
    [
        ((), 1, 0),
        (("--gpu", "1"), 0, 1),
        (("--gpu", "0"), 1, 0),
        (("--cpu", "2", "--gpu", "1"), 2, 1),
        (("--cpu", "3"), 3, 0),
    ],
)
def test_a_cpu_worker_is_the_default_only_without_gpus(arguments: tuple[str, ...], cpu: int, gpu: int) -> None:
    assert dict(options(*arguments).counts) == {"cpu": cpu, "gpu": gpu}


def test_flags_win_over_the_environment_and_the_environment_over_defaults() -> None:
    settings = options("--port", "9000", TROPILLA_PORT="7000", TROPILLA_SLOTS="3").settings
    assert (settings.port, settings.slots, settings.threads) == (9000, 3, 0)


def test_flags_of_one_worker_are_those_of_all() -> None:
    flags = ("--slots", "3", "--ctx", "1000", "--kv-cells", "2048", "--cache-type", "q8_0", "--threads", "2")
    up = options(*flags).settings
    worker = read_settings(cli.parser().parse_args(["worker", *flags]), {})
    for settings in (up, worker):
        assert (settings.slots, settings.context, settings.kv_cells) == (3, 1000, 2048)
        assert (settings.cache_type, settings.threads) == ("q8_0", 2)


def test_a_given_redis_is_used_from_flag_or_environment() -> None:
    assert options("--redis", "redis://r:1/0").settings.redis_url == "redis://r:1/0"
    assert not options("--redis", "redis://r:1/0").own_redis
    assert not options(TROPILLA_REDIS_URL="redis://r:1/0").own_redis


def test_a_redis_in_a_file_is_one_that_was_given(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://:secret@r:1/0\n")
    asked = options(TROPILLA_REDIS_URL_FILE=str(tmp_path / "url"))
    assert (asked.settings.redis_url, asked.own_redis) == ("redis://:secret@r:1/0", False)
    flag = options("--redis", "redis://other:1/0", TROPILLA_REDIS_URL_FILE=str(tmp_path / "url"))
    assert flag.settings.redis_url == "redis://other:1/0"


def test_a_key_for_the_command_line_is_no_business_of_the_processes() -> None:
    told = program.child_environment(Settings(api_key="trp_x"), {"TROPILLA_API_KEY_FILE": "/x", "PATH": "/bin"})
    assert (told["TROPILLA_API_KEY"], "TROPILLA_API_KEY_FILE" in told, told["PATH"]) == ("", False, "/bin")


@pytest.mark.parametrize(("keys", "started"), [("on", False), ("off", True)])
def test_an_api_process_whose_callers_need_keys_makes_the_first_one_or_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], keys: str, started: bool
) -> None:
    begun: list[Program] = []
    monkeypatch.setattr(cli, "become", lambda one: begun.append(one) or 0)
    monkeypatch.setenv("TROPILLA_KEYS", keys)
    # There is none: what is asked of it for the keys' sake is what counts here.
    monkeypatch.setattr(cli.prepare, "check_redis", lambda url: None)
    status = cli.main(["web", "--port", "0", "--redis", "redis://:secret@127.0.0.1:1/0"])
    said = capsys.readouterr()
    assert (status == 0, bool(begun)) == (started, started)
    assert ("Redis cannot serve" in said.err) is not started
    assert said.out == ""


def test_models_come_by_flag_or_environment() -> None:
    assert options("--model", "a=/a.gguf", "--model", "b=/b.gguf").models == (
        ModelFile("a", Path("/a.gguf")),
        ModelFile("b", Path("/b.gguf")),
    )
    assert options(TROPILLA_MODEL="a=/a.gguf").models == (ModelFile("a", Path("/a.gguf")),)


def adapters_of(*arguments: str, **environment: str) -> dict[str, list[str]]:
    """Model -> names of its adapters."""
    return {model.name: [name for name, _ in model.adapters] for model in options(*arguments, **environment).models}


def test_a_projector_belongs_to_the_model_before_it() -> None:
    a, b, eye = "--model=a=/a", "--model=b=/b", "--projector=/eye"
    assert [model.projector for model in options(a, eye, b).models] == [Path("/eye"), None]
    assert [model.projector for model in options(a, b, "--projector", "/eye").models] == [None, Path("/eye")]
    assert [model.projector for model in options(eye, a).models] == [Path("/eye")]
    environment = {"TROPILLA_MODEL": "a=/a", "TROPILLA_PROJECTOR": "/own"}
    assert [model.projector for model in options(**environment).models] == [Path("/own")]
    assert [model.projector for model in options(eye, **environment).models] == [Path("/eye")]
    for arguments in ((eye, a, b), (a, eye, "--projector=/other")):
        with pytest.raises(ConfigurationError, match="projector"):
            options(*arguments)


A, B, X, Y = "--model=a=/a", "--model=b=/b", "--adapter=x=/x", "--adapter=y=/y"


def test_an_adapter_belongs_to_the_model_before_it() -> None:
    assert adapters_of(A, X, B, Y) == {"a": ["x"], "b": ["y"]}
    assert adapters_of(A, B, X, Y) == {"a": [], "b": ["x", "y"]}
    assert adapters_of(X, A, Y) == {"a": ["x", "y"]}
    assert adapters_of(X, Y) == {"pocket": ["x", "y"]}
    assert adapters_of(X, TROPILLA_MODEL="m=/m") == {"m": ["x"]}
    assert adapters_of() == {"pocket": []}


def test_adapters_in_the_environment_are_the_only_models_and_a_flag_wins() -> None:
    assert adapters_of(A, TROPILLA_ADAPTERS="x=/x,y=/y") == {"a": ["x", "y"]}
    assert adapters_of(A, Y, TROPILLA_ADAPTERS="x=/x") == {"a": ["y"]}


@pytest.mark.parametrize(("arguments", "environment"), [((X, A, B), {}), ((A, B), {"TROPILLA_ADAPTERS": "x=/x"})])
def test_an_adapter_of_nobody_knows_which_model_is_refused(
    arguments: tuple[str, ...], environment: dict[str, str]
) -> None:
    with pytest.raises(ConfigurationError, match="which model is the adapter x for"):
        options(*arguments, **environment)


def test_a_worker_is_told_its_adapters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    became: list[Program] = []
    monkeypatch.setattr(cli, "become", became.append)
    for arguments in (["--adapter", "x=/x", "--adapter", "y=y.gguf"], []):
        cli.run_worker(cli.parser().parse_args(["worker", *arguments]), {"TROPILLA_ADAPTERS": "z=/z"})
    told = [Settings.from_environment(one.environment).adapters for one in became]
    assert told == [f"x=/x,y={tmp_path}/y.gguf", "z=/z"]


def test_idle_workers_come_besides() -> None:
    assert dict(options("--idle", "2").counts) == {"cpu": 1, "gpu": 0}
    assert dict(options("--idle", "2").idle) == {"cpu": 2, "gpu": 0}
    assert dict(options("--idle", "2", "--gpu", "1").idle) == {"cpu": 0, "gpu": 2}
    assert dict(options("--idle", "2", "--gpu", "1", "--cpu", "1").idle) == {"cpu": 2, "gpu": 0}
    assert dict(options("--cpu", "0", "--idle", "1").counts) == {"cpu": 0, "gpu": 0}


MANIFEST = """
apiVersion: v1alpha1
models:
  - name: tiny
    source: https://example.com/tiny.gguf
"""


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    (tmp_path / "aikitfile.yaml").write_text(MANIFEST)
    return str(tmp_path / "aikitfile.yaml")


def test_with_a_manifest_all_workers_are_idle_and_counted_in_all(manifest: str) -> None:
    asked = options("--manifest", manifest, "--cpu", "2", "--gpu", "1", "--idle", "1")
    assert asked.models == ()
    assert dict(asked.counts) == {"cpu": 0, "gpu": 0}
    assert dict(asked.idle) == {"cpu": 3, "gpu": 1}
    assert asked.wanted is not None
    assert asked.wanted.models == ("tiny.gguf",)
    assert options(TROPILLA_MANIFEST=manifest).wanted is not None
    # Others may share the Redis.
    assert options("--manifest", manifest, "--cpu", "0").wanted is not None


def test_parts_of_a_manifest_can_be_replaced(manifest: str) -> None:
    replaced = ("--manifest-model", "https://example.com/other.gguf", "--manifest-runtime", "cuda")
    wanted = options("--manifest", manifest, *replaced).wanted
    assert wanted is not None
    assert (wanted.models, wanted.manifest.runtime) == (("other.gguf",), "cuda")
    assert wanted.errand().model == "https://example.com/other.gguf"
    assert wanted.errand().runtime == "cuda"


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (("--model", "a=/a.gguf"), {}),
        (("--adapter", "a=/a.gguf"), {}),
        ((), {"TROPILLA_MODEL": "a=/a.gguf"}),
        ((), {"TROPILLA_ADAPTERS": "a=/a.gguf"}),
    ],
)
def test_models_beside_a_manifest_are_refused(
    manifest: str, arguments: tuple[str, ...], environment: dict[str, str]
) -> None:
    with pytest.raises(ConfigurationError, match="a manifest says which models there are"):
        options("--manifest", manifest, *arguments, **environment)


@pytest.mark.parametrize("flag", ["--manifest-model", "--manifest-runtime"])
def test_parts_of_no_manifest_are_refused(flag: str) -> None:
    with pytest.raises(ConfigurationError, match="name it with --manifest"):
        options(flag, "x")


def test_an_idle_worker_has_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[Program] = []
    monkeypatch.setattr(cli, "become", became.append)
    cli.run_worker(cli.parser().parse_args(["worker", "--idle"]), {})
    cli.run_store(cli.parser().parse_args(["store", "--home", "/srv/t"]), {})
    assert became[0].argv[-2:] == ("tropilla.workers", "--idle")
    assert became[1].argv[-1] == "tropilla.workers.store"
    assert Settings.from_environment(became[1].environment).home == Path("/srv/t")
    with pytest.raises(ConfigurationError, match="an idle worker has no model"):
        cli.run_worker(cli.parser().parse_args(["worker", "--idle", "--model", "a=/a"]), {})


def test_flower_can_be_off() -> None:
    assert not options("--flower-port", "off").flower


def test_nobody_to_answer_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least one worker"):
        options("--cpu", "0")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["up", "--slots", "0"], "--slots: '0' must be from 1 to 256"),
        (["up", "--port", "http"], "--port: 'http' is not a number"),
        (["up", "--port", "70000"], "--port: '70000' must be from 0 to 65535"),
        (["up", "--flower-port", "on"], "--flower-port: 'on' is not a number"),
        (["up", "--kv-cells", "-1"], "--kv-cells: '-1' must be from 0 to"),
        (["up", "--cache-type", "q9"], "--cache-type: 'q9' must be one of f16,"),
        (["up", "--cpu", "-1"], "--cpu"),
        (["up", "--model", "pocket"], "--model: 'pocket' is not NAME=PATH"),
        (["up", "--model", ""], "--model: '=' is not NAME=PATH"),
        (["up", "--model", "a b=/x"], "--model: 'a b' cannot be a model's name"),
        (["up", "--adapter", "poet"], "--adapter: 'poet' is not NAME=PATH"),
        (["worker", "--adapter", "a b=/x"], "--adapter: 'a b' cannot be an adapter's name"),
        (["up", "--adapter", "tgi=/x"], "--adapter: 'tgi' cannot be an adapter's name"),
        (["up", "--adapter", "poet=/a,b"], "--adapter: '/a,b' cannot be an adapter's file"),
        (["up", "--nonsense"], "--nonsense"),
        (["down"], "down"),
        ([], "required"),
    ],
)
def test_a_wrong_flag_is_one_line_that_names_it(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    complaint = capsys.readouterr().err
    assert left.value.code == 2
    assert words in complaint
    assert complaint.count("\n") == 1


def run(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`tropilla up` as a person runs it; it must come back by itself."""
    command = (*TROPILLA, "up", "--home", str(home), "--flower-port", "0", *arguments)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TROPILLA_")}
    return subprocess.run(
        command, env={**inherited, **environment}, capture_output=True, text=True, timeout=60, check=False
    )


def complains(done: subprocess.CompletedProcess[str], *words: str) -> bool:
    """One sentence on stderr, status 2, and nothing was started."""
    return (
        done.returncode == 2
        and done.stdout == ""
        and done.stderr.count("\n") == 1
        and all(word in done.stderr for word in words)
    )


def test_a_port_in_use_stops_up_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert complains(run("--port", port, home=tmp_path), port, "the API", "--port")


def test_a_missing_model_file_stops_up_before_anything_starts(tmp_path: Path) -> None:
    missing = tmp_path / "missing.gguf"
    assert complains(run("--port", "0", "--model", f"a={missing}", home=tmp_path), str(missing))


def test_a_redis_that_cannot_be_reached_stops_up(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"redis://:secret@127.0.0.1:{closed.getsockname()[1]}/0"
        done = run("--port", "0", "--redis", url, home=tmp_path)
    assert complains(done, "cannot be reached")
    assert "secret" not in done.stderr


def test_a_setting_nobody_knows_stops_up(tmp_path: Path) -> None:
    assert complains(run("--port", "0", home=tmp_path, TROPILLA_SOLTS="8"), "TROPILLA_SOLTS is not a setting")


def test_version_says_which() -> None:
    done = subprocess.run((*TROPILLA, "version"), capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("tropilla 0.")
