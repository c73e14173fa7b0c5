"""POST /v1/completions (sheet, section 6)."""

from __future__ import annotations

import dataclasses
from typing import Any

from tropilla.api import overlays
from tropilla.api.framing import SSE
from tropilla.api.surface import JSON, Call, Clock, Frames, Reply, Surface, Surroundings
from tropilla.api.surfaces.openai import about, refusals, schemas
from tropilla.api.surfaces.openai.answer import Answer, answer, stream_headers, whole
from tropilla.api.surfaces.openai.asking import check_vocabulary, decided, generation
from tropilla.api.surfaces.openai.best_of import best
from tropilla.api.surfaces.openai.completion_answer import OBJECT, CompletionShape, completion_choice
from tropilla.api.surfaces.openai.constraints import check_constraint, given
from tropilla.api.surfaces.openai.echo import known_text
from tropilla.api.surfaces.openai.models import resolve_adapted
from tropilla.api.surfaces.openai.rules import check_completion, sole_constraint
from tropilla.api.surfaces.openai.stream import Stream
from tropilla.api.surfaces.openai.token_ids import check_ids, told_ids
from tropilla.api.timings import known_at_start
from tropilla.common.generation import Completion, GenerationRequest, InfillPrompt, Prompt, TextPrompt


def parse(body: JSON, surroundings: Surroundings) -> Call:
    body = schemas.an_object(body)
    if "prompt" not in body:
        raise schemas.missing("prompt")
    fields = schemas.checked(schemas.completion(surroundings.settings), body)
    model, adapter = resolve_adapted(surroundings, fields["model"])
    check_completion(fields, model, surroundings.settings)
    constraint = sole_constraint(fields)
    refusals.refuse(refusals.COMPLETION, body)
    for prompt in fields["prompt"]:
        check_ids("prompt", told_ids(prompt), model.vocabulary)
    check_vocabulary(fields, model)
    for name, asked in given(fields).items():
        check_constraint(name, asked)
    prompts = _prompts(fields)
    request = dataclasses.replace(
        generation(fields, prompts, model, surroundings), constraint=constraint, adapter=adapter
    )
    request = overlays.laid(request, model, decided(body, fields), completing=True)
    echo = fields["echo"] or fields["return_full_text"]
    known = answer(
        "cmpl",
        request,
        model,
        fields,
        echo=echo,
        logprobs="logprobs" in fields,
        shown=fields["n"],
        headers=known_at_start(surroundings.settings, _characters(prompts)),
    )
    return Call(
        _with_tokens(request, fields, echo=echo),
        fields["stream"],
        surroundings.now,
        known,
        priority=fields["service_tier"],
    )


def _characters(prompts: tuple[Prompt, ...]) -> int:
    """Of token ids nobody knows here how they are spelled."""
    return sum(len(known_text(prompt) or "") for prompt in prompts)


def _prompts(fields: dict[str, Any]) -> tuple[Prompt, ...]:
    prompts: tuple[Prompt, ...] = fields["prompt"]
    if not fields["suffix"]:
        return prompts
    return tuple(InfillPrompt(each.text, fields["suffix"]) for each in prompts if isinstance(each, TextPrompt))


def _with_tokens(request: GenerationRequest, fields: dict[str, Any], *, echo: bool) -> GenerationRequest:
    """What the answer needs of the tokens: of the prompt's to tell them, or how long ids are as text; of all to judge."""
    logprobs: int | None = fields.get("logprobs")
    scored = [each for each in (request.prompt_logprobs, logprobs if echo else None) if each is not None]
    unknown = any(known_text(prompt) is None for prompt in request.prompts)
    generated = max(fields["best_of"], request.n)
    return dataclasses.replace(
        request,
        n=generated,
        logprobs=0 if logprobs is None and generated > request.n else logprobs,
        want_prompt=request.want_prompt or echo or (logprobs is not None and unknown),
        prompt_logprobs=max(scored, default=None),
    )


def frames(call: Call, _: Clock) -> Frames:
    return Stream(call, CompletionShape(call))


def whole_answer(call: Call, completion: Completion, finished_at: float) -> Reply:
    known: Answer = call.answer
    told = best(completion, generated=call.request.n, wanted=known.shown).choices
    choices = [completion_choice(call, index, choice) for index, choice in enumerate(told)]
    return whole(call, OBJECT, choices, completion, finished_at)


COMPLETIONS = Surface("openai.completions", parse, frames, whole_answer, SSE, stream_headers, about=about.COMPLETIONS)
