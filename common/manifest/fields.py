"""Values of a document -> what a key wants. `where` is the dotted path of the value, `config[0].parameters.top_k`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from tropilla.common.blobs import digest_of
from tropilla.common.manifest.document import Value
from tropilla.common.manifest.faults import ManifestError

_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})([eE][+-]?[0-9]{1,3})?")
_FLAGS = {
    **dict.fromkeys(("true", "yes", "on", "y", "1"), True),
    **dict.fromkeys(("false", "no", "off", "n", "0"), False),
}
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
#: Of a name; Linux has no longer ones for files.
MAX_NAME = 255


def text(value: Value, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ManifestError(f"{where} must be a text", param=where)
    return value


def name(value: Value, where: str) -> str:
    """A text on one line, without the blanks around it."""
    found = text(value, where).strip()
    if len(found) > MAX_NAME or _UNPRINTABLE.search(found):
        raise ManifestError(f"{where} must be a text of at most {MAX_NAME} printable characters", param=where)
    if '\\"' in found:
        hint = "the text mixes quotes with escaped ones: escape all of them, or none"
        raise ManifestError(f'{where} has \\" in it; {hint}', param=where)
    return found


def flag(value: Value, where: str) -> bool:
    found = _FLAGS.get(text(value, where).lower())
    if value is None:
        return False
    if found is None:
        raise ManifestError(f"{where} must be true or false", param=where)
    return found


def whole(value: Value, where: str, *, low: int, high: int) -> int:
    written = text(value, where)
    if not _WHOLE.fullmatch(written):
        raise ManifestError(f"{where} must be an integer", param=where)
    return int(_within(int(written), where, low=low, high=high))


def number(value: Value, where: str, *, low: float, high: float) -> float:
    written = text(value, where)
    if not _NUMBER.fullmatch(written) or not math.isfinite(float(written)):
        raise ManifestError(f"{where} must be a number", param=where)
    return _within(float(written), where, low=low, high=high)


def _within(value: float, where: str, *, low: float, high: float) -> float:
    if not low <= value <= high:
        raise ManifestError(f"{where} must be between {low:g} and {high:g}", param=where)
    return value


def digest(value: Value, where: str) -> str:
    """64 lower-case hex digits of a SHA-256, or ""."""
    written = text(value, where).strip()
    found = digest_of(written) if written else ""
    if found is None:
        raise ManifestError(f"{where} must be 64 hex digits", param=where)
    return found


def items(value: Value, where: str) -> list[Value]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ManifestError(f"{where} must be a list", param=where)
    return value


def texts(value: Value, where: str) -> tuple[str, ...]:
    """A list of texts; a single one will do."""
    several: Iterable[Value] = [value] if isinstance(value, str) else items(value, where)
    return tuple(text(each, f"{where}[{at}]") for at, each in enumerate(several))


def mapping(value: Value, where: str) -> dict[str, Value]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ManifestError(f"{where} must be a map", param=where)
    return value
