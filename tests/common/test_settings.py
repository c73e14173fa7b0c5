from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tropilla.common.errors import ConfigurationError
from tropilla.common.settings import PREFIX, Settings, aliases, threads_for

NUMBERS = [field for field in dataclasses.fields(Settings) if field.type in ("int", "float")]


def refusal(**variables: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environment({PREFIX + name.upper(): value for name, value in variables.items()})
    return caught.value.message


def test_an_empty_environment_gives_the_defaults_with_home_spelled_out() -> None:
    expected = dataclasses.replace(Settings(), home=Path("~/.tropilla").expanduser())
    assert Settings.from_environment({}) == expected


def test_other_peoples_variables_are_not_ours() -> None:
    Settings.from_environment({"PATH": "x", "NOT_TROPILLA_PORT": "x", "tropilla_port": "x"})


def test_every_kind_of_setting_is_read() -> None:
    found = Settings.from_environment(
        {"TROPILLA_PORT": "0", "TROPILLA_STALL_SECONDS": "0.5", "TROPILLA_HOME": "/srv/t", "TROPILLA_FLAVOUR": "gpu"}
    )
    assert (found.port, found.stall_seconds, found.home, found.flavour) == (0, 0.5, Path("/srv/t"), "gpu")


@pytest.mark.parametrize(
    ("wrong", "right"), [("prot", "PORT"), ("SOLTS", "SLOTS"), ("heart_beat_seconds", "HEARTBEAT_SECONDS")]
)
def test_an_unknown_variable_is_named_with_the_nearest_one(wrong: str, right: str) -> None:
    assert refusal(**{wrong: "8"}) == f"TROPILLA_{wrong.upper()} is not a setting: did you mean TROPILLA_{right}?"


def test_where_none_is_near_the_known_ones_are_listed() -> None:
    message = refusal(xyzzy="8")
    assert message.startswith("TROPILLA_XYZZY is not a setting; known ones: ")
    assert "TROPILLA_PORT" in message


@pytest.mark.parametrize(
    "fine", ["", "auto", "*", "https://a.example,http://*.b.example:8080", "tauri://*", "app://x, *"]
)
def test_origins_of_pages_are_taken(fine: str) -> None:
    Settings.from_environment({"TROPILLA_CORS_ORIGINS": fine})


@pytest.mark.parametrize("wrong", ["chat.example.com", "https://a.example/", "https://*.*.example", "null", "**"])
def test_what_can_be_no_origin_is_refused(wrong: str) -> None:
    message = refusal(cors_origins=f"https://fine.example,{wrong}")
    assert message.startswith(f"TROPILLA_CORS_ORIGINS='https://fine.example,{wrong}': {wrong!r} is not the origin")


@pytest.mark.parametrize("fine", ["", "*", "llm.example.com, *.example.org", "api", "10.0.0.1"])
def test_names_of_the_server_are_taken(fine: str) -> None:
    Settings.from_environment({"TROPILLA_HOSTS": fine})


@pytest.mark.parametrize("wrong", ["http://a.example", "a.example:8000", "*example", ".example", "a b", "**"])
def test_what_can_be_no_name_of_a_server_is_refused(wrong: str) -> None:
    message = refusal(hosts=f"fine.example,{wrong}")
    assert message.startswith(f"TROPILLA_HOSTS='fine.example,{wrong}': {wrong!r} is not the name of a server")


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: field.name)
def test_what_is_no_number_is_named_with_its_value(field: dataclasses.Field[object]) -> None:
    for text in ("many", "", "0x10", "nan", "inf"):
        message = refusal(**{field.name: text})
        assert f"{PREFIX}{field.name.upper()}={text!r}" in message


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: field.name)
def test_both_bounds_are_allowed_and_nothing_beyond(field: dataclasses.Field[object]) -> None:
    low, high = field.metadata["low"], field.metadata["high"]
    for value in (low, high):
        Settings.from_environment({PREFIX + field.name.upper(): str(value)})
    for value in (low - 1, high + 1):
        message = refusal(**{field.name: str(value)})
        assert f"{PREFIX}{field.name.upper()}={str(value)!r} must be from {low} to {high}" in message


def test_a_word_that_is_not_among_the_choices_is_named_with_them() -> None:
    assert refusal(flavour="tpu") == "TROPILLA_FLAVOUR='tpu' must be one of cpu, gpu"


def test_aliases_are_pairs() -> None:
    assert aliases(" gpt-4 = pocket ,a/b:c=d,") == {"gpt-4": "pocket", "a/b:c": "d"}
    for text in ("gpt-4", "=pocket", "gpt-4=", "a=b,c"):
        assert f"{PREFIX}MODEL_ALIASES={text!r} must be ALIAS=NAME" in refusal(model_aliases=text)


def test_hosts_that_models_come_from_are_checked_at_the_start() -> None:
    assert "'https://h', wanted are" in refusal(pull_hosts="*,https://h")


@pytest.mark.parametrize("auth", ["ann", "ann:", ":secret", "ann:sec,ret"])
def test_flowers_password_has_its_form_and_is_not_said(auth: str) -> None:
    with pytest.raises(ConfigurationError, match="TROPILLA_FLOWER_AUTH must be USER:PASSWORD") as refused:
        Settings.from_environment({"TROPILLA_FLOWER_AUTH": auth})
    assert "sec" not in refused.value.message


def test_every_default_is_within_its_own_bounds() -> None:
    assert Settings.from_environment(Settings().to_environment()) == Settings.from_environment({})


def test_settings_survive_the_environment() -> None:
    odd = Settings(redis_url="redis://:p%40ss@h/1", home=Path("/a b"), slots=3, lease_seconds=0.7, model="m=/x=y.gguf")
    assert Settings.from_environment(odd.to_environment()) == odd


def test_the_documentation_knows_every_setting_with_its_default_and_range() -> None:
    documented = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    for field in dataclasses.fields(Settings):
        bounds = field.metadata
        allowed = f"{bounds['low']} to {bounds['high']}" if "low" in bounds else ", ".join(bounds.get("among", ()))
        default = f"`{field.default}`" if str(field.default) else "(empty)"
        assert f"| `TROPILLA_{field.name.upper()}` | {default} | {allowed} | " in documented


@pytest.mark.parametrize(
    ("cores", "workers", "threads"), [(1, 1, 1), (2, 1, 1), (8, 1, 7), (8, 2, 3), (8, 3, 2), (2, 4, 1), (64, 4, 15)]
)
def test_workers_share_all_cores_but_one(cores: int, workers: int, threads: int) -> None:
    assert threads_for(cores, workers) == threads
