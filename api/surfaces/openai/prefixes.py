"""cortex's way to write a chat template: what stands before the system text, before the user's, and before the answer.

Each turn is its prefix and its content, in their order. Such a template is kept as Ollama's, so that it is rendered, shown
and copied as any other, and is known again by how it is written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tropilla.common.generation import LocalTemplates
from tropilla.common.gotemplate.quoting import quoted, unquoted

SYSTEM, PROMPT = "{system_message}", "{prompt}"
CANNOT_SPLIT = "Cannot split prompt template"
_LITERAL = r'(?:\{\{("(?:[^"\\]|\\.)*")\}\})?'
_WRITTEN = re.compile(
    rf"\{{\{{if \.System\}}\}}{_LITERAL}\{{\{{\.System\}}\}}\{{\{{end\}}\}}"
    rf"\{{\{{if \.Prompt\}}\}}{_LITERAL}\{{\{{\.Prompt\}}\}}\{{\{{end\}}\}}"
    rf"{_LITERAL}\{{\{{\.Response\}}\}}"
)


@dataclass(frozen=True, slots=True)
class Prefixes:
    """The defaults are the API's own (contracts, models sheet 4.2)."""

    system: str = "SYSTEM: "
    user: str = "USER: "
    ai: str = "ASSISTANT: "

    @property
    def template(self) -> str:
        """Go source, as Ollama reads it."""
        return (
            f"{{{{if .System}}}}{_literal(self.system)}{{{{.System}}}}{{{{end}}}}"
            f"{{{{if .Prompt}}}}{_literal(self.user)}{{{{.Prompt}}}}{{{{end}}}}"
            f"{_literal(self.ai)}{{{{.Response}}}}"
        )


def split(template: str) -> Prefixes:
    """cortex's `prompt_template`, `{system_message}` and `{prompt}` in it. Raises `ValueError`, in its words."""
    before, found, rest = template.partition(SYSTEM)
    user, asked, ai = (rest if found else template).partition(PROMPT)
    if not asked:
        raise ValueError(CANNOT_SPLIT)
    return Prefixes(before if found else "", user, ai)


def prefixes(template: str | LocalTemplates) -> Prefixes | None:
    """Those that a template was made of; None for any other."""
    found = _WRITTEN.fullmatch(template) if isinstance(template, str) else None
    return Prefixes(*(unquoted(each) if each else "" for each in found.groups())) if found else None


def _literal(text: str) -> str:
    return f"{{{{{quoted(text)}}}}}" if text else ""
