"""Requests, events and presence <-> bytes. The only place that knows how they look on the wire.

Everything is one line of JSON. Events are arrays with a one-letter tag, because a token is published for every token of
every stream; requests and workers are objects, because people read them. `EVENTS` is the table of event types.
An event's index travels beside it (it is the journal's entry id), not in it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson
from tropilla.common.catalogue import Definition, Trouble, Worker
from tropilla.common.errands import (
    Apply,
    Configure,
    Copy,
    Create,
    Delete,
    Done,
    Errand,
    Import,
    Look,
    Progress,
    Pull,
    Refused,
    Word,
)
from tropilla.common.errors import DecodeError, NewerMessage
from tropilla.common.generation import (
    Alternative,
    CallDelta,
    ChatPrompt,
    Constraint,
    Embedded,
    EmbeddingRequest,
    Event,
    Failed,
    Finished,
    Fit,
    GenerationRequest,
    Image,
    InfillPrompt,
    Loaded,
    LoadRequest,
    LocalTemplates,
    Message,
    MixedPrompt,
    Prompt,
    Prompted,
    PromptToken,
    Request,
    Sampling,
    TextPrompt,
    Timings,
    Token,
    Tokenized,
    TokenizeRequest,
    TokenPrompt,
    Tool,
    ToolCall,
    Usage,
    with_images,
)
from tropilla.common.metrics import Load
from tropilla.common.orders import Order
from tropilla.common.recipes import Recipe
from tropilla.common.records import record

T = TypeVar("T")

#: Raised with every change that an older reader would misread. A worker refuses a newer ticket and leaves it queued.
VERSION = 6


def _bytes_out(piece: bytes) -> str:
    return piece.decode("latin-1")


def _bytes_in(text: str) -> bytes:
    return text.encode("latin-1")


def _top_out(top: tuple[Alternative, ...]) -> list[object]:
    return [[a.id, _bytes_out(a.piece), a.logprob] for a in top]


def _top_in(rows: list[Any]) -> tuple[Alternative, ...]:
    return tuple(Alternative(row[0], _bytes_in(row[1]), row[2]) for row in rows)


def _prompt_tokens_out(tokens: tuple[PromptToken, ...]) -> list[object]:
    """Only a marker's row is a place longer."""
    return [
        [token.id, _bytes_out(token.piece), token.logprob, _top_out(token.top), *([1] if token.special else [])]
        for token in tokens
    ]


def _prompt_tokens_in(rows: list[Any]) -> tuple[PromptToken, ...]:
    return tuple(PromptToken(t[0], _bytes_in(t[1]), t[2], _top_in(t[3]), len(t) > 4) for t in rows)


def _prompted_out(event: Prompted) -> list[object]:
    return ["p", event.choice, _prompt_tokens_out(event.tokens)]


def _prompted_in(index: int, row: list[Any]) -> Prompted:
    return Prompted(index, row[1], _prompt_tokens_in(row[2]))


#: Flags in the fifth place of a token's row: the last three say which of the optional groups follow, in this order.
_SPECIAL, _LAST, _LOGPROB, _REASONING, _CALLS = 1, 2, 4, 8, 16


def _token_out(event: Token) -> list[object]:
    flags = (_SPECIAL if event.special else 0) | (_LAST if event.last else 0)
    row: list[object] = ["t", event.choice, event.id, event.text, flags]
    if event.logprob is not None:
        flags |= _LOGPROB
        row += [_bytes_out(event.piece), event.logprob, _top_out(event.top)]
    if event.reasoning:
        flags |= _REASONING
        row.append(event.reasoning)
    if event.calls:
        flags |= _CALLS
        row.append([[delta.call, delta.name, delta.arguments] for delta in event.calls])
    row[4] = flags
    return row


def _token_in(index: int, row: list[Any]) -> Token:
    flags, at = row[4], 5
    piece, logprob, reasoning = b"", None, ""
    top: tuple[Alternative, ...] = ()
    calls: tuple[CallDelta, ...] = ()
    if flags & _LOGPROB:
        piece, logprob, top = _bytes_in(row[5]), row[6], _top_in(row[7])
        at = 8
    if flags & _REASONING:
        reasoning = row[at]
        at += 1
    if flags & _CALLS:
        calls = tuple(CallDelta(*delta) for delta in row[at])
        at += 1
    if at != len(row):
        raise ValueError(f"{len(row)} fields where the flags announce {at}")
    special, last = bool(flags & _SPECIAL), bool(flags & _LAST)
    return Token(index, row[1], row[2], row[3], special, last, piece, logprob, top, reasoning, calls)


