"""What a store does before it takes errands: what is written down is brought to what the disk says."""

from __future__ import annotations

import logging

from tropilla.common.catalogue import Definition, Trouble
from tropilla.workers.store.layout import sweep_links
from tropilla.workers.store.stock import Stock, files_of

log = logging.getLogger(__name__)

#: A download that nobody has gone on with for so long is not wanted any more.
PARTIAL_SECONDS = 7 * 24 * 3600.0


def settle(stock: Stock) -> None:
    """A model whose files are gone is not listed any more, and again when they are back; nothing else is forgotten.

    A download that was under way is said to have been interrupted, until its ticket comes back and it goes on. Raises
    `StoreUnavailable`.
    """
    shelf = stock.book.shelf()
    for definition in shelf.definitions:
        _compare(stock, definition, shelf.troubles.get(definition.model.name))
    for name, trouble in shelf.troubles.items():
        if trouble.code == "downloading":
            stock.book.trouble(name, Trouble("download_failed", f"the download of {name} was interrupted"))
    sweep_links(stock.blobs)
    for path in (stock.blobs.folder / "partial").iterdir():
        if stock.clock() - path.lstat().st_mtime > PARTIAL_SECONDS:
            log.info("%s has been lying there for more than a week: it goes", path.name)
            path.unlink(missing_ok=True)


def _compare(stock: Stock, definition: Definition, trouble: Trouble | None) -> None:
    name = definition.model.name
    wrong = next((f"{file.name} {why}" for file in files_of(definition.recipe) if (why := stock.missing(file))), "")
    if wrong:
        log.warning("%s cannot be loaded: %s", name, wrong)
        stock.book.trouble(name, Trouble("file_missing", f"{wrong}: pull or import {name} again"))
    elif trouble is not None:
        stock.book.trouble(name, None)
