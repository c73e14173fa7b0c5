"""What an Ollama server answers, as JSON values."""

from __future__ import annotations

from typing import Any

TIME = "2026-05-01T12:00:00.123456789Z"
FAR = "2318-05-01T12:00:00+02:00"
TAGS = {"models": [
    {"name": "llama3:latest", "model": "llama3:latest", "modified_at": TIME, "size": 4_661_224_676, "digest": "ab" * 32,
     "details": {}},
    {"name": "pocket", "modified_at": TIME, "size": 5_000_000, "digest": "cd" * 32},
]}  # fmt: skip
PS = {"models": [
    {"name": "pocket", "size": 8_000_000, "size_vram": 0, "digest": "cd" * 32, "expires_at": FAR, "context_length": 2048}
]}  # fmt: skip
SHOW = {
    "modelfile": "FROM pocket\n", "parameters": 'stop                           "<end>"', "template": "{{ .Prompt }}",
    "details": {"family": "llama", "parameter_size": "2.34M", "quantization_level": "Q8_0"},
    "model_info": {"general.architecture": "llama", "llama.context_length": 2048}, "capabilities": ["completion"],
}  # fmt: skip
DONE = {"model": "m", "created_at": TIME, "message": {"role": "assistant", "content": ""}, "done": True,
        "done_reason": "stop", "total_duration": 2_000_000_000, "load_duration": 1_000_000, "prompt_eval_count": 9,
        "prompt_eval_duration": 3_000_000, "eval_count": 2, "eval_duration": 1_000_000_000}  # fmt: skip
DIGEST = "sha256:" + "ef" * 32


def chunk(text: str = "", thinking: str = "") -> dict[str, Any]:
    message = {"role": "assistant", "content": text, **({"thinking": thinking} if thinking else {})}
    return {"model": "m", "created_at": TIME, "message": message, "done": False}


PULL = [
    {"status": "pulling manifest"},
    {"status": "pulling efefefefefef", "digest": DIGEST, "total": 1000, "completed": 400},
    {"status": "pulling efefefefefef", "digest": DIGEST, "total": 1000, "completed": 1000},
    {"status": "verifying sha256 digest"},
    {"status": "success"},
]
