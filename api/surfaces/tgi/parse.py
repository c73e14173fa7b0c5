"""A TGI body -> one `Call`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from tropilla.api import overlays
from tropilla.api.images import in_markdown, joined
from tropilla.api.models import default_model
from tropilla.api.reading import Wrong
from tropilla.api.surface import JSON, Call, Question, Surroundings
from tropilla.api.surfaces.tgi.features import only_embeds, parse_features
from tropilla.api.surfaces.tgi.grammar import constraint_of
from tropilla.api.surfaces.tgi.limits import limits
from tropilla.api.surfaces.tgi.rules import check
from tropilla.api.surfaces.tgi.schemas import COMPAT, GENERATE, Asked, Parameters, read
from tropilla.api.timings import known_at_start
from tropilla.common.catalogue import Model
from tropilla.common.errors import InvalidField, Overloaded, UnknownModel
from tropilla.common.generation import (
    Fit,
    GenerationRequest,
    Sampling,
    TextPrompt,
    draw_seed,
    fold_seed,
    new_request_id,
)
from tropilla.common.settings import Settings

#: What green logits gain, and the share of green tokens: upstream's WATERMARK_DELTA and WATERMARK_GAMMA.
WATERMARK_DELTA = 2.0
WATERMARK_GAMMA = 0.5
#: Upstream generates so many tokens at a time, and compares no more than the first of them with the room there is.
CHUNK = 1024
#: Seconds after which a caller may ask again for a model that is loading (sheet, section 15: `Retry-After: 1`).
LOADING_RETRY_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What the answer needs of the question. `seed` is the caller's own, before it was folded to 32 bits."""

    inputs: str
    full_text: bool
    details: bool
    prefill: bool
    top_tokens: bool
    samples: bool
    seed: int | None
    #: Those that are known before anything is generated.
    headers: Mapping[str, str] = field(default_factory=dict)


def parse_generate(body: JSON, surroundings: Surroundings) -> Call:
    return _call(read(GENERATE, body), surroundings, full_text=False)


def parse_stream(body: JSON, surroundings: Surroundings) -> Call:
    return _call(read(GENERATE, body, stream=True), surroundings, full_text=False)


def parse_compat(body: JSON, surroundings: Surroundings) -> Call | Question:
    """POST / shows the prompt, too, unless the caller or the operator says otherwise (section 7). Of a model that cannot
    write it asks for vectors.
    """
    model = served_model(surroundings)
    if only_embeds(model):
        return parse_features(body, model, surroundings)
    return _call(read(COMPAT, body), surroundings, full_text=surroundings.settings.echo_prompt == "yes")


def _call(asked: Asked, surroundings: Surroundings, *, full_text: bool) -> Call:
    """`full_text` is what the route does when the caller does not say `return_full_text`."""
    model = served_model(surroundings)
    check(asked, limits(model, surroundings.settings))
    given = asked.parameters
    wants_full_text = full_text if given.return_full_text is None else given.return_full_text
    answer = Answer(
        inputs=asked.inputs,
        full_text=wants_full_text,
        details=given.details,
        prefill=given.decoder_input_details,
        top_tokens=given.top_n_tokens > 0,
        samples=given.samples,
        seed=given.seed,
        headers=known_at_start(surroundings.settings, len(asked.inputs)),
    )
    request = overlays.laid(_request(asked, model, surroundings.settings), model, _decided(given))
    return Call(request=request, stream=asked.stream, received=surroundings.now, answer=answer, prompt_field="inputs")


def _request(asked: Asked, model: Model, settings: Settings) -> GenerationRequest:
    given = asked.parameters
    return GenerationRequest(
        id=new_request_id(),
        model=model.name,
        prompts=(_prompt(asked.inputs, model),),
        sampling=_sampling(given),
        n=given.candidates,
        max_tokens=_max_tokens(given, settings),
        stop=given.stop,
        keep_stop=True,
        constraint=constraint_of(given.grammar),
        # Every token is shown with its log-probability, asked for or not; the best of several is found by them.
        logprobs=given.top_n_tokens,
        want_prompt=given.decoder_input_details,
        prompt_logprobs=0 if given.decoder_input_details else None,
        fit=_fit(given, settings),
        # Whatever else passed the rules means none.
        adapter=given.adapter_id if given.adapter_id in model.adapters else "",
    )


def _prompt(inputs: str, model: Model) -> TextPrompt:
    """Markdown shows images to a model that sees, and is text to any other one. Raises `InvalidField`."""
    if "vision" not in model.capabilities:
        return TextPrompt(inputs)
    try:
        text, images = joined(in_markdown(inputs, links=True), "")
    except Wrong as error:
        raise InvalidField(f"invalid image content: {error.messages[0]}", param="inputs") from error
    return TextPrompt(text, images=tuple(replace(image, param="inputs") for image in images))


#: TGI's names of what a model's overlay may set, where they are not the engine's.
_DECIDING = {"max_new_tokens": "max_tokens", "repetition_penalty": "repeat_penalty", "watermark": "watermark_delta"}


def _decided(given: Parameters) -> frozenset[str]:
    """What a model's overlay has no say in: greedy is what a caller gets who does not ask to sample."""
    named = {_DECIDING.get(name, name) for name in given.given}
    if "repeat_penalty" in named:
        named.add("repeat_last_n")
    return frozenset(named if given.samples else named | {"temperature"})


def _fit(given: Parameters, settings: Settings) -> Fit:
    """Rule 6 compares the sum only when the caller named a number; else the answer takes what room is left."""
    return Fit(
        keep_last=given.truncate,
        room="clip" if given.max_new_tokens is None else "refuse",
        least=CHUNK if settings.sum_rule == "chunk" else None,
    )


def _sampling(given: Parameters) -> Sampling:
    return Sampling(
        temperature=_temperature(given),
        top_k=given.top_k or 0,
        top_p=1.0 if given.top_p is None else given.top_p,
        typical_p=1.0 if given.typical_p is None else given.typical_p,
        repeat_penalty=given.repetition_penalty,
        # Upstream penalises whatever stands in the prompt or the answer.
        repeat_last_n=-1,
        frequency_penalty=given.frequency_penalty,
        watermark_delta=WATERMARK_DELTA if given.watermark else 0.0,
        watermark_gamma=WATERMARK_GAMMA,
        seed=draw_seed() if given.seed is None else fold_seed(given.seed),
    )


def _temperature(given: Parameters) -> float:
    if not given.samples:
        return 0.0
    return 1.0 if given.temperature is None else given.temperature


def _max_tokens(given: Parameters, settings: Settings) -> int | None:
    if given.max_new_tokens is not None:
        return given.max_new_tokens
    return None if settings.default_max_tokens < 0 else settings.default_max_tokens


def served_model(surroundings: Surroundings) -> Model:
    """The one model of the bare routes. While it loads callers are sent back, never with 503: clients loop on it."""
    try:
        return default_model(surroundings)
    except UnknownModel as error:
        wanted = surroundings.settings.default_model
        for worker in surroundings.catalogue.workers:
            if worker.model and worker.state == "loading" and wanted in ("", worker.model.name):
                text = f"model '{worker.model.name}' is loading"
                raise Overloaded(text, retry_after_seconds=LOADING_RETRY_SECONDS) from error
        raise
