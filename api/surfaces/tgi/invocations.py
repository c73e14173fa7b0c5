"""POST /invocations (SageMaker): whichever body the other routes take, answered as they would (sheet, section 11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from tropilla.api.framing import SSE
from tropilla.api.surface import JSON, Call, Clock, Dismissal, Frames, Question, Reply, Surface, Surroundings
from tropilla.api.surfaces.openai.chat import CHAT
from tropilla.api.surfaces.openai.completions import COMPLETIONS
from tropilla.api.surfaces.tgi import about
from tropilla.api.surfaces.tgi.features import answer_features
from tropilla.api.surfaces.tgi.generation import COMPAT
from tropilla.common.errors import InvalidField
from tropilla.common.generation import Completion

#: What a body is recognised by, in the order in which its readings are tried.
SHAPES: tuple[tuple[str, Surface], ...] = (("inputs", COMPAT), ("messages", CHAT), ("prompt", COMPLETIONS))


@dataclass(frozen=True, slots=True)
class Handed:
    """Whose body it was, and what that surface made of it."""

    surface: Surface
    call: Call


def parse(body: JSON, surroundings: Surroundings) -> Call | Question | Dismissal | Reply:
    """Raises the first fitting surface's `RequestError`: of a body whose types fit nobody, the first one's."""
    if not isinstance(body, Mapping):
        raise InvalidField("the body must be an object", param=None, problem="type")
    misread: InvalidField | None = None
    for key, surface in SHAPES:
        if body.get(key) is None:
            continue
        try:
            return _handed(surface, surface.parse(body, surroundings))
        except InvalidField as error:
            if error.problem not in ("missing", "type"):
                raise
            misread = misread or error
    names = ", ".join(f"`{key}`" for key, _ in SHAPES)
    raise misread or InvalidField(f"the body has none of {names}", param=None, problem="missing")


def _handed(surface: Surface, parsed: Call | Question | Dismissal | Reply) -> Call | Question | Dismissal | Reply:
    if not isinstance(parsed, Call):
        return parsed
    handed = Handed(surface, parsed)
    return Call(parsed.request, parsed.stream, parsed.received, handed, parsed.prompt_field)


def frames(call: Call, clock: Clock) -> Frames:
    handed = _of(call)
    return handed.surface.frames(handed.call, clock)


def whole(call: Call, completion: Completion, now: float) -> Reply:
    handed = _of(call)
    return handed.surface.whole(handed.call, completion, now)


def stream_headers(call: Call) -> Mapping[str, str]:
    handed = _of(call)
    return handed.surface.stream_headers(handed.call)


def _of(call: Call) -> Handed:
    """Whose it was, with the request as it left for the queue."""
    handed = cast(Handed, call.answer)
    return replace(handed, call=replace(handed.call, request=call.request, queued=call.queued))


INVOCATIONS = Surface(
    "tgi.invocations", parse, frames, whole, SSE, stream_headers, answer=answer_features, about=about.INVOCATIONS
)
