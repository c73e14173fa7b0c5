"""What is asked of a model, and what comes back: the one vocabulary between every dialect and every engine.

A surface turns its JSON into one request; a worker turns that into a stream of events, numbered from 0 over the whole
request; a surface turns the events into its own JSON again. Nothing here knows HTTP, Redis or llama.cpp.

    GenerationRequest --> Prompted? Token* Finished, for each choice, interleaved     or
    EmbeddingRequest  --> Embedded, for each input, in any order                      or
    TokenizeRequest   --> Tokenized, for each input, in order                         or
    LoadRequest       --> Loaded                                                      or
    any of them       --> whatever came so far, Failed
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, TypeVar

#: Seeds are 32 bits in llama.cpp; 0xFFFFFFFF means "draw one yourself" there, which would not repeat on a second attempt.
MAX_SEED = 2**32 - 2


def new_request_id() -> str:
    """A 128-bit id, unguessable, in lower-case hex."""
    return secrets.token_hex(16)


def draw_seed() -> int:
    """A seed for a caller who gave none, drawn before the queue so that every attempt samples alike."""
    return secrets.randbelow(MAX_SEED + 1)


def fold_seed(seed: int) -> int:
    """Any integer, negative and 64-bit ones included, as a seed llama.cpp accepts."""
    return seed % (MAX_SEED + 1)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call an assistant turn made. `arguments` is the JSON text as the caller wrote it."""

    name: str
    arguments: str
    id: str = ""


#: Where an image stands in a text: the k-th of them is the k-th of its `images`. A Unicode noncharacter: no text has it,
#: and whoever sends it anyway loses it.
PICTURE = "\ufdd2"


@dataclass(frozen=True, slots=True)
class Image:
    """A picture in a prompt, by its content: `digest` is the SHA-256 over its file, in hex.

    `data` is that file (PNG, JPEG, WebP or GIF); None once it lies in Redis (pictures.py), where a worker reads it. One
    that nobody has fetched yet has its `url` instead of both. `param` is the field it came from, for whoever refuses it
    later, and `text` what stood there for it, until it is admitted.
    """

    digest: str = ""
    data: bytes | None = field(default=None, repr=False)
    url: str = ""
    param: str = ""
    text: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One chat turn. `role` is free text (templates know more roles than we do). `content` has a `PICTURE` for each of the
    `images`.
    """

    role: str
    content: str
    name: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    reasoning: str = ""
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call. `parameters` is a JSON schema as JSON text, so that the request stays hashable."""

    name: str
    description: str = ""
    parameters: str = "{}"


#: auto: the model decides. none: tools are shown, but calls are plain text. required: the answer is a call.
ToolChoice = Literal["auto", "none", "required"]
#: How hard to think. off and on are a model's switch, the others its levels; a model without levels takes them as on.
Effort = Literal["off", "on", "minimal", "low", "medium", "high", "max"]


@dataclass(frozen=True, slots=True)
class LocalTemplates:
    """LocalAI's templates, in its dialect of Go's language; "" where a model has none (contracts, models sheet 1.10).

    `chat_message` writes one message, `chat` (with tools: `function`) what stands around them, `completion` and `edit` a
    plain prompt. `roles` are the prefixes of roles. `system_prompt` is given to every one of them. Messages are joined by
    `joiner`.
    """

    chat: str = ""
    chat_message: str = ""
    completion: str = ""
    edit: str = ""
    function: str = ""
    roles: tuple[tuple[str, str], ...] = ()
    system_prompt: str = ""
    joiner: str = "\n"


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """Messages for the model's own chat template.

    `context` are token ids that stand before the rendered turn (Ollama's `context`).
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    context: tuple[int, ...] = ()
    tool_choice: ToolChoice = "auto"
    #: With "required": the only tool that may be called; "" leaves the choice to the model.
    named_tool: str = ""
    parallel_calls: bool = True
    #: None is what the model does by itself.
    effort: Effort | None = None
    #: Further variables for the template (`chat_template_kwargs`), as JSON text of an object.
    variables: str = "{}"
    #: A last assistant message is continued, not answered; False closes it and opens a new turn.
    continue_last: bool = True
    #: What takes the place of the model's own template: Go source as Ollama reads it, or LocalAI's; "" is the model's own.
    template: str | LocalTemplates = ""


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """Text as it stands. `special` says whether `<|im_start|>` and its like in it are markers or plain characters.

    With a `template` the text is what that one's `completion` gets as its input. It has a `PICTURE` for each of the
    `images`.
    """

    text: str
    special: bool = False
    context: tuple[int, ...] = ()
    template: LocalTemplates | None = None
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    """Token ids, used verbatim: nothing is added, not even a BOS."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MixedPrompt:
    """Token ids and texts in turn. A BOS is added where a text comes first; what texts spell is no marker."""

    parts: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class InfillPrompt:
    """What stands before and after the text to be filled in: between the model's fill-in-the-middle tokens, or where a
    `template` (Go source) puts it.
    """

    prefix: str
    suffix: str
    template: str = ""


