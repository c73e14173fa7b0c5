"""`options`: every option of Ollama's, old and new, and what it becomes (sheet, sections 6.1 to 6.3).

What the model's name lays over its weights counts where a request says nothing, and before Ollama's own defaults.

Options that nobody samples by any more (tfs_z, penalize_newline) and those that load a model (a worker's pin is fixed:
num_gpu, use_mmap ...) are accepted without effect, as are unknown ones: today's Ollama warns and goes on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from marshmallow import Schema
from tropilla.api.about import FLAG, INTEGER, NUMBER, TEXT, Nested, Shape, either, several
from tropilla.api.overlays import within_ends
from tropilla.api.reading import Wrong, load, without_nulls
from tropilla.api.surfaces.ollama.fields import BEYOND, Reader
from tropilla.common.catalogue import Model
from tropilla.common.generation import Fit, LocalTemplates, Overlong, Sampling, draw_seed, fold_seed
from tropilla.common.options import NAMES
from tropilla.common.recipes import Overlay, Parameter

_T = TypeVar("_T")

#: Floats end up in 32 bits beside logits: far beyond this, sampling computes with infinities.
LARGEST = 1000.0
_MODES: Shape = {"type": "integer", "enum": [0, 1, 2]}
#: Ollama has no bound; ours keeps the search per token short.
MAX_STOPS = 64
#: A context below this is raised to it.
SMALLEST_CONTEXT = 4
#: An answer is never longer than so many contexts.
CONTEXTS_PER_ANSWER = 10


class _Option(Reader[_T]):
    go_type = ""

    def wrong_type(self) -> Wrong:
        return Wrong(f'option "{self.name}" must be of {self.go_type}', "type")


class Integer(_Option[int]):
    """An integer; Ollama cuts fractions off."""

    go_type = "type integer"
    #: Fractions are for those who send them.
    shape = INTEGER

    def read(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong_type()
        # 1e300 is a number, too: the largest there is to Go.
        return int(min(max(value, -BEYOND), BEYOND - 1))


class Mode(Integer):
    """0, 1 or 2."""

    shape = _MODES

    def read(self, value: Any) -> int:
        mode = super().read(value)
        if mode not in (0, 1, 2):
            raise Wrong(f'option "{self.name}" must be 0, 1 or 2')
        return mode


class Float(_Option[float]):
    go_type = "type float32"

    def __init__(self, low: float = -LARGEST, high: float = LARGEST, **more: Any) -> None:
        super().__init__(**more)
        self.low, self.high = low, high

    def read(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong_type()
        if not self.low <= value <= self.high:
            raise Wrong(f'option "{self.name}" must be between {self.low:g} and {self.high:g}')
        return float(value)

    def described(self, _: Nested, /) -> Shape:
        return {**NUMBER, "minimum": self.low, "maximum": self.high}


class Boolean(_Option[bool]):
    go_type = "type boolean"
    shape = FLAG

    def read(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise self.wrong_type()
        return value


class Stops(_Option[tuple[str, ...]]):
    """A list of strings; one string will do."""

    go_type = "type array"
    shape = either(TEXT, several(TEXT, most=MAX_STOPS))

    def read(self, value: Any) -> tuple[str, ...]:
        stops = [value] if isinstance(value, str) else value
        if not isinstance(stops, list):
            raise self.wrong_type()
        if not all(isinstance(stop, str) for stop in stops):
            raise Wrong(f'option "{self.name}" must be of an array of strings', "type")
        if len(stops) > MAX_STOPS:
            raise Wrong(f'option "{self.name}" must have at most {MAX_STOPS} strings', "too_long")
        return tuple(stop for stop in stops if stop)


class OptionsSchema(Schema):
    """Names are matched as they stand; other than the body's keys they are a map's, not a struct's."""

    temperature = Float(load_default=0.8)
    top_k = Integer(load_default=40)
    top_p = Float(load_default=0.9)
    min_p = Float(load_default=0.0)
    typical_p = Float(load_default=1.0)
    repeat_last_n = Integer(load_default=64)
    # A logit is divided by it.
    repeat_penalty = Float(low=1 / LARGEST, load_default=1.0)
    presence_penalty = Float(load_default=0.0)
    frequency_penalty = Float(load_default=0.0)
    mirostat = Mode(load_default=0)
    mirostat_tau = Float(load_default=5.0)
    mirostat_eta = Float(load_default=0.1)
    seed = Integer(load_default=-1)
    num_predict = Integer(load_default=-1)
    stop = Stops(load_default=())
    num_keep = Integer(load_default=4)
    num_ctx = Integer()
    # Checked as Ollama checks them, and without effect: a worker's pin decides.
    num_batch = Integer()
    num_gpu = Integer()
    main_gpu = Integer()
    use_mmap = Boolean()
    num_thread = Integer()
    draft_num_predict = Integer()


