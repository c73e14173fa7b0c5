"""How hard the model is to think, which everybody says differently -> one effort and the template's variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from marshmallow import Schema, fields
from tropilla.api.about import OBJECT
from tropilla.api.fields import Array, Boolean, Object, Strict, Text, wrong_type
from tropilla.api.surfaces.openai.wrong import json_text
from tropilla.common.generation import Effort

EFFORTS: Mapping[str, Effort] = {
    "none": "off",
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
}
_SWITCH: Mapping[bool, Effort] = {False: "off", True: "on"}


class _Variables(Strict[dict[str, Any]]):
    expected = "an object"
    shape = OBJECT

    def read(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise wrong_type(self.expected, value)
        json_text(value)
        return value


class _Reasoning(Schema):
    effort = Text(tuple(EFFORTS))
    enabled = Boolean()


FIELDS: Mapping[str, fields.Field[Any]] = {
    "reasoning_effort": Text(tuple(EFFORTS)),
    "enable_thinking": Boolean(),
    "reasoning": Object(_Reasoning(), load_default=dict),
    "chat_template_kwargs": _Variables(load_default=dict),
    # vLLM's: what a template for retrieval shows.
    "documents": Array(_Variables()),
}


def effort(fields: Mapping[str, Any]) -> Effort | None:
    """What was said first, from OpenAI's own word to template variables; None leaves it to the model."""
    return next(_said(fields), None)


def variables(fields: Mapping[str, Any]) -> str:
    documents = {"documents": fields["documents"]} if fields.get("documents") else {}
    return json_text({**documents, **fields["chat_template_kwargs"]})


def _said(fields: Mapping[str, Any]) -> Iterator[Effort]:
    reasoning, template = fields["reasoning"], fields["chat_template_kwargs"]
    for word in (fields.get("reasoning_effort"), reasoning.get("effort"), template.get("reasoning_effort")):
        if isinstance(word, str) and word in EFFORTS:
            yield EFFORTS[word]
    # Qwen's templates call their switch one thing, DeepSeek's another.
    switches = (
        fields.get("enable_thinking"),
        reasoning.get("enabled"),
        template.get("enable_thinking"),
        template.get("thinking"),
    )
    for switch in switches:
        if isinstance(switch, bool):
            yield _SWITCH[switch]
