"""Requests, events and presence <-> bytes. The only place that knows how they look on the wire.

Everything is one line of JSON. Events are arrays with a one-letter tag, because a token is published for every token of
every stream; requests and workers are objects, because people read them. `EVENTS` is the table of event types.
An event's index travels beside it (it is the journal's entry id), not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from tropilla.common.catalogue import Model, Worker
from tropilla.common.errors import DecodeError, NewerMessage
from tropilla.common.generation import (
    Alternative,
    ChatPrompt,
    Event,
    Failed,
    Finished,
    Fit,
    GenerationRequest,
    Message,
    Prompt,
    PromptToken,
    Sampling,
    TextPrompt,
    Timings,
    Token,
    TokenPrompt,
    Tool,
    ToolCall,
    Usage,
)

#: Raised with every change that an older reader would misread. A worker refuses a newer ticket and leaves it queued.
VERSION = 1


def _bytes_out(piece: bytes) -> str:
    return piece.decode("latin-1")


def _bytes_in(text: str) -> bytes:
    return text.encode("latin-1")


def _token_out(event: Token) -> list[object]:
    head: list[object] = [
        "t",
        event.choice,
        event.id,
        event.text,
        (1 if event.special else 0) | (2 if event.last else 0),
    ]
    if event.logprob is None:
        return head
    top = [[a.id, _bytes_out(a.piece), a.logprob] for a in event.top]
    return [*head, _bytes_out(event.piece), event.logprob, top]


def _token_in(index: int, row: list[Any]) -> Token:
    flags = row[4]
    special, last = bool(flags & 1), bool(flags & 2)
    if len(row) == 5:
        return Token(index, row[1], row[2], row[3], special, last)
    top = tuple(Alternative(a[0], _bytes_in(a[1]), a[2]) for a in row[7])
    return Token(index, row[1], row[2], row[3], special, last, _bytes_in(row[5]), row[6], top)


def _finished_out(event: Finished) -> list[object]:
    usage, timings = event.usage, event.timings
    return [
        "f",
        event.choice,
        event.reason,
        [usage.prompt, usage.cached, usage.generated],
        event.seed,
        event.stop,
        [timings.queue, timings.prefill, timings.decode],
        event.worker,
        [[token.id, _bytes_out(token.piece)] for token in event.prompt],
    ]


def _finished_in(index: int, row: list[Any]) -> Finished:
    prompt = tuple(PromptToken(token, _bytes_in(piece)) for token, piece in row[8])
    return Finished(index, row[1], row[2], Usage(*row[3]), row[4], row[5], Timings(*row[6]), row[7], prompt)


def _failed_out(event: Failed) -> list[object]:
    return ["x", event.code, event.message, dict(event.facts)]


def _failed_in(index: int, row: list[Any]) -> Failed:
    return Failed(index, row[1], row[2], row[3])


_Writer = Callable[[Any], list[object]]
_Reader = Callable[[int, list[Any]], Event]
#: tag -> (type, writer, reader)
EVENTS: Mapping[str, tuple[type, _Writer, _Reader]] = {
    "t": (Token, _token_out, _token_in),
    "f": (Finished, _finished_out, _finished_in),
    "x": (Failed, _failed_out, _failed_in),
}
_WRITERS: Mapping[type, _Writer] = {kind: writer for kind, writer, _ in EVENTS.values()}


def encode_event(event: Event) -> bytes:
    """One line of JSON, without the index."""
    return orjson.dumps(_WRITERS[type(event)](event))


def decode_event(index: int, data: bytes) -> Event:
    """The event that stood at `index`. Raises `DecodeError`."""
    try:
        row = orjson.loads(data)
        return EVENTS[row[0]][2](index, row)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DecodeError(f"not an event: {error}", data) from error


#: tag -> type of prompt
PROMPTS: Mapping[str, type] = {"chat": ChatPrompt, "text": TextPrompt, "tokens": TokenPrompt}
_PROMPT_TAGS: Mapping[type, str] = {kind: tag for tag, kind in PROMPTS.items()}


def encode_request(request: GenerationRequest) -> bytes:
    """The ticket's payload."""
    prompts = [{"kind": _PROMPT_TAGS[type(prompt)], "prompt": prompt} for prompt in request.prompts]
    fields = {name: getattr(request, name) for name in GenerationRequest.__slots__ if name != "prompts"}
    return orjson.dumps({"version": VERSION, "request": fields, "prompts": prompts})


def decode_request(data: bytes) -> GenerationRequest:
    """The request a ticket carries. Raises `DecodeError`, `NewerMessage` for a newer version."""
    try:
        envelope = orjson.loads(data)
        if envelope["version"] != VERSION:
            raise NewerMessage(f"ticket of version {envelope['version']}, this worker reads {VERSION}", data)
        fields = envelope["request"]
        fields["sampling"] = Sampling(**fields["sampling"])
        fields["fit"] = Fit(**fields["fit"])
        fields["stop"] = tuple(fields["stop"])
        return GenerationRequest(prompts=tuple(_prompt_in(entry) for entry in envelope["prompts"]), **fields)
    except (ValueError, LookupError, TypeError) as error:
        raise DecodeError(f"not a generation request: {error}", data) from error


def _prompt_in(entry: dict[str, Any]) -> Prompt:
    kind, fields = PROMPTS[entry["kind"]], entry["prompt"]
    if kind is ChatPrompt:
        return ChatPrompt(
            messages=tuple(_message_in(message) for message in fields["messages"]),
            tools=tuple(Tool(**tool) for tool in fields["tools"]),
            context=tuple(fields["context"]),
        )
    if kind is TextPrompt:
        return TextPrompt(fields["text"], fields["special"], tuple(fields["context"]))
    return TokenPrompt(tuple(fields["ids"]))


def _message_in(fields: dict[str, Any]) -> Message:
    return Message(**{**fields, "tool_calls": tuple(ToolCall(**call) for call in fields["tool_calls"])})


def encode_worker(worker: Worker) -> bytes:
    """A worker's announcement."""
    return orjson.dumps(worker)


def decode_worker(data: bytes) -> Worker:
    """Raises `DecodeError`."""
    try:
        fields = orjson.loads(data)
        model = fields["model"]
        model["capabilities"] = tuple(model["capabilities"])
        return Worker(**{**fields, "model": Model(**model)})
    except (ValueError, LookupError, TypeError) as error:
        raise DecodeError(f"not a worker: {error}", data) from error
