"""Pull, push, copy and delete: which models there are (sheet, sections 2 and 10).

Each route has its own words for a name that is none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from tropilla.api.surface import JSON, Chore, ErrandCall, Reply, Surroundings
from tropilla.api.surfaces.ollama import about
from tropilla.api.surfaces.ollama.fields import Boolean, Struct, Text
from tropilla.api.surfaces.ollama.names import DEFAULT_TAG, known_as, parse_name
from tropilla.api.surfaces.ollama.schemas import read_body
from tropilla.api.surfaces.ollama.words import SUCCESS, at_once, last, lines, nothing
from tropilla.common.catalogue import Catalogue
from tropilla.common.errands import Copy, Delete, Pull
from tropilla.common.errors import InvalidField, UnknownModel
from tropilla.common.generation import new_request_id
from tropilla.common.origins import HubFile, HubRepo, InvalidSource, WebFile
from tropilla.common.sources import HUB_HOSTS, parse_source

NO_NAME = "model is required"
BAD_NAME = "invalid model name"
_NO_PUSH = "pushing is not supported: this server has no registry to push to"
#: Addresses that would be names too, of a host called as the repository's owner.
HUB_SCHEMES = ("hf", "huggingface")
_OWN = 'model "{name}" belongs to a worker that was started with it'


class Named(Struct):
    """`name` is the older word, which JavaScript's client still uses."""

    model = Text(load_default="")
    name = Text(load_default="")
    insecure = Boolean(load_default=False)
    stream = Boolean(load_default=True)


class PullSchema(Named):
    go_name = "PullRequest"


class PushSchema(Named):
    go_name = "PushRequest"


class DeleteSchema(Struct):
    go_name = "DeleteRequest"

    model = Text(load_default="")
    name = Text(load_default="")


class CopySchema(Struct):
    go_name = "CopyRequest"

    source = Text(load_default="")
    destination = Text(load_default="")


_PULL, _PUSH, _DELETE, _COPY = PullSchema(), PushSchema(), DeleteSchema(), CopySchema()


def name_in(given: Mapping[str, Any]) -> str:
    text: str = given["model"] or given["name"]
    return text.strip()


def parse_pull(body: JSON, surroundings: Surroundings) -> ErrandCall | Reply:
    """A model that came from nowhere else (a worker's own, or made here) is there as it is: only others can be fetched."""
    given = read_body(_PULL, body)
    typed = name_in(given)
    if _is_address(typed):
        # More than Ollama takes, and nothing that it would take for a name. What it is called is made from it.
        address = Pull(new_request_id(), typed, insecure=given["insecure"])
        # Flower shows flights, and addresses may hold secrets.
        flight = f"pull {hashlib.sha256(typed.encode()).hexdigest()[:16]}"
        return ErrandCall(address, surroundings.now, flight=flight, stream=given["stream"], stops=True)
    if not parse_name(typed).valid:
        raise InvalidField(BAD_NAME, param="model")
    known = known_as(surroundings.catalogue, typed)
    model = surroundings.catalogue.find(known) if known else None
    if model is not None and model.name not in _fetched(surroundings.catalogue):
        digest, size = f"sha256:{model.digest}", model.size_bytes
        there = {"status": f"pulling {model.digest[:12]}", "digest": digest, "total": size, "completed": size}
        said = ({"status": "pulling manifest"}, there, {"status": "verifying sha256 digest"})
        return at_once(*said, {"status": "writing manifest"}, SUCCESS, stream=given["stream"])
    name = known or parse_name(typed).stored
    source = _source(typed)
    errand = Pull(new_request_id(), source, name, insecure=given["insecure"])
    flight = f"pull {source.lower()}"
    return ErrandCall(errand, surroundings.now, flight=flight, stream=given["stream"], stops=True)


def _fetched(catalogue: Catalogue) -> set[str]:
    """The models that came from another machine."""
    return {each.model.name for each in catalogue.stored if each.source and not each.source.startswith("file:")}


