"""Every key of a LocalAI model config, and what becomes of it (contracts, models sheet 1.8).

What would change answers and is not done here makes its entry unusable; what changes none is warned of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tropilla.common.generation import fold_seed
from tropilla.common.manifest.document import Value
from tropilla.common.manifest.fields import mapping, number, texts, whole
from tropilla.common.recipes import Parameter

#: Floats end up in 32 bits beside logits: far beyond this, sampling computes with infinities.
_LARGEST = 1000.0
_LONGEST = 1 << 31


class Unsupported(Exception):
    """A setting that would change answers and is not served; the text names it."""


@dataclass(frozen=True, slots=True)
class Number:
    """`field` is its name in `recipes`. `unset`: LocalAI takes this value for none."""

    field: str
    low: float
    high: float
    whole: bool = False
    unset: float | None = None


SAMPLING: Mapping[str, Number] = {
    "temperature": Number("temperature", 0, _LARGEST),
    "top_k": Number("top_k", -1, _LONGEST, whole=True),
    "top_p": Number("top_p", 0, 1),
    "min_p": Number("min_p", 0, 1),
    "typical_p": Number("typical_p", 0, 1),
    "repeat_penalty": Number("repeat_penalty", 0, _LARGEST, unset=0),
    "frequency_penalty": Number("frequency_penalty", -_LARGEST, _LARGEST, unset=0),
    "presence_penalty": Number("presence_penalty", -_LARGEST, _LARGEST, unset=0),
    "repeat_last_n": Number("repeat_last_n", -1, _LONGEST, whole=True, unset=0),
    "max_tokens": Number("max_tokens", 0, _LONGEST, whole=True, unset=0),
    "seed": Number("seed", -(1 << 63), 1 << 63, whole=True, unset=-1),
    "n_keep": Number("keep", -1, _LONGEST, whole=True, unset=0),
    "keep": Number("keep", -1, _LONGEST, whole=True, unset=0),
}
#: Beside `parameters`, not in it.
MIROSTAT: Mapping[str, Number] = {
    "mirostat": Number("mirostat", 0, 2, whole=True),
    "mirostat_tau": Number("mirostat_tau", 0, _LARGEST, unset=0),
    "mirostat_eta": Number("mirostat_eta", 0, 1, unset=0),
}

#: Key -> the values with which it changes nothing; for all of them also nothing, "", 0, false and what is empty.
_REFUSED_PARAMETERS: Mapping[str, tuple[float, ...]] = {
    "tfz": (1,),
    "n": (1,),
    "echo": (),
    "ignore_eos": (),
    "logit_bias": (),
    "negative_prompt": (),
    "negative_prompt_scale": (1,),
    "rope_freq_base": (),
    "rope_freq_scale": (1,),
    "pooling": (),
}
_REFUSED: Mapping[str, tuple[float, ...]] = {
    "rope_scaling": (),
    "rope_freq_base": (),
    "rope_freq_scale": (1,),
    "yarn_ext_factor": (),
    "yarn_attn_factor": (1,),
    "yarn_beta_fast": (),
    "yarn_beta_slow": (),
    "lora_adapter": (),
    "lora_adapters": (),
    "lora_base": (),
    "lora_scale": (1,),
    "lora_scales": (),
    "draft_model": (),
    "overrides": (),
    "reranking": (),
}

#: Key -> why nothing becomes of it.
_IDLE_PARAMETERS: Mapping[str, str] = {
    "batch": "the worker sets its own",
    "logprobs": "requests ask for them",
    "top_logprobs": "requests ask for them",
}
_IDLE: Mapping[str, str] = {
    **dict.fromkeys(("mmlock", "numa"), "the worker decides how the file is read"),
    **dict.fromkeys(("low_vram", "no_kv_offloading", "tensor_split", "main_gpu"), "the worker decides what goes where"),
    "flash_attention": "the worker turns it on where it can",
    "n_draft": "there is no draft model",
    "options": "they are other engines'",
    "function": "calls are read in the notation of its template or its model",
    **dict.fromkeys(("prompt_cache_path", "prompt_cache_all", "prompt_cache_ro"), "prefixes are always kept"),
}
#: Said, or told elsewhere.
_TAKEN = frozenset(
    ("name", "backend", "parameters", "context_size", "threads", "gpu_layers", "cache_type_k", "cache_type_v", "embeddings",
     "system_prompt", "roles", "template", "stopwords", "cutstrings", "extract_regex", "trimspace", "trimsuffix", "grammar",
     "mmproj", "alias", "disabled", "pinned", "description", "usage", "f16", "mmap", "feature_flags", "known_usecases",
     "download_files", *MIROSTAT)
)  # fmt: skip
_TAKEN_PARAMETERS = frozenset(("model", "stop", *SAMPLING))


def parameters_of(written: Mapping[str, Value], where: str) -> tuple[tuple[str, Parameter], ...]:
    """What it sets for requests that do not. Raises `ManifestError`."""
    inner, place = mapping(written.get("parameters"), f"{where}.parameters"), f"{where}.parameters"
    found: dict[str, Parameter] = {}
    for values, numbers, path in ((written, MIROSTAT, where), (inner, SAMPLING, place)):
        for key, rule in numbers.items():
            value = values.get(key)
            if value is None:
                continue
            if rule.whole:
                read: int | float = whole(value, f"{path}.{key}", low=int(rule.low), high=int(rule.high))
            else:
                read = number(value, f"{path}.{key}", low=rule.low, high=rule.high)
            if read != rule.unset:
                found[rule.field] = read
    if "seed" in found:
        found["seed"] = fold_seed(int(str(found["seed"])))
    stops = (*texts(written.get("stopwords"), f"{where}.stopwords"), *texts(inner.get("stop"), f"{place}.stop"))
    if any(stops):
        found["stop"] = tuple(dict.fromkeys(stop for stop in stops if stop))
    return tuple(found.items())


def check(written: Mapping[str, Value], where: str, warn: Callable[[str], None]) -> None:
    """Raises `Unsupported`; warns of what has no effect."""
    inner = mapping(written.get("parameters"), f"{where}.parameters")
    refused = [*_refused(written, _REFUSED, ""), *_refused(inner, _REFUSED_PARAMETERS, "parameters.")]
    if refused:
        raise Unsupported(f"{' and '.join(refused)} {'is' if len(refused) == 1 else 'are'} not supported")
    for key in written:
        if idle := _IDLE.get(key) or _IDLE_PARAMETERS.get(key):
            _warn_of_idle(key, written[key], idle, warn)
        elif key in _TAKEN or key in _REFUSED:
            continue
        elif key in _TAKEN_PARAMETERS or key in _REFUSED_PARAMETERS:
            warn(f"{key} has no effect here: it belongs under parameters, as parameters.{key}")
        else:
            warn(f"{key} is not known")
    for key in inner:
        if idle := _IDLE_PARAMETERS.get(key):
            _warn_of_idle(f"parameters.{key}", inner[key], idle, warn)
        elif key in _TAKEN_PARAMETERS or key in _REFUSED_PARAMETERS:
            continue
        elif key in _TAKEN or key in _IDLE or key in _REFUSED:
            warn(f"parameters.{key} has no effect: {key} belongs beside parameters")
        else:
            warn(f"parameters.{key} is not known")


def _warn_of_idle(path: str, value: Value, why: str, warn: Callable[[str], None]) -> None:
    """Unless it asks for what is done anyway."""
    if not _neutral(value, ()) and (path, value) != ("flash_attention", "auto"):
        warn(f"{path} has no effect: {why}")


def _refused(written: Mapping[str, Value], table: Mapping[str, tuple[float, ...]], prefix: str) -> Iterator[str]:
    return (prefix + key for key, neutral in table.items() if not _neutral(written.get(key), neutral))


def _neutral(value: Value, neutral: tuple[float, ...]) -> bool:
    if not isinstance(value, str):
        return not value
    if value.lower() in ("", "false", "no", "off", "none"):
        return True
    try:
        return float(value) in (0, *neutral)
    except ValueError:
        return False
