from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tropilla.common.addresses import is_loopback
from tropilla.common.environment import is_given, overruled
from tropilla.common.errors import ConfigurationError
from tropilla.common.settings import Settings

SECRET = [field.name for field in dataclasses.fields(Settings) if field.metadata.get("secret")]


@pytest.mark.parametrize("name", SECRET)
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_what_is_secret_may_stand_in_a_file(tmp_path: Path, name: str, ending: str) -> None:
    (tmp_path / "secret").write_bytes(f" a:b{ending}".encode())
    found = Settings.from_environment({f"TROPILLA_{name.upper()}_FILE": str(tmp_path / "secret")})
    assert getattr(found, name) == " a:b"


@pytest.mark.parametrize("name", SECRET)
def test_a_secret_is_said_once(tmp_path: Path, name: str) -> None:
    variable = f"TROPILLA_{name.upper()}"
    with pytest.raises(ConfigurationError, match=f"^{variable} and {variable}_FILE are both set"):
        Settings.from_environment({variable: "", f"{variable}_FILE": str(tmp_path / "secret")})


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing, binary = tmp_path / "none", tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for path, reason in ((missing, "No such file"), (tmp_path, "Is a directory"), (binary, "it is no text")):
        with pytest.raises(ConfigurationError) as caught:
            Settings.from_environment({"TROPILLA_API_KEY_FILE": str(path)})
        assert caught.value.message.startswith(f"TROPILLA_API_KEY_FILE={str(path)!r} cannot be read: {reason}")


def test_what_is_no_secret_stands_in_no_file() -> None:
    with pytest.raises(ConfigurationError, match="TROPILLA_PORT_FILE is not a setting"):
        Settings.from_environment({"TROPILLA_PORT_FILE": "/x"})


@pytest.mark.parametrize(
    ("environment", "given"),
    [
        ({}, False),
        ({"TROPILLA_REDIS_URL": ""}, False),
        ({"TROPILLA_REDIS_URL": "x"}, True),
        ({"TROPILLA_REDIS_URL_FILE": "x"}, True),
    ],
)
def test_it_is_known_whether_anybody_has_said_it(environment: dict[str, str], given: bool) -> None:
    assert is_given(environment, "redis_url") is given


def test_a_flag_goes_before_a_variable_and_before_a_file() -> None:
    said = {"TROPILLA_REDIS_URL_FILE": "/x", "TROPILLA_PORT": "1", "TROPILLA_HOME": "/h"}
    assert overruled(said, {"redis_url": "u", "port": "2"}) == {
        "TROPILLA_REDIS_URL": "u", "TROPILLA_PORT": "2", "TROPILLA_HOME": "/h",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("127.0.0.1", True), ("127.8.0.1", True), ("::1", True), ("localhost", True), ("LOCALHOST", True),
        ("0.0.0.0", False), ("::", False), ("", False), ("192.168.0.1", False), ("example.com", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("keys", ["auto", "on", "off"])
def test_keys_are_needed_where_others_may_call(host: str, alone: bool, keys: str) -> None:
    assert is_loopback(host) is alone
    assert Settings(host=host, keys=keys).keys_on is {"auto": not alone, "on": True, "off": False}[keys]