def _is_address(typed: str) -> bool:
    """A file of the web or of the hub, by its whole address. Files of the store's own machine are nothing that a caller may
    ask for.
    """
    scheme, separator, path = typed.lower().partition("://")
    # `http://host/folder/file.gguf` could be a name, too.
    if not separator or (parse_name(typed).valid and scheme not in HUB_SCHEMES and not path.endswith(".gguf")):
        return False
    try:
        source = parse_source(typed)
    except InvalidSource:
        return False
    return isinstance(source, WebFile | HubFile | HubRepo)


def _source(typed: str) -> str:
    """Where the name comes from, so that the store takes it for nothing else: Ollama's protocol, but for the hub, which has
    more to give by its own.
    """
    name, scheme = parse_name(typed), typed.partition("://")[0].lower()
    if name.host.lower() in HUB_HOSTS:
        return f"{name.host}/{name.namespace}/{name.model}" + (f":{name.tag}" if name.tag != DEFAULT_TAG else "")
    return f"{'http' if scheme == 'http' else 'ollama'}://{name.full}"


def parse_push(body: JSON, _: Surroundings) -> Reply:
    given = read_body(_PUSH, body)
    typed = name_in(given)
    if not typed:
        raise InvalidField(NO_NAME, param="model", problem="missing")
    if not parse_name(typed).valid:
        raise InvalidField(BAD_NAME, param="model")
    return at_once({"status": "retrieving manifest"}, {"error": _NO_PUSH}, stream=given["stream"], failed=501)


def parse_delete(body: JSON, surroundings: Surroundings) -> ErrandCall:
    typed = name_in(read_body(_DELETE, body))
    if not typed:
        raise InvalidField(NO_NAME, param="model", problem="missing")
    known = known_as(surroundings.catalogue, typed)
    if known is None:
        if not parse_name(typed).valid:
            raise InvalidField(f'name "{typed}" is invalid', param="model")
        raise UnknownModel(typed)
    check_not_own(surroundings.catalogue, known, "model")
    return ErrandCall(Delete(new_request_id(), known), surroundings.now)


def parse_copy(body: JSON, surroundings: Surroundings) -> ErrandCall | Reply:
    given = read_body(_COPY, body)
    for field in ("source", "destination"):
        if not parse_name(given[field]).valid and known_as(surroundings.catalogue, given[field]) is None:
            raise InvalidField(f'{field} "{given[field]}" is invalid', param=field)
    source = known_as(surroundings.catalogue, given["source"])
    if source is None:
        raise unknown(given["source"])
    if source == known_as(surroundings.catalogue, given["destination"]):
        return Reply(None)
    destination = new_name(surroundings.catalogue, given["destination"], "destination")
    return ErrandCall(Copy(new_request_id(), source, destination), surroundings.now)


def unknown(typed: str) -> UnknownModel:
    """In the words of those who make models of others."""
    error = UnknownModel(typed)
    error.message = f'model "{typed}" not found'
    return error


def new_name(catalogue: Catalogue, typed: str, field: str) -> str:
    """As which name the store is to know it: that of the model it takes the place of, whatever its case, or a new one."""
    known = known_as(catalogue, typed)
    if known is not None:
        check_not_own(catalogue, known, field)
        return known
    return parse_name(typed).stored


def check_not_own(catalogue: Catalogue, name: str, field: str) -> None:
    """What a worker was started with is the operator's to change."""
    if name not in catalogue.troubles and all(name != definition.model.name for definition in catalogue.stored):
        raise InvalidField(_OWN.format(name=name), param=field)


ROUTES = (
    Chore("/api/pull", parse_pull, last, lines, about=about.pull(_PULL)),
    Chore("/api/push", parse_push, last, lines, about=about.push(_PUSH)),
    Chore("/api/copy", parse_copy, nothing, about=about.copy(_COPY)),
    Chore("/api/delete", parse_delete, nothing, method="DELETE", about=about.delete(_DELETE)),
)
