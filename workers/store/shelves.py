"""What each errand does to the stock. Every one may be killed at any point, and ends right when it is done again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from tropilla.common.catalogue import Definition
from tropilla.common.errands import Apply, Configure, Copy, Create, Delete, Done, Errand, Import, Look, Pull, Word
from tropilla.workers.store import naming
from tropilla.workers.store.applying import apply
from tropilla.workers.store.configuring import configure
from tropilla.workers.store.creating import create
from tropilla.workers.store.importing import Bring, take_in
from tropilla.workers.store.pulling import Asked, Pulling
from tropilla.workers.store.pulls import Fetch, pull
from tropilla.workers.store.refusals import Refusal
from tropilla.workers.store.stock import Stock

Say = Callable[[Word], None]


class Shelves:
    """Does errands on the stock. `pulling` says how files are fetched, and from below which folders of this machine. `look`
    does those that are about no model (looking.py).
    """

    def __init__(self, stock: Stock, pulling: Pulling, fetch: Fetch, look: Callable[[Look, Asked], Done]) -> None:
        self._stock = stock
        self._pulling = pulling
        self._fetch = fetch
        self._look = look

    def do(self, errand: Errand, say: Say, stopped: Asked, *, again: bool = False) -> Done:
        """To its last word. `again`: it was begun before, and nobody knows how far it came. Raises `Refusal`, `Stopped` and
        `StoreUnavailable`.
        """
        match errand:
            case Create():
                return create(errand, self._stock, say)
            case Copy():
                return self._copy(errand)
            case Delete():
                return self._delete(errand, again=again)
            case Import():
                return take_in(errand, self._stock, self._pulling, say, stopped)
            case Configure():
                bring = Bring(self._stock, self._pulling, say, stopped, link=True)
                return configure(errand, self._stock, bring)
            case Pull():
                return pull(errand, self._stock, self._pulling, self._fetch, say, stopped)
            case Apply():
                return apply(errand, self._stock, self._pulling, self._fetch, say, stopped)
            case Look():
                return self._look(errand, stopped)

    def dismiss(self) -> None:
        """Workers let go of what no name stands for any more. Raises `StoreUnavailable`."""
        self._stock.dismiss()

    def _copy(self, errand: Copy) -> Done:
        source = self._stock.find(errand.source)
        if source is None:
            raise Refusal("unknown", f'model "{errand.source}" not found', "source")
        with self._stock.changing:
            name = self._stock.name_for(errand.destination, "destination")
            if name != source.model.name:
                model = replace(source.model, name=name, pinned_as=source.recipe.pin, modified_at=self._stock.clock())
                self._stock.put(Definition(model, source.recipe, source.source))
        return Done(name)

    def _delete(self, errand: Delete, *, again: bool) -> Done:
        shelf = self._stock.book.shelf()
        stored = [*(each.model.name for each in shelf.definitions), *shelf.troubles]
        name = naming.known(errand.name, stored)
        if name is not None:
            self._stock.drop(name)
            return Done(name)
        if again:
            self._stock.dismiss()
            return Done(errand.name)
        if self._stock.find(errand.name) is not None:
            text = f"{errand.name} is what a worker was started with: it goes when that worker does"
            raise Refusal("conflict", text, "name")
        raise Refusal("unknown", f"model '{errand.name}' not found", "name")