Prompt = ChatPrompt | TextPrompt | TokenPrompt | MixedPrompt | InfillPrompt


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. Every default here means "off": a dialect passes its own defaults explicitly."""

    #: 0 is greedy; then every field below but the penalties is without effect.
    temperature: float = 1.0
    #: 0 is off.
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repeat_penalty: float = 1.0
    #: How many tokens back `repeat_penalty` looks, prompt included; 0 is off, -1 the whole context.
    repeat_last_n: int = 64
    #: Presence and frequency count generated tokens only, as OpenAI documents them.
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    #: Keeps what lies within so many standard deviations of the likeliest logit; 0 is off.
    top_n_sigma: float = 0.0
    #: The temperature moves by so much around `temperature`, up the more even the candidates are; 0 is off.
    dynatemp_range: float = 0.0
    #: How late it rises: to which power of their evenness, 0 to 1.
    dynatemp_exponent: float = 1.0
    #: XTC: with this probability all candidates above the threshold but the least likely of them are dropped.
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    #: DRY: penalizes what would extend a repetition longer than `dry_allowed_length` tokens; 0 is off.
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    #: How many tokens back DRY looks; 0 is off, -1 the whole context.
    dry_penalty_last_n: int = -1
    #: Repetitions are not followed across these.
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    #: 0 off, 1 or 2: replaces top_k, top_p, min_p, typical_p, top_n_sigma and XTC.
    mirostat: Literal[0, 1, 2] = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    #: Added to logits: by token id, or to every token that a text consists of. `BAN` and below never come.
    logit_bias: tuple[tuple[int | str, float], ...] = ()
    #: Green-list watermark (Kirchenbauer et al. 2023): what the green logits gain, 0 is off, and their share.
    watermark_delta: float = 0.0
    watermark_gamma: float = 0.5
    seed: int = 0


#: A logit bias that leaves no chance, whatever the logit.
BAN = -1e9

#: json: any JSON object. schema: a JSON schema. regex: the whole text matches. lark, gbnf: a grammar.
ConstraintKind = Literal["json", "schema", "regex", "lark", "gbnf"]


@dataclass(frozen=True, slots=True)
class Constraint:
    """What the text of the answer must look like. It binds after the reasoning block, where the model writes one.

    `source` is the schema as JSON text, the regex or the grammar; "" for json.
    """

    kind: ConstraintKind
    source: str = ""


Overlong = Literal["refuse", "drop", "shorten"]


@dataclass(frozen=True, slots=True)
class Fit:
    """What to do with a prompt that is too long for the context.

    `overlong` "refuse" fails the request; "drop" first drops the oldest messages that are not system messages; "shorten"
    then cuts the middle of the tokens too, keeping the first `keep` (Ollama). `keep_last` first cuts the prompt to its
    last N tokens (TGI).
    `room` "clip" shortens max_tokens to what is left; "refuse" fails the request when prompt + max_tokens do not fit, or
    with `least`, when not even so many of them do.
    `shift` goes on when the context is full: the first `keep` tokens stay, half of the others go (Ollama); then
    max_tokens may be more than the context, and None is ten times the context.
    `context_limit` is a context smaller than the worker's own that the caller asked for, in tokens.
    """

    overlong: Overlong = "refuse"
    keep: int = 0
    keep_last: int | None = None
    room: Literal["clip", "refuse"] = "clip"
    least: int | None = None
    shift: bool = False
    context_limit: int | None = None


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """Everything a worker needs. One choice per prompt and `n`: choice = prompt index * n + j, seeded `seed + j`."""

    id: str
    model: str
    prompts: tuple[Prompt, ...]
    sampling: Sampling
    n: int = 1
    #: None fills the context.
    max_tokens: int | None = None
    #: No end of turn, stop string or stop token counts before so many tokens.
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    #: Keep the stop string that ended the text (TGI) or cut it (everybody else).
    keep_stop: bool = False
    #: Token ids that end the answer as a stop string does.
    stop_tokens: tuple[int, ...] = ()
    #: Markers that the model writes are text, too, but for the one that ends the answer.
    show_markers: bool = False
    #: The model cannot end its turn.
    ignore_eos: bool = False
    constraint: Constraint | None = None
    #: Take reasoning blocks and tool calls out of the text (`Token.reasoning`, `Token.calls`).
    parse_reply: bool = False
    #: None: no log-probabilities. 0: of sampled tokens. N: of the N likeliest alternatives too.
    logprobs: int | None = None
    #: Send the prompt's tokens in a `Prompted` event.
    want_prompt: bool = False
    #: Those tokens with log-probabilities: as `logprobs`. The first has none: nothing stands before it.
    prompt_logprobs: int | None = None
    fit: Fit = field(default_factory=Fit)
    #: The LoRA adapter that answers, by name; "" is the model as it is.
    adapter: str = ""
    #: How long the worker keeps the model without a request, from this one on, in seconds; None is as it was, a negative
    #: number for ever.
    keep_alive: float | None = None

    @property
    def choices(self) -> int:
        """How many `Finished` events a request that does not fail ends with."""
        return len(self.prompts) * self.n


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Vectors for some inputs, one `Embedded` each: choice = place of the input."""

    id: str
    model: str
    prompts: tuple[Prompt, ...]
    #: Cut to so many dimensions (and normalized again); None keeps all.
    dimensions: int | None = None
    #: To length 1, or as the model gives them.
    normalize: bool = True
    #: Only `overlong` "refuse" and "shorten" (the end is cut off), and `context_limit`, say something here.
    fit: Fit = field(default_factory=Fit)
    keep_alive: float | None = None

    @property
    def choices(self) -> int:
        """How many `Embedded` events a request that does not fail ends with."""
        return len(self.prompts)


