"""The three dashboards: the cluster, its models, one request's life.

`python -m tropilla.compose.observability.dashboards` writes them beside Grafana's other files; a test says whether they
are the ones that are committed.
"""

from __future__ import annotations

import json
from pathlib import Path

from tropilla.compose.observability.panels import Dashboard, Panel, Query, json_of
from tropilla.compose.observability.queries import GEN_AI, OF, once, percentiles, rate, share, summed

FOLDER = Path(__file__).parent / "grafana" / "dashboards"

CHOICE = (("model", "label_values(tropilla_queue_requests, model)"),)


CLUSTER = Dashboard(
    "tropilla-cluster",
    "Tropilla: cluster",
    (
        (
            Panel("Ready workers", (Query(summed('tropilla_workers{state="ready"}')),), kind="stat"),
            Panel("API processes", (Query(summed('tropilla_processes{role="api"}')),), kind="stat"),
            Panel("Oldest request", (Query("max(tropilla_queue_oldest_seconds)"),), "s", "stat"),
            Panel("Redis round trip", (Query(once("tropilla_redis_round_trip_seconds")),), "s", "stat"),
            Panel("Dead requests", (Query(once("tropilla_dead_requests")),), kind="stat"),
            Panel("Release", (Query(once("tropilla_build_info"), "{{version}}"),), "none", "stat"),
        ),
        (
            Panel(
                "Requests, by how they ended",
                (Query(rate("tropilla_requests_total", "outcome"), "{{outcome}}"),),
                "reqps",
                stacked=True,
            ),
            Panel(
                "Asked for a place, by what came of it",
                (Query(rate("tropilla_admissions_total", "outcome"), "{{outcome}}"),),
                "reqps",
                about="model, key, all and late: refused because too many wait; requests and tokens: the key's limits.",
            ),
        ),
        (
            Panel("Who waits", (Query(summed("tropilla_queue_requests", "class"), "{{class}}"),), stacked=True),
            Panel(
                "For how long the first of them has",
                (Query("max by (class) (tropilla_queue_oldest_seconds)", "{{class}}"),),
                "s",
            ),
        ),
        (
            Panel(
                "Tokens a second",
                (
                    Query(rate("tropilla_generated_tokens_total"), "generated"),
                    Query(rate("tropilla_prompt_tokens_total"), "of prompts"),
                    Query(rate("tropilla_cached_tokens_total"), "of prompts, not computed again"),
                ),
                "ops",
            ),
            Panel("Workers, by state", (Query(summed("tropilla_workers", "state"), "{{state}}"),), stacked=True),
        ),
        (
            Panel(
                "Workers' troubles",
                (
                    Query(once("increase(tropilla_workers_lost_total[$__rate_interval])"), "lost"),
                    Query(once("increase(tropilla_worker_starts_total[$__rate_interval])"), "started"),
                    Query(once("increase(tropilla_worker_renewals_total[$__rate_interval])"), "of that, renewed"),
                ),
            ),
            Panel(
                "Memory of Redis, room for models",
                (
                    Query(once("tropilla_redis_used_bytes"), "Redis uses"),
                    Query(once("tropilla_redis_limit_bytes"), "Redis may use (0: all)"),
                    Query(once("tropilla_store_disk_free_bytes"), "free disk of the models' folder"),
                    Query(once("tropilla_store_disk_bytes"), "that disk"),
                ),
                "bytes",
            ),
        ),
    ),
)


