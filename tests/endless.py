"""A GGUF that never stops by itself, and is slow enough to be interrupted: random weights, a vocabulary of bytes.

Greedy, some byte always beats the end token, whose output row is zero. Text is noise; indices, timing and life cycle are
what tests look at. Some milliseconds a token on one core.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy

WIDTH, LAYERS, HEADS, FEED_FORWARD, CONTEXT, VOCABULARY = 512, 4, 8, 1536, 8192, 288
END = 256


def byte_letters() -> list[str]:
    """GPT-2's printable stand-in for each byte, in byte order."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, extra = {byte: chr(byte) for byte in plain}, 256
    for byte in range(256):
        if byte not in letters:
            letters[byte] = chr(extra)
            extra += 1
    return [letters[byte] for byte in range(256)]


def write(path: Path) -> Path:
    """Writes the model (about 60 MB, half a second)."""
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer)
    random = numpy.random.default_rng(1)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(name, (random.standard_normal(shape) / WIDTH**0.5).astype(numpy.float32))

    output = random.standard_normal((VOCABULARY, WIDTH)).astype(numpy.float32)
    output[END:] = 0
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", numpy.ones(WIDTH, numpy.float32))
    add("token_embd.weight", VOCABULARY, WIDTH)
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{layer}.{name}.weight", WIDTH, WIDTH)
        add(f"blk.{layer}.ffn_gate.weight", FEED_FORWARD, WIDTH)
        add(f"blk.{layer}.ffn_up.weight", FEED_FORWARD, WIDTH)
        add(f"blk.{layer}.ffn_down.weight", WIDTH, FEED_FORWARD)
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", numpy.ones(WIDTH, numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _describe(writer: gguf.GGUFWriter) -> None:
    tokens = [*byte_letters(), "<|endoftext|>"]
    tokens += [f"<|spare_{number}|>" for number in range(len(tokens), VOCABULARY)]
    writer.add_name("endless")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_file_type(0)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * END + [gguf.TokenType.CONTROL] * (VOCABULARY - END))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(END)
    writer.add_eos_token_id(END)
    writer.add_add_bos_token(False)
