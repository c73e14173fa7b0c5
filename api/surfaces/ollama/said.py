"""What one line, or one object, says of a reply, and how each endpoint shows it (sheet, sections 4.2 and 5.2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tropilla.api.surface import JSON


@dataclass(frozen=True, slots=True)
class Said:
    """`calls` are tool calls as the caller sees them. Whatever is empty but the text is not shown at all."""

    text: str = ""
    thinking: str = ""
    calls: tuple[JSON, ...] = ()


#: As one endpoint shows it: `{"response": text}`.
Show = Callable[[Said], dict[str, JSON]]

NOTHING = Said()


def show_response(said: Said) -> dict[str, JSON]:
    """No calls: without tools, which /api/generate does not take, there are none."""
    shown: dict[str, JSON] = {"response": said.text}
    return shown | {"thinking": said.thinking} if said.thinking else shown


def show_message(said: Said) -> dict[str, JSON]:
    """With its role in every chunk, the last included: the Python client refuses one without."""
    message: dict[str, JSON] = {"role": "assistant", "content": said.text}
    if said.thinking:
        message["thinking"] = said.thinking
    if said.calls:
        message["tool_calls"] = list(said.calls)
    return {"message": message}
