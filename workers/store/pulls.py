"""`pull`: a source is fetched, looked into, and defined under a name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from tropilla.common.catalogue import Definition, Trouble
from tropilla.common.errands import Done, Progress, Pull, Word
from tropilla.common.origins import HubFile, InvalidSource, Source, public, suggested_name
from tropilla.common.recipes import BARE, File, Overlay, Recipe
from tropilla.common.sources import parse_source
from tropilla.workers.store import facts, naming
from tropilla.workers.store.overlaying import check_template
from tropilla.workers.store.pulling import Asked, Fetched, FetchFailed, Pulling, Report, Stopped
from tropilla.workers.store.refusals import Refusal, Unfit
from tropilla.workers.store.stock import Stock, files_of

Say = Callable[[Word], None]

#: A revision that always is the same content.
_COMMIT = re.compile(r"[0-9a-f]{40}")


class Fetch(Protocol):
    """`fetch.fetch`."""

    def __call__(
        self,
        source: Source,
        pulling: Pulling,
        *,
        projector: Source | None = None,
        sha256: str = "",
        again: bool = False,
        report: Report,
        stopped: Asked,
    ) -> Fetched: ...


def pull(asked: Pull, stock: Stock, pulling: Pulling, fetch: Fetch, say: Say, stopped: Asked) -> Done:
    """A name that is new is in trouble until it is defined: listings can say that it is on its way, or why it never came.

    Raises `Refusal` and `Stopped`.
    """
    try:
        source = parse_source(asked.source, bare_repo=pulling.bare_repo)
        projector = parse_source(asked.projector, bare_repo=pulling.bare_repo) if asked.projector else None
        name = stock.name_for(asked.name or naming.tagged(suggested_name(source)), "model")
    except InvalidSource as error:
        raise Refusal("invalid", error.message, "source") from error
    present = stock.stored().get(name)
    fresh = asked.again or bool(asked.projector)
    if present is not None and not fresh and _there(present, source, asked.sha256, stock):
        for word in _replayed(present):
            say(word)
        return Done(name)
    with stock.arriving(name, stopped) as unwanted, _troubled(name, stock, new=present is None):
        fetched = fetch(
            source,
            replace(pulling, insecure=asked.insecure),
            projector=projector,
            sha256=asked.sha256,
            again=asked.again,
            report=say,
            stopped=unwanted,
        )
        definition, warnings = _described(name, fetched, stock, insists=projector is not None)
        with stock.changing:
            if unwanted():
                raise Stopped
            stock.put(definition)
    return Done(name, (*fetched.warnings, *warnings))


def _there(present: Definition, source: Source, sha256: str, stock: Stock) -> bool:
    """Whether nothing new can have come since: the content is named, not only a place where it was."""
    named = {file.digest for file in present.recipe.files}
    fixed = bool(sha256) or (isinstance(source, HubFile) and bool(_COMMIT.fullmatch(source.revision)))
    same = present.source == public(source) and stock.here(present.recipe)
    return same and fixed and (not sha256 or sha256 in named)


def _replayed(present: Definition) -> Iterator[Progress]:
    """What Ollama says of a model that is there."""
    yield Progress("pulling manifest")
    for file in files_of(present.recipe):
        size = file.size_bytes
        yield Progress(f"pulling {file.digest[:12]}", f"sha256:{file.digest}", size, size, file.name)
    yield Progress("verifying sha256 digest")
    yield Progress("writing manifest")


@contextmanager
def _troubled(name: str, stock: Stock, *, new: bool) -> Iterator[None]:
    """Says of a new name why it cannot answer. Defining it takes that back."""

    def say(trouble: Trouble | None) -> None:
        if new:
            stock.book.trouble(name, trouble)

    say(Trouble("downloading", f"{name} is being downloaded"))
    try:
        yield
    except FetchFailed as error:
        # A name that means nothing where it was looked for means nothing here.
        say(None if error.refusal in ("unknown", "invalid", "forbidden") else Trouble(error.code, error.message))
        raise Refusal(error.refusal, error.message, "source" if error.refusal == "invalid" else "") from error
    except Unfit as error:
        say(error.trouble)
        raise Refusal("failed", error.message) from error
    except (Stopped, Refusal):
        say(None)
        raise


def _described(name: str, fetched: Fetched, stock: Stock, *, insists: bool) -> tuple[Definition, tuple[str, ...]]:
    """What the name is to stand for, and what a person should hear of it. insists: somebody has named the projector. Raises
    `Unfit`.
    """
    weights = weights_of(fetched, stock)
    fetched, blind = seeing(fetched, weights, stock, insists=insists)
    overlay, warnings = readable(fetched.overlay)
    present = stock.stored().get(name)
    # What somebody has configured stays: the numbers, and what is laid over files that bring nothing along.
    before = present.recipe if present else Recipe("", ())
    bare = replace(before, files=weights.files, projector=fetched.projector)
    if present is not None and overlay == BARE:
        overlay = present.model.overlay
    recipe = stock.pinned(facts.roomy(bare, overlay, weights.header, stock.context), name)
    told = stock.tell(name, recipe, overlay, weights.header, None)
    stock.inform(recipe, weights.header)
    definition = replace(present, model=told, recipe=recipe) if present else Definition(told, recipe)
    return replace(definition, source=fetched.source), (*blind, *warnings)


def weights_of(fetched: Fetched, stock: Stock) -> facts.Weights:
    """Raises `Unfit`; then the files go again."""
    try:
        return facts.read_weights(fetched.files, stock.blobs)
    except Unfit:
        stock.discard(everything(fetched))
        raise


def seeing(fetched: Fetched, weights: facts.Weights, stock: Stock, *, insists: bool) -> tuple[Fetched, tuple[str, ...]]:
    """With a projector only if it fits, and what a person should hear of one that does not: the model reads texts all the
    same. insists: somebody wants it to see; then `Unfit` is raised, and all files go again.
    """
    if fetched.projector is None:
        return fetched, ()
    try:
        facts.read_projector(fetched.projector, weights.header, stock.blobs)
    except Unfit as error:
        stock.discard(everything(fetched) if insists else (fetched.projector,))
        if insists:
            raise
        return replace(fetched, projector=None), (f"it reads no images: {error.message}",)
    return fetched, ()


def everything(fetched: Fetched) -> tuple[File, ...]:
    return fetched.files if fetched.projector is None else (*fetched.files, fetched.projector)


def readable(overlay: Overlay) -> tuple[Overlay, tuple[str, ...]]:
    """Without a template that does not parse: then the file's own serves, and somebody should hear of it."""
    if not isinstance(overlay.template, str) or not overlay.template:
        return overlay, ()
    try:
        check_template(overlay.template)
    except Refusal as error:
        return replace(overlay, template=""), (f"its template is not used, the file's own is: {error.message}",)
    return overlay, ()