_cached, _prompts = (rate(f"tropilla_{kind}_tokens_total", "model", where=OF) for kind in ("cached", "prompt"))
MODELS = Dashboard(
    "tropilla-models",
    "Tropilla: models",
    (
        (
            Panel("Requests", (Query(rate("tropilla_requests_total", "model", where=OF), "{{model}}"),), "reqps"),
            Panel(
                "Tokens generated a second",
                (Query(rate("tropilla_generated_tokens_total", "model", where=OF), "{{model}}"),),
                "ops",
            ),
            Panel(
                "Prompt tokens found computed",
                (Query(share(_cached, _prompts), "{{model}}"),),
                "percentunit",
                about="What a prefix that is resident saves.",
            ),
        ),
        (
            Panel(
                "Waiting",
                (Query(summed(f"tropilla_queue_requests{{{OF}}}", "model", "flavour"), "{{model}} {{flavour}}"),),
            ),
            Panel(
                "Slots taken",
                (
                    Query(summed(f"tropilla_slots_used{{{OF}}}", "model"), "{{model}}"),
                    Query(summed(f"tropilla_slots{{{OF}}}", "model"), "{{model}}, there are"),
                    Query(summed(f"tropilla_slots_waiting{{{OF}}}", "model"), "{{model}}, wait at a worker"),
                ),
            ),
            Panel(
                "KV cells taken",
                (
                    Query(
                        share(once(f"tropilla_kv_cells_used{{{OF}}}"), once(f"tropilla_kv_cells{{{OF}}}")),
                        "{{model}} {{worker}}",
                    ),
                ),
                "percentunit",
                about="Prefixes that are kept for later count; they give way.",
            ),
        ),
        (
            Panel("First token", percentiles("gen_ai_server_time_to_first_token_seconds", GEN_AI), "s"),
            Panel("Each further token", percentiles("gen_ai_server_time_per_output_token_seconds", GEN_AI), "s"),
            Panel("Whole requests", percentiles("gen_ai_server_request_duration_seconds", GEN_AI), "s"),
        ),
        (
            Panel(
                "Tokens of an answer",
                percentiles("gen_ai_client_token_usage", f'{GEN_AI}, gen_ai_token_type="output"'),
            ),
            Panel(
                "Tokens of a prompt",
                percentiles("gen_ai_client_token_usage", f'{GEN_AI}, gen_ai_token_type="input"'),
            ),
        ),
        (
            Panel(
                "Since a worker computed anything",
                (
                    Query(once(f"tropilla_canary_age_seconds{{{OF}}}"), "{{model}} {{worker}}"),
                    Query(once(f"tropilla_canary_seconds{{{OF}}}"), "{{model}} {{worker}}, its canary took"),
                ),
                "s",
            ),
            Panel(
                "Workers that compute nothing",
                (Query(summed(f"tropilla_canary_missed{{{OF}}}", "model"), "{{model}}"),),
            ),
        ),
        (
            Panel(
                "Loading and letting go",
                (
                    *percentiles("tropilla_model_load_seconds", OF, "model")[:2],
                    *percentiles("tropilla_model_unload_seconds", OF)[:1],
                ),
                "s",
            ),
            Panel(
                "Memory of models",
                (
                    Query(once(f"tropilla_model_resident_bytes{{{OF}}}"), "{{model}} {{worker}}"),
                    Query(once(f"tropilla_model_gpu_bytes{{{OF}}}"), "{{model}} {{worker}}, a GPU's"),
                ),
                "bytes",
            ),
        ),
        (
            Panel(
                "Images of prompts a second",
                (
                    Query(rate("tropilla_images_total", "model", "outcome", where=OF), "{{model}}, {{outcome}}"),
                    Query(rate("tropilla_images_read_total", "model", where=OF), "{{model}}, read and unpacked"),
                ),
                "ops",
                about="cached: its embeddings were kept, or were just being made for somebody else.",
            ),
            Panel("Encoding an image", percentiles("tropilla_image_encode_seconds", OF), "s"),
        ),
    ),
    CHOICE,
)


LIFE = """A request waits for a worker (**queue**), its prompt is computed (**prefill**), then its answer token by token
(**decode**). The id that every answer bears (`x-request-id`) finds a single one again: in the logs of API and worker, in
the ledger, in the trace where traces are collected, and in Flower, where a task has the request's id."""


_STAGES = (
    ("queue", "tropilla_queue_wait_seconds"),
    ("prefill", "tropilla_prefill_seconds"),
    ("decode", "tropilla_decode_seconds"),
)
_MEANS = tuple(
    Query(f"{rate(f'{name}_sum', where=OF)} / {rate(f'{name}_count', where=OF)}", stage) for stage, name in _STAGES
)
REQUEST = Dashboard(
    "tropilla-request",
    "Tropilla: one request's life",
    (
        (Panel("How to read this", kind="text", about=LIFE),),
        (Panel("Where the time goes, on average", _MEANS, "s", stacked=True),),
        tuple(Panel(f"In {stage}", percentiles(name, OF), "s") for stage, name in _STAGES),
        (
            Panel(
                "In the queue, one in twenty, by class",
                percentiles("tropilla_queue_wait_seconds", OF, "class")[1:2],
                "s",
            ),
            Panel(
                "Between two tokens",
                percentiles("tropilla_inter_token_seconds", OF),
                "s",
                about="As a worker's steps follow each other, for each answer that is decoded in them.",
            ),
        ),
        (
            Panel(
                "Taken by a worker",
                (Query(rate("tropilla_attempts_total", "cause", where=OF), "{{cause}}"),),
                "reqps",
                about="Whatever is not the first went on from its journal at another worker.",
            ),
            Panel(
                "Not wanted any more, by how far it had come",
                (Query(rate("tropilla_cancels_total", "stage", where=OF), "{{stage}}"),),
                "reqps",
            ),
        ),
    ),
    CHOICE,
)


def files() -> dict[str, str]:
    """File name -> its text."""
    made = {"cluster": CLUSTER, "models": MODELS, "request": REQUEST}
    return {f"{name}.json": json.dumps(json_of(board), indent=2) + "\n" for name, board in made.items()}


if __name__ == "__main__":
    for name, text in files().items():
        (FOLDER / name).write_text(text)