@dataclass(frozen=True, slots=True)
class TokenizeRequest:
    """How prompts look to the model, one `Tokenized` each: choice = place of the prompt. Nothing is computed."""

    id: str
    model: str
    prompts: tuple[Prompt, ...]
    #: Of a text: with what the model's tokenizer puts around one, a BOS, and for some an EOS.
    opens: bool = True

    @property
    def choices(self) -> int:
        """How many `Tokenized` events a request that does not fail ends with."""
        return len(self.prompts)


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Nothing but that the model be there: answered with one `Loaded` by a worker that has pinned it."""

    id: str
    model: str
    keep_alive: float | None = None
    prompts: tuple[Prompt, ...] = ()

    @property
    def choices(self) -> int:
        return 1


Request = GenerationRequest | EmbeddingRequest | TokenizeRequest | LoadRequest
_Asked = TypeVar("_Asked", bound=Request)


def images_of(request: Request) -> tuple[Image, ...]:
    """All of a request's, in the order of its prompts."""
    return tuple(image for prompt in request.prompts for image in pictured(prompt))


def with_images(request: _Asked, change: Callable[[Image], Image]) -> _Asked:
    """The request with each of its images changed."""
    if not images_of(request):
        return request
    return replace(request, prompts=tuple(_changed(prompt, change) for prompt in request.prompts))


def pictured(prompt: Prompt) -> tuple[Image, ...]:
    """A prompt's images, in the order of their places."""
    match prompt:
        case ChatPrompt(messages=messages):
            return tuple(image for message in messages for image in message.images)
        case TextPrompt(images=images):
            return images
    return ()


def _changed(prompt: Prompt, change: Callable[[Image], Image]) -> Prompt:
    match prompt:
        case ChatPrompt(messages=messages):
            return replace(
                prompt, messages=tuple(replace(each, images=tuple(map(change, each.images))) for each in messages)
            )
        case TextPrompt(images=images):
            return replace(prompt, images=tuple(map(change, images)))
    return prompt


@dataclass(frozen=True, slots=True)
class Alternative:
    """One candidate for a position: token id, its bytes, natural log of its raw softmax probability."""

    id: int
    piece: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class PromptToken:
    """One token of a prompt. `logprob` and `top` are there when asked for, but never for the first. `special` is a
    marker, whose `piece` is its spelling.
    """

    id: int
    piece: bytes
    logprob: float | None = None
    top: tuple[Alternative, ...] = ()
    special: bool = False


@dataclass(frozen=True, slots=True)
class Prompted:
    """A choice's prompt as the model saw it; stands before the choice's first token."""

    index: int
    choice: int
    tokens: tuple[PromptToken, ...]


