"""A checked body's fields -> what both routes ask of a worker: the model, the sampling, how much, and until where."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tropilla.api.surface import Surroundings
from tropilla.api.surfaces.openai.token_ids import check_ids
from tropilla.common.catalogue import Model
from tropilla.common.generation import (
    Fit,
    GenerationRequest,
    Prompt,
    Sampling,
    draw_seed,
    fold_seed,
    new_request_id,
)
from tropilla.common.settings import Settings

#: The names of one thing, the one that wins first (sheet, sections 7 and 11).
_LIMITS = ("max_completion_tokens", "n_predict", "max_tokens", "max_new_tokens")
_CUTS = ("truncate_prompt_tokens", "truncate")
_MIROSTAT = ("mirostat", "mirostat_mode")
#: llama.cpp's name looks back 64 tokens, as llama.cpp does; vLLM's and TGI's over everything, as they do.
_PENALTIES = (("repetition_penalty", -1), ("repeat_penalty", 64))
#: Those that the engine calls by the same name, and that need no reading.
_SAME_NAME = (
    *("top_k", "top_p", "min_p", "typical_p", "top_n_sigma", "presence_penalty", "frequency_penalty", "logit_bias"),
    *("dynatemp_range", "dynatemp_exponent"),
    *("xtc_probability", "xtc_threshold", "mirostat_tau", "mirostat_eta"),
    *("dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n"),
)
#: What TGI adds to the logits of its green list (TGI sheet, section 6).
_WATERMARK_DELTA = 2.0
#: A `do_sample` of false is greedy only where none of these asks for something else (TGI sheet, section 6).
_SAMPLING_NEUTRAL = (("temperature", 1.0), ("top_p", 1.0), ("top_k", 0), ("typical_p", 1.0))
#: What decides a field of `Sampling`, or another parameter of a model, beside the field of that name.
_DECIDING: Mapping[str, tuple[str, ...]] = {
    "repeat_penalty": tuple(name for name, _ in _PENALTIES),
    # Each penalty brings how far it looks.
    "repeat_last_n": tuple(name for name, _ in _PENALTIES),
    "mirostat": _MIROSTAT,
    "watermark_delta": ("watermark",),
    "max_tokens": (*_LIMITS, "max_output_tokens"),
}


def generation(
    fields: dict[str, Any], prompts: tuple[Prompt, ...], model: Model, surroundings: Surroundings
) -> GenerationRequest:
    """What both routes ask for in the same words; each adds its own."""
    return GenerationRequest(
        id=new_request_id(),
        model=model.name,
        prompts=prompts,
        sampling=_sampling(fields),
        n=fields["n"],
        max_tokens=_max_tokens(fields, model, surroundings.settings),
        min_tokens=min(fields["min_tokens"], model.context_length),
        stop=fields["stop"],
        keep_stop=fields["include_stop_str_in_output"],
        stop_tokens=tuple(fields["stop_token_ids"]),
        ignore_eos=fields["ignore_eos"],
        show_markers=not fields["skip_special_tokens"],
        prompt_logprobs=fields.get("prompt_logprobs"),
        # How long the prompt is, a stream that counts has to know from the start.
        want_prompt=fields.get("return_token_ids", False)
        or (fields["stream"] and counts(fields.get("stream_options", {}))),
        fit=_fit(fields, model),
    )


def decided(body: Mapping[str, Any], fields: Mapping[str, Any]) -> frozenset[str]:
    """What a model's overlay has no say in any more: the fields of `Sampling` and others that the body decides."""

    def there() -> Iterator[str]:
        yield from (name for name, value in body.items() if value is not None)
        if not fields.get("do_sample", True):
            # It asks for the likeliest token.
            yield "temperature"

    given = set(there())
    return frozenset(given | {name for name, others in _DECIDING.items() if not given.isdisjoint(others)})


def counts(stream_options: Mapping[str, bool]) -> bool:
    """Whether every chunk of a stream tells the usage so far."""
    return stream_options.get("include_usage", False) and stream_options.get("continuous_usage_stats", False)


def check_vocabulary(fields: dict[str, Any], model: Model) -> None:
    """The token ids that both routes take."""
    biased = (token for token, _ in fields["logit_bias"] if isinstance(token, int))
    check_ids("logit_bias", biased, model.vocabulary)
    check_ids("stop_token_ids", fields["stop_token_ids"], model.vocabulary)


def _sampling(fields: dict[str, Any]) -> Sampling:
    penalty, window = next(((fields[name], reach) for name, reach in _PENALTIES if name in fields), (1.0, 64))
    return Sampling(
        **{name: fields[name] for name in _SAME_NAME},
        temperature=0.0 if _greedy(fields) else fields["temperature"],
        repeat_penalty=penalty,
        repeat_last_n=fields.get("repeat_last_n", window),
        dry_sequence_breakers=tuple(fields["dry_sequence_breakers"]),
        mirostat=_first(fields, _MIROSTAT) or 0,
        watermark_delta=_WATERMARK_DELTA if fields["watermark"] else 0.0,
        seed=fold_seed(fields["seed"]) if "seed" in fields else draw_seed(),
    )


def _greedy(fields: dict[str, Any]) -> bool:
    return not fields.get("do_sample", True) and all(fields[name] == neutral for name, neutral in _SAMPLING_NEUTRAL)


def _max_tokens(fields: dict[str, Any], model: Model, settings: Settings) -> int | None:
    """None fills the context; more than the context means no more than that."""
    asked = _first(fields, _LIMITS)
    wanted = settings.default_max_tokens if asked is None else asked
    return None if wanted < 0 else min(wanted, model.context_length)


def _fit(fields: dict[str, Any], model: Model) -> Fit:
    last = _first(fields, _CUTS)
    return Fit() if last is None else Fit(keep_last=min(last, model.context_length))


def _first(fields: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((fields[name] for name in names if name in fields), None)
