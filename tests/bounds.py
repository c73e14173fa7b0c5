"""What a worker may be told: every number of a request, by the name of its field, and from where to where."""

from __future__ import annotations

import math
from collections.abc import Mapping

from scene import POCKET
from tropilla.common.generation import MAX_SEED
from tropilla.common.settings import Settings

SETTINGS = Settings()
#: A whole number of tokens, or of tokens back: it is compared with, and never allocated for, what the context holds.
TOKENS = (-1, 2**31)
TOKEN_ID = (-(2**31), 2**31 - 1)
#: f32's largest, TGI's own bound for what divides a logit.
F32 = 3.4028235e38
#: How a token may be drawn: the fields of `Sampling`.
KNOBS: Mapping[str, tuple[float, float]] = {
    "temperature": (0, F32), "top_k": (0, 2**31), "top_p": (0, 1), "min_p": (0, 1), "typical_p": (0, 1),
    "repeat_penalty": (0, F32), "repeat_last_n": TOKENS, "presence_penalty": (-1000, 1000),
    "frequency_penalty": (-1000, 1000), "top_n_sigma": (0, 1000), "dynatemp_range": (0, 100),
    "dynatemp_exponent": (0, 100), "xtc_probability": (0, 1), "xtc_threshold": (0, 1), "dry_multiplier": (0, 100),
    "dry_base": (1, 100), "dry_allowed_length": TOKENS, "dry_penalty_last_n": TOKENS, "mirostat": (0, 2),
    "mirostat_tau": (-1000, 1000), "mirostat_eta": (-1000, 1000), "watermark_delta": (0, 10),
    "watermark_gamma": (0, 1), "seed": (0, MAX_SEED),
}  # fmt: skip
#: All of them.
BOUNDS: Mapping[str, tuple[float, float]] = {
    **KNOBS,
    # GenerationRequest, and what it holds
    "n": (1, SETTINGS.max_choices), "max_tokens": (0, 2**32), "min_tokens": (0, 2**32),
    "logprobs": (0, SETTINGS.max_top_logprobs), "prompt_logprobs": (0, SETTINGS.max_top_logprobs),
    "keep": TOKENS, "keep_last": (0, 2**32), "least": (0, 2**32), "context_limit": (1, POCKET.trained_context),
    "stop_tokens": TOKEN_ID, "context": TOKEN_ID, "ids": TOKEN_ID, "parts": TOKEN_ID,
    "keep_alive": (-math.inf, math.inf),
    # EmbeddingRequest
    "dimensions": (1, 2**31),
    # Recipe, as it is configured
    "size_bytes": (0, 2**63), "slots": (0, 256), "threads": (0, 1024), "gpu_layers": (-1, 10_000),
}  # fmt: skip
