"""The jobs, and the models' vocabulary."""

from __future__ import annotations

import pytest

from bench import cells, models
from bench.cells import CELLS, SIZES, Asker, Cell

MODEL = models.model_file("135m-q8_0")


def asker(seed: str = "a") -> Asker:
    return Asker(MODEL, SIZES["135m"], port=1, seed=seed)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_every_server_gets_the_same_and_every_round_another(cell: Cell) -> None:
    assert cell.plan(asker()) == cell.plan(asker())
    assert cell.plan(asker("a")).bodies != cell.plan(asker("b")).bodies


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_every_request_asks_for_its_exact_length(cell: Cell) -> None:
    for body in cell.plan(asker()).bodies:
        assert body["ignore_eos"] is True
        assert body["stream"] is True
        assert body["max_tokens"] > 1


def test_requests_share_a_prefix_and_differ_after_it() -> None:
    bodies = next(cell for cell in CELLS if cell.name == "prefix").plan(asker()).bodies
    prompts = [tuple(body["prompt"]) for body in bodies]
    assert len({prompt[: cells.SHARED_PREFIX] for prompt in prompts}) == 1
    assert len({prompt[cells.SHARED_PREFIX :] for prompt in prompts}) == cells.PREFIX_REQUESTS


def test_the_intruder_comes_while_others_run() -> None:
    job = next(cell for cell in CELLS if cell.name == "stall").plan(asker())
    assert job.intruder is not None
    assert len(job.intruder["prompt"]) == cells.INTRUDER_PROMPT
    assert 0 < job.intrude_after < SIZES["135m"].interrupted


@pytest.mark.parametrize("shape", models.SHAPES.values(), ids=lambda shape: shape.name)
def test_every_token_has_a_text_of_its_own(shape: models.Shape) -> None:
    tokens = models.vocabulary(shape.vocabulary)
    assert len(tokens) == len(set(tokens)) == shape.vocabulary
    words = models.ModelFile(shape, "q8_0").words
    assert tokens[words[0]] == "\u0120w0"
    assert tokens[words[-1] + 1] == models.START
