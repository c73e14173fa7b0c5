"""What a model's name lays over its weights, put beneath what a request says: request, then overlay, then the dialect.

Workers know weights and nothing else (`common.recipes`): so every request brings along what its name adds to it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from tropilla.common.catalogue import Model
from tropilla.common.generation import (
    ChatPrompt,
    Choice,
    Completion,
    Constraint,
    Fit,
    GenerationRequest,
    InfillPrompt,
    LocalTemplates,
    Message,
    Prompt,
    Sampling,
    TextPrompt,
    fold_seed,
)
from tropilla.common.gotemplate.ollama import OllamaTemplate
from tropilla.common.polish import polished as polish_text
from tropilla.common.recipes import BARE, UNPOLISHED, Overlay, Parameter, Polish

_OFF = Sampling()
#: Where a knob ends. An overlay is kept as it was written, and by whom ever: beyond its range a number is "off" to
#: llama.cpp, and none to a worker that keeps it in 32 bits.
_ENDS: Mapping[str, tuple[float, float]] = MappingProxyType({
    "temperature": (0.0, 1000.0), "top_k": (0, 2**31 - 1), "top_p": (0.0, 1.0), "min_p": (0.0, 1.0),
    "typical_p": (0.0, 1.0), "repeat_penalty": (0.001, 1000.0), "repeat_last_n": (-1, 2**31 - 1),
    "presence_penalty": (-1000.0, 1000.0), "frequency_penalty": (-1000.0, 1000.0), "top_n_sigma": (0.0, 1000.0),
    "dynatemp_range": (0.0, 100.0), "dynatemp_exponent": (0.0, 100.0), "xtc_probability": (0.0, 1.0),
    "xtc_threshold": (0.0, 1.0), "dry_multiplier": (0.0, 100.0), "dry_base": (1.0, 100.0),
    "dry_allowed_length": (0, 2**31 - 1), "dry_penalty_last_n": (-1, 2**31 - 1), "mirostat": (0, 2),
    "mirostat_tau": (0.0, 1000.0), "mirostat_eta": (0.0, 1000.0), "watermark_delta": (0.0, 10.0),
    "watermark_gamma": (0.0, 1.0),
})  # fmt: skip
#: Roles of a first message that takes the place of the overlay's system text.
_INSTRUCTING = frozenset({"system", "developer"})


def laid(
    request: GenerationRequest, model: Model, said: Collection[str], *, completing: bool = False
) -> GenerationRequest:
    """The request with what its model's overlay adds. `said` are the fields of `Sampling` and `recipes.MORE_PARAMETERS`
    that the caller has decided. `completing`: plain texts are prompts to be completed, which LocalAI has a template for.
    """
    overlay = model.overlay
    if overlay == BARE:
        return request
    defaults = {name: value for name, value in overlay.parameters if name not in said}
    return dataclasses.replace(
        request,
        prompts=tuple(prompt(each, overlay, completing=completing) for each in request.prompts),
        sampling=_sampling(request.sampling, defaults),
        max_tokens=_max_tokens(defaults["max_tokens"], model) if "max_tokens" in defaults else request.max_tokens,
        stop=_stop(request.stop, overlay, said),
        constraint=request.constraint or grammar(request.prompts, overlay),
        fit=_fit(request.fit, defaults, model),
    )


def prompt(given: Prompt, overlay: Overlay, *, completing: bool = False) -> Prompt:
    """A prompt with the overlay's template, system text and messages. What a request brings itself stays."""
    match given:
        case ChatPrompt():
            messages = conversation(given.messages, overlay)
            return dataclasses.replace(given, template=given.template or overlay.template, messages=messages)
        case InfillPrompt() if isinstance(overlay.template, str) and overlay.template and not given.template:
            fills = "suffix" in OllamaTemplate(overlay.template).mentions
            return dataclasses.replace(given, template=overlay.template) if fills else given
        case TextPrompt() if completing and isinstance(overlay.template, LocalTemplates):
            return dataclasses.replace(given, template=overlay.template if overlay.template.completion else None)
        case _:
            return given


def conversation(said: tuple[Message, ...], overlay: Overlay) -> tuple[Message, ...]:
    """The overlay's system text and messages, then the caller's. A conversation that begins with a system text of its own
    spares the overlay's; one that comes later says something else (contracts, Ollama sheet 5.4).
    """
    leads = bool(said) and said[0].role in _INSTRUCTING
    system = (Message("system", overlay.system),) if overlay.system and not leads else ()
    return (*system, *overlay.messages, *said)


def grammar(prompts: Iterable[Prompt], overlay: Overlay) -> Constraint | None:
    """What binds answers that the caller leaves free; not where he wants calls: they have a form of their own."""
    calls = any(isinstance(each, ChatPrompt) and each.tools for each in prompts)
    return Constraint("gbnf", overlay.grammar) if overlay.grammar and not calls else None


def polished(completion: Completion, polish: Polish) -> Completion:
    """The whole answers with what LocalAI's patterns leave of them. What is left stands at the first token that wrote text,
    so that who reads the tokens reads the same; what each of them spells (`piece`) stays as it was drawn.
    """
    if polish == UNPOLISHED:
        return completion
    return Completion(tuple(_polished(choice, polish) for choice in completion.choices))


def _polished(choice: Choice, polish: Polish) -> Choice:
    text = polish_text(choice.text, polish)
    if text == choice.text:
        return choice
    first = next(place for place, token in enumerate(choice.tokens) if token.text)
    tokens = (
        dataclasses.replace(token, text=text if place == first else "") for place, token in enumerate(choice.tokens)
    )
    return dataclasses.replace(choice, text=text, tokens=tuple(tokens))


def _sampling(sampling: Sampling, defaults: Mapping[str, Parameter]) -> Sampling:
    """A negative seed is one that is drawn, which has happened."""
    known = {field.name for field in dataclasses.fields(Sampling)}
    given = {name: within_ends(name, value) for name, value in defaults.items() if name in known}
    if "seed" in given:
        given["seed"] = fold_seed(given["seed"]) if given["seed"] >= 0 else sampling.seed
    return dataclasses.replace(sampling, **given)


def within_ends(name: str, value: Parameter) -> Any:
    """A field of `Sampling`, brought to where it ends. A manifest may write 1 for 1.0."""
    kind = type(getattr(_OFF, name))
    if kind not in (int, float) or not isinstance(value, int | float):
        return value
    low, high = _ENDS.get(name, (value, value))
    return kind(min(max(value, low), high))


def _max_tokens(value: Parameter, model: Model) -> int | None:
    """What is no number of tokens is as many as there is room for."""
    wanted = int(value) if isinstance(value, int | float) else 0
    return min(wanted, model.context_length) if wanted > 0 else None


def _stop(asked: tuple[str, ...], overlay: Overlay, said: Collection[str]) -> tuple[str, ...]:
    """LocalAI's add up: its templates rely on theirs. Others are a default."""
    own = overlay.defaults.get("stop", ())
    if not isinstance(own, tuple):
        own = (str(own),)
    if isinstance(overlay.template, LocalTemplates):
        return tuple(dict.fromkeys((*asked, *own)))
    return asked if "stop" in said else own


def _fit(fit: Fit, defaults: Mapping[str, Parameter], model: Model) -> Fit:
    keep, context = defaults.get("keep"), defaults.get("context")
    if isinstance(keep, int):
        fit = dataclasses.replace(fit, keep=min(max(keep, -1), model.context_length))
    if isinstance(context, int) and 0 < context < model.context_length:
        fit = dataclasses.replace(fit, context_limit=context)
    return fit
