"""What is checked once a body's types are right, in the order in which Ollama checks it: the first hit decides.

    top_logprobs, name, unknown model, (unload), raw, think, capabilities, options, (load), whatever is not served yet

That is sheet, sections 4.3 and 5.3. Nothing here costs a queue slot.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tropilla.api.surface import JSON
from tropilla.api.surfaces.ollama.names import name_of
from tropilla.common.catalogue import Capability, Model
from tropilla.common.errors import InvalidField, UnsupportedField
from tropilla.common.settings import Settings

MAX_TOP_LOGPROBS = 20

_NO_THINKING = '"{typed}" does not support thinking'
_NO_COMPLETION = '"{typed}" does not support {verb}'
#: With the full name, and all that is missing, each on a line.
_NO_CAPABILITY = "{full} does not support {missing}"
_NOT_YET = "{field} is not supported yet"


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


def check_capabilities(
    given: Mapping[str, Any], model: Model, wants: list[Want], verb: Literal["generate", "chat"]
) -> None:
    """A load asks for them too. What the model could and this server does not do yet is refused like what it cannot."""
    typed = given["model"]
    if given["think"] and "thinking" not in model.capabilities:
        raise UnsupportedField(_NO_THINKING.format(typed=typed), param="think")
    if "completion" not in model.capabilities:
        raise UnsupportedField(_NO_COMPLETION.format(typed=typed, verb=verb), param="model")
    missing = [want for want in wants if want.capability not in model.capabilities]
    if missing:
        lacks = "\n".join(want.capability for want in missing)
        raise UnsupportedField(_NO_CAPABILITY.format(full=name_of(model).full, missing=lacks), param=missing[0].field)
    refuse(given, "think")
    for want in wants:
        raise UnsupportedField(_NOT_YET.format(field=want.field), param=want.field)


def refuse(given: Mapping[str, Any], *fields: str) -> None:
    """Raises `UnsupportedField` for the first of the fields that says something."""
    for field in fields:
        if given[field]:
            raise UnsupportedField(_NOT_YET.format(field=field), param=field)


def check_format(given: Mapping[str, Any]) -> None:
    """Never silently unconstrained: null, "" and {} are no format, the rest is refused, as wrong or as not served yet."""
    form: JSON = given["format"]
    if form == "json" or isinstance(form, dict):
        refuse(given, "format")
    elif form != "":
        quoted = json.dumps(json.dumps(form))
        raise InvalidField(f'invalid format: {quoted}; expected "json" or a valid JSON Schema object', param="format")
