"""TGI bodies through `parse` and `fault`, by the tables of the sheet's sections 3, 4 and 6."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scene import POCKET
from tropilla.api.surface import JSON, Call, Reply, Surroundings
from tropilla.api.surfaces.tgi.fault import fault
from tropilla.api.surfaces.tgi.parse import parse_compat, parse_generate, parse_stream
from tropilla.common.catalogue import Catalogue, State, Worker
from tropilla.common.errors import RequestError
from tropilla.common.generation import MAX_SEED, Fit, TextPrompt
from tropilla.common.settings import Settings

NOW = 1_700_000_000.0
SMALL = replace(POCKET, context_length=100, trained_context=100)


def surroundings(state: State = "ready", **settings: Any) -> Surroundings:
    worker = Worker(name="w", flavour="cpu", state=state, slots=1, model=SMALL)
    return Surroundings(Catalogue((worker,)), replace(Settings(), **settings), NOW)


def call(body: JSON, parse: Any = parse_generate, **settings: Any) -> Call:
    parsed = parse(body, surroundings(**settings))
    assert isinstance(parsed, Call)
    return parsed


def refusal(body: JSON, parse: Any = parse_generate, around: Surroundings | None = None) -> Reply:
    with pytest.raises(RequestError) as caught:
        parse(body, around or surroundings())
    return fault(caught.value)


def asked(**parameters: Any) -> JSON:
    return {"inputs": "Hello", "parameters": parameters}


REFUSED: list[tuple[JSON, str]] = [
    # Types.
    ([], "the body must be an object"),
    ("Hello", "the body must be an object"),
    (None, "the body must be an object"),
    ({}, "`inputs` is required"),
    ({"inputs": None}, "`inputs` is required"),
    ({"inputs": 7}, "`inputs` must be a string"),
    ({"inputs": "a", "parameters": []}, "`parameters` must be an object"),
    (asked(temperature="1"), "`temperature` must be a number"),
    (asked(temperature=True), "`temperature` must be a number"),
    (asked(temperature=1e39), "`temperature` must be <= 3.4028235e+38"),
    (asked(max_new_tokens=1.5), "`max_new_tokens` must be an integer"),
    (asked(max_new_tokens=True), "`max_new_tokens` must be an integer"),
    (asked(max_new_tokens=2**32), "`max_new_tokens` must be <= 4294967295"),
    (asked(top_k=2**31), "`top_k` must be <= 2147483647"),
    (asked(seed=2**64), "`seed` must be <= 18446744073709551615"),
    (asked(seed=-1), "`seed` must be >= 0"),
    (asked(details=1), "`details` must be a boolean"),
    (asked(do_sample="true"), "`do_sample` must be a boolean"),
    (asked(stop="x"), "`stop` must be a list of strings"),
    (asked(stop=["x", 1]), "`stop` must be a list of strings"),
    (asked(adapter_id=1), "`adapter_id` must be a string"),
    # Ranges, both sides.
    (asked(best_of=3), "`best_of` must be > 0 and <= 2. Given: 3"),
    (asked(best_of=-1), "`best_of` must be > 0 and <= 2. Given: -1"),
    (asked(best_of=2), "you must use sampling when `best_of` is > 1"),
    (asked(best_of=2, do_sample=False, repetition_penalty=1.1), "you must use sampling when `best_of` is > 1"),
    (asked(best_of=2, do_sample=True, seed=0), "`seed` must not be set when `best_of` > 1"),
    (asked(temperature=0), "`temperature` must be strictly positive"),
    (asked(temperature=-1.0), "`temperature` must be strictly positive"),
    (asked(repetition_penalty=0), "`repetition_penalty` must be strictly positive"),
    (asked(frequency_penalty=2.1), "`frequency_penalty` must be >= -2.0 and <= 2.0"),
    (asked(frequency_penalty=-2.1), "`frequency_penalty` must be >= -2.0 and <= 2.0"),
    (asked(top_p=1.0), "`top_p` must be > 0.0 and < 1.0"),
    (asked(top_p=0), "`top_p` must be > 0.0 and < 1.0"),
    (asked(typical_p=1), "`typical_p` must be > 0.0 and < 1.0"),
    (asked(top_k=0), "`top_k` must be strictly positive"),
    (asked(top_k=-1), "`top_k` must be strictly positive"),
    (asked(max_new_tokens=0), "`max_new_tokens` must be strictly positive"),
    (asked(max_new_tokens=-1), "`max_new_tokens` must be strictly positive"),
    (asked(stop=["a", "b", "c", "d", "e"]), "`stop` supports up to 4 stop sequences. Given: 5"),
    (asked(top_n_tokens=6), "`top_n_tokens` must be >= 0 and <= 5. Given: 6"),
    (asked(top_n_tokens=-1), "`top_n_tokens` must be >= 0 and <= 5. Given: -1"),
    ({"inputs": ""}, "`inputs` cannot be empty"),
    (asked(truncate=0), "`truncate` must be strictly positive and less than 99. Given: 0"),
    (asked(truncate=100), "`truncate` must be strictly positive and less than 99. Given: 100"),
    # Not served.
    (asked(adapter_id="other/{x}"), "adapter other/{x} not found"),
]


@pytest.mark.parametrize(("body", "text"), REFUSED)
def test_a_body_that_breaks_a_rule_is_a_validation_error(body: JSON, text: str) -> None:
    reply = refusal(body)
    assert reply.status == 422
    assert reply.body == {"error": f"Input validation error: {text}", "error_type": "validation"}


#: Each breaks a rule; the sheet's order is top to bottom.
IN_ORDER: list[tuple[str, Any]] = [
    ("best_of", 3),
    ("temperature", 0),
    ("repetition_penalty", 0),
    ("frequency_penalty", 3),
    ("top_p", 1),
    ("typical_p", 1),
    ("top_k", 0),
    ("max_new_tokens", 0),
    ("stop", ["a"] * 5),
    ("seed", -1),
    ("top_n_tokens", 9),
    ("truncate", 0),
    ("adapter_id", "x"),
    ("grammar", {"type": "regex", "value": "("}),
]


@pytest.mark.parametrize("first", range(len(IN_ORDER)), ids=[name for name, _ in IN_ORDER])
def test_the_first_broken_rule_is_told_whatever_else_is_wrong(first: int) -> None:
    with pytest.raises(RequestError) as caught:
        parse_generate(asked(**dict(reversed(IN_ORDER[first:]))), surroundings())
    assert caught.value.param == f"parameters.{IN_ORDER[first][0]}"


def test_empty_inputs_come_after_top_n_tokens_and_before_truncate() -> None:
    assert "top_n_tokens" in refusal({"inputs": "", "parameters": {"top_n_tokens": 9}}).body["error"]
    assert "inputs" in refusal({"inputs": "", "parameters": {"truncate": 0}}).body["error"]


def test_a_wrong_type_is_told_before_a_broken_rule() -> None:
    assert refusal(asked(best_of=2, watermark="no")).body["error"].endswith("`watermark` must be a boolean")


STREAM_REFUSED: list[tuple[JSON, str]] = [
    (asked(best_of=2), "`best_of` != 1 is not supported when streaming tokens"),
    (asked(best_of=0), "`best_of` != 1 is not supported when streaming tokens"),
    (asked(decoder_input_details=True), "`decoder_input_details` == true is not supported when streaming tokens"),
    (asked(temperature=0), "`temperature` must be strictly positive"),
]


@pytest.mark.parametrize(("body", "text"), STREAM_REFUSED)
def test_a_stream_refuses_what_it_cannot_show(body: JSON, text: str) -> None:
    for reply in (refusal(body, parse_stream), refusal({**body, "stream": True}, parse_compat)):
        assert (reply.status, reply.body["error"]) == (422, f"Input validation error: {text}")


@pytest.mark.parametrize(
    "parameters",
    [
        {name: None for name, _ in IN_ORDER} | {"details": None, "do_sample": None, "decoder_input_details": None},
        {"best_of": 0},
        {"best_of": 1.0, "max_new_tokens": 3.0, "temperature": 1, "top_p": 0.99, "truncate": 99, "top_n_tokens": 5},
        {"frequency_penalty": -2, "stop": [], "seed": 2**64 - 1, "watermark": False},
        {"best_of": 2, "temperature": 1.0},
        {"adapter_id": "tgi"},
        {"adapter_id": "pocket"},
        {"unheard_of": {"a": 1}},
    ],
)
def test_values_at_the_edge_or_off_are_accepted(parameters: JSON) -> None:
    assert call(asked(**parameters)).request.model == "pocket"


@pytest.mark.parametrize("parse", [parse_generate, parse_stream, parse_compat])
def test_an_adapter_that_the_model_has_answers(parse: Any) -> None:
    around = surroundings()
    (worker,) = around.catalogue.workers
    having = replace(worker, model=replace(worker.model, adapters=("org/poet:v2", "cook")))
    around = replace(around, catalogue=Catalogue((having,)))
    for asked_for in ("cook", "org/poet:v2"):
        request = parse(asked(adapter_id=asked_for), around).request
        assert (request.model, request.adapter) == ("pocket", asked_for)
    for none in ("tgi", "pocket", "", None):
        assert parse(asked(adapter_id=none), around).request.adapter == ""
    reply = refusal(asked(adapter_id="poet"), parse, around)
    assert (reply.status, reply.body["error"]) == (422, "Input validation error: adapter poet not found")


def test_parameters_that_are_absent_sample_and_empty_ones_are_greedy() -> None:
    def temperature(body: JSON) -> float:
        return call(body).request.sampling.temperature

    assert temperature({"inputs": "x"}) == 1.0
    assert temperature({"inputs": "x", "parameters": None}) == 1.0
    assert temperature({"inputs": "x", "parameters": {}}) == 0.0


@pytest.mark.parametrize(
    ("parameters", "samples"),
    [
        ({"do_sample": True}, True),
        ({"temperature": 0.5}, True),
        ({"top_k": 5}, True),
        ({"top_p": 0.9}, True),
        ({"typical_p": 0.9}, True),
        ({"temperature": 1.0}, False),
        ({"do_sample": False, "temperature": 0.5}, True),
        ({"seed": 7, "repetition_penalty": 1.2, "frequency_penalty": 1}, False),
    ],
)
def test_any_warper_samples_even_without_do_sample(parameters: JSON, samples: bool) -> None:
    parsed = call(asked(**parameters))
    assert (parsed.request.sampling.temperature > 0) is samples
    assert parsed.answer.samples is samples


def test_everything_asked_for_reaches_the_request() -> None:
    request = call(
        asked(
            temperature=0.5,
            top_k=7,
            top_p=0.8,
            typical_p=0.7,
            repetition_penalty=1.1,
            frequency_penalty=0.2,
            seed=5,
            stop=["a", "b"],
            max_new_tokens=9,
            truncate=4,
            top_n_tokens=3,
            decoder_input_details=True,
        )
    ).request
    sampling = request.sampling
    assert request.prompts == (TextPrompt("Hello", special=False),)
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.typical_p) == (0.5, 7, 0.8, 0.7)
    assert (sampling.repeat_penalty, sampling.repeat_last_n, sampling.frequency_penalty) == (1.1, -1, 0.2)
    assert (sampling.seed, sampling.min_p, sampling.mirostat) == (5, 0.0, 0)
    assert (request.stop, request.keep_stop, request.max_tokens, request.n) == (("a", "b"), True, 9, 1)
    assert (request.logprobs, request.want_prompt) == (3, True)
    assert request.fit == Fit(keep_last=4, room="refuse")


@pytest.mark.parametrize(("best_of", "n"), [(None, 1), (0, 1), (1, 1), (2, 2)])
def test_candidates_are_choices_of_one_request_each_with_its_own_seed(best_of: int | None, n: int) -> None:
    parsed = call(asked(best_of=best_of, top_k=5))
    assert (parsed.request.n, parsed.request.logprobs, parsed.answer.seed) == (n, 0, None)


def test_best_of_counts_any_sampling_that_was_named_and_none_at_all_samples() -> None:
    for parameters in ({"do_sample": True}, {"temperature": 1.0}, {"top_k": 5}, {"top_p": 0.9}, {"typical_p": 0.9}):
        assert call(asked(best_of=2, **parameters)).request.n == 2


def test_a_cluster_of_one_choice_per_request_has_no_contest() -> None:
    reply = refusal(asked(best_of=2, do_sample=True), around=surroundings(max_choices=1))
    assert reply.body["error"] == "Input validation error: `best_of` != 1 is not allowed for this endpoint"


def test_a_watermark_is_upstreams_own() -> None:
    def mark(**parameters: Any) -> tuple[float, float]:
        sampling = call(asked(**parameters)).request.sampling
        return sampling.watermark_delta, sampling.watermark_gamma

    assert mark(watermark=True) == (2.0, 0.5)
    assert mark(watermark=False)[0] == mark()[0] == 0.0


def test_prompt_log_probabilities_come_with_the_prompt() -> None:
    assert call(asked(decoder_input_details=True)).request.prompt_logprobs == 0
    assert call(asked()).request.prompt_logprobs is None


def test_without_max_new_tokens_the_default_is_cut_to_the_room_there_is() -> None:
    request = call(asked(), default_max_tokens=50).request
    assert (request.max_tokens, request.fit) == (50, Fit(room="clip"))
    assert call(asked(), default_max_tokens=-1).request.max_tokens is None


def test_upstreams_rule_of_chunks_looks_for_room_for_the_first_one_only() -> None:
    assert call(asked(max_new_tokens=5000), sum_rule="chunk").request.fit == Fit(room="refuse", least=1024)
    assert call(asked(max_new_tokens=5000)).request.fit == Fit(room="refuse")


def test_log_probabilities_are_always_asked_for() -> None:
    assert call({"inputs": "x"}).request.logprobs == 0


def test_a_seed_is_folded_to_32_bits_or_drawn() -> None:
    assert call(asked(seed=2**64 - 1)).request.sampling.seed == (2**64 - 1) % (MAX_SEED + 1)
    assert len({call(asked()).request.sampling.seed for _ in range(8)}) > 1


def test_only_the_root_route_reads_stream_from_the_body() -> None:
    assert call({"inputs": "x", "stream": True}, parse_compat).stream
    assert not call({"inputs": "x", "stream": None}, parse_compat).stream
    assert not call({"inputs": "x", "stream": True}).stream
    assert not call({"inputs": "x", "stream": "rubbish"}).stream
    assert call({"inputs": "x", "stream": False}, parse_stream).stream
    assert "`stream` must be a boolean" in refusal({"inputs": "x", "stream": 1}, parse_compat).body["error"]


@pytest.mark.parametrize(
    ("given", "generate", "compat"), [(None, False, True), (True, True, True), (False, False, False)]
)
def test_the_root_route_echoes_the_prompt_unless_told_otherwise(
    given: bool | None, generate: bool, compat: bool
) -> None:
    body = asked(return_full_text=given)
    assert call(body).answer.full_text is generate
    assert call(body, parse_stream).answer.full_text is generate
    assert call(body, parse_compat).answer.full_text is compat


def test_a_model_that_is_loading_is_overloaded_and_one_that_is_not_there_is_not_found() -> None:
    loading = refusal(asked(), around=surroundings("loading"))
    assert (loading.status, loading.body["error_type"]) == (429, "overloaded")
    assert loading.headers == {"Retry-After": "1"}
    for around in (surroundings("draining"), surroundings("loading", default_model="another")):
        gone = refusal(asked(), around=around)
        assert (gone.status, gone.body["error_type"]) == (404, "not_found")
