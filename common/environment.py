"""Where settings are said: in variables, in files that stand for secret ones, and in flags that go before both."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from tropilla.common.errors import ConfigurationError

PREFIX = "TROPILLA_"
#: Behind the name of a setting that is secret: the file that holds its value, as Docker and Kubernetes hand out secrets.
FILE_SUFFIX = "_FILE"


def with_files(environment: Mapping[str, str], secret: Collection[str]) -> dict[str, str]:
    """The environment with what stands in files as if it stood in variables; `secret` are those that may. Raises
    `ConfigurationError` naming the variable.
    """
    found = dict(environment)
    for variable in secret:
        path = found.pop(variable + FILE_SUFFIX, None)
        if path is None:
            continue
        if variable in environment:
            raise ConfigurationError(f"{variable} and {variable}{FILE_SUFFIX} are both set: take one of them away")
        found[variable] = _content(variable + FILE_SUFFIX, path)
    return found


def is_given(environment: Mapping[str, str], name: str) -> bool:
    """Whether somebody has said what this setting is, in a variable or in a file."""
    variable = PREFIX + name.upper()
    return bool(environment.get(variable) or environment.get(variable + FILE_SUFFIX))


def overruled(environment: Mapping[str, str], flags: Mapping[str, str]) -> dict[str, str]:
    """The environment with the values of flags laid over it: setting -> text."""
    said = {PREFIX + name.upper(): text for name, text in flags.items()}
    files = {variable + FILE_SUFFIX for variable in said}
    return {**{name: text for name, text in environment.items() if name not in files}, **said}


def _content(variable: str, path: str) -> str:
    """What the file says, without the line's end that editors leave."""
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigurationError(f"{variable}={path!r} cannot be read: {reason}") from error
