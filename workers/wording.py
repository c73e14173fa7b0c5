"""A prompt -> token ids, with a picture's places where it has one: what a template writes, tokenized piece by piece."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Protocol

from tropilla.common.errors import InvalidPrompt
from tropilla.common.generation import (
    ChatPrompt,
    Image,
    InfillPrompt,
    MixedPrompt,
    Prompt,
    TextPrompt,
    TokenPrompt,
    pictured,
)
from tropilla.workers.gallery import Gallery, GoOn, Picture
from tropilla.workers.placeholders import Placeholders
from tropilla.workers.prompt import ChatTemplate, templated
from tropilla.workers.views import Span, View, standing, without_torn

#: A prompt that would end in a picture ends with this: the next token is drawn from a token.
BEHIND_PICTURE = "\n"


class Vocabulary(Protocol):
    """What wording needs of `llama.Vocabulary`."""

    size: int
    start: int
    adds_bos: bool
    adds_eos: bool
    ends: frozenset[int]
    infill: tuple[int, int, int] | None

    def tokenize(self, text: str, *, special: bool, start: bool) -> list[int]: ...
    def piece(self, token: int) -> bytes: ...


class Wording:
    """Of one request; it keeps the request's pictures. Every method may raise `InvalidPrompt`, and
    `GenerationFailed` for a picture that is not to be had.
    """

    def __init__(
        self, vocabulary: Vocabulary, template: ChatTemplate, gallery: Gallery | None, go_on: GoOn = lambda: None
    ) -> None:
        """go_on: asked before each picture; may raise what it likes."""
        self._vocabulary, self._template, self._gallery, self._go_on = vocabulary, template, gallery, go_on
        self._places = Placeholders(secrets.token_hex(8))
        #: By digest; and by the first number of a view.
        self._pictures: dict[str, Picture] = {}
        self._views: dict[int, View] = {}

    def ids(self, prompt: Prompt) -> list[int]:
        """At least one; a picture's never at the end."""
        match prompt:
            case ChatPrompt() | TextPrompt():
                ids = self._said(prompt)[0]
            case InfillPrompt() if prompt.template:
                ids = self._joined(self._template.segments(prompt))
            case InfillPrompt():
                ids = self._infill(prompt)
            case TokenPrompt():
                ids = list(prompt.ids)
                self._check(ids)
            case MixedPrompt():
                ids = []
                self._check(part for part in prompt.parts if isinstance(part, int))
                for each in prompt.parts:
                    ids += [each] if isinstance(each, int) else self._opened(each, special=False, start=not ids)
        return ids or [self._vocabulary.start]

    def told(self, prompt: Prompt, *, opens: bool) -> tuple[list[int], str]:
        """The ids, and the text they stand for, in which `[img-0]` is the first picture. opens: of a text, with what the
        model's tokenizer puts around one, an EOS, too, where it adds one.
        """
        match prompt:
            case TextPrompt(text=text, context=context) if not templated(prompt) and not prompt.images:
                # As an embedding sees it: nothing for nothing.
                self._check(context)
                start = opens and not context
                return [*context, *self._vocabulary.tokenize(text, special=prompt.special, start=start)], text
            case ChatPrompt() | TextPrompt():
                return self._said(prompt)
            case InfillPrompt() if prompt.template:
                parts = self._template.segments(prompt)
                return self._joined(parts), "".join(parts)
            case TokenPrompt():
                ids = list(prompt.ids)
                self._check(ids)
            case _:
                ids = self.ids(prompt)
        return ids, self.spelled(ids)

    def whole(self, ids: list[int]) -> list[int]:
        """What is left of a prompt that was cut: a picture is in it whole or not at all."""
        return without_torn(ids, self._views) if self._views else ids

    def spans(self, ids: list[int]) -> list[Span]:
        """Where the prompt's pictures stand. They are encoded now."""
        found = list(standing(ids, self._views)) if self._views else []
        shown, rows = {view for _, view in found}, {}
        for picture in self._pictures.values():
            if shown.intersection(picture.views):
                assert self._gallery is not None
                self._gallery.encode(picture, self._go_on)
                rows.update(picture.rows)
        return [Span(place, view.shape, rows[view]) for place, view in found]

    def spelled(self, ids: Iterable[int]) -> str:
        """As text; without pictures."""
        return b"".join(self._vocabulary.piece(i) for i in ids if i >= 0).decode(errors="replace")

    def biased(self, token: int | str) -> list[int]:
        """An id that a caller names, or those that a text consists of."""
        if isinstance(token, str):
            return self._tokens(token)
        self._check([token])
        return [token]

    def _said(self, prompt: ChatPrompt | TextPrompt) -> tuple[list[int], str]:
        self._check(prompt.context)
        pictures = [self._picture(image) for image in pictured(prompt)]
        marked = self._places.marked(prompt)
        parts = self._template.segments(marked) if templated(marked) else [_text(marked)]
        special = templated(marked) or _special(marked)
        text = "".join(parts)
        swallowed = set(range(len(pictures))).difference(self._places.numbers(text))
        if swallowed:
            refusal = f"the model's chat template leaves out {len(swallowed)} of {len(pictures)} images"
            raise InvalidPrompt(refusal, code="template")
        ids = self._joined(parts, prompt.context, special=special, pictures=pictures)
        return ids, self.spelled(prompt.context) + self._places.spelled(text)

    def _picture(self, image: Image) -> Picture:
        if self._gallery is None:
            refusal = "this model cannot read images: it has no projector"
            raise InvalidPrompt(refusal, code="unsupported")
        picture = self._pictures.get(image.digest)
        if picture is None:
            self._go_on()
            picture = self._pictures[image.digest] = self._gallery.look(image)
            self._views |= {view.first: view for view in picture.views}
        return picture

    def _joined(
        self,
        parts: Iterable[str],
        context: Iterable[int] = (),
        *,
        special: bool = True,
        pictures: Sequence[Picture] = (),
    ) -> list[int]:
        ids = list(context)
        for part in parts:
            for piece in self._places.pieces(part):
                ids += (
                    pictures[piece].ids
                    if isinstance(piece, int)
                    else self._opened(piece, special=special, start=not ids)
                )
        if ids and ids[-1] < 0:
            ids += self._tokens(BEHIND_PICTURE) or [self._vocabulary.start]
        return ids

    def _opened(self, text: str, *, special: bool, start: bool) -> list[int]:
        """With a BOS where the model wants one, but without the EOS that some tokenizers put behind every text."""
        ids = self._vocabulary.tokenize(text, special=special, start=start)
        closed = start and self._vocabulary.adds_eos and ids and ids[-1] in self._vocabulary.ends
        return ids[:-1] if closed else ids

    def _infill(self, prompt: InfillPrompt) -> list[int]:
        """Prefix, suffix, then the middle is the model's (Bavarian et al. 2022: PSM)."""
        if self._vocabulary.infill is None:
            raise InvalidPrompt("this model cannot fill in the middle: it has no tokens for it", code="unsupported")
        before, behind, middle = self._vocabulary.infill
        ids = [*self._opened("", special=False, start=True), before, *self._tokens(prompt.prefix)]
        return [*ids, behind, *self._tokens(prompt.suffix), middle]

    def _tokens(self, text: str) -> list[int]:
        return self._vocabulary.tokenize(text, special=False, start=False)

    def _check(self, ids: Iterable[int]) -> None:
        size = self._vocabulary.size
        wrong = next((token for token in ids if not 0 <= token < size), None)
        if wrong is not None:
            raise InvalidPrompt(f"token id {wrong} is out of vocabulary (0 to {size - 1})", code="invalid_prompt")


def _text(prompt: ChatPrompt | TextPrompt) -> str:
    assert isinstance(prompt, TextPrompt), "a chat is written by a template"
    return prompt.text


def _special(prompt: ChatPrompt | TextPrompt) -> bool:
    return isinstance(prompt, TextPrompt) and prompt.special
