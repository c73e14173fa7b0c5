"""The rules of the sheet's section 4, in its order: the first one that is broken is what the caller hears.

Rules 6 and 7 count tokens, so the worker applies them; `fault` has their texts. Rule 8, the last, is `grammar`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tropilla.api.surfaces.tgi.limits import Limits
from tropilla.api.surfaces.tgi.schemas import Asked, Parameters
from tropilla.common.errors import InvalidField

#: `adapter_id`s that mean no adapter, beside the model's own name.
NO_ADAPTER = frozenset({"", "tgi"})


@dataclass(frozen=True, slots=True)
class Rule:
    """`text` is a format string; `given` is the field's value, a list's length."""

    field: str
    broken: Callable[[Asked, Limits], bool]
    text: str


def check(asked: Asked, limits: Limits) -> None:
    """Raises `InvalidField` for the first broken rule."""
    for rule in RULES:
        if rule.broken(asked, limits):
            text = rule.text.format(limits=limits, given=_given(asked, rule.field))
            param = rule.field if rule.field == "inputs" else f"parameters.{rule.field}"
            raise InvalidField(text, param=param)


def _given(asked: Asked, field: str) -> Any:
    value = getattr(asked.parameters, field, None)
    return len(value) if isinstance(value, tuple) else value


def _always(broken: Callable[[Parameters], bool]) -> Callable[[Asked, Limits], bool]:
    """A rule on the parameters alone."""
    return lambda asked, _: broken(asked.parameters)


def _outside(value: float | None, low: float, high: float) -> bool:
    """Both ends are outside: a probability of 1 is an error here (section 3)."""
    return value is not None and not low < value < high


def _positive(value: float | None) -> bool:
    return value is None or value > 0


def _adapter_unknown(asked: Asked, limits: Limits) -> bool:
    wanted = asked.parameters.adapter_id
    return wanted not in (None, limits.model_id, *NO_ADAPTER, *limits.adapters)


def _truncate_outside(asked: Asked, limits: Limits) -> bool:
    wanted = asked.parameters.truncate
    return wanted is not None and not 1 <= wanted <= limits.max_input_tokens


RULES: tuple[Rule, ...] = (
    Rule(
        "best_of",
        lambda asked, _: asked.stream and asked.parameters.best_of not in (None, 1),
        "`best_of` != 1 is not supported when streaming tokens",
    ),
    Rule(
        "decoder_input_details",
        lambda asked, _: asked.stream and asked.parameters.decoder_input_details,
        "`decoder_input_details` == true is not supported when streaming tokens",
    ),
    Rule(
        "best_of",
        lambda asked, limits: limits.max_best_of == 1 < asked.parameters.candidates,
        "`best_of` != 1 is not allowed for this endpoint",
    ),
    Rule(
        "best_of",
        lambda asked, limits: not 0 < asked.parameters.candidates <= limits.max_best_of,
        "`best_of` must be > 0 and <= {limits.max_best_of}. Given: {given}",
    ),
    Rule(
        "best_of",
        _always(lambda given: given.candidates > 1 and not given.asks_to_sample),
        "you must use sampling when `best_of` is > 1",
    ),
    Rule(
        "temperature",
        _always(lambda given: not _positive(given.temperature)),
        "`temperature` must be strictly positive",
    ),
    Rule(
        "repetition_penalty",
        _always(lambda given: not _positive(given.repetition_penalty)),
        "`repetition_penalty` must be strictly positive",
    ),
    Rule(
        "frequency_penalty",
        _always(lambda given: not -2.0 <= given.frequency_penalty <= 2.0),
        "`frequency_penalty` must be >= -2.0 and <= 2.0",
    ),
    Rule("top_p", _always(lambda given: _outside(given.top_p, 0, 1)), "`top_p` must be > 0.0 and < 1.0"),
    Rule("typical_p", _always(lambda given: _outside(given.typical_p, 0, 1)), "`typical_p` must be > 0.0 and < 1.0"),
    Rule("top_k", _always(lambda given: not _positive(given.top_k)), "`top_k` must be strictly positive"),
    Rule(
        "max_new_tokens",
        _always(lambda given: not _positive(given.max_new_tokens)),
        "`max_new_tokens` must be strictly positive",
    ),
    Rule(
        "stop",
        lambda asked, limits: len(asked.parameters.stop) > limits.max_stop_sequences,
        "`stop` supports up to {limits.max_stop_sequences} stop sequences. Given: {given}",
    ),
    # Upstream's type is unsigned; the sheet gives a negative seed no text of its own.
    Rule("seed", _always(lambda given: (given.seed or 0) < 0), "`seed` must be >= 0"),
    Rule(
        "seed",
        _always(lambda given: given.seed is not None and given.candidates > 1),
        "`seed` must not be set when `best_of` > 1",
    ),
    Rule(
        "top_n_tokens",
        lambda asked, limits: not 0 <= asked.parameters.top_n_tokens <= limits.max_top_n_tokens,
        "`top_n_tokens` must be >= 0 and <= {limits.max_top_n_tokens}. Given: {given}",
    ),
    Rule("inputs", lambda asked, _: not asked.inputs, "`inputs` cannot be empty"),
    Rule(
        "truncate",
        _truncate_outside,
        "`truncate` must be strictly positive and less than {limits.max_input_tokens}. Given: {given}",
    ),
    Rule("adapter_id", _adapter_unknown, "adapter {given} not found"),
)
