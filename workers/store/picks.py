"""Which file of a repository is meant: its GGUF files in groups, and one of them by its quantization."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tropilla.common.shards import shard_of
from tropilla.workers.store.pulling import FetchFailed

#: Where nobody says which: what Ollama takes, and what there is where nobody made that.
USUAL = ("Q4_K_M", "Q8_0")
_QUANT = re.compile(
    r"(?:^|[-_./])((?:UD-)?(?:I?Q[0-9]+(?:_[A-Z0-9]+)*|TQ[0-9]_[0-9]|B?F16|FP16|F32|MXFP4(?:_MOE)?|NVFP4))(?=$|[-_./])",
    re.IGNORECASE,
)
#: GGUF files that are no language models: they read images for one, or say how to quantize it.
_HELPER = re.compile(r"(?:^|.*[/\-_.])(?:mmproj|imatrix)[^/]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Group:
    """The files of one model: paths in the repository, shard 1 first. `missing` are shards that are not there."""

    label: str
    paths: tuple[str, ...]
    missing: tuple[str, ...] = ()

    def goes_by(self, word: str) -> bool:
        """Whether somebody means it by a quantization or a file name, in whatever case."""
        word = word.lower()
        names = {path.rpartition("/")[2].lower() for path in self.paths}
        label = self.label.lower()
        return word in (label, label.removeprefix("ud-")) or word in names or f"{word}.gguf" in names


def groups_of(paths: Iterable[str]) -> tuple[Group, ...]:
    """The models among a repository's files, by path."""
    there = sorted(path for path in paths if path.lower().endswith(".gguf") and not is_helper(path))
    found: dict[tuple[str, ...], Group] = {}
    for path in there:
        shard = shard_of(path)
        names = shard.names if shard else (path,)
        if names not in found:
            missing = tuple(name for name in names if name not in there)
            found[names] = Group(_label(shard.prefix if shard else path[:-5]), names, missing)
    return tuple(found.values())


def is_helper(path: str) -> bool:
    return _HELPER.fullmatch(path) is not None


def pick(repo: str, groups: tuple[Group, ...], quant: str) -> Group:
    """The one that is meant. Raises `FetchFailed` listing what there is."""
    if not groups:
        raise FetchFailed("not_gguf", f"{repo} has no GGUF files of a language model", refusal="unknown")
    words = (quant,) if quant else USUAL
    fitting: tuple[Group, ...] = groups if len(groups) == 1 and not quant else ()
    for word in words:
        # The label itself comes before one that says the same with something before it.
        exact = tuple(group for group in groups if group.label.lower() == word.lower())
        fitting = fitting or exact or tuple(group for group in groups if group.goes_by(word))
    if len(fitting) != 1:
        listed = ", ".join(_choices(fitting or groups))
        wanted = f"no {quant}" if quant and not fitting else "several models"
        raise FetchFailed("download_failed", f"{repo} has {wanted}; ask for one of: {listed}", refusal="invalid")
    if fitting[0].missing:
        raise missing_shards(repo, fitting[0].missing)
    return fitting[0]


def projector_beside(model: str, paths: Iterable[str]) -> str:
    """The file that reads images for a model of the same repository, as llama.cpp's `-hf` finds it: in the model's own
    folder or else the nearest above it, the one whose quantization has about as many bits as the model's; of several the
    first. "" for none.
    """
    folders = model.split("/")[:-1]
    found: list[tuple[int, int, str]] = []
    for path in paths:
        *above, name = path.split("/")
        if "mmproj" not in name.lower() or not name.lower().endswith(".gguf") or shard_of(path):
            continue
        if folders[: len(above)] == above:
            found.append((-len(above), abs(_bits(path) - _bits(model)), path))
    return min(found, key=lambda each: each[:2])[2] if found else ""


def _bits(path: str) -> int:
    """By the word that stands last in a file's name: 4 of Q4_K_M, 16 of F16; 0 where it says nothing."""
    shard = shard_of(path)
    stem = shard.prefix if shard else re.sub(r"(?i)[.]gguf$", "", path)
    word = re.search(r"[-.]([A-Za-z0-9_]+)$", stem)
    bits = re.search("[0-9]+", word[1]) if word else None
    return int(bits[0]) if bits else 0


def missing_shards(where: str, names: Iterable[str]) -> FetchFailed:
    return FetchFailed("file_missing", f"{where} lacks shards of the model: {', '.join(names)}", refusal="unknown")


def _label(stem: str) -> str:
    """The quantization that stands last in a path; "" for none."""
    found = _QUANT.findall(stem)
    return found[-1].upper() if found else ""


def _choices(groups: tuple[Group, ...]) -> list[str]:
    """How to ask for each: by its quantization where no other has that."""
    labels = [group.label for group in groups]
    return sorted(g.label if g.label and labels.count(g.label) == 1 else g.paths[0].rpartition("/")[2] for g in groups)
