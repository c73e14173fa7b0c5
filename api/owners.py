"""Which dialect owns a path, and so answers there even where no route is."""

from __future__ import annotations

from tropilla.api.surface import Dialect


class Owners:
    """The longest prefix counts; some dialect has to claim "", which is every path that nobody else claims."""

    def __init__(self, dialects: tuple[Dialect, ...]) -> None:
        owned = [(prefix, dialect) for dialect in dialects for prefix in dialect.prefixes]
        self._owned = sorted(owned, key=lambda entry: -len(entry[0]))

    def of(self, path: str) -> Dialect:
        return next(dialect for prefix, dialect in self._owned if _below(path, prefix))


def _below(path: str, prefix: str) -> bool:
    return not prefix or path == prefix or path.startswith(prefix.rstrip("/") + "/")
