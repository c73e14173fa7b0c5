"""What is checked once a body's types are right, in the order in which Ollama checks it: the first hit decides.

    top_logprobs, name, unknown model, (unload), raw, think, capabilities, options, (load), template, format

That is sheet, sections 4.3 and 5.3. Nothing here costs a queue slot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tropilla.api.framing import compact
from tropilla.api.surface import JSON
from tropilla.api.surfaces.ollama.fault import BadTemplate
from tropilla.api.surfaces.ollama.names import name_of
from tropilla.common.catalogue import Capability, Model
from tropilla.common.errors import InvalidField, UnsupportedField
from tropilla.common.generation import Constraint
from tropilla.common.gotemplate.faults import ParseError
from tropilla.common.gotemplate.ollama import OllamaTemplate
from tropilla.common.gotemplate.template import MAX_SOURCE_CHARACTERS
from tropilla.common.grammar import refusal
from tropilla.common.settings import Settings

MAX_TOP_LOGPROBS = 20

_NO_THINKING = '"{typed}" does not support thinking'
_NO_COMPLETION = '"{typed}" does not support {verb}'
#: With the full name, and all that is missing, each on a line.
_NO_CAPABILITY = "{full} does not support {missing}"
_NO_FORMAT = 'invalid format: {quoted}; expected "json" or a valid JSON Schema object'
_NO_GRAMMAR = "invalid format: {reason}"

Verb = Literal["generate", "chat"]


@dataclass(frozen=True, slots=True)
class Want:
    """A field that was given and needs something of the model."""

    field: str
    capability: Capability


def check_top_logprobs(given: Mapping[str, Any], settings: Settings) -> None:
    """Before the model is looked up, and whether or not log-probabilities are wanted."""
    most = min(MAX_TOP_LOGPROBS, settings.max_top_logprobs)
    if not 0 <= given["top_logprobs"] <= most:
        raise InvalidField(f"top_logprobs must be between 0 and {most}", param="top_logprobs")


def check_capabilities(given: Mapping[str, Any], model: Model, wants: list[Want], verb: Verb) -> None:
    """A load asks for them too."""
    typed = given["model"]
    if given["think"] and "thinking" not in model.capabilities:
        raise UnsupportedField(_NO_THINKING.format(typed=typed), param="think")
    if "completion" not in model.capabilities:
        raise UnsupportedField(_NO_COMPLETION.format(typed=typed, verb=verb), param="model")
    missing = [want for want in wants if want.capability not in model.capabilities]
    if missing:
        lacks = "\n".join(want.capability for want in missing)
        raise UnsupportedField(_NO_CAPABILITY.format(full=name_of(model).full, missing=lacks), param=missing[0].field)


def check_template(source: str) -> None:
    if len(source) > MAX_SOURCE_CHARACTERS:
        text = f"template must have at most {MAX_SOURCE_CHARACTERS} characters"
        raise InvalidField(text, param="template", problem="too_long")
    try:
        OllamaTemplate(source)
    except ParseError as error:
        raise BadTemplate(error.message, param="template") from error


def constraint_of(given: Mapping[str, Any]) -> Constraint | None:
    """What `format` asks for; null and "" ask for nothing. Never silently unconstrained: raises for whatever cannot be
    kept.
    """
    form: JSON = given["format"]
    if form == "":
        return None
    if form != "json" and not isinstance(form, dict):
        raise InvalidField(_NO_FORMAT.format(quoted=json.dumps(json.dumps(form))), param="format")
    constraint = Constraint("json") if form == "json" else Constraint("schema", compact(form).decode())
    reason = refusal(constraint)
    if reason:
        raise InvalidField(_NO_GRAMMAR.format(reason=reason), param="format")
    return constraint
