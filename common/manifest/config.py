"""All configs of a manifest -> its entries: which file each one means, and that no two have one name (sheet 1.7)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tropilla.common import names
from tropilla.common.catalogue import Trouble
from tropilla.common.manifest.document import Value
from tropilla.common.manifest.entries import Surroundings, entry_of, model_file, ours, projector_file
from tropilla.common.manifest.faults import ManifestError
from tropilla.common.manifest.fields import digest, items, mapping, text
from tropilla.common.manifest.manifest import Entry, Loading, ManifestFile
from tropilla.common.manifest.naming import further_shard, named, projector, safe

#: runtime -> what it asks of a worker.
_RUNTIMES: Mapping[str, Loading] = {
    "": Loading(),
    "cuda": Loading(flavours=("gpu",)),
    "applesilicon": Loading(),
    **{kind: Loading(flavours=("cpu",), instruction_set=kind) for kind in ("avx", "avx2", "avx512")},
}
_NO_METAL = "runtime applesilicon is not supported: there are no workers with Metal"

Written = Sequence[tuple[str, Mapping[str, Value]]]


@dataclass(frozen=True, slots=True)
class Configs:
    """What configs refer to. templates: by name. single: every file is a model, whatever it is called."""

    files: tuple[ManifestFile, ...]
    templates: Mapping[str, str]
    runtime: str
    installed: tuple[str, ...] = ()
    single: bool = False


def entries_of(
    written: Written, configs: Configs, warnings: list[str]
) -> tuple[tuple[ManifestFile, ...], tuple[Entry, ...]]:
    """All files, with those that only configs name, and the entries. Without a config every GGUF is one, under its file's
    name. Raises `ManifestError`.
    """
    files = _unambiguous((*configs.files, *_named_in(written)))
    base = _RUNTIMES[configs.runtime]
    unavailable = _NO_METAL if configs.runtime == "applesilicon" else ""
    if not written:
        return files, tuple(_by_file(files, configs, base, unavailable, warnings))
    around = Surroundings(_Finder(files, configs.installed), configs.templates, base, unavailable)
    entries = tuple(entry_of(each, where, around, warnings.append) for where, each in written)
    _check_names(entries)
    return files, entries


class _Finder:
    """What a config calls a file: as it is stored, or but for the case, or as its model or alias; or what is installed."""

    def __init__(self, files: Iterable[ManifestFile], installed: Iterable[str]) -> None:
        files, installed = tuple(files), tuple(installed)
        exact = {file.stored_name: file.stored_name for file in files}
        self._tables: tuple[dict[str, str], ...] = (
            exact,
            {name.lower(): name for name in reversed(exact)},
            {alias: file.stored_name for file in reversed(files) for alias in (*file.aliases, file.name) if alias},
            {name: name for name in installed},
        )
        self._sources = {file.source: file.stored_name for file in files}

    def __call__(self, called: str) -> str | None:
        if "://" in called:
            return self._sources.get(called)
        exact, folded, otherwise, installed = self._tables
        return exact.get(called) or folded.get(called.lower()) or otherwise.get(called) or installed.get(called)


def _named_in(written: Written) -> Iterator[ManifestFile]:
    """Files that configs fetch themselves: a model or projector that is an address, and `download_files`."""
    for where, each in written:
        if not ours(each, where):
            continue
        for source, place in (
            (model_file(each, where), f"{where}.parameters.model"),
            (projector_file(each, where), f"{where}.mmproj"),
        ):
            if "://" in source:
                naming = named(source, "", place)
                yield ManifestFile("", source, naming.stored_name, aliases=naming.aliases)
        for at, value in enumerate(items(each.get("download_files"), f"{where}.download_files")):
            here = f"{where}.download_files[{at}]"
            file = mapping(value, here)
            source, called = text(file.get("uri"), f"{here}.uri"), text(file.get("filename"), f"{here}.filename")
            naming = named(source, "", f"{here}.uri")
            if called and not safe(called):
                raise ManifestError(f"{here}.filename must be a path below the models' folder", param=here)
            sha256 = digest(file.get("sha256"), f"{here}.sha256")
            yield ManifestFile("", source, called or naming.stored_name, sha256)


def _unambiguous(files: Iterable[ManifestFile]) -> tuple[ManifestFile, ...]:
    """Each once. Two files under one name would be whichever came last."""
    known: dict[str, ManifestFile] = {}
    for file in files:
        other = known.setdefault(file.stored_name, file)
        if (other.source, other.sha256 or file.sha256) != (file.source, file.sha256 or other.sha256):
            raise ManifestError(f"two files would be stored as '{file.stored_name}'", param="models")
        if file.sha256 and not other.sha256:
            known[file.stored_name] = file
    return tuple(known.values())


def _by_file(
    files: Iterable[ManifestFile], configs: Configs, base: Loading, unavailable: str, warnings: list[str]
) -> Iterator[Entry]:
    trouble = Trouble("backend_unsupported", unavailable) if unavailable else None
    files = tuple(files)
    taken = {file.stored_name for file in files}
    for file in files:
        name = file.stored_name
        if projector(name) or further_shard(name):
            continue
        if not (name.lower().endswith(".gguf") or configs.single):
            warnings.append(f"{name} is no model: its name does not end in .gguf, and no config names it")
        elif not names.MODEL_NAME.fullmatch(name):
            warnings.append(f"'{name}' is no name for a model; a config can give it one")
        else:
            yield Entry(name, name, loading=base, trouble=trouble)
            yield from (Entry(alias, alias=name) for alias in file.aliases if alias not in taken)
            taken.update(file.aliases)


def _check_names(entries: Iterable[Entry]) -> None:
    """Raises `ManifestError` for one name twice, and for aliases that lead nowhere or on."""
    known: dict[str, Entry] = {}
    for entry in entries:
        if entry.name in known:
            raise ManifestError(f"config has two entries named '{entry.name}'", param="config")
        known[entry.name] = entry
    for entry in known.values():
        if entry.alias and (entry.alias not in known or known[entry.alias].alias):
            why = "is an alias itself" if entry.alias in known else "is not in this config"
            raise ManifestError(f"'{entry.name}' is an alias of '{entry.alias}', which {why}", param="config")
