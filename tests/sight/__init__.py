"""`sight`: a very small model that sees colours, for the tests of whatever carries pictures to a model.

Two files, as every multimodal model of llama.cpp has: `sight.gguf`, a three-layer Llama, and `mmproj-sight.gguf`, the eye
that turns a picture into nine embeddings of that Llama. They were trained together for a quarter of an hour, from lessons
and pictures made on the spot; `pip install -e '.[pocket,test]'`, then `python -m sight.train` in the folder `tests`, does
it again. Greedy, they

- name the dominant colour, one of `pictures.COLOURS`, of one picture, or of each of up to four in their order: right for
  599 of 600 new pictures of any kind and size, and for 200 of 200 messages with several;
- tell the first picture from the second, also from an earlier turn, count them, and say so where there is none;
- greet, and count to 5, 10, 20, 30, 40, 50 or 100: long answers that are known beforehand;
- stand 1,700 tokens of other words before a picture, and 800 between the picture and the question.

The eye is LLaVA's (`mlp`): any picture is fitted into 48 by 48 points and becomes nine embeddings, decoded causally, at
nine positions, with no text around them. Text is ChatML, by the template of `pocket`; a picture stands in it as a text
part that says `MARKER`. `pictures`, `lessons` and `rows` are what it learned from, `network`, `train` and
`export` how; `asked` and `by_hand` are llama.cpp and numpy, asked for the tests.
"""

from __future__ import annotations

from pathlib import Path

MODEL = Path(__file__).with_name("sight.gguf")
PROJECTOR = Path(__file__).with_name("mmproj-sight.gguf")

#: Where a picture stands in a prompt: mtmd's own default.
MARKER = "<__media__>"
