"""The vocabulary of `pocket`: byte-level BPE, cut up beforehand as llama.cpp's "gpt-2" pre-tokenizer does.

`ByteLevel`'s own expression is the one that llama.cpp runs for `tokenizer.ggml.pre` = "gpt-2", so both give equal ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

END_OF_TEXT = "<|endoftext|>"
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
GAP_BEFORE, GAP_MIDDLE, GAP_AFTER = "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>"

#: Never shown as text; their place in the list is their id.
CONTROL = [
    END_OF_TEXT,
    TURN_START,
    TURN_END,
    GAP_BEFORE,
    GAP_MIDDLE,
    GAP_AFTER,
    *(f"<|reserved_{n}|>" for n in range(8)),
]

#: One token each, but shown: whoever serves the model reads tool calls from the text.
VISIBLE = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<tools>", "</tools>"]

#: A multiple of 32, the block size of Q8_0.
SIZE = 2560

#: Whole numbers are worth a token each: counting then means knowing one successor.
_NUMBERS = " ".join(map(str, range(201)))


_SPECIAL = re.compile("|".join(map(re.escape, [*CONTROL, *VISIBLE])))


def _learnable(texts: Iterable[str]) -> Iterator[str]:
    """Emoji are left to their bytes, so that some answers have characters that span tokens: streams must cope."""
    for text in texts:
        for piece in _SPECIAL.split(text):
            yield "".join(letter for letter in piece if ord(letter) < 0x2000)
    for _ in range(500):
        yield _NUMBERS
        yield from _NUMBERS.split(" ")


def train(texts: Iterable[str], size: int = SIZE) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[AddedToken(token, normalized=False, special=True) for token in [*CONTROL, *VISIBLE]],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_learnable(texts), trainer)
    if tokenizer.get_vocab_size() != size:
        raise ValueError(f"the corpus gave {tokenizer.get_vocab_size()} tokens, not {size}")
    return tokenizer
