"""What a cluster answers, as values: the only place that knows the keys of Ollama's JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from tropilla.compose.client.errors import Misunderstood

T = TypeVar("T")
JSON = Any


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of `tropilla list`. `digest` is 64 hex digits."""

    name: str
    digest: str
    size_bytes: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Running:
    """One line of `tropilla ps`. `gpu_bytes` are of `size_bytes`; `context` is tokens per request."""

    name: str
    digest: str
    size_bytes: int
    gpu_bytes: int
    context: int
    expires: datetime


@dataclass(frozen=True, slots=True)
class Shown:
    """Everything that is known of one model. `facts` are the file's own, by GGUF key, `eyes` those of its projector."""

    details: Mapping[str, Any]
    facts: Mapping[str, Any]
    capabilities: tuple[str, ...]
    modelfile: str
    parameters: str
    template: str
    system: str
    license: str
    eyes: Mapping[str, Any] = field(default_factory=dict)

    def fact(self, key: str) -> Any:
        """Of a key that stands behind the architecture: `context_length`."""
        return self.facts.get(f"{self.facts.get('general.architecture', '')}.{key}")


@dataclass(frozen=True, slots=True)
class PullLine:
    """One object of a pull: `digest` and the numbers only where it is about one file, `name` only where it is known."""

    status: str
    digest: str = ""
    total: int = 0
    completed: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Timings:
    """Counts are tokens, times nanoseconds."""

    total: int
    load: int
    prompt_count: int
    prompt: int
    answer_count: int
    answer: int


@dataclass(frozen=True, slots=True)
class Piece:
    """One object of an answer. `timings` come with the last one, together with why it is the last."""

    text: str
    thinking: str
    done: bool
    reason: str = ""
    timings: Timings | None = None


def understood(read: Callable[[JSON], T], answer: JSON) -> T:
    """Raises `Misunderstood` for what is not Ollama's JSON."""
    try:
        return read(answer)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise Misunderstood(f"the cluster's answer cannot be understood: {error!r}") from error


def listed(answer: JSON) -> tuple[Listed, ...]:
    return tuple(
        Listed(str(each["name"]), str(each["digest"]), int(each["size"]), _time(each["modified_at"]))
        for each in answer["models"]
    )


def running(answer: JSON) -> tuple[Running, ...]:
    return tuple(
        Running(
            name=str(each["name"]),
            digest=str(each["digest"]),
            size_bytes=int(each["size"]),
            gpu_bytes=int(each.get("size_vram") or 0),
            context=int(each.get("context_length") or 0),
            expires=_time(each["expires_at"]),
        )
        for each in answer["models"]
    )


def shown(answer: JSON) -> Shown:
    texts = {key: str(answer.get(key) or "") for key in ("modelfile", "parameters", "template", "system", "license")}
    return Shown(
        details=dict(answer["details"]),
        facts=dict(answer["model_info"]),
        capabilities=tuple(map(str, answer.get("capabilities") or ())),
        eyes=dict(answer.get("projector_info") or {}),
        **texts,
    )


def pull_line(item: JSON) -> PullLine:
    return PullLine(
        str(item["status"]),
        str(item.get("digest") or ""),
        int(item.get("total") or 0),
        int(item.get("completed") or 0),
    )


def piece(item: JSON) -> Piece:
    message = item.get("message") or {}
    done = bool(item["done"])
    reason = str(item.get("done_reason") or "")
    timings = _timings(item) if done else None
    return Piece(str(message.get("content") or ""), str(message.get("thinking") or ""), done, reason, timings)


def _timings(item: JSON) -> Timings:
    keys = ("total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_count",
            "eval_duration")  # fmt: skip
    return Timings(*(int(item.get(key) or 0) for key in keys))


def _time(text: JSON) -> datetime:
    """RFC 3339, always with a zone."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return time
