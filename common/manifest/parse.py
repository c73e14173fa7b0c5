"""The text of a manifest -> a `Manifest`: aikit's rules for the outer document, in its words (models sheet 1.1-1.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tropilla.common.manifest.config import Configs, entries_of
from tropilla.common.manifest.document import Quoted, Value, read
from tropilla.common.manifest.faults import ManifestError
from tropilla.common.manifest.fields import digest, flag, items, mapping, name, text, texts
from tropilla.common.manifest.manifest import Manifest, ManifestFile
from tropilla.common.manifest.naming import named
from tropilla.common.manifest.shell import template_text, unshelled

API_VERSION = "v1alpha1"
#: Of all of aikit's versions; today's documents name some that today's code refuses.
RUNTIMES = ("", "cuda", "avx", "avx2", "avx512", "applesilicon")
BACKENDS = ("stablediffusion", "exllama", "exllama2", "mamba", "diffusers")
_CUDA_ONLY = ("exllama", "exllama2", "mamba", "diffusers")
_MODEL_KEYS = ("name", "source", "sha256", "promptTemplates")
_KEYS = ("apiVersion", "debug", "runtime", "backends", "models", "config")

_FENCE = re.compile(
    r"(?m)^(?P<fence>```+|~~~+)[ \t]*(?:ya?ml)[ \t]*\r?\n(?P<inner>.*?)^(?P=fence)[ \t]*\r?$", re.DOTALL
)


def fenced(document: str) -> tuple[str, ...]:
    """The YAML blocks of a Markdown document, from the first to the last."""
    return tuple(found["inner"] for found in _FENCE.finditer(document))


def parse(document: str, *, model: str = "", runtime: str | None = None, installed: Iterable[str] = ()) -> Manifest:
    """model: a source that takes the place of all its models and configs. runtime: takes the place of its own. installed:
    stored names of files that are there already. Raises `ManifestError`.
    """
    whole = read(document)
    warnings: list[str] = ["only the first of its documents is read"] if whole.more else []
    outer = whole.value if whole.value is not None else {}
    if not isinstance(outer, dict):
        raise ManifestError("a manifest is a map of keys")
    _check_version(outer)
    warnings += [f"{key} is not known" for key in outer if key not in _KEYS]
    if model:
        outer = {**outer, "models": [{"name": "", "source": model}], "config": None}
    runtime = name(outer.get("runtime"), "runtime") if runtime is None else runtime
    backends = _backends(outer.get("backends"), runtime, warnings)
    templates: dict[str, str] = {}
    files = _files(items(outer.get("models"), "models"), templates, warnings)
    configs = Configs(files, templates, runtime, tuple(installed), single=bool(model))
    files, entries = entries_of(_config(outer.get("config"), warnings), configs, warnings)
    return Manifest(
        debug=_debug(outer.get("debug"), warnings),
        runtime=runtime,
        backends=backends,
        files=files,
        entries=entries,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _check_version(outer: dict[str, Value]) -> None:
    version = name(outer.get("apiVersion"), "apiVersion")
    if not version:
        raise ManifestError("apiVersion is not defined", param="apiVersion")
    if version != API_VERSION:
        raise ManifestError(f"apiVersion {version} is not supported", param="apiVersion")
    for key in ("baseModel", "datasets"):
        if key in outer:
            raise ManifestError("fine-tune manifests are not supported", param=key)


def _debug(value: Value, warnings: list[str]) -> bool:
    if isinstance(value, Quoted):
        warnings.append("debug is a text; it was read as what it says")
    return flag(value or None, "debug")


def _backends(value: Value, runtime: str, warnings: list[str]) -> tuple[str, ...]:
    if isinstance(value, str):
        warnings.append("backends is one text; it was read as a list of one")
    backends = tuple(filter(None, (each.strip() for each in texts(value, "backends"))))
    if len(backends) > 1:
        raise ManifestError("only one backend is supported at this time", param="backends")
    for backend in backends:
        if backend in _CUDA_ONLY and runtime != "cuda":
            cuda = "only supports nvidia cuda runtime. please add 'runtime: cuda' to your aikitfile.yaml"
            raise ManifestError(f"{backend} {cuda}", param="backends")
        if runtime == "applesilicon":
            raise ManifestError("apple silicon runtime only supports the default llama-cpp backend", param="backends")
        if backend not in BACKENDS:
            raise ManifestError(f"backend {backend} is not supported", param="backends")
        warnings.append(f"backend {backend} is declared but not provided; ignored")
    if runtime not in RUNTIMES:
        raise ManifestError(f"runtime {runtime} is not supported", param="runtime")
    return backends


def _files(models: list[Value], templates: dict[str, str], warnings: list[str]) -> tuple[ManifestFile, ...]:
    """And, in `templates`, what their templates are called and say: one name means one text, whichever model it is of."""
    files: list[ManifestFile] = []
    for at, value in enumerate(models):
        where = f"models[{at}]"
        model = mapping(value, where)
        warnings += [f"{where}.{key} is not known" for key in model if key not in _MODEL_KEYS]
        called, source = name(model.get("name"), f"{where}.name"), text(model.get("source"), f"{where}.source").strip()
        naming = named(source, called, f"{where}.source")
        sha256 = digest(model.get("sha256"), f"{where}.sha256")
        files.append(ManifestFile(called, source, naming.stored_name, sha256, naming.aliases))
        _declare(model.get("promptTemplates"), f"{where}.promptTemplates", templates, warnings)
    return tuple(files)


def _declare(value: Value, where: str, templates: dict[str, str], warnings: list[str]) -> None:
    for at, each in enumerate(items(value, where)):
        here = f"{where}[{at}]"
        declared = mapping(each, here)
        label, written = (
            text(declared.get("name"), f"{here}.name").strip(),
            text(declared.get("template"), f"{here}.template"),
        )
        parts = label.split(None, 1)
        if not written and len(parts) == 2 and "{{" in parts[1]:
            # Eight of aikit's own manifests leave `template:` out: YAML reads the text as more of the name.
            label, written = parts
            warnings.append(f"{here} has no template: key; what stands behind its name '{label}' was taken for one")
        if not label or not written:
            continue
        if ".." in label or label.startswith("/") or re.search(r"[\x00-\x1f\x7f\\]", label):
            raise ManifestError(f"{here}.name '{label}' is no name for a template", param=f"{here}.name")
        source, repaired = template_text(written)
        if repaired:
            warnings.append(f"template '{label}' was read without its backslashes")
        if templates.get(label, source) != source:
            warnings.append(f"template '{label}' is defined twice; the last one counts")
        templates[label] = source


def _config(value: Value, warnings: list[str]) -> list[tuple[str, dict[str, Value]]]:
    """Each config with its path. It is a text that holds YAML; one list or map of them will do."""
    if isinstance(value, str):
        inner = read(unshelled(value), where="config")
        if inner.more:
            warnings.append("only the first document in config is read")
        value = inner.value
    elif value is not None:
        warnings.append("config is no text; it was read as it stands")
    if isinstance(value, dict):
        value = [value]
    return [(f"config[{at}]", mapping(each, f"config[{at}]")) for at, each in enumerate(items(value, "config"))]
