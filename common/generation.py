"""What is asked of a model, and what comes back: the one vocabulary between every dialect and every engine.

A surface turns its JSON into one `GenerationRequest`; a worker turns that into a stream of events, numbered from 0 over
the whole request; a surface turns the events into its own JSON again. Nothing here knows HTTP, Redis or llama.cpp.

    request --> Token* (Finished for each choice, in any order)     or
    request --> Token* Failed
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

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


@dataclass(frozen=True, slots=True)
class Message:
    """One chat turn. `role` is free text (templates know more roles than we do)."""

    role: str
    content: str
    name: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    reasoning: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function the model may call. `parameters` is a JSON schema as JSON text, so that the request stays hashable."""

    name: str
    description: str = ""
    parameters: str = "{}"


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """Messages for the model's own chat template. A last assistant message is continued, not answered.

    `context` are token ids that stand before the rendered turn (Ollama's `context`).
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    context: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """Text as it stands. `special` says whether `<|im_start|>` and its like in it are markers or plain characters."""

    text: str
    special: bool = False
    context: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    """Token ids, used verbatim: nothing is added, not even a BOS."""

    ids: tuple[int, ...]


Prompt = ChatPrompt | TextPrompt | TokenPrompt


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
    #: 0 off, 1 or 2: replaces top_k, top_p, min_p and typical_p.
    mirostat: Literal[0, 1, 2] = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    seed: int = 0


Overlong = Literal["refuse", "drop", "shorten"]


@dataclass(frozen=True, slots=True)
class Fit:
    """What to do with a prompt that is too long for the context.

    `overlong` "refuse" fails the request; "drop" first drops the oldest messages that are not system messages; "shorten"
    then cuts the middle of the tokens too, keeping the first `keep` (Ollama). `keep_last` first cuts the prompt to its
    last N tokens (TGI).
    `room` "clip" shortens max_tokens to what is left; "refuse" fails the request when prompt + max_tokens do not fit.
    `context_limit` is a context smaller than the worker's own that the caller asked for, in tokens.
    """

    overlong: Overlong = "refuse"
    keep: int = 0
    keep_last: int | None = None
    room: Literal["clip", "refuse"] = "clip"
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
    stop: tuple[str, ...] = ()
    #: Keep the stop string that ended the text (TGI) or cut it (everybody else).
    keep_stop: bool = False
    #: None: no log-probabilities. 0: of sampled tokens. N: of the N likeliest alternatives too.
    logprobs: int | None = None
    #: Hand back the prompt's tokens in `Finished.prompt`.
    want_prompt: bool = False
    fit: Fit = field(default_factory=Fit)

    @property
    def choices(self) -> int:
        """How many `Finished` events a request that does not fail ends with."""
        return len(self.prompts) * self.n


@dataclass(frozen=True, slots=True)
class Alternative:
    """One candidate for a position: token id, its bytes, natural log of its raw softmax probability."""

    id: int
    piece: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token. The concatenated `text` of a choice is its whole text; it may be "" while text is held back.

    `index` counts events over the whole request. `last` marks the choice's final token: its `Finished` follows at once.
    `piece` (the token's own bytes, markers such as an EOS spelled out) and `logprob` are there when log-probabilities
    were asked for.
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


@dataclass(frozen=True, slots=True)
class PromptToken:
    id: int
    piece: bytes


#: eos: the model ended the turn. stop: a stop string. length: max_tokens or the context. cancelled: nobody wants it.
Reason = Literal["eos", "stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one choice. `cached` of the prompt's tokens were already resident; `generated` counts an EOS too."""

    prompt: int
    cached: int
    generated: int


@dataclass(frozen=True, slots=True)
class Timings:
    """Where one choice's time went on the worker, in seconds of its own clock.

    `queue` runs from taking the ticket to the first prefill chunk. Time spent before that, in Redis, is what remains of
    the API's own measurement: clocks of two machines are never subtracted.
    """

    queue: float = 0.0
    prefill: float = 0.0
    decode: float = 0.0


@dataclass(frozen=True, slots=True)
class Finished:
    """One choice has ended. `seed` is the one it sampled with; `stop` the stop string that ended it, else ""."""

    index: int
    choice: int
    reason: Reason
    usage: Usage
    seed: int
    stop: str = ""
    timings: Timings = field(default_factory=Timings)
    worker: str = ""
    prompt: tuple[PromptToken, ...] = ()


#: Why a request failed, for programs. `errors.CODES` says what each means to a caller.
FailureCode = Literal[
    "context_length",
    "invalid_prompt",
    "template",
    "model_unavailable",
    "worker_lost",
    "shutting_down",
    "expired",
    "internal",
]


@dataclass(frozen=True, slots=True)
class Failed:
    """The whole request has ended without an answer. `facts` are numbers a dialect may put into its own words."""

    index: int
    code: FailureCode
    message: str
    facts: Mapping[str, int] = field(default_factory=dict)


Event = Token | Finished | Failed


@dataclass(frozen=True, slots=True)
class Choice:
    """One finished answer: its text, its tokens (an EOS included) and how it ended."""

    text: str
    tokens: tuple[Token, ...]
    finished: Finished


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole stream, folded: the choices in index order."""

    choices: tuple[Choice, ...]
