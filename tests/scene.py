"""The facts of one model, for tests that care about some of them: `dataclasses.replace` those."""

from __future__ import annotations

from tropilla.common.catalogue import Model

POCKET = Model(
    name="pocket",
    digest="ab" * 32,
    size_bytes=4_000_000,
    family="llama",
    parameter_count=2_300_000,
    quantization="Q8_0",
    context_length=2048,
    trained_context=4096,
    embedding_length=192,
    vocabulary=1000,
    modified_at=1_700_000_000.0,
)
