"""A prompt with nothing in it: the model is loaded, or with `keep_alive` 0 let go of (sheet, section 4.4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tropilla.api.surface import Dismissal, Question, Reply, Surroundings
from tropilla.api.surfaces.ollama.answer import nothing_to_generate
from tropilla.api.surfaces.ollama.debug import rendered
from tropilla.api.surfaces.ollama.said import Show
from tropilla.common.catalogue import Model
from tropilla.common.generation import LoadRequest, new_request_id


def load_of(given: Mapping[str, Any], surroundings: Surroundings, model: Model) -> Question:
    """Answered once a worker has it."""
    request = LoadRequest(new_request_id(), model.name, given["keep_alive"])
    return Question(request, surroundings.now, answer=given["model"], prompt_field="model")


def unload_of(show: Show, given: Mapping[str, Any], surroundings: Surroundings, model: Model) -> Dismissal:
    """Nothing is loaded for it; that nobody has the model is no error."""
    return Dismissal(model.pin, nothing_to_generate(show, given["model"], surroundings.now, unload=True))


def answered(show: Show, question: Question, events: tuple[Any, ...], now: float) -> Reply:
    """What is asked without generating: a load, or a prompt that is only shown."""
    if isinstance(question.request, LoadRequest):
        return nothing_to_generate(show, question.answer, now, unload=False)
    return rendered(show, question, events, now)
