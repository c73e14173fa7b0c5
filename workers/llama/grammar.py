"""A model's vocabulary as llguidance sees it: the bytes of every token, and llama.cpp's own tokenizer."""

from __future__ import annotations

from llguidance import LLTokenizer
from llguidance.llamacpp import lltokenizer_from_vocab
from tropilla.common.errors import InvalidPrompt
from tropilla.workers.llama.vocabulary import Vocabulary


def tokenizer_of(vocabulary: Vocabulary) -> LLTokenizer:
    """Takes 0.7 s for 152,000 tokens: once per model. It points into the model and must not outlive it.

    Raises `InvalidPrompt` for a model without any token that ends a turn: a constrained answer could not end.
    """
    # Every token that ends a turn may follow a complete answer; llama.cpp knows several in most chat models.
    ends = [token for token in range(vocabulary.size) if vocabulary.ends_turn(token)]
    if not ends:
        raise InvalidPrompt("this model has no token that ends a turn and cannot be constrained", code="constraint")
    return lltokenizer_from_vocab(vocabulary.pointer, eos_token=ends)
