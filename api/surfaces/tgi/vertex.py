"""POST /vertex: several prompts or chats in one body, and a text for each (sheet, section 11).

Upstream hears no more of an instance's parameters than max_new_tokens and seed; here all of them count.
"""

from __future__ import annotations

from collections.abc import Mapping

from tropilla.api.framing import compact
from tropilla.api.surface import JSON, Batch, Call, Reply, Surface, Surroundings
from tropilla.api.surfaces.openai.chat import CHAT
from tropilla.api.surfaces.tgi import about
from tropilla.api.surfaces.tgi.generation import GENERATE
from tropilla.common.errors import InvalidField
from tropilla.common.generation import Completion

#: What an instance is recognised by.
SHAPES: tuple[tuple[str, Surface], ...] = (("inputs", GENERATE), ("messages", CHAT))


def parse(body: JSON, surroundings: Surroundings) -> tuple[Call, ...]:
    most = surroundings.settings.max_choices
    instances = body.get("instances") if isinstance(body, Mapping) else None
    if not isinstance(instances, list):
        raise InvalidField("`instances` must be a list", param="instances", problem="type")
    if not instances:
        raise InvalidField("`instances` cannot be empty", param="instances", problem="empty")
    if len(instances) > most:
        text = f"`instances` supports up to {most} instances. Given: {len(instances)}"
        raise InvalidField(text, param="instances", problem="too_long")
    return tuple(_call(instance, surroundings, f"instances[{at}]") for at, instance in enumerate(instances))


def _call(instance: JSON, surroundings: Surroundings, path: str) -> Call:
    if not isinstance(instance, Mapping):
        raise InvalidField(f"`{path}` must be an object", param=path, problem="type")
    surface = next((surface for key, surface in SHAPES if instance.get(key) is not None), None)
    if surface is None:
        raise InvalidField(f"`{path}` has neither `inputs` nor `messages`", param=path, problem="missing")
    call = surface.parse(instance, surroundings)
    assert isinstance(call, Call), "both surfaces generate"
    if surface is CHAT and call.request.n > 1:
        raise InvalidField(f"`{path}.n` must be 1: an instance has one prediction", param=f"{path}.n")
    return call


def whole(calls: tuple[Call, ...], completions: tuple[Completion, ...], now: float) -> Reply:
    each = zip(calls, completions, strict=True)
    return Reply({"predictions": [_prediction(call, completion, now) for call, completion in each]})


def _prediction(call: Call, completion: Completion, now: float) -> str:
    if call.prompt_field == "inputs":
        return str(GENERATE.whole(call, completion, now).body["generated_text"])
    message = CHAT.whole(call, completion, now).body["choices"][0]["message"]
    # A model that only calls tools has said the calls.
    return str(message["content"]) if message["content"] is not None else compact(message["tool_calls"]).decode()


VERTEX = Batch("/vertex", parse, whole, about.VERTEX)
