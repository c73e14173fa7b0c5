"""What this machine offers: instruction sets, and how much memory it, or the container we are in, still has for us.

Linux says so in /proc/meminfo (`MemAvailable` counts the file cache it would give up), and each control group above us may
say less: https://docs.kernel.org/admin-guide/cgroup-v2.html#memory. Elsewhere only the memory in all is known.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tropilla.common.recipes import INSTRUCTION_SETS

#: A version 1 limit above this is how the kernel spells "none": the largest signed number, rounded down to a page.
NO_LIMIT = 1 << 60
#: Caches that the kernel gives up before it ends anybody; the first is version 2's, the second sums a v1 hierarchy.
RECLAIMABLE = ("inactive_file", "active_file", "slab_reclaimable")


#: What a recipe may ask for -> the kernel's word for it (arch/x86/include/asm/cpufeatures.h).
FLAGS: Mapping[str, str] = dict(zip(INSTRUCTION_SETS, ("avx", "avx2", "avx512f"), strict=True))


@dataclass(frozen=True, slots=True)
class Files:
    """Where one version of control groups keeps its numbers."""

    mount: PurePosixPath
    limit: str
    usage: str
    prefix: str


VERSIONS: Mapping[str, Files] = {
    "": Files(PurePosixPath("sys/fs/cgroup"), "memory.max", "memory.current", ""),
    "memory": Files(
        PurePosixPath("sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
    ),
}  # fmt: skip


def free_bytes(root: Path = Path("/")) -> int:
    """What may still be allocated, nobody else asking. root: where /proc and /sys are."""
    meminfo = _read(root / "proc" / "meminfo")
    return max(0, min([available(meminfo) or _physical(), *_group_limits(root)]))


def features(root: Path = Path("/")) -> tuple[str, ...]:
    """Those of `INSTRUCTION_SETS` that the processor has; where there is no /proc, none is known."""
    return instruction_sets(_read(root / "proc" / "cpuinfo"))


def instruction_sets(cpuinfo: str) -> tuple[str, ...]:
    """The text of /proc/cpuinfo -> what every one of its processors has."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    flags = [frozenset(value.split()) for key, _, value in lines if key.strip() == "flags"]
    return tuple(name for name, flag in FLAGS.items() if flags and all(flag in known for known in flags))


def available(meminfo: str) -> int:
    """The text of /proc/meminfo -> bytes; 0 when it does not say."""
    for line in meminfo.splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if name == "MemAvailable" and words and words[0].isdigit():
            return int(words[0]) << 10
    return 0


def groups(cgroup: str) -> dict[str, PurePosixPath]:
    """The text of /proc/self/cgroup -> where we are, for version 2 ("") and version 1's memory controller ("memory")."""
    found = {}
    for line in cgroup.splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        for controller in controllers.split(","):
            if controller in VERSIONS and path.startswith("/"):
                found[controller] = PurePosixPath(path)
    return found


def remaining(limit: str, usage: str, stat: str, prefix: str) -> int | None:
    """One group's three files -> bytes below its limit, the cache it would give up included; None for no limit."""
    if not limit.strip().isdigit() or int(limit) >= NO_LIMIT:
        return None
    used = int(usage) if usage.strip().isdigit() else 0
    numbers = dict(line.split(" ", 1) for line in stat.splitlines() if " " in line)
    cached = sum(int(numbers.get(prefix + name, 0)) for name in RECLAIMABLE)
    return int(limit) - used + min(cached, used)


def _group_limits(root: Path) -> Iterator[int]:
    """Of our group and of all above it. In a container the path may be the host's, and only its end be mounted."""
    for controller, path in groups(_read(root / "proc" / "self" / "cgroup")).items():
        files = VERSIONS[controller]
        for place in (path, *path.parents):
            folder = root / files.mount / place.relative_to("/")
            limit, usage, stat = (_read(folder / name) for name in (files.limit, files.usage, "memory.stat"))
            room = remaining(limit, usage, stat, files.prefix)
            if room is not None:
                yield room


def _read(path: Path) -> str:
    """Empty for a file that is not there or not ours to read."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _physical() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
