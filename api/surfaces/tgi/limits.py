"""What one model offers a TGI caller: the numbers of GET /info, which are also the bounds of `rules`."""

from __future__ import annotations

from dataclasses import dataclass

from tropilla.common.catalogue import Model
from tropilla.common.settings import Settings


@dataclass(frozen=True, slots=True)
class Limits:
    """Field names are those of GET /info; the last two are ours in it, where extra keys are harmless."""

    model_id: str
    max_concurrent_requests: int
    max_best_of: int
    max_stop_sequences: int
    max_input_tokens: int
    max_total_tokens: int
    validation_workers: int
    max_client_batch_size: int
    max_top_n_tokens: int
    adapters: tuple[str, ...]


def max_input_tokens(context: int) -> int:
    """At least one token of a context is for the answer."""
    return context - 1


def limits(model: Model, settings: Settings) -> Limits:
    return Limits(
        model_id=model.name,
        max_concurrent_requests=settings.max_concurrent_requests,
        # Each candidate is a choice of its request.
        max_best_of=min(settings.max_best_of, settings.max_choices),
        max_stop_sequences=settings.max_stop_sequences,
        max_input_tokens=max_input_tokens(model.context_length),
        max_total_tokens=model.context_length,
        # Bodies are checked where they arrive.
        validation_workers=settings.api_processes,
        max_client_batch_size=settings.max_choices,
        max_top_n_tokens=settings.max_top_n_tokens,
        adapters=model.adapters,
    )
