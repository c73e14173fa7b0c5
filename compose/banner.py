"""What `tropilla up` says when everything is up: where things are, and a command to paste for every dialect."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PROMPT = "Tell me a story about a fox."
#: TGI's generate knows no chat: the model goes on with the text.
BEGINNING = "The capital of Norway is"
JSON_HEADER = "-H 'Content-Type: application/json'"
#: A small one that most people have heard of.
ANOTHER_MODEL = "llama3.2"


@dataclass(frozen=True, slots=True)
class Typed:
    """How somebody here calls `tropilla`, and which flags make it find this cluster."""

    program: str = "tropilla"
    flags: tuple[str, ...] = ()

    def command(self, *words: str) -> str:
        return shlex.join((self.program, *words, *self.flags))


def ready_block(
    *,
    api: str,
    flower: str | None,
    home: str,
    models: Mapping[str, str],
    idle: str = "",
    typed: Typed = Typed(),
    keys: bool = False,
) -> str:
    """`models`: name -> where it is, the first of them one that answers; `idle`: who serves nothing yet; `keys`: callers
    need one.
    """
    rows = [("API", api), ("Flower", flower or "off"), ("home", home)]
    rows += [("model", f"{name} {where}") for name, where in models.items()]
    rows += [("idle", idle)] if idle else []
    rows += [("keys", "callers need one, in TROPILLA_API_KEY for these commands")] if keys else []
    facts = "\n".join(f"  {title:<8} {fact}" for title, fact in rows)
    pastes = {"fetch a model": typed.command("pull", ANOTHER_MODEL)}
    if models:
        model = next(iter(models))
        pastes = {"in this terminal": typed.command("run", model), **pastes, **commands(api, model, keys=keys)}
    pasted = "\n".join(f"  # {what}\n  {command}" for what, command in pastes.items())
    return f"Tropilla is up. Stop it with Ctrl-C.\n{facts}\n\n{pasted}"


def commands(api: str, model: str, *, keys: bool = False) -> dict[str, str]:
    """One streaming request per dialect, to be pasted into a shell. keys: it finds the caller's in the environment."""
    headers = f'{JSON_HEADER} -H "Authorization: Bearer $TROPILLA_API_KEY"' if keys else JSON_HEADER
    messages = [{"role": "user", "content": PROMPT}]
    return {
        "OpenAI": _curl(f"{api}/v1/chat/completions", {"model": model, "stream": True, "messages": messages}, headers),
        "Ollama": _curl(f"{api}/api/generate", {"model": model, "prompt": PROMPT}, headers),
        "TGI": _curl(f"{api}/generate_stream", {"inputs": BEGINNING, "parameters": {"max_new_tokens": 20}}, headers),
    }


def _curl(url: str, body: Mapping[str, Any], headers: str) -> str:
    return f"curl -N {url} {headers} -d {shlex.quote(json.dumps(body))}"
