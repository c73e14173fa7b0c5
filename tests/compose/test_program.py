from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tropilla.common.errors import ConfigurationError
from tropilla.common.settings import Settings
from tropilla.compose import program
from tropilla.compose.program import ModelFile, plan_workers
from tropilla.workers.adapters import named_adapters

SECRET = "redis://:secret@127.0.0.1:7000/0"
BASE = {"PATH": "/bin", "TROPILLA_SLOTS": "3", "LANG": "C"}


def programs(settings: Settings) -> list[program.Program]:
    return [make(settings, BASE) for make in (program.web, program.worker, program.store, program.flower)]


def test_without_a_model_one_worker_serves_the_built_in_one() -> None:
    (plan,) = plan_workers([ModelFile()], {"cpu": 1, "gpu": 0})
    assert (plan.name, plan.flavour, plan.model.name, plan.model.setting) == ("cpu-1", "cpu", "pocket", "")


def test_every_flavour_count_applies_to_every_model() -> None:
    models = [ModelFile("a", Path("/a")), ModelFile("b", Path("/b"))]
    plans = plan_workers(models, {"cpu": 2, "gpu": 1})
    assert [(plan.name, plan.model.name) for plan in plans] == [
        ("cpu-1", "a"), ("cpu-2", "a"), ("cpu-3", "b"), ("cpu-4", "b"), ("gpu-1", "a"), ("gpu-2", "b"),
    ]  # fmt: skip


def test_idle_workers_are_counted_on_behind_those_with_a_model() -> None:
    plans = plan_workers([ModelFile("a", Path("/a"))], {"cpu": 1, "gpu": 0}, idle={"cpu": 1, "gpu": 1})
    assert [(plan.name, plan.model and plan.model.name) for plan in plans] == [
        ("cpu-1", "a"), ("cpu-2", None), ("gpu-1", None),
    ]  # fmt: skip


def test_an_idle_worker_is_started_without_a_model() -> None:
    (plan,) = plan_workers([], {}, idle={"cpu": 1})
    one = program.planned_worker(plan, Settings(model="stray=/s.gguf", adapters="poet=/p.gguf"), BASE)
    assert one.argv[-1] == "--idle"
    told = Settings.from_environment(one.environment)
    assert (told.model, told.adapters) == ("", "")


def test_a_worker_is_recognised_with_and_without_its_machine() -> None:
    (plan,) = plan_workers([ModelFile()], {"cpu": 1}, suffix="-ab12")
    assert plan.is_called("cpu-1-ab12")
    assert plan.is_called("cpu-1-ab12@host")
    assert not plan.is_called("cpu-1@host")
    assert not plan.is_called("cpu-1-ab123@host")


def test_children_get_exactly_our_settings_and_the_rest_of_the_environment() -> None:
    environment = program.child_environment(Settings(slots=5), BASE)
    assert environment["LANG"] == "C"
    assert Settings.from_environment(environment).slots == 5


def test_a_planned_worker_is_told_its_model_flavour_and_name() -> None:
    (plan,) = plan_workers([ModelFile("a", Path("/models/a.gguf"))], {"gpu": 1}, suffix="-x")
    one = program.planned_worker(plan, Settings(), BASE)
    told = Settings.from_environment(one.environment)
    assert one.name == "gpu-1"
    assert (told.model, told.flavour, told.worker_name) == ("a=/models/a.gguf", "gpu", "gpu-1-x")


def test_a_planned_worker_has_its_own_models_adapters_and_no_others() -> None:
    adapters = (("poet", Path("/p.gguf")), ("cook", Path("/c=d.gguf")))
    plans = plan_workers([ModelFile("a", Path("/a"), adapters), ModelFile("b", Path("/b"))], {"cpu": 1})
    base = Settings(adapters="stray=/s.gguf")
    told = [Settings.from_environment(program.planned_worker(plan, base, BASE).environment) for plan in plans]
    assert [one.adapters for one in told] == ["poet=/p.gguf,cook=/c=d.gguf", ""]
    assert named_adapters(told[0].adapters) == dict(adapters)


def test_the_processes_are_started_with_this_python() -> None:
    for one in programs(Settings(redis_url=SECRET)):
        assert one.argv[:2] == (sys.executable, "-m")


def test_no_command_line_shows_the_redis_password() -> None:
    for one in programs(Settings(redis_url=SECRET)):
        assert not any("secret" in argument for argument in one.argv)


def test_flower_finds_the_broker_in_its_environment_and_stays_on_this_machine() -> None:
    one = program.flower(Settings(redis_url=SECRET, flower_port=5000), BASE)
    assert one.environment["CELERY_BROKER_URL"] == SECRET
    assert {"--port=5000", "--address=127.0.0.1"} <= set(one.argv)


def test_flowers_password_goes_by_the_environment() -> None:
    one = program.flower(Settings(flower_host="0.0.0.0", flower_auth="ann:pass word"), BASE)
    assert one.environment["FLOWER_BASIC_AUTH"] == "ann:pass word"
    assert "--address=0.0.0.0" in one.argv
    assert not any("pass word" in argument for argument in one.argv)
    assert "FLOWER_BASIC_AUTH" not in program.flower(Settings(), BASE).environment


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "10.1.2.3", "flower.example"])
def test_flower_is_not_opened_to_others_without_a_password(host: str) -> None:
    with pytest.raises(ConfigurationError, match="TROPILLA_FLOWER_AUTH=USER:PASSWORD"):
        program.flower(Settings(flower_host=host), BASE)
    # Flower's own settings, where somebody knows them.
    assert program.flower(Settings(flower_host=host), {**BASE, "FLOWER_BASIC_AUTH": "a:b"})


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.9.9.9"])
def test_flower_may_be_open_to_this_machine(host: str) -> None:
    assert f"--address={host}" in program.flower(Settings(flower_host=host), BASE).argv


def test_an_api_process_may_be_given_the_socket_it_listens_on_and_a_pipe_to_speak_on() -> None:
    alone = program.web(Settings(), BASE)
    given = program.heard(program.web(Settings(), BASE, listener=7), 9)
    assert ("--bind" in alone.argv, alone.inherits) == (False, ())
    assert given.argv[given.argv.index("--bind") + 1] == "fd://7"
    assert (given.inherits, given.environment["READY_FD"]) == ((7, 9), "9")
