"""What a model's name lays over its weights, as part of a prompt (sheet, sections 4.5, 5.4 and 7.1). The request's word
counts before it.

Which template writes a prompt, the first that there is:

1. the request's own;
2. the name's: whoever laid one over the weights meant it, and the capabilities that are told are this template's. (Ollama
   of late prefers a file's own template that can do more, unless OLLAMA_GO_TEMPLATE is set; then a name would answer by
   another template than the one it shows.)
3. the file's own, or what the worker has for a file without one.
"""

from __future__ import annotations

from functools import lru_cache

from tropilla.common.catalogue import Model
from tropilla.common.generation import LocalTemplates, Message
from tropilla.common.gotemplate.faults import ParseError
from tropilla.common.gotemplate.ollama import OllamaTemplate


def chat_template(model: Model, given: str = "") -> str | LocalTemplates:
    return given or model.overlay.template


def infill_template(model: Model, given: str = "") -> str:
    """Of a name's template only one that shows a suffix; else the model's own tokens for filling in do it."""
    laid = model.overlay.template
    return given or (laid if isinstance(laid, str) and "suffix" in mentions(laid) else "")


def one_turn(model: Model, prompt: str, *, system: str, goes_on: bool) -> tuple[Message, ...]:
    """goes_on: the tokens of an earlier turn stand before it, and with them whatever the name puts first."""
    opening = () if goes_on else model.overlay.messages
    text = system or model.overlay.system
    return (*((Message("system", text),) if text else ()), *opening, Message("user", prompt))


@lru_cache(maxsize=64)
def mentions(source: str) -> frozenset[str]:
    """Every field and variable of a template, in lower case; of one that does not parse, none."""
    try:
        return OllamaTemplate(source).mentions
    except ParseError:
        return frozenset()
