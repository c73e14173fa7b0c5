"""fmt.Sprintf: the verbs of strings, numbers and truth values, and how Go complains inside the text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tropilla.common.gotemplate.faults import Excess
from tropilla.common.gotemplate.quoting import quoted
from tropilla.common.gotemplate.values import MAX_VALUE, kind_of, type_of
from tropilla.common.gotemplate.writing import float_text, text_of

_DIRECTIVE = re.compile(r"%([-+# 0]*)(\*|[0-9]+)?(?:(\.)(\*|[0-9]+)?)?(.)?", re.DOTALL)
#: Go ignores what is wider or more precise.
_MOST = 10**6


class _Directive:
    """One `%...` of a form."""

    def __init__(self, flags: str, width: int | None, precision: int | None) -> None:
        self.flags, self.width, self.precision = flags, width, precision

    def padded(self, text: str, *, zeros: bool = False) -> str:
        if self.width is None or len(text) >= self.width:
            return text
        if "-" in self.flags:
            return text.ljust(self.width)
        if zeros and "0" in self.flags:
            sign = text[0] if text[:1] in ("+", "-", " ") else ""
            return sign + text[len(sign) :].rjust(self.width - len(sign), "0")
        return text.rjust(self.width)

    def signed(self, text: str) -> str:
        if text.startswith(("-", "N")):
            return text
        return ("+" if "+" in self.flags else " " if " " in self.flags else "") + text.removeprefix("+")

    def cut(self, text: str) -> str:
        return text if self.precision is None else text[: self.precision]


def sprintf(form: str, *values: Any) -> str:
    pieces: list[str] = []
    rest, at, made = list(values), 0, 0
    for found in _DIRECTIVE.finditer(form):
        pieces.append(form[at : found.start()])
        at = found.end()
        pieces.append(_directive(found, rest))
        made += len(pieces[-1]) + len(pieces[-2])
        if made > MAX_VALUE:
            raise Excess(f"printf makes a text of more than {MAX_VALUE} characters")
    pieces.append(form[at:])
    if rest:
        extra = ", ".join(_bad(value) for value in rest)
        pieces.append(f"%!(EXTRA {extra})")
    return "".join(pieces)


def _directive(found: re.Match[str], rest: list[Any]) -> str:
    flags, width, point, precision, verb = found.groups()
    pieces: list[str] = []
    wide = _size(width, rest, "%!(BADWIDTH)", pieces)
    if wide is not None and wide < 0:
        flags, wide = flags + "-", -wide
    precise = _size(precision, rest, "%!(BADPREC)", pieces) if precision else 0 if point else None
    directive = _Directive(flags, wide, precise)
    if verb is None:
        return "".join([*pieces, "%!(NOVERB)"])
    if verb == "%":
        return "".join([*pieces, "%"])
    if not rest:
        return "".join([*pieces, f"%!{verb}(MISSING)"])
    return "".join([*pieces, _written(directive, verb, rest.pop(0))])


def _size(text: str | None, rest: list[Any], complaint: str, pieces: list[str]) -> int | None:
    if text is None:
        return None
    size = int(text) if text != "*" and len(text) < 8 else None
    if text == "*" and rest:
        given = rest.pop(0)
        size = given if isinstance(given, int) and not isinstance(given, bool) else None
    if size is None or not -_MOST <= size <= _MOST:
        pieces.append(complaint)
        return None
    return size


def _written(directive: _Directive, verb: str, value: Any) -> str:
    if verb == "T":
        return directive.padded("<nil>" if value is None else type_of(value))
    if verb == "v":
        return _plain(directive, value)
    kind = kind_of(value)
    if kind == "slice" and verb in "sqdxX":
        return "[" + " ".join(_written(directive, verb, item) for item in value) + "]"
    write = _VERBS.get(kind, {}).get(verb)
    if write is None and verb == "s" and kind in ("map", "struct"):
        return directive.padded(directive.cut(text_of(value)))
    return write(directive, value) if write else f"%!{verb}({_bad(value)})"


def _plain(directive: _Directive, value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = text_of(value)
    return directive.padded(directive.signed(text) if number else text, zeros=number)


def _bad(value: Any) -> str:
    return "<nil>" if value is None else f"{type_of(value)}={text_of(value)}"


def _string(directive: _Directive, value: str) -> str:
    return directive.padded(directive.cut(value))


def _quoted(directive: _Directive, value: str) -> str:
    text = directive.cut(value)
    if "#" in directive.flags and "`" not in text and text.isprintable():
        return directive.padded(f"`{text}`")
    return directive.padded(quoted(text))


def _bytes_in_hex(upper: bool) -> Callable[[_Directive, str], str]:
    def write(directive: _Directive, value: str) -> str:
        data = value.encode("utf-8", "surrogatepass")[: directive.precision]
        text = data.hex(" ") if " " in directive.flags else data.hex()
        return directive.padded(text.upper() if upper else text)

    return write


def _integer(base: str, prefix: str = "") -> Callable[[_Directive, int], str]:
    def write(directive: _Directive, value: int) -> str:
        digits = format(abs(value), base).rjust(directive.precision or 0, "0")
        shown = (prefix if "#" in directive.flags else "") + digits
        # With a precision, zeros are the precision's.
        return directive.padded(
            directive.signed(f"-{shown}" if value < 0 else shown), zeros=directive.precision is None
        )

    return write


def _character(directive: _Directive, value: int) -> str:
    good = 0 <= value <= 0x10FFFF and not 0xD800 <= value < 0xE000
    return directive.padded(chr(value) if good else "\ufffd")


def _quoted_character(directive: _Directive, value: int) -> str:
    good = 0 <= value <= 0x10FFFF and not 0xD800 <= value < 0xE000
    return directive.padded(quoted(chr(value) if good else "\ufffd", "'"))


def _code_point(directive: _Directive, value: int) -> str:
    return directive.padded(f"U+{value:04X}")


def _float(verb: str) -> Callable[[_Directive, float], str]:
    def write(directive: _Directive, value: float) -> str:
        if value != value or value in (float("inf"), float("-inf")):
            return directive.padded(directive.signed(float_text(value)))
        if verb == "g" and directive.precision is None:
            text = float_text(value)
        else:
            precision = 6 if directive.precision is None else min(directive.precision, 1000)
            text = format(value, f".{precision}{verb}")
        return directive.padded(directive.signed(text), zeros=True)

    return write


def _truth(directive: _Directive, value: bool) -> str:
    return directive.padded("true" if value else "false")


#: kind -> verb -> how it is written
_VERBS: Mapping[str, Mapping[str, Callable[[_Directive, Any], str]]] = {
    "string": {"s": _string, "q": _quoted, "x": _bytes_in_hex(False), "X": _bytes_in_hex(True)},
    "bool": {"t": _truth},
    "int": {
        "d": _integer("d"),
        "b": _integer("b", "0b"),
        "o": _integer("o", "0"),
        "O": lambda directive, value: _integer("o", "0o")(
            _Directive(directive.flags + "#", directive.width, None), value
        ),
        "x": _integer("x", "0x"),
        "X": _integer("X", "0X"),
        "c": _character,
        "q": _quoted_character,
        "U": _code_point,
    },
    "float": {
        "f": _float("f"),
        "F": _float("f"),
        "e": _float("e"),
        "E": _float("E"),
        "g": _float("g"),
        "G": _float("G"),
    },
}
