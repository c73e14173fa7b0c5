"""Checked fields and a prompt -> the call, the same for both endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tropilla.api.surface import Call, Surroundings
from tropilla.api.surfaces.ollama.answer import Answer
from tropilla.api.surfaces.ollama.options import Options, read_options
from tropilla.common.catalogue import Model
from tropilla.common.generation import GenerationRequest, Overlong, Prompt, new_request_id


def options_of(given: Mapping[str, Any], model: Model) -> Options:
    """`truncate` allows to drop messages, `shift` to cut tokens after that (sheet, section 6.3)."""
    overlong: Overlong = "refuse"
    if given["truncate"]:
        overlong = "shorten" if given["shift"] else "drop"
    return read_options(given["options"], model, overlong=overlong)


def call_for(
    given: Mapping[str, Any],
    surroundings: Surroundings,
    *,
    model: Model,
    prompt: Prompt,
    options: Options,
    want_prompt: bool = False,
) -> Call:
    """want_prompt: the answer tells `context`."""
    request = GenerationRequest(
        id=new_request_id(),
        model=model.name,
        prompts=(prompt,),
        sampling=options.sampling,
        max_tokens=options.max_tokens,
        stop=options.stop,
        # `top_logprobs` alone asks for nothing.
        logprobs=given["top_logprobs"] if given["logprobs"] else None,
        want_prompt=want_prompt,
        fit=options.fit,
    )
    return Call(request, stream=given["stream"], received=surroundings.now, answer=Answer(given["model"]))
