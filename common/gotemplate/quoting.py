"""Go's string and number literals, read and written."""

from __future__ import annotations

import re

_SHORT = {"\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v"}
_ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92}
#: Escape -> how many digits follow, and their base. An octal escape has its first digit for a name.
_NUMERIC = {"x": (2, 16), "u": (4, 16), "U": (8, 16)}

#: `1_000`, `0x1F`, `0b1`, `0o17` and the old `017`, as Go's ParseInt reads them with base 0.
_DECIMAL = re.compile(r"[+-]?(?:0|[1-9](?:_?[0-9])*)")
_BASED = re.compile(r"([+-]?)0(?:[xX]((?:_?[0-9a-fA-F])+)|[bB]((?:_?[01])+)|[oO]?((?:_?[0-7])+))")
_FLOAT = re.compile(r"[+-]?(?:[0-9](?:_?[0-9])*\.?(?:[0-9](?:_?[0-9])*)?|\.[0-9](?:_?[0-9])*)(?:[eE][+-]?[0-9]+)?")
_INT64 = range(-(1 << 63), 1 << 63)


def quoted(text: str, mark: str = '"') -> str:
    """As strconv.Quote writes it."""
    pieces = []
    for character in text:
        if character in (mark, "\\"):
            pieces.append("\\" + character)
        elif character in _SHORT:
            pieces.append(_SHORT[character])
        elif character.isprintable():
            pieces.append(character)
        elif ord(character) < 0x80:
            pieces.append(f"\\x{ord(character):02x}")
        else:
            pieces.append(f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}")
    return f"{mark}{''.join(pieces)}{mark}"


def unquoted(literal: str) -> str:
    """What a string or character literal stands for. `\\x` and octal escapes are bytes. Raises `ValueError`."""
    mark, text = literal[0], literal[1:-1]
    if mark == "`":
        # Go drops carriage returns from raw strings.
        return text.replace("\r", "")
    made, at = bytearray(), 0
    while at < len(text):
        if text[at] != "\\":
            made += text[at].encode("utf-8", "surrogatepass")
            at += 1
            continue
        name, at = text[at + 1 : at + 2], at + 2
        if name and name in "01234567":
            number, at = _digits(text, at - 1, 3, 8)
            if number > 255:
                raise ValueError("invalid syntax")
            made.append(number)
        elif name in _NUMERIC:
            number, at = _digits(text, at, *_NUMERIC[name])
            made += bytes([number]) if name == "x" else _encoded(number)
        elif name == mark:
            made += mark.encode()
        elif name and name in _ESCAPES:
            made.append(_ESCAPES[name])
        else:
            raise ValueError("invalid syntax")
    return made.decode("utf-8", "replace")


def _digits(text: str, at: int, count: int, base: int) -> tuple[int, int]:
    digits = text[at : at + count]
    if len(digits) < count or not digits.isalnum() or not digits.isascii():
        raise ValueError("invalid syntax")
    return int(digits, base), at + count


def _encoded(number: int) -> bytes:
    if number > 0x10FFFF or 0xD800 <= number < 0xE000:
        raise ValueError("invalid syntax")
    return chr(number).encode()


def number_of(literal: str) -> int | float:
    """Raises `ValueError` with what is wrong with it."""
    if literal[0] == "'":
        character = unquoted(literal)
        if len(character) != 1:
            raise ValueError(f"malformed character constant: {literal}")
        return ord(character)
    if len(literal) > 100:
        raise ValueError(f"illegal number syntax: {quoted(literal)}")
    based = _BASED.fullmatch(literal)
    if based:
        digits, base = next((d, b) for d, b in zip(based.groups()[1:], (16, 2, 8), strict=True) if d)
        return _fitting(int(based[1] + digits.lstrip("_"), base), literal)
    if _DECIMAL.fullmatch(literal):
        return _fitting(int(literal), literal)
    if _FLOAT.fullmatch(literal):
        value = float(literal)
        if value not in (float("inf"), float("-inf")):
            return value
    raise ValueError(f"illegal number syntax: {quoted(literal)}")


def _fitting(value: int, literal: str) -> int:
    if value not in _INT64:
        raise ValueError(f"integer overflow: {quoted(literal)}")
    return value
