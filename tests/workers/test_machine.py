from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from tropilla.workers.machine import available, features, free_bytes, groups, instruction_sets, remaining

MEMINFO = "MemTotal:       24683520 kB\nMemFree:        20000000 kB\nMemAvailable:   22000000 kB\nSwapTotal:  0 kB\n"
AVAILABLE = 22_000_000 << 10
NONE_V1 = "9223372036854771712\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MEMINFO, AVAILABLE),
        ("MemAvailable:\t  16 kB\n", 16384),
        ("MemAvailable: 0 kB\n", 0),
        ("MemAvailable:\n", 0),
        ("MemAvailable: much\n", 0),
        ("MemTotal: 5 kB\nMemFree: 4 kB\n", 0),
        ("", 0),
    ],
)
def test_what_the_kernel_calls_available(text: str, expected: int) -> None:
    assert available(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0::/\n", {"": "/"}),
        ("0::/system.slice/docker-1.scope\n", {"": "/system.slice/docker-1.scope"}),
        ("4:memory:/docker/1\n0::/\n", {"memory": "/docker/1", "": "/"}),
        ("11:cpu,cpuacct:/a\n3:hugetlb,memory:/b:c\n", {"memory": "/b:c"}),
        ("1:name=systemd:/x\n", {}),
        ("0::\n", {}),
        ("nonsense\n\n", {}),
    ],
)
def test_which_groups_we_are_in(text: str, expected: dict[str, str]) -> None:
    assert groups(text) == {controller: PurePosixPath(path) for controller, path in expected.items()}


@pytest.mark.parametrize(
    ("limit", "usage", "stat", "prefix", "expected"),
    [
        ("1000\n", "400\n", "anon 300\n", "", 600),
        ("1000\n", "400\n", "anon 300\ninactive_file 60\nactive_file 30\nslab_reclaimable 5\nslab 9\n", "", 695),
        ("1000\n", "1200\n", "anon 1200\n", "", -200),
        ("1000\n", "50\n", "inactive_file 80\n", "", 1000),
        ("1000\n", "400\n", "inactive_file 7\ntotal_inactive_file 60\ntotal_active_file 40\n", "total_", 700),
        ("1000\n", "", "", "", 1000),
        ("max\n", "400\n", "", "", None),
        (NONE_V1, "400\n", "", "total_", None),
        ("", "", "", "", None),
    ],
)
def test_what_a_group_has_left(limit: str, usage: str, stat: str, prefix: str, expected: int | None) -> None:
    assert remaining(limit, usage, stat, prefix) == expected


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/memory"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, AVAILABLE),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/memory.max": "max\n"}, AVAILABLE),
        ({"proc/self/cgroup": "0::/\n", f"{V2}/memory.max": "5000\n", f"{V2}/memory.current": "1000\n"}, 4000),
        # The tightest of all groups above us counts.
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                f"{V2}/a/memory.max": "3000\n",
                f"{V2}/a/memory.current": "2000\n",
                f"{V2}/a/b/memory.max": "9000\n",
                f"{V2}/a/b/memory.current": "10\n",
            },
            1000,
        ),
        # A limit above what the machine has is none.
        (
            {"proc/self/cgroup": "0::/a\n", f"{V2}/a/memory.max": f"{1 << 50}\n", f"{V2}/a/memory.current": "0\n"},
            AVAILABLE,
        ),
        # Docker with version 1: the path is the host's, the mount begins at our own group.
        (
            {
                "proc/self/cgroup": "4:memory:/docker/1\n0::/\n",
                f"{V1}/memory.limit_in_bytes": "6000\n",
                f"{V1}/memory.usage_in_bytes": "1000\n",
                f"{V1}/memory.stat": "inactive_file 1\ntotal_inactive_file 500\n",
            },
            5500,
        ),
        ({"proc/self/cgroup": "4:memory:/\n", f"{V1}/memory.limit_in_bytes": NONE_V1}, AVAILABLE),
        # Over the limit already.
        ({"proc/self/cgroup": "0::/\n", f"{V2}/memory.max": "5\n", f"{V2}/memory.current": "9\n"}, 0),
    ],
)
def test_the_least_of_machine_and_groups_is_free(files: dict[str, str], expected: int, tmp_path: Path) -> None:
    assert free_bytes(lay(tmp_path, {"proc/meminfo": MEMINFO, **files})) == expected


def test_where_there_is_no_proc_all_memory_counts(tmp_path: Path) -> None:
    assert free_bytes(tmp_path) > 1 << 26


def test_this_machine_has_something_free() -> None:
    assert 1 << 26 < free_bytes() < 1 << 50


CPU = "processor\t: {}\nvendor_id\t: GenuineIntel\nflags\t\t: {}\nvmx flags\t: vnmi\n\n"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["fpu sse4_2 avx"], ("avx",)),
        (["fpu avx avx2 f16c"], ("avx", "avx2")),
        (["avx avx2 avx512f avx512bw"], ("avx", "avx2", "avx512")),
        (["avx512_vnni avx2_something"], ()),
        # Small and large cores: a thread may run on either.
        (["avx avx2 avx512f", "avx avx2"], ("avx", "avx2")),
        ([], ()),
    ],
)
def test_instruction_sets_are_those_that_every_processor_has(flags: list[str], expected: tuple[str, ...]) -> None:
    assert instruction_sets("".join(CPU.format(number, line) for number, line in enumerate(flags))) == expected


def test_other_architectures_speak_of_other_things() -> None:
    assert instruction_sets("processor\t: 0\nFeatures\t: fp asimd avx\n") == ()


def test_features_are_read_where_linux_has_them(tmp_path: Path) -> None:
    assert features(tmp_path) == ()
    assert features(lay(tmp_path, {"proc/cpuinfo": CPU.format(0, "avx avx2")})) == ("avx", "avx2")
