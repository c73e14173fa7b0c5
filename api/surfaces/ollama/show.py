"""POST /api/show: everything that is known of a model (sheet, section 9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from tropilla.api.reading import without_nulls
from tropilla.api.surface import JSON, Chore, Reply, Surroundings
from tropilla.api.surfaces.ollama import about
from tropilla.api.surfaces.ollama.answer import timestamp
from tropilla.api.surfaces.ollama.changes import BAD_NAME, NO_NAME, name_in
from tropilla.api.surfaces.ollama.facts import details
from tropilla.api.surfaces.ollama.fault import JSON_TYPE
from tropilla.api.surfaces.ollama.fields import Boolean, Struct, Text
from tropilla.api.surfaces.ollama.modelfile import modelfile, parameters_text, template_text
from tropilla.api.surfaces.ollama.names import known_as, parse_name
from tropilla.api.surfaces.ollama.options import parameters_of
from tropilla.api.surfaces.ollama.schemas import GivenOptions, read_body
from tropilla.api.surfaces.ollama.words import last
from tropilla.common.catalogue import Model
from tropilla.common.errors import InvalidField, UnknownModel
from tropilla.common.keys import READING

#: An editor that looks for a model under the name by which it asked.
_COPILOT = "GitHubCopilotChat/"


class ShowSchema(Struct):
    go_name = "ShowRequest"

    model = Text(load_default="")
    name = Text(load_default="")
    system = Text(load_default="")
    options = GivenOptions(load_default=dict)
    verbose = Boolean(load_default=False)


_SHOW = ShowSchema()


def parse_show(body: JSON, surroundings: Surroundings) -> Reply:
    given = read_body(_SHOW, body)
    typed = name_in(given)
    if not typed:
        raise InvalidField(NO_NAME, param="model", problem="missing")
    model = _model(surroundings, typed)
    header = _header(surroundings, model.digest)
    eyes = _header(surroundings, model.projector) if model.projector else {}
    laid = model.overlay
    options = {name: value for name, value in parameters_of(laid).items() if name != "adapter"}
    system = given["system"] or laid.system
    own = template_text(laid.template)
    template = own or header.get("template", "")
    more = options | without_nulls(given["options"])
    said: dict[str, JSON] = {
        "license": "\n".join(laid.licenses),
        # Whoever creates from it keeps the file's own template, which is in Jinja's language and no TEMPLATE.
        "modelfile": modelfile(model, template=own, system=system, options=more),
        "parameters": parameters_text(options),
        "template": template,
        "system": system,
        "messages": [{"role": message.role, "content": message.content} for message in laid.messages],
    }
    always: dict[str, JSON] = {
        "details": details(model),
        "model_info": _model_info(surroundings, model, header, typed, verbose=given["verbose"]),
        **({"projector_info": _projector_info(surroundings, model, eyes, verbose=given["verbose"])} if eyes else {}),
        **({"tensors": header["tensors"]} if given["verbose"] and "tensors" in header else {}),
        "capabilities": list(model.capabilities),
        "modified_at": timestamp(model.modified_at),
    }
    return Reply({key: value for key, value in said.items() if value} | always, headers=JSON_TYPE)


def _model(surroundings: Surroundings, typed: str) -> Model:
    """Also one that nobody can load now: what it is, is known."""
    known = known_as(surroundings.catalogue, typed)
    if known is None:
        if not parse_name(typed).valid:
            raise InvalidField(BAD_NAME, param="model")
        raise UnknownModel(parse_name(typed).display)
    if (found := surroundings.catalogue.find(known)) is not None:
        return found
    if (definition := surroundings.catalogue.define(known)) is not None:
        return definition.model
    # Of one that is not there yet only the name is known.
    raise UnknownModel(parse_name(typed).display)


def _header(surroundings: Surroundings, digest: str) -> dict[str, Any]:
    """What the header of a file says; nothing where nobody has told."""
    told = surroundings.information(digest)
    header: dict[str, Any] = orjson.loads(told) if told is not None else {}
    return header


def _model_info(
    surroundings: Surroundings, model: Model, header: Mapping[str, Any], typed: str, *, verbose: bool
) -> dict[str, JSON]:
    """The file's keys; its arrays are null unless somebody wants them, for they are long. Where nobody has told what the
    header says, what the catalogue knows of it.
    """
    info = _info(surroundings, model.digest, header.get("model_info") or _facts(model), verbose=verbose)
    if surroundings.headers.get("user-agent", "").startswith(_COPILOT):
        info["general.basename"] = typed
    return info


def _projector_info(
    surroundings: Surroundings, model: Model, header: Mapping[str, Any], *, verbose: bool
) -> dict[str, JSON]:
    """The same of the file that reads images for it."""
    return _info(surroundings, model.projector, header["model_info"], verbose=verbose)


def _info(surroundings: Surroundings, digest: str, told: Mapping[str, JSON], *, verbose: bool) -> dict[str, JSON]:
    """A file's keys; with its arrays where somebody wants them."""
    arrays = surroundings.arrays(digest) if verbose else {}
    return {key: arrays.get(key) if value is None else value for key, value in told.items()}


def _facts(model: Model) -> dict[str, JSON]:
    family = model.family
    return {
        "general.architecture": family,
        "general.parameter_count": model.parameter_count,
        f"{family}.context_length": model.trained_context,
        f"{family}.embedding_length": model.embedding_length,
        f"{family}.vocab_size": model.vocabulary,
    }


ROUTES = (Chore("/api/show", parse_show, last, about=about.show(_SHOW), scopes=READING),)
