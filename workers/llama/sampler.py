"""How a token is drawn: a chain of llama.cpp's samplers for each sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llama_cpp
from tropilla.common.generation import Sampling

#: Below this a temperature is greedy: dividing logits by it would overflow.
GREEDY_BELOW = 1e-4
#: Beyond these a repeat penalty overflows too, and means nothing.
REPEAT_PENALTIES = (0.01, 100.0)


class Sampler:
    """A chain of llama.cpp's samplers for one sequence. To be closed."""

    def __init__(self, sampling: Sampling, vocabulary: int, context: int, prompt: Sequence[int]) -> None:
        self._chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        self._add_penalties(sampling, vocabulary, context, prompt)
        for link in _links(sampling, vocabulary):
            llama_cpp.llama_sampler_chain_add(self._chain, link)

    @property
    def chain(self) -> Any:
        return self._chain

    def close(self) -> None:
        if self._chain is not None:
            llama_cpp.llama_sampler_free(self._chain)
            self._chain = None

    def _add_penalties(self, sampling: Sampling, vocabulary: int, context: int, prompt: Sequence[int]) -> None:
        """Repeat penalty looks at prompt and answer, presence and frequency at the answer only: two samplers."""
        low, high = REPEAT_PENALTIES
        penalty = min(max(sampling.repeat_penalty, low), high)
        last = context if sampling.repeat_last_n < 0 else min(sampling.repeat_last_n, context)
        if penalty != 1.0 and last > 0:
            repeat = llama_cpp.llama_sampler_init_penalties(vocabulary, last, penalty, 0.0, 0.0)
            for token in prompt[-last:]:
                llama_cpp.llama_sampler_accept(repeat, token)
            llama_cpp.llama_sampler_chain_add(self._chain, repeat)
        if sampling.presence_penalty or sampling.frequency_penalty:
            counted = llama_cpp.llama_sampler_init_penalties(
                vocabulary, context, 1.0, sampling.frequency_penalty, sampling.presence_penalty
            )
            llama_cpp.llama_sampler_chain_add(self._chain, counted)


def _links(sampling: Sampling, vocabulary: int) -> list[Any]:
    """llama.cpp's samplers in the order every dialect's upstream applies them, temperature last."""
    if sampling.temperature < GREEDY_BELOW:
        return [llama_cpp.llama_sampler_init_greedy()]
    temperature = llama_cpp.llama_sampler_init_temp(sampling.temperature)
    if sampling.mirostat == 1:
        # 100 is the m of the paper, and what llama.cpp's own server passes.
        tau, eta = sampling.mirostat_tau, sampling.mirostat_eta
        return [temperature, llama_cpp.llama_sampler_init_mirostat(vocabulary, sampling.seed, tau, eta, 100)]
    if sampling.mirostat == 2:
        tau, eta = sampling.mirostat_tau, sampling.mirostat_eta
        return [temperature, llama_cpp.llama_sampler_init_mirostat_v2(sampling.seed, tau, eta)]
    links = []
    if sampling.top_k > 0:
        links.append(llama_cpp.llama_sampler_init_top_k(sampling.top_k))
    if sampling.typical_p < 1.0:
        links.append(llama_cpp.llama_sampler_init_typical(sampling.typical_p, 1))
    if sampling.top_p < 1.0:
        links.append(llama_cpp.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p > 0.0:
        links.append(llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1))
    return [*links, temperature, llama_cpp.llama_sampler_init_dist(sampling.seed)]
