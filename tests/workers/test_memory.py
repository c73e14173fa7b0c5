"""The arithmetic, held against what llama.cpp says it allocates; and that it gives everything back."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from collections.abc import Sequence as SequenceOf
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy
import pytest
import sight
from llama_cpp import mtmd_cpp
from tiny import write_adapter, write_projector
from tropilla.common import settings
from tropilla.common.errors import ConfigurationError
from tropilla.common.gguf import Header, read_header
from tropilla.workers import pocket
from tropilla.workers.llama import library
from tropilla.workers.memory import MARGIN_SHARE, MOST_MARGIN, Budget, Footprint, eyes_compute_bytes, plan
from tropilla.workers.shape import CACHE_TYPES, Shape

GB, MB, MIB = 10**9, 10**6, 1 << 20
#: The shape of a 7B model: 4 KiB a layer and cell, 128 KiB a cell.
SEVEN = {
    "block_count": 32,
    "context_length": 8192,
    "embedding_length": 4096,
    "feed_forward_length": 14336,
    "attention.head_count": 32,
    "attention.head_count_kv": 8,
    "vocab_size": 32000,
}
CELL = 32 * 8 * (128 + 128) * 2
WEIGHTS = 4 * GB


def header(architecture: str = "llama", size_bytes: int = WEIGHTS, **values: Any) -> Header:
    """Of SEVEN, with other values; a double underscore is a dot, None leaves the key out."""
    keys = SEVEN | {name.replace("__", "."): value for name, value in values.items()}
    named = {f"{architecture}.{key}": value for key, value in keys.items() if value is not None}
    return Header({"general.architecture": architecture, **named}, 7 * GB, size_bytes)


def budget(free_bytes: int, *, of: Header | None = None, **asked: Any) -> Budget:
    given: dict[str, Any] = {"slots": 8, "context": 0, "cells": 0, "step_tokens": 256, **asked}
    return plan(of or header(), free_bytes=free_bytes, **given)


def refusal(free_bytes: int, **asked: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        budget(free_bytes, **asked)
    assert "\n" not in caught.value.message
    return caught.value.message


# -- cells ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cache_type", "share"),
    [("f32", 2), ("f16", 1), ("bf16", 1), ("q8_0", 34 / 64), ("q4_0", 18 / 64), ("iq4_nl", 18 / 64), ("q5_1", 24 / 64)],
)
def test_a_cell_is_a_row_of_keys_and_one_of_values_in_each_layer(cache_type: str, share: float) -> None:
    assert Shape(header()).cell_bytes(cache_type) == CELL * share


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (header(attention__head_count_kv=None), CELL * 4),
        (header(attention__key_length=64, attention__value_length=192), CELL),
        (header(block_count=4, attention__head_count_kv=(8, 1, 0, 2)), 11 * 256 * 2),
        # Gemma 4: layers with a window have other heads, and the last ones have no cells of their own.
        (
            header(
                "gemma4",
                block_count=4,
                attention__head_count_kv=(8, 8, 8, 2),
                attention__key_length=512,
                attention__value_length=512,
                attention__key_length_swa=256,
                attention__value_length_swa=256,
                attention__sliding_window_pattern=(True, True, True, False),
            ),
            (3 * 8 * 512 + 2 * 1024) * 2,
        ),
        (header("gemma4", attention__shared_kv_layers=20), CELL * 12 // 32),
        (header("gemma3n"), CELL * 20 // 32),
        # DeepSeek's latent attention: one head of keys, no values.
        (header("deepseek2", attention__head_count_kv=1, attention__key_length=576, attention__key_length_mla=192),
         32 * 576 * 2),
        # Every fourth layer attends.
        (header("qwen3next", ssm__inner_size=4096, ssm__state_size=128), CELL // 4),
        (header("mamba", attention__head_count=0, ssm__inner_size=1536, ssm__state_size=16), 0),
        (header("rwkv7", attention__head_count=0, wkv__head_size=64), 0),
        # A window is as large as everything.
        (header("gemma3", attention__sliding_window=512), CELL),
    ],
)  # fmt: skip
def test_a_cell_of_an_unusual_model(of: Header, expected: int) -> None:
    assert Shape(of).cell_bytes("f16") == expected


@pytest.mark.parametrize(
    ("of", "layers", "floats"),
    [
        (header(), 32, 0),
        (header("mamba", attention__head_count=0, ssm__conv_kernel=4, ssm__inner_size=1536, ssm__state_size=16), 32,
         3 * 1536 + 16 * 1536),
        (header("jamba", block_count=4, attention__head_count_kv=(0, 0, 8, 0), ssm__conv_kernel=4, ssm__inner_size=1536,
                ssm__state_size=16), 3, 3 * 1536 + 16 * 1536),
        (header("lfm2", block_count=4, attention__head_count_kv=(0, 0, 8, 0), shortconv__l_cache=3), 3, 4096 * 2),
        (header("rwkv6", attention__head_count=0, wkv__head_size=64), 32, 4096 * (2 + 64)),
        (header("qwen3next", ssm__conv_kernel=4, ssm__inner_size=4096, ssm__state_size=128, ssm__group_count=16), 24,
         3 * (4096 + 2 * 16 * 128) + 128 * 4096),
        # Nothing says which layers are which: all of them are both.
        (header("falcon-h1", ssm__conv_kernel=4, ssm__inner_size=4096, ssm__state_size=128), 32, 3 * 4096 + 128 * 4096),
    ],
)  # fmt: skip
def test_a_recurrent_layer_has_a_state_for_each_sequence(of: Header, layers: int, floats: int) -> None:
    assert Shape(of).state_floats == layers * floats
    sequences = [Footprint(of, count, 256, "f16").kv_bytes(0) for count in (1, 8)]
    assert sequences == [layers * floats * 4, layers * floats * 4 * 8]


def test_settings_and_arithmetic_know_the_same_cache_types() -> None:
    assert set(CACHE_TYPES) == set(settings.CACHE_TYPES)


def test_heads_that_a_cache_type_cannot_divide_are_refused_before_llama_cpp_does() -> None:
    with pytest.raises(ConfigurationError, match="80 elements cannot be kept as q8_0"):
        Footprint(header(attention__key_length=80), 1, 256, "q8_0")
    with pytest.raises(ConfigurationError, match="'q9' is no type"):
        Footprint(header(), 1, 256, "q9")


# -- the plan -----------------------------------------------------------------------------------------------------------


def test_with_enough_memory_every_slot_has_its_own_cells() -> None:
    found = budget(64 * GB)
    assert (found.slots, found.context, found.cells) == (8, 4096, 8 * 4096)
    assert found.kv_bytes == 8 * 4096 * CELL
    assert found.weight_bytes == WEIGHTS


def test_with_less_the_slots_share_as_many_cells_as_fit() -> None:
    found = budget(8 * GB)
    assert (found.slots, found.context) == (8, 4096)
    assert 4096 < found.cells < 8 * 4096
    assert found.cells % 256 == 0
    assert found.fits
    assert not dataclasses.replace(found, kv_bytes=found.kv_bytes + 256 * CELL + 300_000).fits


def test_with_little_the_context_becomes_shorter() -> None:
    found = budget(int(5.1 * GB))
    assert 512 <= found.context < 4096
    assert found.cells == found.context
    assert found.fits


def test_more_memory_never_gives_less() -> None:
    budgets = [budget(free) for free in range(5 * GB, 14 * GB, 100 * MB)]
    assert [one.cells for one in budgets] == sorted(one.cells for one in budgets)
    assert [one.context for one in budgets] == sorted(one.context for one in budgets)
    assert all(one.fits for one in budgets)


def test_a_model_that_cannot_fit_is_refused_with_every_number() -> None:
    message = refusal(3 * GB)
    for words in ("8 slots of 512 tokens", "512 KV cells", f"{CELL} bytes", "4.00 GB weights", "3.00 GB free", "f16"):
        assert words in message
    assert "does not fit" in message


def test_what_was_asked_for_is_not_made_smaller_but_refused() -> None:
    assert "8 slots of 4096 tokens share 4096 KV cells" in refusal(int(4.8 * GB), context=4096)
    assert "32768 KV cells" in refusal(8 * GB, cells=32768)
    # The context was asked for, the cells were not: one context is enough.
    assert budget(int(5.4 * GB), context=4096).cells >= 4096


@pytest.mark.parametrize(
    ("asked", "context", "cells"),
    [
        ({"context": 1000}, 1000, 8192),
        ({"context": 100, "slots": 1}, 100, 256),
        ({"cells": 1000}, 1000, 1024),
        ({"cells": 10_000}, 4096, 10_240),
        ({"cells": 300, "context": 300}, 300, 512),
        # Nobody could use more, but idle sequences kept for their prefixes.
        ({"cells": 1 << 20}, 4096, 8 * 4096),
        ({"cells": 50_000, "sequences": 16}, 4096, 50_176),
        ({"context": 8192, "slots": 0}, 8192, settings.Settings().slots * 8192),
        ({"context": 10_000, "slots": 1}, 10_000, 10_240),
    ],
)
def test_what_was_asked_for_is_given(asked: dict[str, int], context: int, cells: int) -> None:
    found = budget(64 * GB, **asked)
    assert (found.context, found.cells) == (context, cells)


def test_idle_sequences_are_kept_for_their_cells_and_not_for_their_states() -> None:
    assert budget(64 * GB, sequences=32).sequences == 32
    assert budget(64 * GB, sequences=4).sequences == 8
    mamba = header("mamba", attention__head_count=0, ssm__conv_kernel=4, ssm__inner_size=1536, ssm__state_size=16)
    assert budget(64 * GB, of=mamba, sequences=32).sequences == 8


def test_cells_that_hold_no_context_are_refused() -> None:
    assert refusal(64 * GB, cells=2048, context=4096).startswith("2048 KV cells cannot hold one context of 4096 tokens")


def test_a_model_trained_for_less_gets_no_more() -> None:
    assert budget(64 * GB, of=header(context_length=300)).context == 300
    assert budget(64 * GB, of=header(context_length=None)).context == 4096
    assert budget(5 * GB, of=header(context_length=300)).cells >= 512


def test_a_tenth_is_left_to_others_within_bounds() -> None:
    assert budget(64 * GB).margin_bytes == MOST_MARGIN
    small = plan(read_header(pocket.path()), slots=8, context=0, cells=0, step_tokens=256, free_bytes=400 * MB)
    assert small.margin_bytes == 400 * MB * MARGIN_SHARE
    assert small.cells == 8 * 4096


def test_the_log_line_has_the_numbers() -> None:
    line = str(budget(64 * GB, cache_type="q8_0"))
    for words in ("8 slots of 4096 tokens share 32768 KV cells of 69632 bytes (q8_0)", "4.00 GB weights", "2.28 GB KV",
                  "64.00 GB free", "536.9 MB are left to others"):  # fmt: skip
        assert words in line


# -- llama.cpp itself ---------------------------------------------------------------------------------------------------

WIDTH, SPREAD, VOCABULARY, HEADS, KV_HEADS, INNER, STATE = 256, 768, 8192, 4, 2, 512, 16
#: Heads by layer: 0 is a recurrent one. Seven layers, since every sixth of gemma3 has no window.
JAMBA = (0, 0, KV_HEADS, 0, 0, KV_HEADS, 0)
Tensor = Callable[..., None]


def write(
    path: Path,
    architecture: str,
    layers: int,
    layer: Callable[[Tensor, int], None],
    *,
    words: SequenceOf[str] = (),
    output: bool = False,
    **keys: Any,
) -> Path:
    """A GGUF of zeros; without words it has no more of a tokenizer than how many tokens there are. output: it has a
    matrix of its own for it, where others use the embeddings again.
    """
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_tokenizer_model("gpt2" if words else "no_vocab")
    if words:
        writer.add_token_list(words)
        writer.add_token_types([gguf.TokenType.NORMAL] * len(words))
        writer.add_token_merges(["w 1"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_head_count(HEADS)
    shape = {"vocab_size": VOCABULARY, "context_length": 32768, "embedding_length": WIDTH, "block_count": layers,
             "feed_forward_length": SPREAD}  # fmt: skip
    for key, value in {**shape, **keys}.items():
        name = f"{architecture}.{key.replace('__', '.')}"
        writer.add_array(name, list(value)) if isinstance(value, tuple) else writer.add_uint32(name, value)

    def tensor(name: str, *shape: int, kind: Any = None) -> None:
        writer.add_tensor(name, numpy.zeros(shape, kind or (numpy.float32 if len(shape) == 1 else numpy.float16)))

    tensor("token_embd.weight", VOCABULARY, WIDTH)
    tensor("output_norm.weight", WIDTH)
    if output:
        tensor("output.weight", VOCABULARY, WIDTH)
    for number in range(layers):
        layer(lambda name, *shape, kind=None, at=f"blk.{number}.": tensor(at + name, *shape, kind=kind), number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def attention(tensor: Tensor, *, norms: bool = False) -> None:
    length = WIDTH // HEADS
    tensor("attn_norm.weight", WIDTH)
    for part, rows in (("q", WIDTH), ("k", KV_HEADS * length), ("v", KV_HEADS * length), ("output", WIDTH)):
        tensor(f"attn_{part}.weight", rows, WIDTH)
    for part in ("q", "k") if norms else ():
        tensor(f"attn_{part}_norm.weight", length)


def feed_forward(tensor: Tensor) -> None:
    tensor("ffn_norm.weight", WIDTH)
    for part, shape in (("gate", (SPREAD, WIDTH)), ("up", (SPREAD, WIDTH)), ("down", (WIDTH, SPREAD))):
        tensor(f"ffn_{part}.weight", *shape)


def recurrent(tensor: Tensor) -> None:
    single, rank = numpy.float32, 16
    tensor("attn_norm.weight", WIDTH)
    tensor("ssm_in.weight", 2 * INNER, WIDTH)
    tensor("ssm_conv1d.weight", INNER, 4, kind=single)
    tensor("ssm_conv1d.bias", INNER)
    tensor("ssm_x.weight", rank + 2 * STATE, INNER)
    tensor("ssm_dt.weight", INNER, rank)
    tensor("ssm_dt.bias", INNER)
    tensor("ssm_a", INNER, STATE, kind=single)
    tensor("ssm_d", INNER)
    tensor("ssm_out.weight", WIDTH, INNER)
    for part, size in (("dt", rank), ("b", STATE), ("c", STATE)):
        tensor(f"ssm_{part}_norm.weight", size)


def llama_layer(tensor: Tensor, _: int) -> None:
    attention(tensor)
    feed_forward(tensor)


def gemma_layer(tensor: Tensor, _: int) -> None:
    attention(tensor, norms=True)
    feed_forward(tensor)
    tensor("post_attention_norm.weight", WIDTH)
    tensor("post_ffw_norm.weight", WIDTH)


def expert_layer(tensor: Tensor, _: int) -> None:
    attention(tensor, norms=True)
    tensor("ffn_norm.weight", WIDTH)
    tensor("ffn_gate_inp.weight", 8, WIDTH)
    for part, shape in (("gate", (8, SPREAD, WIDTH)), ("up", (8, SPREAD, WIDTH)), ("down", (8, WIDTH, SPREAD))):
        tensor(f"ffn_{part}_exps.weight", *shape)


def jamba_layer(tensor: Tensor, number: int) -> None:
    attention(tensor) if JAMBA[number] else recurrent(tensor)
    feed_forward(tensor)


MAMBA = {"ssm__conv_kernel": 4, "ssm__inner_size": INNER, "ssm__state_size": STATE, "ssm__time_step_rank": 16}
KINDS: dict[str, tuple[Callable[[Tensor, int], None], dict[str, Any]]] = {
    "llama": (llama_layer, {"attention__head_count_kv": KV_HEADS, "rope__dimension_count": WIDTH // HEADS}),
    "gemma3": (
        gemma_layer,
        {
            "attention__head_count_kv": KV_HEADS,
            "attention__key_length": WIDTH // HEADS,
            "attention__value_length": WIDTH // HEADS,
            "attention__sliding_window": 512,
        },
    ),
    "qwen3moe": (
        expert_layer,
        {
            "attention__head_count_kv": KV_HEADS,
            "expert_count": 8,
            "expert_used_count": 4,
            "expert_feed_forward_length": SPREAD,
        },
    ),
    "jamba": (jamba_layer, {"attention__head_count_kv": JAMBA, **MAMBA}),
}


@pytest.fixture(scope="module", params=["pocket", *KINDS])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Header]:
    """A model of each kind, and its header."""
    if request.param == "pocket":
        return pocket.path(), read_header(pocket.path())
    layer, keys = KINDS[request.param]
    path = write(tmp_path_factory.mktemp("models") / f"{request.param}.gguf", request.param, len(JAMBA), layer, **keys)
    read = read_header(path)
    named = {f"{request.param}.{key.replace('__', '.')}": value for key, value in keys.items()}
    return path, dataclasses.replace(read, values={**read.values, **named})


@contextmanager
def log_lines() -> Iterator[list[str]]:
    lines: list[str] = []

    @llama_cpp.llama_log_callback
    def keep(_: int, text: bytes, __: Any) -> None:
        lines.append(text.decode(errors="replace"))

    library.start()
    llama_cpp.llama_log_set(keep, ctypes.c_void_p(0))
    mtmd_cpp.mtmd_helper_log_set(keep, ctypes.c_void_p(0))
    try:
        yield lines
    finally:
        library.start()


def reported(lines: list[str], *buffers: str) -> float:
    """The sum, in bytes, of the buffers that llama.cpp says it has allocated."""
    pattern = re.compile(rf"(?:{'|'.join(buffers)}) buffer size = +([\d.]+) MiB")
    return sum(float(found[1]) for line in lines if (found := pattern.search(line))) * MIB


CONTEXTS = [(8192, 256, 8, 0, "f16"), (8192, 256, 8, 0, "q8_0"), (2048, 512, 4, 36, "f16"), (16384, 64, 8, 40, "q4_0")]


def test_llama_cpp_allocates_what_was_foreseen_or_a_little_less(file: tuple[Path, Header]) -> None:
    path, header = file
    with log_lines() as lines:
        model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        assert model, "".join(lines[-3:])
        weights = reported(lines, "model")
        assert 0.9 * header.size_bytes < weights <= 1.001 * header.size_bytes
        for cells, step_tokens, sequences, outputs, cache_type in CONTEXTS:
            lines.clear()
            params = llama_cpp.llama_context_default_params()
            params.n_ctx, params.n_seq_max, params.n_outputs_max = cells, sequences, outputs
            params.n_batch = params.n_ubatch = step_tokens
            params.kv_unified = True
            params.type_k = params.type_v = CACHE_TYPES[cache_type].number
            context = llama_cpp.llama_init_from_model(model, params)
            assert context, "".join(lines[-3:])
            llama_cpp.llama_free(context)
            foreseen = Footprint(header, sequences, step_tokens, cache_type, outputs)
            assert foreseen.kv_bytes(cells) == pytest.approx(reported(lines, "KV", "RS"), abs=0.02 * MIB)
            whole = weights + reported(lines, "KV", "RS", "compute", "output")
            expected = header.size_bytes + foreseen.kv_bytes(cells) + foreseen.compute_bytes(cells)
            assert 0.998 < expected / whole < 1.1, (path.name, cells, cache_type)
        llama_cpp.llama_model_free(model)


EVERYTHING = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


@pytest.mark.parametrize("adapted", [EVERYTHING, (*EVERYTHING, "output"), ("output",)], ids=len)
@pytest.mark.parametrize("outputs", [0, 40])
def test_llama_cpp_allocates_for_an_adapter_what_was_foreseen(
    tmp_path: Path, adapted: tuple[str, ...], outputs: int
) -> None:
    layer, keys = KINDS["llama"]
    path = write(tmp_path / "model.gguf", "llama", 3, layer, output=True, **keys)
    adapter = read_header(write_adapter(tmp_path / "adapter.gguf", path, rank=64, names=adapted))
    with log_lines() as lines:
        model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        loaded = llama_cpp.llama_adapter_lora_init(model, str(tmp_path / "adapter.gguf").encode())
        assert reported(lines, "LoRA") == pytest.approx(adapter.size_bytes, rel=0.01, abs=0.02 * MIB)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_seq_max, params.n_outputs_max = 2048, 8, outputs
        params.n_batch = params.n_ubatch = 256
        params.kv_unified = True
        context = llama_cpp.llama_init_from_model(model, params)
        rows = reported(lines, "output")
        lines.clear()
        llama_cpp.llama_set_adapters_lora(
            context, (llama_cpp.llama_adapter_lora_p_ctypes * 1)(loaded), 1, (ctypes.c_float * 1)(1.0)
        )
        assert llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one((ctypes.c_int32 * 1)(5), 1)) == 0
        whole = reported(lines, "compute") + rows
        llama_cpp.llama_free(context)
        llama_cpp.llama_model_free(model)
    foreseen = Footprint(read_header(path), 8, 256, "f16", outputs, adapts_output="output" in adapted)
    assert 0.998 < foreseen.compute_bytes(2048) / whole < 1.3


def test_adapters_take_their_part_of_the_memory() -> None:
    adapter = Header({}, 1, 300 * MB, tensors={"output.weight.lora_a": (4096, 8)})
    without, beside = budget(30 * GB), budget(30 * GB, adapters=[adapter])
    logits = 256 * SEVEN["vocab_size"] * 4
    assert beside.needed_bytes - without.needed_bytes == pytest.approx(300 * MB + logits, abs=logits)
    assert "300.0 MB adapters" in str(beside)
    assert "adapters" not in str(without)
    free_bytes = without.needed_bytes + without.margin_bytes
    assert budget(free_bytes).cells > budget(free_bytes, adapters=[adapter]).cells


def test_mtmd_allocates_for_a_projector_what_was_foreseen(tmp_path: Path) -> None:
    larger = write_projector(tmp_path / "mmproj.gguf", side=448, patch=14, width=256, spread=1024)
    with log_lines() as lines:
        model = llama_cpp.llama_model_load_from_file(str(sight.MODEL).encode(), llama_cpp.llama_model_default_params())
        for path in (sight.PROJECTOR, larger):
            header = read_header(path)
            lines.clear()
            params = mtmd_cpp.mtmd_context_params_default()
            mtmd_cpp.mtmd_free(mtmd_cpp.mtmd_init_from_file(str(path).encode(), model, params))
            compute = reported(lines, "compute")
            assert compute - 0.01 * MIB < eyes_compute_bytes(header) < 1.7 * compute
        llama_cpp.llama_model_free(model)


def test_a_projector_takes_its_part_of_the_memory() -> None:
    keys = {"image_size": 896, "patch_size": 14, "embedding_length": 1152, "feed_forward_length": 4304}
    projector = Header({f"clip.vision.{key}": value for key, value in keys.items()}, 1, 800 * MB)
    without, beside = budget(30 * GB), budget(30 * GB, projector=projector)
    compute = (3 * 896 * 896 + 4096 * (2 * 1152 + 4304)) * 4
    assert beside.needed_bytes - without.needed_bytes == 800 * MB + compute
    assert f"{(800 * MB + compute) / 1e6:.1f} MB projector" in str(beside)
    assert "projector" not in str(without)


# -- what is left afterwards --------------------------------------------------------------------------------------------

#: Loads, evaluates, closes, and says what is resident, in MB: before, with the model, after; three rounds.
ROUNDS = """
import ctypes, gc, json, sys
from pathlib import Path
from tropilla.workers.llama.model import Llama, Size
from tropilla.workers.scheduler import Chunk
from tropilla.workers.views import Spans

class Prompt:
    tokens, slot, adapter, views = [5] * 512, 0, "", Spans()

def resident():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

def round():
    before = resident()
    llama = Llama(Path(sys.argv[1]), Size(slots=4, context=2048, step_tokens=128), threads=1)
    sequence = Prompt()
    for start in range(0, 512, 128):
        llama.evaluate([Chunk(sequence, start, start + 128, samples=True)])
    during = resident()
    llama.close()
    del llama
    return before, during, resident()

print(json.dumps([round() for _ in range(4)]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc and glibc")
def test_a_model_that_is_closed_gives_its_memory_back(tmp_path: Path) -> None:
    path = tmp_path / "large.gguf"
    layer, keys = KINDS["llama"]
    words = [f"w{number}" for number in range(8192)]
    write(path, "llama", 50, layer, words=words, **keys)
    assert path.stat().st_size > 50 * MB
    done = subprocess.run(
        [sys.executable, "-c", ROUNDS, str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    rounds = json.loads(done.stdout.splitlines()[-1])
    # The first one also pays for what is loaded once: the library, threads, numpy.
    for before, during, after in rounds[1:]:
        assert during - before > 50
        assert abs(after - before) < 3, rounds
    assert rounds[-1][2] - rounds[0][2] < 3, rounds