def _finished_out(event: Finished) -> list[object]:
    usage, timings = event.usage, event.timings
    return [
        "f",
        event.choice,
        event.reason,
        [usage.prompt, usage.cached, usage.generated, usage.reasoning],
        event.seed,
        event.stop,
        [timings.queue, timings.load, timings.prefill, timings.decode],
        event.worker,
        event.stop_token,
    ]


def _finished_in(index: int, row: list[Any]) -> Finished:
    return Finished(index, row[1], row[2], Usage(*row[3]), row[4], row[5], Timings(*row[6]), row[7], row[8])


def _embedded_out(event: Embedded) -> list[object]:
    return ["e", event.choice, base64.b64encode(event.vector).decode(), event.tokens, event.worker, event.seconds]


def _embedded_in(index: int, row: list[Any]) -> Embedded:
    return Embedded(index, row[1], base64.b64decode(row[2], validate=True), row[3], row[4], row[5])


def _tokenized_out(event: Tokenized) -> list[object]:
    return ["k", event.choice, _prompt_tokens_out(event.tokens), event.text, event.worker]


def _tokenized_in(index: int, row: list[Any]) -> Tokenized:
    return Tokenized(index, row[1], _prompt_tokens_in(row[2]), row[3], row[4])


def _loaded_out(event: Loaded) -> list[object]:
    return ["l", event.choice, event.seconds, event.worker]


def _loaded_in(index: int, row: list[Any]) -> Loaded:
    return Loaded(index, row[1], row[2], row[3])


def _failed_out(event: Failed) -> list[object]:
    return ["x", event.code, event.message, dict(event.facts)]


def _failed_in(index: int, row: list[Any]) -> Failed:
    return Failed(index, row[1], row[2], row[3])


