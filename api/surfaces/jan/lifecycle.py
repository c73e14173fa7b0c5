"""Start, stop, status and settings of one model (contracts, models sheet 4.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tropilla.api.states import Standing, standing
from tropilla.api.surface import JSON, Dismissal, ErrandCall, Question, Reply, Surroundings
from tropilla.api.surfaces.jan.endings import ended
from tropilla.api.surfaces.jan.faults import Troubled, fault
from tropilla.api.surfaces.jan.naming import asked_name, body_of, flag, stored, whole_name
from tropilla.api.surfaces.jan.settings import NAMES, Change, SettingsSchema, change
from tropilla.api.surfaces.openai import schemas
from tropilla.common.catalogue import Trouble
from tropilla.common.errands import Configure, Word
from tropilla.common.errors import Conflict, InvalidField
from tropilla.common.generation import LoadRequest, new_request_id

SETTINGS = SettingsSchema()
#: Started is started until somebody stops it, or another model needs the worker.
_FOR_EVER = -1.0
_OWN = "model '{name}' belongs to a worker that was started with it: its settings are that worker's"
STARTED, STOPPED, UPDATED = "Started successfully!", "Stopped successfully!", "Updated successfully!"


@dataclass(frozen=True, slots=True)
class Known:
    """What an answer needs of its question."""

    name: str
    warning: str = ""


def told(name: str, state: str, message: str, *, status: int = 200, warning: str = "", **more: Any) -> Reply:
    more |= {"warning": warning} if warning else {}
    return Reply({"id": name, "object": "model", "state": state, "message": message, **more}, status)


def parse_start(body: JSON, surroundings: Surroundings) -> Question | Reply:
    """With settings that differ from those it runs with, the store is told of them first."""
    given = body_of(body)
    name = whole_name(surroundings, asked_name(given, surroundings))
    stands = standing(surroundings.catalogue, name)
    model, definition = surroundings.catalogue.find(name), surroundings.catalogue.define(name)
    if model is None:
        raise Troubled(name, stands.trouble or Trouble("downloading", "it is still being downloaded"))
    settings = schemas.checked(SETTINGS, given)
    changed = Change() if definition is None else change(surroundings, definition, settings)
    if definition is None and settings:
        raise Conflict(_OWN.format(name=name), param=next(iter(settings)))
    if changed.nothing and stands.state == "running":
        return told(name, "running", "already running", warning=changed.warning)
    accepted = told(name, "starting", STARTED, status=202, warning=changed.warning)
    return Question(
        LoadRequest(new_request_id(), name, keep_alive=_FOR_EVER),
        surroundings.now,
        Known(name, changed.warning),
        prompt_field="model",
        fault=fault,
        first=None if changed.nothing else _configured(surroundings, name, changed, settings),
        reply=None if flag({}, surroundings, "wait", default=True) else accepted,
    )


def answer_start(question: Question, _: tuple[Any, ...], __: float) -> Reply:
    known: Known = question.answer
    return told(known.name, "running", STARTED, warning=known.warning)


def parse_stop(body: JSON, surroundings: Surroundings) -> Dismissal | Reply:
    """It is stopped once it has said what it is saying; whoever asks twice hears the same."""
    name = whole_name(surroundings, asked_name(body_of(body), surroundings))
    catalogue = surroundings.catalogue
    known = catalogue.find(name) or next(each.model for each in catalogue.definitions if each.model.name == name)
    holders = [worker for worker in catalogue.workers if worker.pin == known.pin]
    busy = any(worker.running for worker in holders)
    return Dismissal(known.pin, told(name, "stopping" if busy else "stopped", STOPPED))


def status(surroundings: Surroundings, variables: Mapping[str, str]) -> Reply:
    name = whole_name(surroundings, variables["id"])
    stands = standing(surroundings.catalogue, name)
    return told(name, stands.state, _sentence(stands))


def parse_change(body: JSON, surroundings: Surroundings) -> ErrandCall | Reply:
    given = body_of(body)
    name = whole_name(surroundings, asked_name(given, surroundings))
    definition = surroundings.catalogue.define(name)
    settings = schemas.checked(SETTINGS, given)
    if not settings:
        wanted = ", ".join(NAMES)
        raise InvalidField(f"there is nothing to change: a model has the settings {wanted}", param=None)
    if definition is None:
        raise Conflict(_OWN.format(name=name), param=next(iter(settings)))
    changed = change(surroundings, definition, settings)
    if changed.nothing:
        return _updated(surroundings, name, changed.warning)
    call = _configured(surroundings, name, changed, settings)
    return ErrandCall(call.errand, call.received, answer=_updated(surroundings, name, changed.warning))


def answer_change(call: ErrandCall, words: tuple[Word, ...]) -> Reply:
    updated: Reply = call.answer
    return ended(words, lambda done: updated)


def _updated(surroundings: Surroundings, name: str, warning: str) -> Reply:
    return told(name, standing(surroundings.catalogue, name).state, UPDATED, warning=warning)


def _configured(surroundings: Surroundings, name: str, changed: Change, settings: Mapping[str, Any]) -> ErrandCall:
    if stored(surroundings, name) is None:
        raise Conflict(_OWN.format(name=name), param=next(iter(settings)))
    errand = Configure(new_request_id(), name, changed.recipe, changed.overlay, changed.projector)
    return ErrandCall(errand, surroundings.now)


def _sentence(stands: Standing) -> str:
    if stands.trouble is not None:
        return stands.trouble.message
    return "Model is running" if stands.state == "running" else f"Model is {stands.state}"
