"""Which of the house's counts /metrics tells, and as what: a table. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tropilla.api.exposition import Labels
from tropilla.common.metrics import BETWEEN_TOKENS, DURATIONS, EACH_TOKEN, FIRST_TOKEN, LOADS, SECONDS, TOKENS, WAITS


@dataclass(frozen=True, slots=True)
class Counted:
    """`name` on the page is `key` in the books. `labels` beside the model's, in the order in which a `metrics.Key` has
    them; `bounds` make it a histogram. `starts`: labels that are told of every model before anything was counted, since
    Prometheus sees no rise in what was not there before.
    """

    name: str
    key: str
    help: str
    labels: tuple[str, ...] = ()
    bounds: Sequence[float] = ()
    #: What the model's label is called; "" where it has none.
    model: str = "model"
    starts: tuple[str, ...] = ()
    constant: Labels = ()


_GEN_AI = "gen_ai_request_model"
_PROVIDER = (("gen_ai_provider_name", "tropilla"),)
_OPERATION = "gen_ai_operation_name"

#: The first four are counted where the ledger's rows are written: they and the sums of its rows are the same.
COUNTED: tuple[Counted, ...] = (
    Counted(
        "tropilla_requests_total",
        "requests",
        "Generations and embeddings that were accepted and are over, by how they ended.",
        ("outcome",),
        starts=("completed", "cancelled", "expired", "failed:worker_crashed"),
    ),
    Counted("tropilla_prompt_tokens_total", "prompt_tokens", "Tokens of their prompts.", starts=("",)),
    Counted(
        "tropilla_cached_tokens_total", "cached_tokens", "Of those, the ones that had not to be computed.", starts=("",)
    ),
    Counted(
        "tropilla_generated_tokens_total",
        "generated_tokens",
        "Tokens of answers, as they were handed over.",
        starts=("",),
    ),
    Counted(
        "tropilla_admissions_total",
        "admissions",
        "Requests that asked for a place in the queue, by what came of it: admitted, joined (the same was asked before), "
        "conflict, late, the bound that refused them (model, key, all), or the key's limit (requests, tokens).",
        ("outcome",),
        starts=("admitted", "model", "key", "all", "late", "requests", "tokens"),
    ),
    Counted(
        "tropilla_attempts_total",
        "attempts",
        "Times a worker took a request: the first, after another worker had handed it back, or after one was lost.",
        ("cause",),
        starts=("first", "handed_back", "worker_lost"),
    ),
    Counted(
        "tropilla_cancels_total",
        "cancels",
        "Requests that nobody wanted any more, by how far they had come.",
        ("stage",),
        starts=("queued", "prefill", "decode"),
    ),
    Counted(
        "tropilla_queue_wait_seconds",
        "queue_wait",
        "From admission to the first worker that took the request, by Redis's clock.",
        ("class",),
        WAITS,
    ),
    Counted("tropilla_prefill_seconds", "prefill", "Computing the prompt of an answer.", bounds=WAITS),
    Counted("tropilla_decode_seconds", "decode", "From the first token of an answer to its last.", bounds=WAITS),
    Counted(
        "tropilla_inter_token_seconds",
        "inter_token",
        "Between two steps, for each answer that both gave a token.",
        bounds=BETWEEN_TOKENS,
    ),
    Counted(
        "tropilla_images_total",
        "images",
        "Images that prompts were computed with, by whether they had to be encoded or their embeddings were kept.",
        ("outcome",),
        starts=("encoded", "cached"),
    ),
    Counted(
        "tropilla_images_read_total", "images_read", "Image files that workers have read and unpacked.", starts=("",)
    ),
    Counted("tropilla_image_encode_seconds", "image_encode", "Encoding one image.", bounds=SECONDS),
    Counted("tropilla_model_load_seconds", "model_load", "Loading a model, by outcome.", ("outcome",), LOADS),
    Counted(
        "tropilla_model_unload_seconds",
        "model_unload",
        "From the decision to let go of a model until nothing runs there any more.",
        bounds=LOADS,
    ),
    Counted(
        "tropilla_workers_lost_total",
        "workers_lost",
        "Workers that fell silent without leaving.",
        model="",
        starts=("",),
    ),
    Counted("tropilla_worker_starts_total", "worker_starts", "Starts of worker processes.", model="", starts=("",)),
    Counted(
        "tropilla_worker_renewals_total",
        "worker_renewals",
        "Of those, the ones in which a worker replaced itself to take up another model.",
        model="",
        starts=("",),
    ),
    Counted(
        "gen_ai_server_request_duration_seconds",
        "gen_ai_request",
        "From receipt to the last token (gen_ai.server.request.duration).",
        (_OPERATION, "error_type"),
        DURATIONS,
        _GEN_AI,
        constant=_PROVIDER,
    ),
    Counted(
        "gen_ai_server_time_to_first_token_seconds",
        "gen_ai_first_token",
        "From receipt to the first token, of what was answered (gen_ai.server.time_to_first_token).",
        (_OPERATION,),
        FIRST_TOKEN,
        _GEN_AI,
        constant=_PROVIDER,
    ),
    Counted(
        "gen_ai_server_time_per_output_token_seconds",
        "gen_ai_each_token",
        "For each token after the first, of what was answered (gen_ai.server.time_per_output_token).",
        (_OPERATION,),
        EACH_TOKEN,
        _GEN_AI,
        constant=_PROVIDER,
    ),
    Counted(
        "gen_ai_client_token_usage",
        "gen_ai_tokens",
        "Tokens of prompts and of answers (gen_ai.client.token.usage).",
        (_OPERATION, "gen_ai_token_type"),
        TOKENS,
        _GEN_AI,
        constant=_PROVIDER,
    ),
)
