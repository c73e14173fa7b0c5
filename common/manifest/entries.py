"""One LocalAI model config -> an `Entry`. What is wrong with one model is its own trouble; the others load."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tropilla.common import names
from tropilla.common.catalogue import Trouble, TroubleCode
from tropilla.common.generation import Constraint, LocalTemplates
from tropilla.common.grammar import refusal
from tropilla.common.manifest.document import Value
from tropilla.common.manifest.faults import ManifestError
from tropilla.common.manifest.fields import flag, mapping, name, text, texts, whole
from tropilla.common.manifest.keys import Unsupported, check, parameters_of
from tropilla.common.manifest.manifest import Entry, Loading
from tropilla.common.manifest.naming import safe
from tropilla.common.manifest.templates import Ask, TemplateTrouble, templates_of
from tropilla.common.polish import pattern_flaw
from tropilla.common.recipes import Overlay, Polish
from tropilla.common.settings import CACHE_TYPES

#: What LocalAI and aikit call llama.cpp; some builds of it have their hardware's name in front or behind.
_OURS = re.compile(r"(go-)?llama|([a-z0-9]+-)*llama-cpp(-[a-z0-9]+)*")
_BACKEND = re.compile(r"[A-Za-z0-9_-]+")
_MOST_CONTEXT = 1 << 24
#: LocalAI's default for `gpu_layers` is 99999999; no model has so many.
_ALL_LAYERS = 1_000


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What entries share. find: the stored name of a file that a config calls so, None if there is none. base: what the
    manifest's runtime decides. unavailable: why no entry of this manifest can be loaded, "" if they can.
    """

    find: Callable[[str], str | None]
    declared: Mapping[str, str]
    base: Loading
    unavailable: str = ""


class _Stopped(Exception):
    def __init__(self, code: TroubleCode, message: str) -> None:
        super().__init__(message)
        self.code: TroubleCode = code


def entry_of(written: Mapping[str, Value], where: str, around: Surroundings, warn: Callable[[str], None]) -> Entry:
    """Raises `ManifestError` for what makes no sense as a config."""
    called = model_name(written.get("name"), f"{where}.name")
    alias = name(written.get("alias"), f"{where}.alias")
    plain = Entry(
        called,
        alias=alias,
        hidden=flag(written.get("disabled"), f"{where}.disabled"),
        keeps=flag(written.get("pinned"), f"{where}.pinned"),
        description=text(written.get("description"), f"{where}.description"),
    )
    if alias:
        if written.get("backend") or mapping(written.get("parameters"), f"{where}.parameters").get("model"):
            raise ManifestError(f"{where} is an alias, and has no backend and no model of its own", param=where)
        return plain

    def warn_of_it(message: str) -> None:
        warn(f"model '{called}': {message}")

    try:
        return _loadable(plain, written, where, around, warn_of_it)
    except _Stopped as stopped:
        trouble = Trouble(stopped.code, str(stopped))
    except Unsupported as unsupported:
        trouble = Trouble("backend_unsupported", f"model '{called}': {unsupported}")
    except TemplateTrouble as wrong:
        trouble = Trouble("template_error", f"model '{called}': {wrong}")
    return Entry(called, hidden=plain.hidden, keeps=plain.keeps, description=plain.description, trouble=trouble)


def model_name(value: Value, where: str) -> str:
    called = name(value, where)
    if not called:
        raise ManifestError(f"{where} is not defined", param=where)
    if not names.MODEL_NAME.fullmatch(called):
        raise ManifestError(f"{where} '{called}' is no name for a model", param=where)
    return called


def ours(written: Mapping[str, Value], where: str) -> bool:
    """Whether llama.cpp is to run it; an alias is run by nobody."""
    place = f"{where}.backend"
    backend = name(written.get("backend"), place)
    if backend and not _BACKEND.fullmatch(backend):
        raise ManifestError(f"{place}: invalid backend name", param=place)
    return not written.get("alias") and (not backend or _OURS.fullmatch(backend.lower()) is not None)


def model_file(written: Mapping[str, Value], where: str) -> str:
    """What it calls its file."""
    place = f"{where}.parameters"
    return _file(mapping(written.get("parameters"), place).get("model"), f"{place}.model")


def projector_file(written: Mapping[str, Value], where: str) -> str:
    """What it calls the file that reads images for it."""
    return _file(written.get("mmproj"), f"{where}.mmproj")


