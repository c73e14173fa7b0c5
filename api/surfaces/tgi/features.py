"""POST / of a model that only makes vectors: what Hugging Face's `feature_extraction` asks (sheet, section 14).

On the wire it cannot be told from a generation, so the model decides: one that cannot write is asked for vectors. The
fields are those of Hugging Face's own embedding server, beside `inputs` or within `parameters`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tropilla.api.surface import JSON, Question, Reply, Surroundings
from tropilla.common.catalogue import Model
from tropilla.common.errors import InvalidField, UnsupportedField
from tropilla.common.generation import Embedded, EmbeddingRequest, Fit, TextPrompt, new_request_id

#: Each is an event of the journal.
MAX_INPUTS = 2048


def only_embeds(model: Model) -> bool:
    return "completion" not in model.capabilities and "embedding" in model.capabilities


def parse_features(body: JSON, model: Model, surroundings: Surroundings) -> Question:
    """Raises `InvalidField`. `prompt_name` needs a configuration that a GGUF does not have."""
    if not isinstance(body, Mapping):
        raise InvalidField("the body must be an object", param=None, problem="type")
    parameters = body.get("parameters")
    given: Mapping[str, Any] = {**(parameters if isinstance(parameters, Mapping) else {}), **body}
    if given.get("prompt_name") is not None:
        raise UnsupportedField("`prompt_name` is not supported: the model has no prompts", param="prompt_name")
    if given.get("truncation_direction") not in (None, "Right", "right"):
        raise UnsupportedField("`truncation_direction` must be `Right`", param="truncation_direction")
    request = EmbeddingRequest(
        new_request_id(),
        model.name,
        tuple(TextPrompt(text) for text in _texts(body.get("inputs"))),
        normalize=_switch(given, "normalize", default=True),
        fit=Fit(overlong="shorten" if _switch(given, "truncate", default=False) else "refuse"),
    )
    return Question(request, surroundings.now, prompt_field="inputs")


def _texts(inputs: JSON) -> list[str]:
    texts = [inputs] if isinstance(inputs, str) else inputs
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InvalidField("`inputs` must be a string or an array of strings", param="inputs", problem="type")
    if not 0 < len(texts) <= MAX_INPUTS:
        raise InvalidField(f"`inputs` must hold 1 to {MAX_INPUTS} strings. Given: {len(texts)}", param="inputs")
    return texts


def _switch(given: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = given.get(name)
    if not isinstance(value, bool | None):
        raise InvalidField(f"`{name}` must be a boolean", param=name, problem="type")
    return default if value is None else value


def answer_features(_: Question, vectors: tuple[Embedded, ...], __: float) -> Reply:
    """An array for each input, also where there is only one."""
    return Reply([list(vector.floats) for vector in vectors])
