"""What `tropilla up` says when everything is up: where things are, and a command to paste for every dialect."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

PROMPT = "Tell me a story about a fox."
#: TGI's generate knows no chat: the model goes on with the text.
BEGINNING = "The capital of Norway is"
JSON_HEADER = "-H 'Content-Type: application/json'"


def ready_block(*, api: str, flower: str | None, home: str, models: Mapping[str, str]) -> str:
    """`models`: name -> who serves it."""
    rows = [("API", api), ("Flower", flower or "off"), ("home", home)]
    rows += [("model", f"{name} on {workers}") for name, workers in models.items()]
    facts = "\n".join(f"  {title:<8} {fact}" for title, fact in rows)
    pastes = "\n".join(f"  # {dialect}\n  {command}" for dialect, command in commands(api, next(iter(models))).items())
    return f"Tropilla is up. Stop it with Ctrl-C.\n{facts}\n\n{pastes}"


def commands(api: str, model: str) -> dict[str, str]:
    """One streaming request per dialect, to be pasted into a shell."""
    messages = [{"role": "user", "content": PROMPT}]
    return {
        "OpenAI": _curl(f"{api}/v1/chat/completions", {"model": model, "stream": True, "messages": messages}),
        "Ollama": _curl(f"{api}/api/generate", {"model": model, "prompt": PROMPT}),
        "TGI": _curl(f"{api}/generate_stream", {"inputs": BEGINNING, "parameters": {"max_new_tokens": 20}}),
    }


def _curl(url: str, body: Mapping[str, Any]) -> str:
    return f"curl -N {url} {JSON_HEADER} -d {shlex.quote(json.dumps(body))}"