def _file(value: Value, where: str) -> str:
    called = name(value, where)
    if called and "://" not in called and not safe(called):
        raise ManifestError(f"{where} must be a path below the models' folder", param=where)
    return called


def _loadable(
    plain: Entry, written: Mapping[str, Value], where: str, around: Surroundings, warn: Callable[[str], None]
) -> Entry:
    called = plain.name
    if not ours(written, where):
        why = f"backend '{written['backend']}' of model '{called}' is not supported (supported: llama-cpp)"
        raise _Stopped("backend_unsupported", why)
    if around.unavailable:
        raise _Stopped("backend_unsupported", around.unavailable)
    check(written, where, warn)
    model = model_file(written, where)
    stored = around.find(model)
    if stored is None:
        missing = f"model file {model} is not provided by this manifest" if model else "parameters.model is not defined"
        raise _Stopped("file_missing", missing)
    mmproj = projector_file(written, where)
    seeing = around.find(mmproj) if mmproj else ""
    if seeing is None:
        raise _Stopped("file_missing", f"mmproj file {mmproj} is not provided by this manifest")
    return Entry(
        called,
        stored,
        seeing,
        overlay=_overlay(written, where, model, around.declared, warn),
        loading=_loading(written, where, around.base),
        hidden=plain.hidden,
        keeps=plain.keeps,
        description=plain.description,
    )


def _loading(written: Mapping[str, Value], where: str, base: Loading) -> Loading:
    def number(key: str, *, low: int, high: int, unset: int) -> int:
        value = written.get(key)
        return unset if value is None else whole(value, f"{where}.{key}", low=low, high=high)

    layers = number("gpu_layers", low=-1, high=1 << 31, unset=-1)
    return Loading(
        context=number("context_size", low=-1, high=_MOST_CONTEXT, unset=0),
        threads=number("threads", low=0, high=1 << 10, unset=0),
        gpu_layers=layers if layers < _ALL_LAYERS else -1,
        cache_type=_cache_type(written, where),
        flavours=base.flavours,
        instruction_set=base.instruction_set,
        embeddings=flag(written.get("embeddings"), f"{where}.embeddings"),
    )


def _cache_type(written: Mapping[str, Value], where: str) -> str:
    """One for keys and values: llama.cpp's fast kernels want both alike. Raises `Unsupported`."""
    kinds = [name(written.get(key), f"{where}.{key}").lower() for key in ("cache_type_k", "cache_type_v")]
    if not any(kinds):
        return ""
    keys, values = (kind or "f16" for kind in kinds)
    if keys != values:
        raise Unsupported(f"cache_type_k {keys} with cache_type_v {values} is not supported: both must be the same")
    if keys not in CACHE_TYPES:
        raise Unsupported(f"cache_type_k {keys} is not supported")
    return keys


def _overlay(
    written: Mapping[str, Value], where: str, model: str, declared: Mapping[str, str], warn: Callable[[str], None]
) -> Overlay:
    roles = mapping(written.get("roles"), f"{where}.roles")
    ask = Ask(
        mapping(written.get("template"), f"{where}.template"),
        f"{where}.template",
        model=model,
        roles=tuple((role, text(prefix, f"{where}.roles.{role}")) for role, prefix in roles.items()),
        system_prompt=text(written.get("system_prompt"), f"{where}.system_prompt"),
        declared=declared,
    )
    templates: LocalTemplates | None = templates_of(ask, warn)
    grammar = text(written.get("grammar"), f"{where}.grammar")
    if grammar and (why := refusal(Constraint("gbnf", grammar))):
        raise Unsupported(f"this grammar is not supported: {why}")
    return Overlay(
        template=templates or "",
        parameters=parameters_of(written, where),
        grammar=grammar,
        polish=_polish(written, where, warn),
    )


def _polish(written: Mapping[str, Value], where: str, warn: Callable[[str], None]) -> Polish:
    def patterns(key: str) -> tuple[str, ...]:
        kept: list[str] = []
        for pattern in filter(None, texts(written.get(key), f"{where}.{key}")):
            if flaw := pattern_flaw(pattern):
                warn(f"{key}: {pattern!r} is skipped: {flaw}")
            else:
                kept.append(pattern)
        return tuple(kept)

    return Polish(
        cut=patterns("cutstrings"),
        extract=patterns("extract_regex"),
        trim_space=texts(written.get("trimspace"), f"{where}.trimspace"),
        trim_suffix=texts(written.get("trimsuffix"), f"{where}.trimsuffix"),
    )
