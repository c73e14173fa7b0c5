"""What `create` lays over a model: the caller's words over the base's, by Ollama's rules (contracts, Ollama 10.1). Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from tropilla.common.errands import Create
from tropilla.common.gotemplate.faults import ParseError
from tropilla.common.gotemplate.ollama import OllamaTemplate
from tropilla.common.recipes import Overlay
from tropilla.workers.store.refusals import Refusal

#: What can be quantized to by Ollama, and from.
QUANTIZATIONS = ("F32", "F16", "Q8_0", "Q4_K_S", "Q4_K_M", "Q4_K")
FULL = ("F32", "F16", "BF16")


def overlaid(base: Overlay, asked: Create) -> Overlay:
    """Templates, system texts and messages are replaced, parameters merged by name (a list is one value), and licenses add
    up. Raises `Refusal` for a template that does not parse.
    """
    given = asked.overlay
    if isinstance(given.template, str) and given.template:
        check_template(given.template)
    return replace(
        base,
        template=given.template if given.template or asked.template_given else base.template,
        system=given.system if given.system or asked.system_given else base.system,
        messages=given.messages or base.messages,
        parameters=tuple(sorted({**base.defaults, **given.defaults}.items())),
        licenses=(*base.licenses, *(text for text in given.licenses if text not in base.licenses)),
        grammar=given.grammar or base.grammar,
    )


def check_template(source: str) -> None:
    try:
        OllamaTemplate(source)
    except ParseError as error:
        raise Refusal("invalid", f"template error: {error.message}", "template") from error


def layers(overlay: Overlay) -> Iterator[tuple[str, str]]:
    """(kind, `sha256:...`) of everything that is laid over, in Ollama's order."""
    parts = (
        ("template", overlay.template),
        ("system", overlay.system),
        ("parameters", overlay.parameters),
        ("messages", overlay.messages),
        *(("license", text) for text in overlay.licenses),
    )
    for kind, part in parts:
        if part:
            text = part if isinstance(part, str) else repr(part)
            yield kind, f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def check_quantization(wanted: str, found: str) -> None:
    """Only what a file has is served. Raises `Refusal`."""
    kind = wanted.upper()
    if not kind or kind == found.upper():
        return
    if kind not in QUANTIZATIONS:
        known = ", ".join(QUANTIZATIONS)
        raise Refusal("invalid", f"unsupported quantization type {wanted} - supported types are {known}", "quantize")
    if found.upper() not in FULL:
        raise Refusal("invalid", "quantization is only supported for F16, BF16 and F32 models", "quantize")
    raise Refusal(
        "invalid", f"quantizing to {kind} is not served: give the file as {kind}, or leave {found}", "quantize"
    )
