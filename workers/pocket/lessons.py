"""From documents to rows of token ids, each id marked as learned or only read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer
from tropilla.workers.pocket.documents import Chat, Document, Gap, Prose
from tropilla.workers.pocket.tokenizer import END_OF_TEXT, GAP_AFTER, GAP_BEFORE, GAP_MIDDLE

TEMPLATE = Path(__file__).with_name("template.jinja").read_text(encoding="utf-8")

#: What the assistant wrote, with the mark that ends its turn.
_ANSWER = re.compile(r"(?<=<\|im_start\|>assistant\n).*?<\|im_end\|>", re.DOTALL)

#: Rows that wait for a document that fits; more of them waste less space.
_OPEN_ROWS = 32

#: Documents encoded at once.
_CHUNK = 1024


class Span(NamedTuple):
    text: str
    learned: bool


class Row(NamedTuple):
    """Several documents one after another, each from its first token on."""

    tokens: list[int]
    learned: list[bool]


def _environment() -> ImmutableSandboxedEnvironment:
    """The settings that chat templates are written for."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment


_CHAT = _environment().from_string(TEMPLATE)


def spans(document: Document) -> Iterator[Span]:
    """Cut where learning begins and ends; the cuts are where a prompt would end, so tokens never straddle them."""
    match document:
        case Prose(text):
            yield Span(text + END_OF_TEXT, True)
        case Gap(before, middle, after):
            yield Span(f"{GAP_BEFORE}{before}{GAP_AFTER}{after}{GAP_MIDDLE}", False)
            yield Span(middle + END_OF_TEXT, True)
        case Chat(messages, tools):
            text, end = _CHAT.render(messages=messages, tools=tools or None), 0
            for answer in _ANSWER.finditer(text):
                yield Span(text[end : answer.start()], False)
                yield Span(answer[0], True)
                end = answer.end()
            yield Span(text[end:] + END_OF_TEXT, False)


def text_of(document: Document) -> str:
    return "".join(span.text for span in spans(document))


def _encoded(documents: Iterator[Document], tokenizer: Tokenizer) -> Iterator[Row]:
    while chunk := [list(spans(document)) for document in islice(documents, _CHUNK)]:
        encodings = iter(tokenizer.encode_batch_fast([span.text for document in chunk for span in document]))
        for document in chunk:
            row = Row([], [])
            for span in document:
                ids = next(encodings).ids
                row.tokens.extend(ids)
                row.learned.extend([span.learned] * len(ids))
            yield row


def rows(documents: Iterator[Document], tokenizer: Tokenizer, length: int) -> Iterator[Row]:
    """Fill rows of one length, first fit; what is longer than a row is left out."""
    padding = tokenizer.token_to_id(END_OF_TEXT)
    waiting: list[Row] = []
    for document in _encoded(documents, tokenizer):
        if len(document.tokens) > length:
            continue
        row = next((row for row in waiting if len(row.tokens) + len(document.tokens) <= length), None)
        if row is None:
            if len(waiting) == _OPEN_ROWS:
                full = max(waiting, key=lambda row: len(row.tokens))
                waiting.remove(full)
                gap = length - len(full.tokens)
                yield Row(full.tokens + [padding] * gap, full.learned + [False] * gap)
            row = Row([], [])
            waiting.append(row)
        row.tokens.extend(document.tokens)
        row.learned.extend(document.learned)


def batches(
    documents: Iterator[Document], tokenizer: Tokenizer, *, length: int, size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless (tokens, learned) pairs, each (size, length)."""
    stream = rows(documents, tokenizer, length)
    while True:
        chosen = list(islice(stream, size))
        yield np.array([row.tokens for row in chosen]), np.array([row.learned for row in chosen])
