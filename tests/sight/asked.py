"""`sight` asked through llama.cpp alone: the template of its file, mtmd's chunks, and greedy tokens."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import llama_cpp
import numpy as np
from jinja2.sandbox import ImmutableSandboxedEnvironment
from llama_cpp import Llama, mtmd_cpp
from PIL import Image

from sight import MARKER, MODEL, PROJECTOR

#: Positions that the context has room for.
CONTEXT = 2048


class Chunk(NamedTuple):
    """What mtmd cuts a prompt into: token ids, or the embeddings (tokens, width) of a picture."""

    tokens: list[int]
    seen: np.ndarray | None

    @property
    def length(self) -> int:
        return len(self.tokens) if self.seen is None else len(self.seen)


class Asked:
    """Both files, loaded."""

    def __init__(self, llama: Llama, eye: int) -> None:
        self.llama = llama
        self.eye = eye
        self.position = 0
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        self.template = environment.from_string(llama.metadata["tokenizer.chat_template"])

    def render(self, messages: Sequence[Mapping[str, Any]]) -> str:
        return self.template.render(messages=messages, add_generation_prompt=True)

    def ask(self, question: str, *pictures: Image.Image, most: int = 300) -> str:
        """One turn, with the pictures before the question unless it says itself where they stand."""
        text = question if MARKER in question else MARKER * len(pictures) + question
        return self.complete(self.render([{"role": "user", "content": text}]), pictures, most=most)

    def complete(self, prompt: str, pictures: Sequence[Image.Image], *, most: int = 300) -> str:
        scores = self.read(self.cut(prompt, pictures))
        vocabulary, drawn = llama_cpp.llama_model_get_vocab(self.llama.model), []
        while len(drawn) < most and not llama_cpp.llama_vocab_is_eog(vocabulary, token := int(scores.argmax())):
            drawn.append(token)
            scores = self._decode(Chunk([token], None))
        return self.llama.detokenize(drawn).decode()

    def cut(self, prompt: str, pictures: Sequence[Image.Image]) -> list[Chunk]:
        """The prompt as mtmd sees it, every picture encoded."""
        with ExitStack() as exits:
            bitmaps = [exits.enter_context(_bitmap(picture)) for picture in pictures]
            chunks = mtmd_cpp.mtmd_input_chunks_init()
            exits.callback(mtmd_cpp.mtmd_input_chunks_free, chunks)
            raw = prompt.encode()
            text = mtmd_cpp.mtmd_input_text(text=raw, text_len=len(raw), add_special=False, parse_special=True)
            array = (mtmd_cpp.mtmd_bitmap_p_ctypes * len(bitmaps))(*bitmaps)
            code = mtmd_cpp.mtmd_tokenize(self.eye, chunks, ctypes.byref(text), array, len(bitmaps))
            assert code == 0, f"mtmd_tokenize says {code}"
            count = mtmd_cpp.mtmd_input_chunks_size(chunks)
            return [self._chunk(mtmd_cpp.mtmd_input_chunks_get(chunks, index)) for index in range(count)]

    def _chunk(self, chunk: Any) -> Chunk:
        length = mtmd_cpp.mtmd_input_chunk_get_n_tokens(chunk)
        if mtmd_cpp.mtmd_input_chunk_get_type(chunk) == mtmd_cpp.MTMD_INPUT_CHUNK_TYPE_TEXT:
            tokens = mtmd_cpp.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(ctypes.c_size_t()))
            return Chunk(tokens[:length], None)
        code = mtmd_cpp.mtmd_encode_chunk(self.eye, chunk)
        assert code == 0, f"mtmd_encode_chunk says {code}"
        shape = length, self.llama.n_embd()
        return Chunk([], np.ctypeslib.as_array(mtmd_cpp.mtmd_get_output_embd(self.eye), shape).copy())

    def read(self, chunks: Sequence[Chunk]) -> np.ndarray:
        """Scores of the token after all chunks, computed from nothing."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.llama.ctx), True)
        self.position = 0
        return [self._decode(chunk) for chunk in chunks][-1]

    def _decode(self, chunk: Chunk) -> np.ndarray:
        """One chunk in one batch, causally; the scores behind its last place."""
        length, seen = chunk.length, chunk.seen
        batch = llama_cpp.llama_batch_init(length, 0 if seen is None else seen.shape[1], 1)
        batch.n_tokens = length
        for index in range(length):
            batch.pos[index], batch.n_seq_id[index], batch.seq_id[index][0] = self.position + index, 1, 0
            batch.logits[index] = index == length - 1
            if seen is None:
                batch.token[index] = chunk.tokens[index]
        if seen is not None:
            ctypes.memmove(batch.embd, np.ascontiguousarray(seen, np.float32).ctypes.data, seen.size * 4)
        code = llama_cpp.llama_decode(self.llama.ctx, batch)
        llama_cpp.llama_batch_free(batch)
        assert code == 0, f"llama_decode says {code}"
        self.position += length
        scores = llama_cpp.llama_get_logits_ith(self.llama.ctx, length - 1)
        return np.ctypeslib.as_array(scores, (self.llama.n_vocab(),)).copy()


@contextmanager
def _bitmap(picture: Image.Image) -> Iterator[int]:
    points = np.ascontiguousarray(picture.convert("RGB"))
    data = points.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
    bitmap = mtmd_cpp.mtmd_bitmap_init(picture.width, picture.height, data)
    yield bitmap
    mtmd_cpp.mtmd_bitmap_free(bitmap)


@contextmanager
def asked() -> Iterator[Asked]:
    # Two threads that wait for each other at every layer are slower than one, as soon as the machine has other work.
    llama = Llama(str(MODEL), n_ctx=CONTEXT, n_batch=CONTEXT, n_threads=1, n_threads_batch=1, verbose=False)
    parameters = mtmd_cpp.mtmd_context_params_default()
    parameters.use_gpu, parameters.n_threads, parameters.print_timings = False, 1, False
    eye = mtmd_cpp.mtmd_init_from_file(str(PROJECTOR).encode(), llama.model, parameters)
    assert eye, f"mtmd cannot load {PROJECTOR}"
    yield Asked(llama, eye)
    mtmd_cpp.mtmd_free(eye)
    llama.close()
