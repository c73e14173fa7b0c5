"""The whole engine over real llama.cpp, without servers: continuation, reuse, memory, and what requests become."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

import pytest
from engine_run import GREEDY, Run, answer, ask
from tropilla.common.errors import ConfigurationError
from tropilla.common.generation import (
    ChatPrompt,
    Constraint,
    Embedded,
    EmbeddingRequest,
    Finished,
    Fit,
    InfillPrompt,
    Message,
    Prompted,
    Sampling,
    TextPrompt,
    TokenPrompt,
    Tool,
)
from tropilla.common.gguf import read_header
from tropilla.common.settings import Settings
from tropilla.workers import pocket
from tropilla.workers.engine import Engine, size_of
from tropilla.workers.loop import Job
from tropilla.workers.sampler import green_list

SETTINGS = Settings(slots=4, context=512, step_tokens=64, threads=1)
PROMPTS = ["Once upon a time", "The capital of France is", "A dog has", "1 2 3 4", "Count to nine: one"]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    header = read_header(pocket.path())
    engine = Engine(SETTINGS, "pocket", pocket.path(), header, size_of(SETTINGS, header, gpu=False), gpu=False)
    yield engine
    engine.close()


# -- continuation --------------------------------------------------------------------------------------------------------

#: Greedy and seeded, with what looks back at the tokens or draws more than once.
SAMPLINGS = {
    "greedy": GREEDY,
    "seeded": Sampling(temperature=0.9, seed=7),
    "top_k, top_p": Sampling(temperature=1.1, top_k=40, top_p=0.9, seed=8),
    "penalties": Sampling(temperature=0.8, repeat_penalty=1.3, presence_penalty=0.5, frequency_penalty=0.4, seed=9),
    "xtc, dry": Sampling(temperature=1.0, xtc_probability=0.5, xtc_threshold=0.05, dry_multiplier=0.8, seed=10),
    "min_p, typical": Sampling(temperature=1.2, min_p=0.02, typical_p=0.9, top_n_sigma=3.0, seed=11),
}


@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_a_sequence_rebuilt_from_any_of_its_tokens_goes_on_exactly_so(engine: Engine, sampling: Sampling) -> None:
    """24 of 24: at every k, the rest of the answer is what it would have been."""
    asked = ask(sampling=sampling, ignore_eos=True)
    whole = answer(engine, sampling=sampling, ignore_eos=True).tokens()
    assert len(whole) == 24
    exact = 0
    for k in range(24):
        run = Run(engine)
        run.submit(asked, {0: whole[:k]})
        run.finish()
        rest = run.tokens()
        assert (len(rest), run.finished().usage.generated) == (24 - k, 24)
        exact += [(t.id, t.text) for t in rest] == [(t.id, t.text) for t in whole[k:]]
    assert exact == 24


def test_a_constrained_answer_goes_on_inside_its_grammar(engine: Engine) -> None:
    constraint = Constraint(
        "schema", '{"type":"object","properties":{"city":{"type":"string"},"n":{"type":"integer"}}}'
    )
    whole = answer(engine, prompt=chat("Where is it?"), constraint=constraint, max_tokens=40).tokens()
    for k in range(len(whole)):
        run = Run(engine)
        run.submit(ask(chat("Where is it?"), constraint=constraint, max_tokens=40), {0: whole[:k]})
        run.finish()
        assert [t.id for t in run.tokens()] == [t.id for t in whole[k:]]


def test_a_tool_call_goes_on_where_it_was(engine: Engine) -> None:
    asked = ask(chat("What is the weather in Berlin?", WEATHER), parse_reply=True, max_tokens=60)
    run = Run(engine)
    run.submit(asked)
    run.finish()
    whole = run.tokens()
    calls = [delta for token in whole for delta in token.calls]
    assert calls[0].name == "get_weather"
    for k in range(len(whole)):
        resumed = Run(engine)
        resumed.submit(asked, {0: whole[:k]})
        resumed.finish()
        assert [(t.text, t.calls) for t in resumed.tokens()] == [(t.text, t.calls) for t in whole[k:]]


# -- reuse ---------------------------------------------------------------------------------------------------------------


#: How far rounding may move a log-probability: batches of another shape are multiplied by other kernels.
ROUNDING = 0.25


@pytest.mark.parametrize("seed", range(6))
def test_greedy_answers_with_reuse_are_greedy_without_it(engine: Engine, seed: int) -> None:
    """Every token that was said over shared prefixes is the likeliest when everything is computed afresh, alone; up to
    rounding, which decides between equals. That cells are shared rightly is tested exactly in test_loop.py.
    """
    chance = random.Random(seed)
    stems = ["The cat is small. " * n for n in (3, 9)] + ["My name is Anna and I live in Oslo. "]
    prompts = [chance.choice(stems) + chance.choice(PROMPTS) for _ in range(10)]
    run = Run(engine)
    for n, prompt in enumerate(prompts):
        run.submit(ask(TextPrompt(prompt), name=f"r{n}"))
        for _ in range(chance.randint(0, 9)):
            run.loop.turn()
    run.finish()
    assert sum(run.finished(f"r{n}").usage.cached for n in range(10)) > 50
    same = 0
    for n, prompt in enumerate(prompts):
        said = [token.id for token in run.tokens(f"r{n}")]
        ids = engine.model.vocabulary.tokenize(prompt, special=False, start=True)
        scored = answer(engine, prompt=TokenPrompt((*ids, *said)), max_tokens=0, prompt_logprobs=1)
        (prompted,) = [event for event in scored.events["r"] if isinstance(event, Prompted)]
        for token in prompted.tokens[len(ids) :]:
            assert token.logprob is not None
            assert token.top[0].logprob - token.logprob < ROUNDING
        same += said == [token.id for token in answer(engine, prompt=TextPrompt(prompt)).tokens()]
    assert same >= 7


def test_choices_share_one_prefill(engine: Engine) -> None:
    prompt = TextPrompt("The cat is small. " * 20)
    run = answer(engine, prompt=prompt, n=4, sampling=Sampling(temperature=1.5, seed=3))
    ends = [event for event in run.events["r"] if isinstance(event, Finished)]
    length = ends[0].usage.prompt
    assert sorted(end.usage.cached for end in ends) == [0, length - 1, length - 1, length - 1]
    assert len({run.text(choice=choice) for choice in range(4)}) == 4


def test_a_context_that_is_full_is_gone_on_from(engine: Engine) -> None:
    fields = {"prompt": TextPrompt("Once upon a time"), "ignore_eos": True, "fit": Fit(context_limit=40)}
    assert answer(engine, **fields, max_tokens=200).finished().reason == "length"
    fields["fit"] = Fit(context_limit=40, shift=True, keep=4)
    run = answer(engine, **fields, max_tokens=200)
    assert run.finished().usage.generated == 200
    assert len(run.text()) > 300


# -- requests ------------------------------------------------------------------------------------------------------------

WEATHER = Tool("get_weather", "The weather of a city", '{"type":"object","properties":{"city":{"type":"string"}}}')


def chat(text: str, *tools: Tool, **fields: object) -> ChatPrompt:
    return ChatPrompt((Message("user", text),), tools, **fields)  # type: ignore[arg-type]


def test_the_prompts_own_probabilities_add_up_to_what_greedy_decoding_said(engine: Engine) -> None:
    said = answer(engine, max_tokens=12, logprobs=0, ignore_eos=True)
    whole = TextPrompt("Once upon a time" + said.text())
    scored = answer(engine, prompt=whole, max_tokens=0, prompt_logprobs=3)
    (prompted,) = [event for event in scored.events["r"] if isinstance(event, Prompted)]
    assert prompted.tokens[0].logprob is None
    assert [token.id for token in prompted.tokens[-12:]] == [token.id for token in said.tokens()]
    for scored_token, token in zip(prompted.tokens[-12:], said.tokens(), strict=True):
        assert scored_token.logprob == pytest.approx(token.logprob, abs=0.05)
        assert scored_token.top[0].id == scored_token.id, "greedy took the likeliest"


def test_a_forced_call_is_a_call(engine: Engine) -> None:
    prompt = chat("Hello!", WEATHER, tool_choice="required", named_tool="get_weather")
    run = answer(engine, prompt=prompt, parse_reply=True, max_tokens=80)
    calls = [delta for token in run.tokens() for delta in token.calls]
    assert (calls[0].name, run.text()) == ("get_weather", "")


def test_a_schema_is_kept(engine: Engine) -> None:
    constraint = Constraint("regex", r"(yes|no), [0-9]{3}")
    run = answer(engine, prompt=chat("Is it?"), constraint=constraint)
    assert run.text()[:2] in ("ye", "no")
    assert run.text()[-3:].isdigit()
    assert run.finished().reason == "eos"


def test_biases_bans_and_least_lengths(engine: Engine) -> None:
    plain = answer(engine).tokens()
    banned = answer(engine, sampling=Sampling(temperature=0.0, logit_bias=((plain[0].id, -100.0),))).tokens()
    assert banned[0].id != plain[0].id
    short = answer(engine, prompt=chat("What is the capital of France?"))
    least = answer(engine, prompt=chat("What is the capital of France?"), min_tokens=20)
    assert len(short.tokens()) < 20 <= len(least.tokens())
    stopped = answer(engine, stop_tokens=(plain[3].id,))
    assert (stopped.finished().reason, stopped.finished().stop_token) == ("stop", plain[3].id)
    assert stopped.text() == "".join(token.text for token in plain[:3])


def test_a_watermark_leans_to_its_list(engine: Engine) -> None:
    def share(run: Run) -> float:
        ids = [token.id for token in run.tokens()]
        size = engine.model.vocabulary.size
        return sum(bool(green_list(a, size, 0.5)[b]) for a, b in pairwise(ids)) / (len(ids) - 1)

    warm = {"ignore_eos": True, "max_tokens": 120}
    marked = answer(engine, sampling=Sampling(temperature=1.0, watermark_delta=8.0, seed=1), **warm)
    plain = answer(engine, sampling=Sampling(temperature=1.0, seed=1), **warm)
    assert share(marked) > share(plain) + 0.1


def test_a_gap_is_filled_between_its_tokens(engine: Engine) -> None:
    vocabulary = engine.model.vocabulary
    assert vocabulary.infill is not None
    (one,) = engine.sequences(ask(InfillPrompt("The capital of ", " is Paris.")))
    text = b"".join(vocabulary.piece(token) for token in one.tokens).decode()
    assert text == "<|fim_prefix|>The capital of <|fim_suffix|> is Paris.<|fim_middle|>"
    assert one.tokens[-1] == vocabulary.infill[2]


def test_inputs_of_many_requests_become_vectors(engine: Engine) -> None:
    run = Run(engine)
    for n in range(3):
        asked = EmbeddingRequest(f"e{n}", "pocket", (TextPrompt("A dog"), TextPrompt(f"number {n}")))
        job = Job(asked.id, 1, asked.choices)
        run.loop.embed(job, engine.inputs(asked), dimensions=asked.dimensions, normalize=asked.normalize)
    run.submit(ask())
    run.finish()
    vectors = [event for n in range(3) for event in run.events[f"e{n}"] if isinstance(event, Embedded)]
    assert len(vectors) == 6
    assert sum(x * x for x in vectors[0].floats) == pytest.approx(1.0, abs=1e-5)
    assert vectors[0].floats == pytest.approx(vectors[2].floats, abs=1e-5)
    assert run.text().startswith(",")


# -- memory --------------------------------------------------------------------------------------------------------------


def test_a_model_that_cannot_fit_is_refused_with_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tropilla.workers.machine.free_bytes", lambda: 8 << 20)
    with pytest.raises(ConfigurationError, match=r"does not fit into memory.*MB"):
        size_of(SETTINGS, read_header(pocket.path()), gpu=False)


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_a_thousand_requests_with_random_cancels_leave_nothing_behind(engine: Engine) -> None:
    """Resident memory and KV cells return to where they were."""
    chance = random.Random(1)
    run = Run(engine)

    def hundred(start: int) -> None:
        for n in range(start, start + 100):
            stem = "The cat is small. " * chance.randint(0, 6)
            sampling = Sampling(temperature=chance.choice([0.0, 1.0]), seed=n, repeat_penalty=chance.choice([1.0, 1.2]))
            run.submit(
                ask(
                    TextPrompt(stem + chance.choice(PROMPTS)),
                    name=f"s{n}",
                    n=chance.choice([1, 1, 2]),
                    max_tokens=chance.randint(1, 30),
                    sampling=sampling,
                    constraint=chance.choice([None, None, None, Constraint("regex", "[a-z ]+")]),
                )
            )
            for _ in range(chance.randint(0, 6)):
                run.loop.turn()
            if chance.random() < 0.3:
                run.loop.cancel(f"s{chance.randint(max(start, n - 8), n)}")
        run.finish()

    hundred(0)
    run.events.clear()
    settled = resident_bytes()
    for start in range(100, 1000, 100):
        hundred(start)
        assert all(isinstance(events[-1], Finished) for events in run.events.values())
        run.events.clear()
    assert run.loop.idle
    assert [engine.model.resident(slot) for slot in range(engine.model.size.sequences)] == [0] * 24
    assert resident_bytes() - settled < 24 << 20
    assert run.jobs[-1].outcome != "running"
