"""How much memory a model wants here, and how many KV cells it gets. Arithmetic on its header, before it is loaded.

What llama.cpp 0.3.36 allocates, read in its sources and held against its log by tests/workers/test_memory.py:

    weights   the file, mapped. Where layers are repacked (Q4_0 and others, "CPU_REPACK") both copies are resident at
              first, but the mapped one is file cache that nobody reads again, and the kernel takes it back
    cells     per token and attention layer a row of keys and one of values. Layers with a sliding window have as many
              cells as the others: `swa_full` is llama.cpp's default, and what prefixes that are kept need
    states    per sequence and recurrent layer (mamba, rwkv, ...) one state, float32, however long the sequence is
    adapters  LoRA files, read into memory whole. The compute buffer has room for what they compute, since its layers are
              counted at their widest; only one that adapts the output needs the logits once more
    projector what reads images (mmproj), read into memory whole; and a buffer for the largest image that it says it looks
              at in one piece. One that looks at larger pieces than its header says makes its buffer larger then
    compute   one buffer, used again and again: the larger of a layer's activations with the attention mask, and of the
              logits. Attention is flash attention, which llama.cpp chooses by itself wherever the backend has it
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from tropilla.common.errors import ConfigurationError
from tropilla.common.gguf import Header
from tropilla.common.settings import Settings
from tropilla.workers.shape import CACHE_TYPES, Shape

OUTPUT = "output.weight"


class DoesNotFit(ConfigurationError):
    """Less of it, or more memory, and it could be loaded."""


#: What one request may use where nobody says how much: enough for a chat, and a KV cache that fits small machines.
DEFAULT_CONTEXT = 4096
#: llama.cpp rounds n_ctx up to this.
CELLS_BLOCK = 256
#: A physical batch larger than this gains nothing on any backend measured by llama.cpp.
MAX_PHYSICAL_BATCH = 512
#: A context below this holds no conversation: rather than serve it, refuse.
LEAST_CONTEXT = 512
#: Left free: a tenth, for what others on the machine take meanwhile; within these bounds.
MARGIN_SHARE, LEAST_MARGIN, MOST_MARGIN = 0.1, 16 << 20, 512 << 20
FLOAT_BYTES, MASK_BYTES = 4, 2
#: What a projector keeps of each patch at once: so many states of its width, and one of its feed-forward's, float32.
PATCH_STATES = 2
#: Red, green and blue.
CHANNELS = 3
#: The logits are allocated behind what still lives of the last layer: in all models seen, so many hidden states at most.
UNDER_LOGITS = 8


@dataclass(frozen=True, slots=True)
class Budget:
    """What one worker may use. `cells` are shared by all slots, a multiple of 256, and hold one whole context at least.
    `sequences` are the slots and the idle ones kept for their prefixes.
    """

    slots: int
    sequences: int
    context: int
    cells: int
    cell_bytes: int
    kv_bytes: int
    weight_bytes: int
    compute_bytes: int
    margin_bytes: int
    free_bytes: int
    cache_type: str
    adapter_bytes: int = 0
    projector_bytes: int = 0

    @property
    def needed_bytes(self) -> int:
        """What loading takes; the margin comes on top."""
        beside = self.adapter_bytes + self.projector_bytes
        return self.weight_bytes + beside + self.kv_bytes + self.compute_bytes

    @property
    def fits(self) -> bool:
        return self.needed_bytes + self.margin_bytes <= self.free_bytes

    def __str__(self) -> str:
        """One line for the log."""
        adapters = f"{_spell(self.adapter_bytes)} adapters + " if self.adapter_bytes else ""
        adapters += f"{_spell(self.projector_bytes)} projector + " if self.projector_bytes else ""
        return (
            f"{self.slots} slots of {self.context} tokens share {self.cells} KV cells of {self.cell_bytes} bytes "
            f"({self.cache_type}): {_spell(self.weight_bytes)} weights + {adapters}{_spell(self.kv_bytes)} KV + "
            f"{_spell(self.compute_bytes)} compute = {_spell(self.needed_bytes)}; of {_spell(self.free_bytes)} free, "
            f"{_spell(self.margin_bytes)} are left to others"
        )


def plan(
    header: Header,
    *,
    slots: int,
    context: int,
    cells: int,
    step_tokens: int,
    free_bytes: int,
    cache_type: str = "f16",
    sequences: int = 0,
    outputs: int = 0,
    adapters: Sequence[Header] = (),
    projector: Header | None = None,
) -> Budget:
    """The largest sensible budget that fits. Raises `DoesNotFit` with every number when none does.

    slots, context, cells: 0 is for us to say; what somebody asked for is never made smaller. sequences: n_seq_max, when
    idle ones are kept beside the slots. outputs: n_outputs_max, the rows of logits a step may ask for; 0 is llama.cpp's
    own, where every token's row is computed, and one for each sequence is kept. adapters, projector: loaded beside the
    model.

    1. Everything that was asked for, and cells for all slots at once. 2. If that does not fit: fewer cells, down to one
    context; the slots share them. 3. If nobody asked for a context: a shorter one. 4. Refused.
    """
    trained = header.of_architecture("context_length")
    slots = slots or Settings().slots
    wanted = context or min(trained or DEFAULT_CONTEXT, DEFAULT_CONTEXT, cells or DEFAULT_CONTEXT)
    # A state cannot be shared, so nothing is gained by idle ones; in large models each takes megabytes.
    sequences = slots if Shape(header).layer_state_floats else max(sequences, slots)
    whole, most, least = _rounded(slots * wanted), _rounded(sequences * wanted), _rounded(wanted)
    if cells and _rounded(cells) < least:
        raise ConfigurationError(
            f"{cells} KV cells cannot hold one context of {wanted} tokens: raise the cells or lower it"
        )
    adapts_output = any(f"{OUTPUT}.lora_a" in adapter.tensors for adapter in adapters)
    footprint = Footprint(header, sequences, max(step_tokens, slots), cache_type, outputs, adapts_output=adapts_output)
    adapter_bytes = sum(adapter.size_bytes for adapter in adapters)
    eyes = projector.size_bytes + eyes_compute_bytes(projector) if projector else 0
    margin = min(max(int(free_bytes * MARGIN_SHARE), LEAST_MARGIN), MOST_MARGIN)

    def budget(cells: int, context: int = wanted) -> Budget:
        kv, compute = footprint.kv_bytes(cells), footprint.compute_bytes(cells)
        return Budget(slots, sequences, context, cells, footprint.cell_bytes, kv, header.size_bytes, compute, margin,
                      free_bytes, cache_type, adapter_bytes, eyes)  # fmt: skip

    first = budget(min(_rounded(cells), most) if cells else whole)  # 1
    if first.fits:
        return first
    floor = first.cells if cells else least if context else min(_rounded(LEAST_CONTEXT), least)
    choices = range(floor, first.cells, CELLS_BLOCK)
    best = bisect_right(choices, False, key=lambda count: not budget(count).fits) - 1
    if best >= 0:
        return budget(choices[best], min(wanted, choices[best]))  # 2 and 3
    smallest = budget(floor, min(wanted, floor))
    raise DoesNotFit(f"the model does not fit into memory: {smallest}. {_ADVICE}")  # 4


_ADVICE = "Fewer slots, a smaller context, fewer KV cells, a q8_0 cache or a smaller quantization would need less"


def eyes_compute_bytes(projector: Header) -> int:
    """mtmd's compute buffer, for the largest image that the projector's header names; with flash attention."""

    def said(key: str) -> int:
        value = projector.values.get(f"clip.vision.{key}")
        return value if isinstance(value, int) else 0

    pixels = max(said("image_size") ** 2, said("image_max_pixels"))
    patches = pixels // max(said("patch_size"), 1) ** 2
    floats = PATCH_STATES * said("embedding_length") + said("feed_forward_length")
    return (CHANNELS * pixels + patches * floats) * FLOAT_BYTES


class Footprint:
    """What one model takes, as a function of its cells. Raises `ConfigurationError` for a cache that llama.cpp refuses."""

    def __init__(
        self,
        header: Header,
        sequences: int,
        step_tokens: int,
        cache_type: str,
        outputs: int = 0,
        *,
        adapts_output: bool = False,
    ) -> None:
        if cache_type not in CACHE_TYPES:
            raise ConfigurationError(f"{cache_type!r} is no type of KV cache; there are {', '.join(CACHE_TYPES)}")
        self._shape = Shape(header)
        self._sequences = sequences
        self._batch = min(step_tokens, MAX_PHYSICAL_BATCH)
        self._computed = min(outputs or self._batch, self._batch) * (2 if adapts_output else 1)
        self._kept = max(outputs, sequences)
        self.cell_bytes = self._shape.cell_bytes(cache_type)

    def kv_bytes(self, cells: int) -> int:
        return self.cell_bytes * cells + self._sequences * self._shape.state_floats * FLOAT_BYTES

    def compute_bytes(self, cells: int) -> int:
        """llama.cpp's compute and output buffers."""
        shape, batch = self._shape, self._batch
        states = 2 * self._sequences * shape.layer_state_floats
        layer = (batch * shape.activation_floats + states) * FLOAT_BYTES
        mask = cells * batch * MASK_BYTES * shape.masks if self.cell_bytes else 0
        logits, kept = (rows * shape.vocabulary * FLOAT_BYTES for rows in (self._computed, self._kept))
        under = min(layer, UNDER_LOGITS * shape.width * batch * FLOAT_BYTES)
        return max(layer + mask, under + logits) + kept


def _rounded(cells: int) -> int:
    return -(-cells // CELLS_BLOCK) * CELLS_BLOCK


def _spell(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1_000_000_000 else f"{count / 1e6:.1f} MB"
