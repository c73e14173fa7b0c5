"""One frozen `Settings`, read once from the environment; nonsense is refused by name.

Every setting is an environment variable `TROPILLA_<FIELD>`; its default is written here and nowhere else.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tropilla.common.addresses import checked_names, checked_origins, checked_url, is_loopback
from tropilla.common.environment import PREFIX as PREFIX
from tropilla.common.environment import with_files
from tropilla.common.errors import ConfigurationError
from tropilla.common.hosts import parse_hosts

#: What llama.cpp has for a KV cache.
CACHE_TYPES = ("f16", "f32", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything an operator can decide. Units are in the names; bounds in the metadata."""

    # Where things are
    redis_url: str = dataclasses.field(default="redis://127.0.0.1:6379/0", metadata={"secret": True})
    home: Path = Path("~/.tropilla")
    host: str = "127.0.0.1"
    port: int = dataclasses.field(default=8000, metadata={"low": 0, "high": 65535})
    flower_port: int = dataclasses.field(default=5555, metadata={"low": 0, "high": 65535})
    flower_host: str = "127.0.0.1"
    #: USER:PASSWORD that Flower asks for.
    flower_auth: str = dataclasses.field(default="", metadata={"secret": True})
    #: Which cluster the command line talks to; empty is the one of this home folder, or whoever has the API's port.
    url: str = ""
    #: The API key with which the command line talks to it.
    api_key: str = dataclasses.field(default="", metadata={"secret": True})
    #: Whether callers need an API key; auto: where others than this machine may call.
    keys: str = dataclasses.field(default="auto", metadata={"among": ("auto", "on", "off")})
    api_processes: int = dataclasses.field(default=1, metadata={"low": 1, "high": 64})

    #: Where workers get files that are not in their `home`: the API, as they reach it. Empty is `host` and `port`.
    blobs_url: str = ""

    # One worker: which model it pins, and how. `model` is NAME=PATH; empty is the built-in pocket.
    model: str = ""
    #: The GGUF file (mmproj) that reads images for that model.
    projector: str = ""
    #: LoRA adapters for that model: NAME=PATH, several with commas between them.
    adapters: str = ""
    flavour: str = dataclasses.field(default="cpu", metadata={"among": ("cpu", "gpu")})
    worker_name: str = ""
    slots: int = dataclasses.field(default=8, metadata={"low": 1, "high": 256})
    #: Tokens one request may use, prompt and answer together; 0 is what the model was trained for, 4096 at the most.
    context: int = dataclasses.field(default=0, metadata={"low": 0, "high": 1 << 22})
    #: Tokens kept for all slots together, in blocks of 256; 0 is slots times context, or what memory has room for.
    kv_cells: int = dataclasses.field(default=0, metadata={"low": 0, "high": 1 << 26})
    #: How a number of the KV cache is kept: q8_0 takes half of f16, q4_0 a quarter.
    cache_type: str = dataclasses.field(default="f16", metadata={"among": CACHE_TYPES})
    #: 0 is all cores but one, which the rest of the cluster needs; `tropilla up` shares them among its CPU workers.
    threads: int = dataclasses.field(default=0, metadata={"low": 0, "high": 1024})
    #: Layers kept on the GPU by a gpu worker; -1 is all.
    gpu_layers: int = dataclasses.field(default=-1, metadata={"low": -1, "high": 10_000})
    #: Images that a worker has read are kept for those who show them again: so many bytes of embeddings.
    image_cache_bytes: int = dataclasses.field(default=256 << 20, metadata={"low": 0, "high": 1 << 40})
    #: Tokens evaluated in one step at the most: the prefill chunk that running streams wait for.
    step_tokens: int = dataclasses.field(default=256, metadata={"low": 16, "high": 8192})

    # What is logged, and who collects traces
    log_format: str = dataclasses.field(default="text", metadata={"among": ("text", "json")})
    log_level: str = dataclasses.field(default="info", metadata={"among": ("debug", "info", "warning", "error")})
    #: auto: where an OTEL_EXPORTER_OTLP_ENDPOINT says who.
    traces: str = dataclasses.field(default="auto", metadata={"among": ("auto", "on", "off")})

    #: An aikit manifest that says which models there are: `tropilla up` brings the cluster to what it says.
    manifest: str = ""

    # What a caller may ask for
    #: Answers requests that name no model; empty is the only model there is, or the first by name.
    default_model: str = ""
    #: What happens to a model name that nobody serves: an error, or the default model answers.
    unknown_model: str = dataclasses.field(default="error", metadata={"among": ("error", "default")})
    #: When the caller sets none, on the OpenAI and TGI surfaces; -1 fills the context.
    default_max_tokens: int = dataclasses.field(default=1024, metadata={"low": -1, "high": 1 << 22})
    #: Further names of models: ALIAS=NAME, several with commas.
    model_aliases: str = ""
    #: Web pages that may use the API beside those of this machine: origins with a `*` at most, several with commas. `auto`:
    #: all where callers need a key, which no page has by itself, and none elsewhere.
    cors_origins: str = "auto"
    #: Names by which the API may be called without a key, beside this machine's own: several with commas, `*` is any.
    hosts: str = ""
    #: Without the images in it.
    max_body_bytes: int = dataclasses.field(default=4 << 20, metadata={"low": 1024, "high": 1 << 30})
    #: Images in one request, the bytes and pixels of each, and the bytes of all in a body, as base64 has them.
    max_images: int = dataclasses.field(default=16, metadata={"low": 0, "high": 1024})
    max_image_bytes: int = dataclasses.field(default=20 << 20, metadata={"low": 64, "high": 1 << 30})
    max_image_pixels: int = dataclasses.field(default=40_000_000, metadata={"low": 64, "high": 1 << 30})
    max_image_body_bytes: int = dataclasses.field(default=48 << 20, metadata={"low": 0, "high": 1 << 30})
    #: Whether an image may be named by an http(s) URL, which the store then fetches from where `pull_hosts` allows.
    image_urls: str = dataclasses.field(default="off", metadata={"among": ("on", "off")})
    #: What the images of requests may take of Redis.
    images_bytes_in_all: int = dataclasses.field(default=512 << 20, metadata={"low": 1024, "high": 1 << 50})
    #: Of a file that is uploaded for a model (Ollama's blobs).
    max_blob_bytes: int = dataclasses.field(default=64 << 30, metadata={"low": 1024, "high": 1 << 50})
    #: Of a file that is uploaded for a batch, and how many requests it may hold.
    max_file_bytes: int = dataclasses.field(default=200 << 20, metadata={"low": 1024, "high": 1 << 40})
    #: Of all files that are kept for batches and by them: of one API key, and in all.
    max_files_bytes_per_key: int = dataclasses.field(default=10 << 30, metadata={"low": 1024, "high": 1 << 50})
    max_files_bytes: int = dataclasses.field(default=100 << 30, metadata={"low": 1024, "high": 1 << 50})
    max_batch_lines: int = dataclasses.field(default=50_000, metadata={"low": 1, "high": 1_000_000})
    #: Requests that may wait for one model, of one API key (0: as many as for a model), and in all; one more is refused.
    #: The last places are not for whoever has most of the others (admit.lua).
    max_queue: int = dataclasses.field(default=512, metadata={"low": 1, "high": 1_000_000})
    max_queue_per_key: int = dataclasses.field(default=0, metadata={"low": 0, "high": 1_000_000})
    max_queue_in_all: int = dataclasses.field(default=4096, metadata={"low": 1, "high": 10_000_000})
    #: The ledger is kept to about so many rows, one for each request that took tokens: some 200 bytes of Redis each.
    ledger_rows: int = dataclasses.field(default=200_000, metadata={"low": 1000, "high": 1_000_000_000})
    #: Requests that have cost their workers are kept aside for `tropilla dead`, the last so many, with what was asked.
    max_dead: int = dataclasses.field(default=1000, metadata={"low": 1, "high": 1_000_000})
    #: Requests waiting for gpu workers beyond which new ones go to cpu workers, where such have the model.
    spill_backlog: int = dataclasses.field(default=64, metadata={"low": 0, "high": 1_000_000})
    #: New requests are refused while Redis uses more of its maxmemory, so that there is room for those that run.
    redis_full_percent: float = dataclasses.field(default=90.0, metadata={"low": 1, "high": 100})
    #: Choices per request: prompts times n.
    max_choices: int = dataclasses.field(default=16, metadata={"low": 1, "high": 128})
    #: What OpenAI answers call the reasoning of a model: DeepSeek's and llama.cpp's word, or vLLM's `reasoning` as well.
    reasoning_keys: str = dataclasses.field(
        default="reasoning_content", metadata={"among": ("reasoning_content", "both")}
    )
    max_stop_sequences: int = dataclasses.field(default=4, metadata={"low": 1, "high": 64})
    max_top_logprobs: int = dataclasses.field(default=20, metadata={"low": 0, "high": 100})
    #: Generations in flight in one API process, queued ones included; one more is refused at once.
    max_concurrent_requests: int = dataclasses.field(default=1024, metadata={"low": 1, "high": 1_000_000})
    #: TGI: candidates that compete for one answer, and likeliest alternatives shown of a token.
    max_best_of: int = dataclasses.field(default=2, metadata={"low": 1, "high": 128})
    max_top_n_tokens: int = dataclasses.field(default=5, metadata={"low": 0, "high": 100})
    #: Whether POST / of TGI shows the prompt before the answer when the caller does not say: upstream does.
    echo_prompt: str = dataclasses.field(default="yes", metadata={"among": ("yes", "no")})
    #: TGI: whether prompt + max_new_tokens must fit into the context, or only the first 1024 of them, as upstream has it.
    sum_rule: str = dataclasses.field(default="all", metadata={"among": ("all", "chunk")})
    #: Whether server-sent events bear an `id` by which a client that comes again goes on. A hand-made client that takes a
    #: whole event for its data wants "no"; it can still go on with /v1/streams.
    stream_ids: str = dataclasses.field(default="yes", metadata={"among": ("yes", "no")})
    #: Whether numbers among a model's settings end where Jan's schema ends them, or where the model does.
    jan_strict: str = dataclasses.field(default="no", metadata={"among": ("yes", "no")})
    #: The status of bodies that are refused on /v1/*: OpenAI's 400 or TGI's 422.
    shared_errors: str = dataclasses.field(default="openai", metadata={"among": ("openai", "tgi")})
    #: What TGI's x-compute-type header says of the machine.
    compute_type: str = "gpu+optimized"
    #: Where models may be fetched from (hosts.py), and what OWNER/NAME alone means as a source: a repository of the Hugging
    #: Face hub, or a model of Ollama's library, as it always does for Ollama's clients.
    pull_hosts: str = "*"
    bare_repo: str = dataclasses.field(default="hf", metadata={"among": ("hf", "ollama")})
    #: What GET /api/version answers: some Ollama clients refuse old servers.
    ollama_version: str = "0.12.0"

    #: Folders whose GGUF files callers may import, several with commas; empty is the home folder.
    import_folders: str = ""

    # Time, in seconds
    #: A model that nobody waits for gives way at once to one that is waited for; another does so when that has waited for
    #: so long, and when it has been there for so long itself. What runs is finished first.
    swap_seconds: float = dataclasses.field(default=10.0, metadata={"low": 0, "high": 3600})
    #: How long a model that a worker loaded on demand stays without a request; negative is for ever.
    keep_alive_seconds: float = dataclasses.field(default=300.0, metadata={"low": -1e9, "high": 1e9})
    #: A worker that could not load a model is not asked to again for so long.
    load_cooldown_seconds: float = dataclasses.field(default=60.0, metadata={"low": 1, "high": 86_400})
    lease_seconds: float = dataclasses.field(default=2.0, metadata={"low": 0.5, "high": 60})
    #: A popped ticket that nobody acknowledges or renews is handed out again after so long.
    visibility_seconds: int = dataclasses.field(default=30, metadata={"low": 3, "high": 3600})
    #: Silence after which the API looks whether the worker still lives.
    stall_seconds: float = dataclasses.field(default=1.0, metadata={"low": 0.2, "high": 60})
    #: Silence after which a stream gets a sign of life. Some clients give up after 15.
    heartbeat_seconds: float = dataclasses.field(default=10.0, metadata={"low": 0.5, "high": 15})
    #: How long a request may take from acceptance to its last token.
    deadline_seconds: float = dataclasses.field(default=3600.0, metadata={"low": 1, "high": 86_400})
    #: How long the journal of an ended request is kept.
    journal_seconds: float = dataclasses.field(default=600.0, metadata={"low": 10, "high": 86_400})
    #: How long an image is kept after it was last named by a request that waits or runs.
    image_seconds: float = dataclasses.field(default=300.0, metadata={"low": 10, "high": 86_400})
    #: How long a request that has cost its workers is kept aside.
    dead_seconds: float = dataclasses.field(default=604_800.0, metadata={"low": 60, "high": 31_536_000})
    #: How long open requests wait for a Redis that cannot be reached, heartbeats going out; then they end with an error.
    outage_seconds: float = dataclasses.field(default=90.0, metadata={"low": 1, "high": 3600})
    #: How long a worker goes on for an API process that nobody hears.
    orphan_seconds: float = dataclasses.field(default=10.0, metadata={"low": 0.5, "high": 3600})
    #: A step that takes longer hangs, and the worker ends itself. A step has `step_tokens` at the most: 256 of a 13B model
    #: on two slow cores take about 90 s, and the first one reads the weights: 40 GB from a disk at 200 MB/s take 200 s.
    step_seconds: float = dataclasses.field(default=300.0, metadata={"low": 1, "high": 86_400})
    #: A worker whose model has computed nothing for so long asks it for a token, to know whether it still does.
    canary_seconds: float = dataclasses.field(default=10.0, metadata={"low": 0.1, "high": 3600})
    #: A worker that leaves tickets lying for so long, though it has room, no longer hears Celery, and ends itself.
    deaf_seconds: float = dataclasses.field(default=10.0, metadata={"low": 1, "high": 3600})
    #: How long running generations may go on where they are when everything stops, or their worker is told to leave and
    #: nobody else serves their model.
    drain_seconds: float = dataclasses.field(default=5.0, metadata={"low": 0, "high": 3600})
    #: How long an API process that is told to leave (SIGTERM) goes on with what it has begun to answer.
    api_drain_seconds: float = dataclasses.field(default=60.0, metadata={"low": 0, "high": 3600})
    #: A client that takes no bytes for so long is gone.
    write_seconds: float = dataclasses.field(default=30.0, metadata={"low": 1, "high": 3600})

    @property
    def keys_on(self) -> bool:
        """Whether callers need an API key."""
        return self.keys == "on" or (self.keys == "auto" and not is_loopback(self.host))

    @property
    def most_body_bytes(self) -> int:
        """Of a body with the images in it."""
        return self.max_body_bytes + self.max_image_body_bytes

    @property
    def pages(self) -> str:
        """`cors_origins`, as a list."""
        everywhere = "*" if self.keys_on else ""
        return everywhere if self.cors_origins == "auto" else self.cors_origins

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read every `TROPILLA_*` variable, and the files that stand for secret ones. Raises `ConfigurationError` naming
        the variable and its value.
        """
        environment = os.environ if environment is None else environment
        fields = {PREFIX + f.name.upper(): f for f in dataclasses.fields(cls)}
        values: dict[str, Any] = {}
        secret = {variable for variable, each in fields.items() if each.metadata.get("secret")}
        for variable, text in with_files(environment, secret).items():
            if not variable.startswith(PREFIX):
                continue
            if variable not in fields:
                raise ConfigurationError(unknown(variable, fields))
            values[fields[variable].name] = _read(variable, text, fields[variable])
        settings = cls(**values)
        aliases(settings.model_aliases)
        parse_hosts(settings.pull_hosts)
        _check_flower(settings.flower_auth)
        checked_origins(f"{PREFIX}CORS_ORIGINS", settings.pages)
        checked_names(f"{PREFIX}HOSTS", settings.hosts)
        blobs_url = settings.blobs_url and checked_url(f"{PREFIX}BLOBS_URL", settings.blobs_url)
        return dataclasses.replace(settings, home=settings.home.expanduser(), blobs_url=blobs_url)

    def to_environment(self) -> dict[str, str]:
        """The variables that make `from_environment` give this value again."""
        return {PREFIX + f.name.upper(): str(getattr(self, f.name)) for f in dataclasses.fields(self)}


@functools.cache
def aliases(setting: str) -> Mapping[str, str]:
    """Alias -> name of a model, from `model_aliases`. Raises `ConfigurationError` for what is no pair."""
    found: dict[str, str] = {}
    for entry in filter(None, (part.strip() for part in setting.split(","))):
        alias, _, name = (part.strip() for part in entry.partition("="))
        if not alias or not name:
            raise ConfigurationError(f"{PREFIX}MODEL_ALIASES={setting!r} must be ALIAS=NAME, several with commas")
        found[alias] = name
    return found


def _check_flower(auth: str) -> None:
    user, _, password = auth.partition(":")
    # Flower would cut it in two at a comma. What it is, is not said.
    if auth and (not (user and password) or "," in auth):
        raise ConfigurationError(f"{PREFIX}FLOWER_AUTH must be USER:PASSWORD, without a comma")


def unknown(variable: str, known: Collection[str]) -> str:
    """What to say of a variable with our prefix that is no setting: the nearest one, or all there are."""
    near = difflib.get_close_matches(variable.removeprefix(PREFIX), [name.removeprefix(PREFIX) for name in known], n=1)
    if near:
        return f"{variable} is not a setting: did you mean {PREFIX}{near[0]}?"
    return f"{variable} is not a setting; known ones: {', '.join(sorted(known))}"


def threads_for(cores: int, workers: int = 1) -> int:
    """Threads of each of some workers that share a machine: all cores but one between them.

    llama.cpp's threads meet at a barrier hundreds of times a token, and spin there. Where anything else wants a core at
    that moment, be it our own API process, each barrier waits for a time slice: measured on two cores over HTTP, two
    threads made half the tokens of one, and less with another program running (docs/benchmarks.md).
    """
    return max(1, (cores - 1) // workers)


def _read(variable: str, text: str, field: dataclasses.Field[Any]) -> Any:
    kinds: dict[Any, Any] = {"int": int, "float": float, "str": str, "Path": Path}
    kind = kinds[field.type]
    try:
        value = kind(text)
    except ValueError as error:
        raise ConfigurationError(f"{variable}={text!r} is not a number ({field.type})") from error
    bounds = field.metadata
    if "among" in bounds and value not in bounds["among"]:
        raise ConfigurationError(f"{variable}={text!r} must be one of {', '.join(bounds['among'])}")
    if "low" in bounds and not bounds["low"] <= value <= bounds["high"]:
        raise ConfigurationError(f"{variable}={text!r} must be from {bounds['low']} to {bounds['high']}")
    return value