@dataclass(frozen=True, slots=True)
class CallDelta:
    """A piece of the choice's `call`-th tool call, counted from 0. The first one has the whole `name`, and only that;
    the `arguments` of all the others together are JSON text as the model wrote it.
    """

    call: int
    name: str = ""
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token. The concatenated `text` of a choice is its whole text; it may be "" while text is held back.

    `index` counts events over the whole request. `last` marks the choice's final token: its `Finished` follows at once.
    `piece` (the token's own bytes, markers such as an EOS spelled out) and `logprob` are there when log-probabilities
    were asked for. With `parse_reply` what belongs to a reasoning block or a tool call comes in `reasoning` and `calls`,
    and not in `text`; within one token reasoning stands before text, and text before calls.
    """

    index: int
    choice: int
    id: int
    text: str
    special: bool = False
    last: bool = False
    piece: bytes = b""
    logprob: float | None = None
    top: tuple[Alternative, ...] = ()
    reasoning: str = ""
    calls: tuple[CallDelta, ...] = ()


#: eos: the model ended the turn. stop: a stop string or token. length: max_tokens or the context. cancelled: unwanted.
Reason = Literal["eos", "stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one choice. `cached` of the prompt's tokens were already resident; `generated` counts an EOS too, and
    `reasoning` of those were spent in a reasoning block.
    """

    prompt: int
    cached: int
    generated: int
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Timings:
    """Where one choice's time went on the worker, in seconds of its own clock.

    `queue` runs from taking the ticket to the first prefill chunk. `load`: the model had been loaded only a moment before
    the ticket was taken, in so many seconds, so the request is thought to have waited for that; else 0. Time spent before
    taking the ticket, in Redis, is what remains of the API's own measurement: clocks of two machines are never subtracted.
    """

    queue: float = 0.0
    load: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0


@dataclass(frozen=True, slots=True)
class Finished:
    """One choice has ended. `seed` is the one it sampled with; `stop` or `stop_token` is what ended it, if one did."""

    index: int
    choice: int
    reason: Reason
    usage: Usage
    seed: int
    stop: str = ""
    timings: Timings = field(default_factory=Timings)
    worker: str = ""
    stop_token: int | None = None


@dataclass(frozen=True, slots=True)
class Embedded:
    """One input's vector: `vector` holds little-endian 32-bit floats. It ends its choice as `Finished` does."""

    index: int
    choice: int
    vector: bytes
    #: Of the input.
    tokens: int
    worker: str = ""
    #: Since the worker had the request's inputs as tokens, of its own clock.
    seconds: float = 0.0

    @property
    def floats(self) -> tuple[float, ...]:
        return struct.unpack(f"<{len(self.vector) // 4}f", self.vector)


@dataclass(frozen=True, slots=True)
class Tokenized:
    """One prompt as the model would see it. `text` is what was tokenized: a chat as its template renders it; of token ids
    what they spell, as far as it is UTF-8. It ends its choice as `Finished` does.
    """

    index: int
    choice: int
    tokens: tuple[PromptToken, ...]
    text: str
    worker: str = ""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model is pinned, and was loaded in `seconds`. It ends its request."""

    index: int
    choice: int
    seconds: float
    worker: str = ""


#: Why a request failed, for programs. `errors.CODES` says what each means to a caller.
FailureCode = Literal[
    "context_length",
    "invalid_prompt",
    "constraint",
    "unsupported",
    "template",
    "model_unavailable",
    "worker_lost",
    "worker_crashed",
    "shutting_down",
    "expired",
    "cancelled",
    "internal",
]


@dataclass(frozen=True, slots=True)
class Failed:
    """The whole request has ended without an answer. `facts` are numbers a dialect may put into its own words."""

    index: int
    code: FailureCode
    message: str
    facts: Mapping[str, int] = field(default_factory=dict)


#: The last event of a choice that has not failed.
Last = Finished | Embedded | Tokenized | Loaded
Event = Prompted | Token | Finished | Embedded | Tokenized | Loaded | Failed


@dataclass(frozen=True, slots=True)
class Call:
    """One whole tool call of a choice; `arguments` is JSON text as the model wrote it."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One finished answer: its text, its tokens (an EOS included) and how it ended."""

    text: str
    tokens: tuple[Token, ...]
    finished: Finished
    prompt: tuple[PromptToken, ...] = ()

    @property
    def reasoning(self) -> str:
        return "".join(token.reasoning for token in self.tokens)

    @property
    def calls(self) -> tuple[Call, ...]:
        deltas = [delta for token in self.tokens for delta in token.calls]
        names = {delta.call: delta.name for delta in deltas if delta.name}
        return tuple(Call(names[at], "".join(d.arguments for d in deltas if d.call == at)) for at in sorted(names))


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole stream, folded: the choices in index order."""

    choices: tuple[Choice, ...]
