"""`_debug_render_only`: the prompt as the model would see it, instead of an answer to it (sheet, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tropilla.api.surface import Question, Reply, Surroundings
from tropilla.api.surfaces.ollama.answer import timestamp
from tropilla.api.surfaces.ollama.fault import JSON_TYPE
from tropilla.api.surfaces.ollama.said import NOTHING, Show
from tropilla.common.catalogue import Model
from tropilla.common.generation import Prompt, TokenizeRequest, images_of, new_request_id


def rendering_of(given: Mapping[str, Any], surroundings: Surroundings, *, model: Model, prompt: Prompt) -> Question:
    request = TokenizeRequest(new_request_id(), model.name, (prompt,))
    return Question(request, surroundings.now, answer=given["model"], prompt_field="prompt")


def rendered(show: Show, question: Question, events: tuple[Any, ...], now: float) -> Reply:
    """One object, whatever `stream` says."""
    (tokenized,) = events
    body = {"model": question.answer, "created_at": timestamp(now), **show(NOTHING), "done": False}
    images = len(images_of(question.request))
    told = {"rendered_template": tokenized.text, **({"image_count": images} if images else {})}
    return Reply(body | {"_debug_info": told}, headers=JSON_TYPE)
