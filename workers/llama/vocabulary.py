"""Text <-> token ids, by the model's own vocabulary."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import llama_cpp

_ADDED = llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED


class Vocabulary:
    """Text <-> token ids, and what each id is. Safe from every thread."""

    def __init__(self, model: Any) -> None:
        self._vocab = llama_cpp.llama_model_get_vocab(model)
        self.size = int(llama_cpp.llama_vocab_n_tokens(self._vocab))
        self.adds_bos = bool(llama_cpp.llama_vocab_get_add_bos(self._vocab))
        self.adds_eos = bool(llama_cpp.llama_vocab_get_add_eos(self._vocab))
        self._pieces: dict[int, bytes] = {}
        self._markers = frozenset(i for i in range(self.size) if llama_cpp.llama_vocab_is_control(self._vocab, i))
        #: Each of them ends the model's turn.
        self.ends = frozenset(i for i in range(self.size) if llama_cpp.llama_vocab_is_eog(self._vocab, i))
        fim = [
            int(ask(self._vocab))
            for ask in (llama_cpp.llama_vocab_fim_pre, llama_cpp.llama_vocab_fim_suf, llama_cpp.llama_vocab_fim_mid)
        ]
        #: The tokens before prefix, suffix and middle, for models that fill in the middle.
        self.infill = (fim[0], fim[1], fim[2]) if min(fim) >= 0 else None
        bos, eos = llama_cpp.llama_vocab_bos(self._vocab), llama_cpp.llama_vocab_eos(self._vocab)
        #: What an empty prompt starts from.
        self.start = int(bos if bos >= 0 else eos if eos >= 0 else 0)
        self.bos_text = self.piece(bos).decode(errors="replace") if bos >= 0 else ""
        self.eos_text = self.piece(eos).decode(errors="replace") if eos >= 0 else ""

    @property
    def pointer(self) -> Any:
        """llama.cpp's own handle."""
        return self._vocab

    @property
    def marker_texts(self) -> frozenset[str]:
        """The spellings of all control tokens: what user text must not be able to say."""
        return frozenset(self.piece(token).decode(errors="replace") for token in self._markers)

    def tokenize(self, text: str, *, special: bool, start: bool) -> list[int]:
        """Token ids. special: markers spelled in the text become markers. start: with what the model's tokenizer puts
        around a text: a BOS, and for some an EOS.
        """
        data = text.encode()
        room = len(data) + 2
        for _ in range(2):
            ids = (llama_cpp.llama_token * room)()
            count = llama_cpp.llama_tokenize(self._vocab, data, len(data), ids, room, start, special)
            if count >= 0:
                return list(ids[:count])
            room = -count
        raise AssertionError("llama_tokenize asked for more room than it had said it needs")

    def piece(self, token: int) -> bytes:
        """The token's bytes; a marker is spelled out."""
        known = self._pieces.get(token)
        if known is None:
            known = self._pieces[token] = self._render(token)
        return known

    @cached_property
    def tags(self) -> Mapping[str, int]:
        """Tokens that a grammar's text cannot spell (`llguidance.llamacpp`): markers, and what was added to the vocabulary
        in angle brackets, such as `<think>` and `<tool_call>`.
        """
        added = [i for i in range(self.size) if llama_cpp.llama_vocab_get_attr(self._vocab, i) & _ADDED]
        spelled = [(i, self.piece(i)) for i in (*self._markers, *added)]
        return {
            piece.decode(errors="replace"): i
            for i, piece in spelled
            if self.is_marker(i) or (piece.startswith(b"<") and piece.endswith(b">"))
        }

    def is_marker(self, token: int) -> bool:
        return token in self._markers

    def ends_turn(self, token: int) -> bool:
        return token in self.ends

    def _render(self, token: int) -> bytes:
        room = 64
        for _ in range(2):
            buffer = ctypes.create_string_buffer(room)
            length = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, room, 0, True)
            if length >= 0:
                return buffer.raw[:length]
            room = -length
        raise AssertionError("llama_token_to_piece asked for more room than it had said it needs")