OPTIONS = OptionsSchema()

#: What an overlay may set of how tokens are drawn.
SAMPLING = frozenset(field.name for field in dataclasses.fields(Sampling))
_OPTION_OF = {parameter: option for option, parameter in NAMES.items()}


@dataclass(frozen=True, slots=True)
class Options:
    """What the options mean for a `GenerationRequest`."""

    sampling: Sampling
    max_tokens: int | None
    stop: tuple[str, ...]
    fit: Fit


def read_options(given: Mapping[str, Any], model: Model, *, overlong: Overlong, shift: bool) -> Options:
    """overlong: what becomes of a prompt that is too long. shift: of a full context. Raises `InvalidField`."""
    laid = parameters_of(model.overlay)
    read = load(OPTIONS, {**laid, **without_nulls(given)})
    context = _clipped(read.get("num_ctx", model.context_length), SMALLEST_CONTEXT, model.context_length)
    fit = Fit(
        overlong=overlong,
        keep=_clipped(read["num_keep"], -1, context),
        shift=shift,
        context_limit=context,
    )
    further = {
        name: within_ends(name, value)
        for name, value in laid.items()
        if name in SAMPLING and name not in OPTIONS.fields
    }
    sampling = dataclasses.replace(_sampling(read, model), **further)
    return Options(sampling, _max_tokens(read["num_predict"], context), _stops(read["stop"], model.overlay), fit)


def parameters_of(overlay: Overlay) -> dict[str, Any]:
    """What an overlay sets, as options; those of `Sampling` that Ollama has no option for under their own names."""
    return {_OPTION_OF.get(name, name): _given(value) for name, value in overlay.parameters}


def parameters_given(options: Mapping[str, Any]) -> tuple[tuple[str, Parameter], ...]:
    """Options, checked, as an overlay keeps them; without those that say nothing here. Raises `InvalidField`."""
    given = without_nulls(options)
    read = load(OPTIONS, given)
    return tuple((NAMES[name], read[name]) for name in sorted(given) if name in NAMES)


def _given(value: Parameter) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _stops(stops: tuple[str, ...], overlay: Overlay) -> tuple[str, ...]:
    """A request's stop texts take the place of the model's, but for LocalAI's templates: there they add up."""
    laid = overlay.defaults.get("stop", ())
    if not isinstance(overlay.template, LocalTemplates) or not isinstance(laid, tuple):
        return stops
    return tuple(dict.fromkeys((*laid, *stops)))


def _sampling(read: Mapping[str, Any], model: Model) -> Sampling:
    """llama.cpp takes whatever lies outside of a knob's range for "off"; so that it arrives in 32 bits, it is cut there."""
    return Sampling(
        temperature=max(read["temperature"], 0.0),
        top_k=_clipped(read["top_k"], 0, model.vocabulary),
        top_p=_clipped(read["top_p"], 0.0, 1.0),
        min_p=_clipped(read["min_p"], 0.0, 1.0),
        typical_p=_clipped(read["typical_p"], 0.0, 1.0),
        repeat_penalty=read["repeat_penalty"],
        repeat_last_n=_clipped(read["repeat_last_n"], -1, model.context_length),
        presence_penalty=read["presence_penalty"],
        frequency_penalty=read["frequency_penalty"],
        mirostat=read["mirostat"],
        mirostat_tau=read["mirostat_tau"],
        mirostat_eta=read["mirostat_eta"],
        seed=draw_seed() if read["seed"] == -1 else fold_seed(read["seed"]),
    )


def _max_tokens(wanted: int, context: int) -> int | None:
    """-1, -2 and 0 are "as much as there is room for": with a context that shifts, ten of them too."""
    return min(wanted, CONTEXTS_PER_ANSWER * context) if wanted > 0 else None


_Number = TypeVar("_Number", int, float)


def _clipped(value: _Number, low: _Number, high: _Number) -> _Number:
    return min(max(value, low), high)
