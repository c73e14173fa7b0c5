"""Checked fields and a prompt -> the call, the same for both endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tropilla.api.surface import Call, Surroundings
from tropilla.api.surfaces.ollama.answer import Answer
from tropilla.api.surfaces.ollama.options import Options, read_options
from tropilla.common.catalogue import Model
from tropilla.common.generation import Constraint, Effort, GenerationRequest, Overlong, Prompt, new_request_id

#: What `think` asks a thinking model for. Saying nothing is asking for it.
EFFORTS: Mapping[bool | str | None, Effort] = {
    None: "on",
    True: "on",
    False: "off",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
}
#: Architectures whose context cannot be shifted, unless the caller insists.
UNSHIFTED = frozenset({"deepseek2"})


def options_of(given: Mapping[str, Any], model: Model) -> Options:
    """`truncate` allows to drop messages, `shift` to cut tokens after that, and to go on when the context is full (sheet,
    section 6.3).
    """
    shift = model.family not in UNSHIFTED if given["shift"] is None else given["shift"]
    overlong: Overlong = "refuse"
    if given["truncate"]:
        overlong = "shorten" if shift else "drop"
    return read_options(given["options"], model, overlong=overlong, shift=shift)


def effort_of(given: Mapping[str, Any], model: Model) -> Effort | None:
    """None for a model that does not think: what truly asks it to is refused."""
    return EFFORTS[given["think"]] if "thinking" in model.capabilities else None


def call_for(
    given: Mapping[str, Any],
    surroundings: Surroundings,
    *,
    model: Model,
    prompt: Prompt,
    options: Options,
    constraint: Constraint | None,
    parse_reply: bool,
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
        constraint=constraint,
        parse_reply=parse_reply,
        # `top_logprobs` alone asks for nothing.
        logprobs=given["top_logprobs"] if given["logprobs"] else None,
        want_prompt=want_prompt,
        fit=options.fit,
        keep_alive=given["keep_alive"],
    )
    answer = Answer(given["model"], hides_thinking=given["think"] is False)
    return Call(request, stream=given["stream"], received=surroundings.now, answer=answer)
