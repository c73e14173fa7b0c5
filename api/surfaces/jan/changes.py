"""Fetch, import and delete: which models there are (contracts, models sheet 4.4)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tropilla.api.states import standing
from tropilla.api.surface import JSON, ErrandCall, Reply, Surroundings
from tropilla.api.surfaces.jan.endings import ended
from tropilla.api.surfaces.jan.lifecycle import told
from tropilla.api.surfaces.jan.naming import SOURCES, asked_name, body_of, flag, new_name, stored, text, whole_name
from tropilla.api.surfaces.jan.tasks import task_of
from tropilla.api.surfaces.openai.models import known
from tropilla.api.surfaces.openai.provenance import Download, pulling
from tropilla.common.errands import Delete, Done, Import, Pull, Refused, Word
from tropilla.common.errors import Conflict, InvalidField, UnsupportedField
from tropilla.common.generation import new_request_id
from tropilla.common.origins import RegistryModel, Source, spell, suggested_name
from tropilla.common.sources import InvalidSource, parse_handle

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NO_MODEL = "No model field in request body"
_BEGUN, _LEGACY = "Model start downloading!", "Starting download {name}"
_IMPORTED = "Model is imported successfully!"
#: What callers call the file that reads images for a model. The first is the one an error names.
_PROJECTORS = ("mmproj", "mmproj_path", "mmprojPath")
_THERE = "The model is downloaded."
_OWN = "model '{name}' belongs to a worker that was started with it, and has no file that could be deleted here"


def parse_pull(body: JSON, surroundings: Surroundings) -> ErrandCall | Reply:
    """cortex: {model, id?, name?}; `name` is what it would be called on a screen, and no model has such a name here."""
    given = body_of(body)
    handle = surroundings.path.get("id") or text(given, *SOURCES, otherwise=_NO_MODEL)
    source = _source(handle)
    wanted = text(given, "id")
    name = new_name(wanted, "id") if wanted not in ("", handle) else suggested_name(source)
    return _pulled(surroundings, source, name, given, _BEGUN)


def parse_download(_: JSON, surroundings: Surroundings) -> ErrandCall | Reply:
    """Jan's first one: a GET that begins to download what has a name and no files. Nobody is believed more than the
    certificates of whoever sends the file, whatever `ignoreSSL` allows.
    """
    if surroundings.query.get("proxy"):
        raise UnsupportedField("Unsupported parameter: 'proxy' is the operator's to set.", param="proxy")
    asked = surroundings.path["id"]
    found = known(surroundings, asked)
    name = found.name if found else whole_name(surroundings, asked)
    if found is not None or surroundings.catalogue.define(name) is not None:
        return told(name, "downloaded", _THERE)
    under_way = pulling(surroundings, name)
    if under_way is not None:
        return told(name, "downloading", _LEGACY.format(name=name), task=task_of(under_way))
    return _begun(surroundings, _source(name), name, {}, _LEGACY.format(name=name))


def answer_pull(call: ErrandCall, _: tuple[Word, ...]) -> Reply:
    message: str = call.answer
    errand = call.errand
    assert isinstance(errand, Pull)
    return told(errand.name, "downloading", message, task=task_of(Download(errand)))


def parse_import(body: JSON, surroundings: Surroundings) -> ErrandCall:
    """A file on the store's machine: linked, so that it stays when the model is deleted, or copied."""
    given = body_of(body)
    name = new_name(text(given, "model", otherwise=_NO_MODEL), "model")
    path = text(given, "modelPath", "model_path", otherwise="No modelPath field in request body")
    projector = text(given, *_PROJECTORS)
    option = text(given, "option") or "symlink"
    if option not in ("symlink", "copy"):
        raise InvalidField("Invalid 'option': expected 'symlink' or 'copy'.", param="option")
    if known(surroundings, name) is not None or surroundings.catalogue.define(name) is not None:
        raise InvalidField(f"Invalid 'model': there is a model '{name}' already.", param="model")
    errand = Import(new_request_id(), name, path, link=option == "symlink", projector=projector)
    return ErrandCall(errand, surroundings.now, flight=f"import {name}")


def answer_import(call: ErrandCall, words: tuple[Word, ...]) -> Reply:
    assert isinstance(call.errand, Import)
    name = call.errand.name

    def imported(done: Done) -> Reply:
        warning = " ".join(done.warnings)
        return told(done.name or name, "downloaded", _IMPORTED, warning=warning, modelHandle=name)

    return ended(words, imported)


def parse_delete(body: JSON, surroundings: Surroundings) -> ErrandCall:
    """Not while it is being downloaded, unless forced: then the download ends, too."""
    given = body_of(body)
    name = whole_name(surroundings, asked_name(given, surroundings))
    if stored(surroundings, name) is None and name not in surroundings.catalogue.troubles:
        raise Conflict(_OWN.format(name=name), param="model")
    under_way = pulling(surroundings, name)
    if under_way is not None and not flag(given, surroundings, "force"):
        raise Conflict(f"model '{name}' is being downloaded: stop that first, or say force=1", param="model")
    stopped = (under_way.errand.id,) if under_way else ()
    return ErrandCall(Delete(new_request_id(), name), surroundings.now, instead_of=stopped)


def answer_delete(call: ErrandCall, words: tuple[Word, ...]) -> Reply:
    """A download that ended for it has perhaps taken the name along."""
    assert isinstance(call.errand, Delete)
    name, last = call.errand.name, words[-1]
    said = Reply({"id": name, "object": "model", "deleted": True, "message": "Deleted successfully!"})
    if call.instead_of and isinstance(last, Refused) and last.code == "unknown":
        return said
    return ended(words, lambda done: said)


def _pulled(
    surroundings: Surroundings, source: Source, name: str, given: Mapping[str, Any], message: str
) -> ErrandCall | Reply:
    """What is there is not fetched again, unless forced."""
    found = known(surroundings, name)
    wanted = text(given, "sha256").lower().removeprefix("sha256:")
    if wanted and not _SHA256.fullmatch(wanted):
        raise InvalidField("Invalid 'sha256': expected 64 hexadecimal digits.", param="sha256")
    forced = flag(given, surroundings, "force")
    if found is not None and not forced:
        if wanted and wanted != found.digest:
            raise Conflict(
                f"model '{found.name}' is there with another checksum: say force to replace it", param="sha256"
            )
        state = standing(surroundings.catalogue, found.name).state
        return told(found.name, "downloaded", _THERE, running=state == "running")
    if found is not None and stored(surroundings, found.name) is None:
        raise Conflict(_OWN.format(name=found.name), param="id")
    mmproj = text(given, *_PROJECTORS)
    more = {"sha256": wanted, "again": forced, "projector": spell(_source(mmproj, "mmproj")) if mmproj else ""}
    return _begun(surroundings, source, found.name if found else name, more, message)


def _begun(surroundings: Surroundings, source: Source, name: str, more: Mapping[str, Any], message: str) -> ErrandCall:
    """One download of one thing at a time, whoever asks for it in whichever dialect."""
    insecure = isinstance(source, RegistryModel) and source.insecure
    errand = Pull(new_request_id(), spell(source), name, insecure=insecure, **more)
    return ErrandCall(errand, surroundings.now, flight=_flight(source), wait=False, answer=message)


def _flight(source: Source) -> str:
    if isinstance(source, RegistryModel):
        return f"pull {source.host}/{source.namespace}/{source.model}:{source.tag}".lower()
    return f"pull {spell(source)}"


def _source(handle: str, field: str = "model") -> Source:
    try:
        return parse_handle(handle)
    except InvalidSource as error:
        raise InvalidField(error.message, param=field) from error
