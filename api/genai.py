"""A request in the words of OpenTelemetry's conventions for generative AI: numbers and names, never what was said. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from tropilla.common.generation import ChatPrompt, EmbeddingRequest, Finished, GenerationRequest, Request
from tropilla.common.spans import PROVIDER, Value


def words(
    asked: Request, finished: Iterable[Finished], *, prompt: int, cached: int, streams: bool, ttft: float | None
) -> dict[str, Value]:
    """prompt, cached: tokens of its prompts. ttft: seconds until the first token was there."""
    said: dict[str, Value] = {
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": asked.model,
        "gen_ai.response.model": asked.model,
        "gen_ai.response.id": asked.id,
        "gen_ai.usage.input_tokens": prompt,
    }
    if isinstance(asked, EmbeddingRequest):
        return {**said, "gen_ai.operation.name": "embeddings"}
    if not isinstance(asked, GenerationRequest):
        return said
    ended = sorted(finished, key=lambda one: one.choice)
    said |= {
        "gen_ai.operation.name": operation(asked),
        "gen_ai.usage.output_tokens": sum(one.usage.generated for one in ended),
        "gen_ai.usage.cache_read.input_tokens": cached,
        "gen_ai.response.finish_reasons": [one.reason for one in ended],
        **_sampling(asked, streams=streams),
    }
    if streams and ttft is not None:
        said["gen_ai.response.time_to_first_chunk"] = ttft
    return said


def operation(asked: GenerationRequest) -> str:
    return "chat" if any(isinstance(prompt, ChatPrompt) for prompt in asked.prompts) else "text_completion"


def _sampling(asked: GenerationRequest, *, streams: bool) -> dict[str, Value]:
    """How it was to be answered."""
    sampling = asked.sampling
    found: dict[str, Value] = {
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.request.top_p": sampling.top_p,
        "gen_ai.request.seed": sampling.seed,
        "gen_ai.request.stream": streams,
    }
    if sampling.top_k:
        found["gen_ai.request.top_k"] = sampling.top_k
    if asked.max_tokens is not None:
        found["gen_ai.request.max_tokens"] = asked.max_tokens
    if asked.choices > 1:
        found["gen_ai.request.choice.count"] = asked.choices
    return found
