"""`sight`: a very small model that sees colours, for the tests of whatever carries pictures to a model.

Two files, as every multimodal model of llama.cpp has: `sight.gguf`, a three-layer Llama, and `mmproj-sight.gguf`, the eye
that turns a picture into nine embeddings of that Llama. They were trained together, from pictures made on the spot, by
`python -m sight.train` in this folder's parent; only that needs the `pocket` extra. What they can do:

- name the dominant colour, one of `pictures.COLOURS`, of one picture or of each of up to four, in their order;
- tell the first picture from the second, also from an earlier turn, count them, and say so where there is none;
- greet, and count as far as they are told ("Count to 100."): a long answer that is known beforehand.

The eye is LLaVA's (`mlp`): any picture is fitted into 48 by 48 points and becomes nine embeddings, decoded causally, at
nine positions, with no text around them. Text is ChatML, by the template of `pocket`; a picture stands in it as a text
part that says `MARKER`.
"""

from __future__ import annotations

from pathlib import Path

MODEL = Path(__file__).with_name("sight.gguf")
PROJECTOR = Path(__file__).with_name("mmproj-sight.gguf")

#: Where a picture stands in a prompt: mtmd's own default.
MARKER = "<__media__>"
