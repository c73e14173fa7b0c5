"""compose.yaml and Dockerfile, read as what they are: no Docker is needed."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from tropilla.common.settings import PREFIX, Settings
from tropilla.compose import roles
from tropilla.compose.vault import USER

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
#: What the file itself decides, or what has a meaning outside containers only.
FIXED = {
    "redis_url", "api_key", "home", "host", "port", "flower_port", "url", "blobs_url", "flavour", "worker_name", "manifest",
    "model", "adapters", "projector", "import_folders", "flower_host", "flower_auth",
}  # fmt: skip
OURS = ("api", "store", "worker-cpu", "worker-gpu", "flower")


def with_defaults(text: str) -> str:
    """As Compose reads it where nobody has set anything."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


FILE: dict[str, Any] = yaml.safe_load(with_defaults((ROOT / "compose.yaml").read_text()))
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
#: Those that end at once, and those that run on.
ONCE = ("init", "scrape-key")
LASTING = sorted(set(SERVICES) - set(ONCE))


def seconds(duration: str) -> int:
    return int(duration.removesuffix("s"))


def test_every_setting_can_be_given_to_the_containers() -> None:
    passed = set(FILE["x-settings"])
    known = {PREFIX + field.name.upper() for field in dataclasses.fields(Settings)}
    fixed = {PREFIX + name.upper() for name in FIXED}
    assert known - passed - fixed == set(), "list them in compose.yaml under x-settings"
    assert {name for name in passed - known if name.startswith(PREFIX)} == set(), "no such setting"
    assert list(FILE["x-settings"]) == sorted(passed)


@pytest.mark.parametrize("service", OURS)
def test_settings_reach_every_process_of_ours(service: str) -> None:
    assert FILE["x-settings"].items() <= SERVICES[service]["environment"].items()


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_may_do_no_more_than_it_needs(service: str) -> None:
    found = SERVICES[service]
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert 0 < found["pids_limit"] <= 2048
    assert found["logging"]["options"] == {"max-size": "10m", "max-file": "3"}
    assert "privileged" not in found
    assert ("cap_add" in found) == (service == "init")


@pytest.mark.parametrize("service", LASTING)
def test_what_runs_on_is_looked_after_and_is_nobody_special(service: str) -> None:
    found = SERVICES[service]
    assert found["healthcheck"]["test"]
    assert found["restart"] == "unless-stopped"
    # Ours are that user without being told.
    assert found.get("user") == (None if service in OURS else f"{USER}:{USER}")
    assert found["depends_on"]


def test_only_people_are_let_in_and_only_from_this_machine() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"api", "flower", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_redis_and_workers_have_no_way_out() -> None:
    assert FILE["networks"]["inside"] == {"internal": True}
    for service in ("redis", "worker-cpu", "worker-gpu", "prometheus"):
        assert SERVICES[service]["networks"] == ["inside"]
    assert SERVICES["init"]["network_mode"] == "none"


def test_everybody_sees_his_own_secrets_only() -> None:
    for name in LASTING:
        seen = [volume.split(":")[0] for volume in SERVICES[name]["volumes"] if volume.startswith("secrets-")]
        assert seen == [f"secrets-{name.partition('-')[0]}"], name
    made = {volume.split(":")[0] for volume in SERVICES["init"]["volumes"]}
    assert made == set(FILE["volumes"]) - {"gguf"}


def test_workers_write_nothing_into_the_models() -> None:
    for service in ("worker-cpu", "worker-gpu"):
        assert all(volume.endswith(":ro") for volume in SERVICES[service]["volumes"])


def test_nobody_is_killed_while_he_drains() -> None:
    usual = Settings()
    assert seconds(SERVICES["api"]["stop_grace_period"]) >= usual.api_drain_seconds + 10
    for service in ("worker-cpu", "worker-gpu"):
        assert seconds(SERVICES[service]["stop_grace_period"]) >= usual.drain_seconds + 10


def test_redis_keeps_what_it_is_trusted_with() -> None:
    command = SERVICES["redis"]["command"]
    given = dict(zip(command[1::2], command[2::2], strict=True))
    assert given["--appendonly"] == "yes"
    assert given["--appendfsync"] == "everysec"
    assert given["--maxmemory-policy"] == "noeviction"
    assert given["--maxmemory"]
    assert given["--aclfile"] == "/secrets/redis/users.acl"


def test_an_upgrade_that_changes_the_rules_of_redis_restarts_it() -> None:
    assert SERVICES["redis"]["labels"]["org.tropilla.roles"] == roles.fingerprint(), "write it there"


def test_profiles_hold_what_most_machines_lack() -> None:
    profiled = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert profiled.pop("worker-gpu") == ["gpu"]
    assert profiled == {name: ["observability"] for name in ("scrape-key", "prometheus", "grafana")}
    assert not {"redis", "init", "api", "store", "worker-cpu", "flower"} & set(profiled)


def test_the_image_has_the_llama_cpp_that_the_workers_were_written_for() -> None:
    pinned = [
        line.partition("==")[2]
        for line in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
        if line.startswith("llama-cpp-python==")
    ]
    assert re.findall(r"^ARG LLAMA_CPP_PYTHON=(.+)$", DOCKERFILE, re.MULTILINE) == pinned * 2


@pytest.mark.parametrize("words", ["--mount", "<<", "--chmod", "--link", "syntax=", "TARGETARCH", "BUILDPLATFORM"])
def test_the_classic_builder_understands_the_dockerfile(words: str) -> None:
    assert words not in DOCKERFILE


def test_what_is_built_is_made_before_what_changes_more_often() -> None:
    for stage in ("cpu", "cuda"):
        steps = DOCKERFILE.partition(f"AS {stage}-build")[2].partition("\nFROM ")[0]
        llama, packages, sources = (
            steps.index(word) for word in ("RUN sh /build/llama.sh", "COPY pyproject.toml", "COPY . ")
        )
        assert llama < packages < sources


def test_the_images_have_every_library_that_workers_open() -> None:
    """llama-cpp-python opens each when its module is imported, and an image builds them by itself."""
    library = {"llama_cpp": "llama", "mtmd_cpp": "mtmd"}
    sources = "".join(path.read_text() for path in (ROOT / "workers" / "llama").glob("*.py"))
    opened = {library[module] for module in library if re.search(rf"\b{module}\b", sources)}
    built = re.search(
        r"^cmake --build build --target (.+)$", (ROOT / "compose/image/llama.sh").read_text(), re.MULTILINE
    )
    assert built is not None
    assert opened == set(built[1].split())
