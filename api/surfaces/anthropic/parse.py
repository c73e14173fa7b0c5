"""A body of /v1/messages -> a request: the conversation, the tools, how hard to think, what the text must look like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tropilla.api import overlays
from tropilla.api.images import placed
from tropilla.api.surface import JSON, Call, Question, Reply, Surroundings
from tropilla.api.surfaces.anthropic.answer import Known
from tropilla.api.surfaces.anthropic.schemas import EFFORTS, Thinking, checked
from tropilla.api.surfaces.openai.constraints import check_constraint
from tropilla.api.surfaces.openai.models import resolve
from tropilla.api.surfaces.openai.refusals import refuse
from tropilla.api.surfaces.openai.schemas import an_object
from tropilla.api.surfaces.openai.tools import Toolbox, check_callable, toolbox
from tropilla.common.catalogue import Model
from tropilla.common.errors import InvalidField
from tropilla.common.generation import (
    ChatPrompt,
    Constraint,
    Effort,
    GenerationRequest,
    Message,
    Sampling,
    TokenizeRequest,
    draw_seed,
    new_request_id,
)

#: Would change the answer, and is not served: tools and files that Anthropic keeps, and runs by itself.
_REFUSED: Mapping[str, tuple[Any, ...]] = {"mcp_servers": (None, []), "container": (None, {})}
#: Budgets have no meaning to a model, levels have: up to so many tokens.
_LEVELS: tuple[tuple[int, Effort], ...] = ((2048, "low"), (8192, "medium"))


def parse(body: JSON, surroundings: Surroundings) -> Call:
    fields, model, box = _understood(body, surroundings, counting=False)
    thinking: Thinking = fields.get("thinking", Thinking("adaptive"))
    if thinking.budget >= fields["max_tokens"]:
        text = "'max_tokens' must be greater than 'thinking.budget_tokens'."
        raise InvalidField(text, param="max_tokens", problem="rule")
    field, constraint = _form(fields)
    if constraint is not None:
        check_constraint(field, constraint)
    tools = enumerate(fields["tools"])
    check_callable(box, ((f"tools.{place}.input_schema", tool) for place, tool in tools))
    request = GenerationRequest(
        id=new_request_id(),
        model=model.name,
        prompts=(_prompt(fields, box),),
        sampling=Sampling(
            temperature=fields["temperature"], top_p=fields["top_p"], top_k=fields["top_k"], seed=draw_seed()
        ),
        # More than the context means no more than that: clients ask for what the largest models have.
        max_tokens=min(fields["max_tokens"], model.context_length),
        stop=tuple(stop for stop in fields["stop_sequences"] if stop),
        # A call that must come has a form of its own.
        constraint=None if box.choice == "required" else constraint,
        parse_reply=True,
    )
    request = overlays.laid(request, model, _decided(body))
    known = Known(model.name, thoughts_told=thinking.told)
    return Call(request, fields["stream"], surroundings.now, known, prompt_field="messages")


def parse_count(body: JSON, surroundings: Surroundings) -> Question:
    fields, model, box = _understood(body, surroundings, counting=True)
    asked = TokenizeRequest(new_request_id(), model.name, (overlays.prompt(_prompt(fields, box), model.overlay),))
    return Question(asked, surroundings.now, prompt_field="messages")


def count(_: Question, tokenized: tuple[Any, ...], __: float) -> Reply:
    (prompt,) = tokenized
    return Reply({"input_tokens": len(prompt.tokens)})


def _understood(body: JSON, surroundings: Surroundings, *, counting: bool) -> tuple[dict[str, Any], Model, Toolbox]:
    body = an_object(body)
    fields = checked(surroundings.settings, body, counting=counting)
    model = resolve(surroundings, fields["model"])
    choice = fields.get("tool_choice")
    chosen = {"tool_choice": choice.chosen} if choice else {}
    parallel = choice.parallel if choice else True
    box = toolbox({"tools": fields["tools"], "functions": (), "parallel_tool_calls": parallel, **chosen})
    refuse(_REFUSED, body)
    return fields, model, box


def _prompt(fields: dict[str, Any], box: Toolbox) -> ChatPrompt:
    instructed = (Message("system", fields["system"]),) if fields["system"] else ()
    return ChatPrompt(
        (*instructed, *_said(fields["messages"])),
        tools=box.tools,
        tool_choice=box.choice,
        named_tool=box.named,
        parallel_calls=box.parallel,
        effort=_effort(fields),
    )


def _said(turns: list[list[Message]]) -> Iterator[Message]:
    for place, turn in enumerate(turns):
        yield from (placed(message, f"messages[{place}].") for message in turn)


def _effort(fields: dict[str, Any]) -> Effort | None:
    """None leaves it to the model."""
    thinking: Thinking = fields.get("thinking", Thinking("adaptive"))
    if thinking.type == "disabled":
        return "off"
    if "effort" in fields["output_config"]:
        return EFFORTS[fields["output_config"]["effort"]]
    if thinking.type == "adaptive":
        return None
    return next((level for most, level in _LEVELS if thinking.budget <= most), "high")


def _decided(body: JSON) -> frozenset[str]:
    """What a model's overlay has no say in."""
    given = {name for name, value in an_object(body).items() if value is not None}
    return frozenset({"stop"} | given if "stop_sequences" in given else given)


def _form(fields: dict[str, Any]) -> tuple[str, Constraint | None]:
    """What the text must look like, and the field that says so."""
    config = fields["output_config"]
    if "format" in config:
        return "output_config.format.schema", config["format"]
    return "output_format.schema", fields.get("output_format")