_Writer = Callable[[Any], list[object]]
_Reader = Callable[[int, list[Any]], Event]
#: tag -> (type, writer, reader)
EVENTS: Mapping[str, tuple[type, _Writer, _Reader]] = {
    "p": (Prompted, _prompted_out, _prompted_in),
    "t": (Token, _token_out, _token_in),
    "f": (Finished, _finished_out, _finished_in),
    "e": (Embedded, _embedded_out, _embedded_in),
    "k": (Tokenized, _tokenized_out, _tokenized_in),
    "l": (Loaded, _loaded_out, _loaded_in),
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
PROMPTS: Mapping[str, type] = {
    "chat": ChatPrompt,
    "text": TextPrompt,
    "tokens": TokenPrompt,
    "mixed": MixedPrompt,
    "infill": InfillPrompt,
}
_PROMPT_TAGS: Mapping[type, str] = {kind: tag for tag, kind in PROMPTS.items()}
#: tag -> type of request
REQUESTS: Mapping[str, type[Request]] = {
    "generation": GenerationRequest,
    "embedding": EmbeddingRequest,
    "tokenize": TokenizeRequest,
    "load": LoadRequest,
}
_REQUEST_TAGS: Mapping[type, str] = {kind: tag for tag, kind in REQUESTS.items()}


def encode_request(request: Request) -> bytes:
    """The ticket's payload. Its images are named, not shown: they lie in Redis by then (pictures.py)."""
    request = with_images(request, lambda image: Image(image.digest, param=image.param))
    prompts = [{"kind": _PROMPT_TAGS[type(prompt)], "prompt": prompt} for prompt in request.prompts]
    fields = {name: getattr(request, name) for name in type(request).__slots__ if name != "prompts"}
    kind = _REQUEST_TAGS[type(request)]
    return orjson.dumps({"version": VERSION, "kind": kind, "request": fields, "prompts": prompts})


def decode_request(data: bytes) -> Request:
    """The request a ticket carries. Raises `DecodeError`, `NewerMessage` for a newer version."""
    try:
        envelope = orjson.loads(data)
        if envelope["version"] > VERSION:
            raise NewerMessage(f"ticket of version {envelope['version']}, this worker reads {VERSION}", data)
        if envelope["version"] < VERSION:
            raise DecodeError(f"ticket of version {envelope['version']}, older than this worker reads", data)
        kind, fields = REQUESTS[envelope["kind"]], envelope["request"]
        if "fit" in fields:
            fields["fit"] = Fit(**fields["fit"])
        if kind is GenerationRequest:
            fields["sampling"] = _sampling_in(fields["sampling"])
            fields["stop"], fields["stop_tokens"] = tuple(fields["stop"]), tuple(fields["stop_tokens"])
            if fields["constraint"] is not None:
                fields["constraint"] = Constraint(**fields["constraint"])
        return kind(prompts=tuple(_prompt_in(entry) for entry in envelope["prompts"]), **fields)
    except (ValueError, LookupError, TypeError) as error:
        raise DecodeError(f"not a request: {error}", data) from error


def _sampling_in(fields: dict[str, Any]) -> Sampling:
    bias = tuple((token, value) for token, value in fields.pop("logit_bias"))
    breakers = tuple(fields.pop("dry_sequence_breakers"))
    return Sampling(logit_bias=bias, dry_sequence_breakers=breakers, **fields)


def _prompt_in(entry: dict[str, Any]) -> Prompt:
    kind, fields = PROMPTS[entry["kind"]], entry["prompt"]
    if kind is ChatPrompt:
        messages = tuple(_message_in(message) for message in fields.pop("messages"))
        tools = tuple(Tool(**tool) for tool in fields.pop("tools"))
        template = fields.pop("template")
        template = template if isinstance(template, str) else record(LocalTemplates, template)
        return ChatPrompt(messages, tools, tuple(fields.pop("context")), template=template, **fields)
    if kind is TextPrompt:
        template = fields["template"] and record(LocalTemplates, fields["template"])
        text, images = fields["text"], _images_in(fields["images"])
        return TextPrompt(text, fields["special"], tuple(fields["context"]), template, images)
    if kind is MixedPrompt:
        return MixedPrompt(tuple(fields["parts"]))
    if kind is InfillPrompt:
        return InfillPrompt(**fields)
    return TokenPrompt(tuple(fields["ids"]))


def _message_in(fields: dict[str, Any]) -> Message:
    calls = tuple(ToolCall(**call) for call in fields["tool_calls"])
    return Message(**{**fields, "tool_calls": calls, "images": _images_in(fields["images"])})


def _images_in(rows: list[dict[str, Any]]) -> tuple[Image, ...]:
    return tuple(Image(**row) for row in rows)


def encode_line(facts: Mapping[str, Any]) -> str:
    """A line of a log; what JSON has no form for is spelled as Python would."""
    return orjson.dumps(facts, default=str).decode()


def encode_worker(worker: Worker) -> bytes:
    """A worker's announcement."""
    return orjson.dumps(worker)


def decode_worker(data: bytes) -> Worker:
    """Raises `DecodeError`."""
    return _record_in(Worker, data)


def encode_load(load: Load) -> bytes:
    return orjson.dumps(load)


def decode_load(data: bytes) -> Load:
    """Raises `DecodeError`."""
    try:
        return Load(**orjson.loads(data))
    except (ValueError, TypeError) as error:
        raise DecodeError(f"not a load: {error}", data) from error


def encode_recipe(recipe: Recipe) -> bytes:
    """Canonical: equal recipes are equal bytes."""
    return orjson.dumps(recipe, option=orjson.OPT_SORT_KEYS)


def encode_definition(definition: Definition) -> bytes:
    return orjson.dumps(definition)


def decode_definition(data: bytes) -> Definition:
    """Raises `DecodeError`."""
    return _record_in(Definition, data)


def encode_trouble(trouble: Trouble) -> bytes:
    return orjson.dumps(trouble)


def decode_trouble(data: bytes) -> Trouble:
    """Raises `DecodeError`."""
    return _record_in(Trouble, data)


def encode_order(order: Order) -> bytes:
    return orjson.dumps(order)


def decode_order(data: bytes) -> Order:
    """Raises `DecodeError`."""
    return _record_in(Order, data)


#: tag -> type of errand, and of what is said of one
ERRANDS: Mapping[str, type[Errand]] = {
    "pull": Pull,
    "create": Create,
    "copy": Copy,
    "delete": Delete,
    "import": Import,
    "configure": Configure,
    "apply": Apply,
    "look": Look,
}
WORDS: Mapping[str, type[Word]] = {"progress": Progress, "done": Done, "refused": Refused}
_TAGS: Mapping[type, str] = {kind: tag for table in (ERRANDS, WORDS) for tag, kind in table.items()}


def encode_errand(errand: Errand) -> bytes:
    """The payload of the store's ticket."""
    return _tagged(errand)


def decode_errand(data: bytes) -> Errand:
    """Raises `DecodeError`."""
    return _untagged(ERRANDS, data)


def encode_word(word: Word) -> bytes:
    return _tagged(word)


def decode_word(data: bytes) -> Word:
    """Raises `DecodeError`."""
    return _untagged(WORDS, data)


def _tagged(value: Any) -> bytes:
    return orjson.dumps([_TAGS[type(value)], value])


def _untagged(kinds: Mapping[str, type[T]], data: bytes) -> T:
    try:
        tag, value = orjson.loads(data)
        return record(kinds[tag], value)
    except (ValueError, LookupError, TypeError) as error:
        raise DecodeError(f"none of {', '.join(kinds)}: {error}", data) from error


def _record_in(kind: type[T], data: bytes) -> T:
    try:
        return record(kind, orjson.loads(data))
    except (ValueError, LookupError, TypeError) as error:
        raise DecodeError(f"not a {kind.__name__.lower()}: {error}", data) from error
