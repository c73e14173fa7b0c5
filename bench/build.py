"""llama-server, built from the very sdist that the installed llama-cpp-python was built from."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.places import CACHE, BenchError, say

PACKAGE = "llama-cpp-python"
TARGETS = ("llama-server", "llama-batched-bench")
#: What llama-cpp-python's CMakeLists sets for its wheel (Release, shared libraries, no curl; ggml's own defaults, so native
#: code and OpenMP), and the parts of llama.cpp that no measurement needs left out.
OPTIONS: Mapping[str, str] = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "ON",
    "LLAMA_BUILD_COMMON": "ON",
    "LLAMA_BUILD_TOOLS": "ON",
    "LLAMA_BUILD_SERVER": "ON",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
    # Otherwise it would ask git, and find this repository's commit.
    "LLAMA_BUILD_COMMIT": "sdist",
}
NICENESS = 10
SHOWN_EVERY = 10
#: Asked in processes of their own, because two copies of one library do not live well together.
INSTALLED_SYSTEM_INFO = "import llama_cpp; print('SYSTEM', llama_cpp.llama_print_system_info().decode())"
BUILT_SYSTEM_INFO = (
    "import ctypes, sys; ask = ctypes.CDLL(sys.argv[1]).llama_print_system_info; ask.restype = ctypes.c_char_p;"
    "print('SYSTEM', ask().decode())"
)


@dataclass(frozen=True, slots=True)
class LlamaServer:
    """Where the build is, and how it was made."""

    version: str
    folder: Path

    @property
    def server(self) -> Path:
        return self.folder / "bin" / TARGETS[0]

    @property
    def batched_bench(self) -> Path:
        return self.folder / "bin" / TARGETS[1]

    @property
    def complete(self) -> bool:
        return all((self.folder / "bin" / target).exists() for target in TARGETS)


def installed_version() -> str:
    return importlib.metadata.version(PACKAGE)


def build() -> LlamaServer:
    """The build for the installed version, from the cache or made now."""
    version = installed_version()
    built = LlamaServer(version, CACHE / f"llama-server-{version}")
    finished = built.folder / "finished.json"
    if finished.exists() and built.complete and json.loads(finished.read_text()) == dict(OPTIONS):
        return built
    _demand_tools()
    source = fetch(version) / "vendor" / "llama.cpp"
    say(f"build: llama-server of {PACKAGE} {version}, {os.cpu_count()} cores; this takes minutes, once")
    settings = [f"-D{name}={value}" for name, value in OPTIONS.items()]
    log = CACHE / "build.log"
    _run(["cmake", "-S", str(source), "-B", str(built.folder), "-G", "Ninja", *settings], log)
    _run(["cmake", "--build", str(built.folder), "--target", *TARGETS], log)
    finished.write_text(json.dumps(dict(OPTIONS)))
    say("build: done")
    return built


def fetch(version: str) -> Path:
    """The unpacked sdist, as pip gives it."""
    folder = CACHE / "sdist"
    source = folder / f"llama_cpp_python-{version}"
    if (source / ".unpacked").exists():
        return source
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"{source.name}.tar.gz"
    if not archive.exists():
        say(f"build: pip download {PACKAGE}=={version}")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", PACKAGE]
        _run([*pip, "--dest", str(folder), f"{PACKAGE}=={version}"], CACHE / "download.log")
    shutil.rmtree(source, ignore_errors=True)
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    (source / ".unpacked").touch()
    return source


def system_information(built: LlamaServer) -> dict[str, str]:
    """What either library says it was compiled for; a comparison is fair where both say the same."""
    version = subprocess.run([built.server, "--version"], capture_output=True, text=True, check=False)
    return {
        "llama_cpp": _asked(INSTALLED_SYSTEM_INFO),
        "llama_server": _asked(BUILT_SYSTEM_INFO, str(built.folder / "bin" / "libllama.so")),
        "llama_server_version": (version.stderr or version.stdout).strip(),
    }


def _asked(program: str, *arguments: str) -> str:
    command = [sys.executable, "-c", program, *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return next((line[7:].strip(" |") for line in answer.stdout.splitlines() if line.startswith("SYSTEM ")), "")


def _demand_tools() -> None:
    missing = [tool for tool in ("cmake", "ninja") if not shutil.which(tool)]
    if not any(shutil.which(compiler) for compiler in (os.environ.get("CXX", "c++"), "g++", "clang++")):
        missing.append("a C++ compiler")
    if missing:
        raise BenchError(f"llama-server cannot be built: {', '.join(missing)} is missing on this machine.")


def _run(command: Sequence[str], log: Path) -> None:
    """Runs it politely, shows every tenth progress line of ninja, keeps all of its output."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("a") as kept,
        subprocess.Popen(
            ["nice", "-n", str(NICENESS), *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as running,
    ):
        assert running.stdout is not None
        for number, line in enumerate(running.stdout):
            kept.write(line)
            if line.startswith("[") and number % SHOWN_EVERY == 0:
                say(f"build: {line.rstrip()}")
    if running.returncode:
        raise BenchError(f"`{' '.join(command[:2])}` ended with status {running.returncode}; its output is in {log}.")


if __name__ == "__main__":
    build()
