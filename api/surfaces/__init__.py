"""The dialects the house speaks. A new one adds a folder and an entry here."""

from __future__ import annotations

from tropilla.api.surface import Dialect
from tropilla.api.surfaces.anthropic import ANTHROPIC
from tropilla.api.surfaces.jan import JAN
from tropilla.api.surfaces.ollama import OLLAMA
from tropilla.api.surfaces.openai import OPENAI
from tropilla.api.surfaces.tgi import ROOTED, TGI

DIALECTS: tuple[Dialect, ...] = (OPENAI, JAN, ANTHROPIC, OLLAMA, TGI, ROOTED)
