"""What compose/bootstrap.sh says when something is missing, on machines made of stand-in programs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ("sh", "sed", "cat", "cksum", "mkdir", "rm", "ls", "pwd")
PYTHON = """#!/bin/sh
case "$*" in
    *version_info*) exit {new_enough} ;;
    *ensurepip*) exit {venv} ;;
    --version) echo Python 3.9.2 ;;
esac
"""


class Machine:
    def __init__(self, folder: Path) -> None:
        self.folder, self.programs = folder, folder / "programs"
        self.programs.mkdir()
        (folder / "compose").mkdir()
        for name in ("pyproject.toml", "compose/bootstrap.sh"):
            shutil.copy(ROOT / name, folder / name)
        for tool in TOOLS:
            (self.programs / tool).symlink_to(shutil.which(tool) or "/bin/false")

    def add(self, name: str, source: str) -> None:
        (self.programs / name).write_text(source)
        (self.programs / name).chmod(0o755)

    def complaint(self) -> str:
        done = subprocess.run(
            ("sh", "compose/bootstrap.sh", "run"), cwd=self.folder, env={"PATH": str(self.programs)},
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert not (self.folder / ".venv/installing").exists()
        return done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_no_python_is_named(machine: Machine) -> None:
    assert "there is no python3: apt-get install python3" in machine.complaint()


def test_a_python_that_is_too_old_is_named_with_its_version(machine: Machine) -> None:
    machine.add("python3", PYTHON.format(new_enough=1, venv=0))
    assert "Python 3.11 or newer is needed, and there is Python 3.9.2" in machine.complaint()


def test_a_python_without_its_venv_module_names_the_package(machine: Machine) -> None:
    machine.add("python3", PYTHON.format(new_enough=0, venv=1))
    assert machine.complaint().endswith("apt-get install python3-venv\n")


def test_a_python_besides_the_systems_own_has_a_package_of_its_own(machine: Machine) -> None:
    machine.add("python3", PYTHON.format(new_enough=1, venv=0))
    machine.add("python3.12", PYTHON.format(new_enough=0, venv=1))
    assert machine.complaint().endswith("apt-get install python3.12-venv\n")


def test_a_missing_c_compiler_names_the_package(machine: Machine) -> None:
    machine.add("python3", PYTHON.format(new_enough=0, venv=0))
    assert "C compiler" in machine.complaint()
    assert machine.complaint().endswith("apt-get install build-essential\n")


def test_a_missing_cpp_compiler_names_the_package(machine: Machine) -> None:
    machine.add("python3", PYTHON.format(new_enough=0, venv=0))
    machine.add("cc", "#!/bin/sh\nexit 0\n")
    assert "C++ compiler" in machine.complaint()
