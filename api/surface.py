"""What a dialect is to the rest of the house: a frozen record of pure functions, one per route that generates.

A surface never sees Flask, Redis or a worker. Driven by hand it goes

    body (JSON value) --parse--> Call ... events ... --whole--> one JSON object
                                                    --frames--> a stream of frames

and every error of `common.errors` becomes the dialect's own with `fault`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tropilla.api.about import UNTOLD, About, Shape
from tropilla.api.batches.wishes import Granted, Wish
from tropilla.api.framing import NDJSON, Framing
from tropilla.api.reading import parse_json
from tropilla.common.catalogue import Catalogue
from tropilla.common.errands import Errand, RefusalCode, Refused, Task, Word
from tropilla.common.errors import RequestError, TropillaError, from_failed
from tropilla.common.generation import (
    Choice,
    Completion,
    EmbeddingRequest,
    Event,
    Failed,
    Finished,
    GenerationRequest,
    LoadRequest,
    Prompted,
    PromptToken,
    Token,
    TokenizeRequest,
)
from tropilla.common.keys import ADMIN, ANYBODY, INFERENCE, METRICS, NOBODY, READING, Principal, Scopes
from tropilla.common.metrics import Reading
from tropilla.common.settings import Settings
from tropilla.common.terms import Priority

JSON = Any


@dataclass(frozen=True, slots=True)
class Frame:
    """One item of a stream. `data` is a JSON value, or text that goes out as it stands (`[DONE]`)."""

    data: JSON
    event: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole HTTP answer: a JSON body (or plain text), a status and the dialect's own headers."""

    body: JSON
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a dialect may know of the cluster while it parses: a snapshot, so that parsing stays a pure function.

    `now` is when the request came, Unix seconds. `headers` are the request's, names in lower case; `path` holds the
    variables of the route it came by, `query` what stands behind its `?`; `principal` is who asks.
    `information`: a file's digest -> what its header says, as JSON text; None where nobody has told. `arrays`: a file's
    digest -> the arrays of its header, by key; none where this process does not see the file.
    """

    catalogue: Catalogue
    settings: Settings
    now: float
    headers: Mapping[str, str] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    principal: Principal = NOBODY
    information: Callable[[str], bytes | None] = lambda digest: None
    arrays: Callable[[str], Mapping[str, JSON]] = lambda digest: {}
    #: What was asked of the store and is not over; and what has come of one errand, by its id.
    tasks: Callable[[], tuple[Task, ...]] = lambda: ()
    task: Callable[[str], Task | None] = lambda errand_id: None
    #: This API process leaves: it finishes what it has begun, and whoever comes is better served by another one.
    draining: bool = False
    #: What is the matter with threads of this process that no longer turn, by name.
    ailing: Mapping[str, str] = field(default_factory=dict)
    #: What Redis took to tell the catalogue, in seconds, where it was asked; None: it cannot be reached.
    answered: float | None = 0.0
    #: Whether there is a store that takes errands; may raise `StoreUnavailable`.
    staffed: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was understood. `answer` is what the dialect wants to remember for its answer, of its own type."""

    request: GenerationRequest
    stream: bool
    received: float
    answer: Any = None
    #: The field that a prompt which is refused later, by the worker, came from.
    prompt_field: str = "prompt"
    #: When the request was understood and left for the queue, Unix seconds; the handler fills it in.
    queued: float = 0.0
    #: How urgent the body says it is; None where it says nothing of that.
    priority: Priority | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """A request that was understood and generates nothing. The fields are `Call`'s."""

    request: EmbeddingRequest | TokenizeRequest | LoadRequest
    received: float
    answer: Any = None
    prompt_field: str = "input"
    #: Tells what goes wrong from here on, where the route has other words than its dialect.
    fault: Callable[[TropillaError], Reply] | None = None
    #: What the store has to do before the model is asked.
    first: ErrandCall | None = None
    #: Said at once: nobody waits for what the model says, but it is asked all the same.
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Dismissal:
    """A request that was understood: every worker lets go of the pin once what runs there has ended; `reply` is said at
    once.
    """

    pin: str
    reply: Reply


@dataclass(frozen=True, slots=True)
class ErrandCall:
    """A request that was understood, and is the store's to do.

    `flight`: what only one errand at a time is under way for; whoever comes second listens to the first ("": this one is
    like no other). `wait`: the answer is what came of it, not that it has begun. `stops`: it stops when its caller leaves.
    """

    errand: Errand
    received: float
    flight: str = ""
    stream: bool = False
    wait: bool = True
    stops: bool = False
    #: Errands that are given up for it.
    instead_of: tuple[str, ...] = ()
    answer: Any = None


class ErrandRefused(RequestError):
    """What the store would not or could not do; `code` says why, for programs."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.message, param=refused.field or None)
        self.code: RefusalCode = refused.code


@dataclass(frozen=True, slots=True)
class Listening:
    """A request that was understood, to hear of an errand that was asked for before: a stream, from its first word on.

    `feed` gets each word once and yields what goes out for it.
    """

    errand_id: str
    feed: Callable[[Word], Iterable[Frame]]


@dataclass(frozen=True, slots=True)
class Stopping:
    """A request that was understood: the store gives up an errand; `reply` is said at once."""

    errand_id: str
    reply: Reply


#: What is said to a question: it gets one event for each prompt, in their order, and the time.
Answered = Callable[[Question, tuple[Any, ...], float], Reply]
#: Unix seconds; handed in so that a stream's timestamps can be driven by hand.
Clock = Callable[[], float]


class Frames(Protocol):
    """The state of one streamed answer: `feed` takes each event once, in order, and yields what goes out for it.

    `Failed` is fed too: it is how a stream that has begun ends badly, and yields the dialect's last words.
    """

    def feed(self, event: Event) -> Iterable[Frame]: ...


@dataclass(frozen=True, slots=True)
class Surface:
    """One way to ask for a generation in one dialect.

    `parse` raises `RequestError`s, or answers at once with a `Reply` when there is nothing to generate (an Ollama load), or
    with a `Question` when only the prompt is to be seen.
    `whole` gets the time at which the answer is complete. `stream_headers` and the headers of `whole` are the dialect's
    own; content type and caching come from `framing`.
    """

    name: str
    parse: Callable[[JSON, Surroundings], Call | Question | Dismissal | Reply]
    frames: Callable[[Call, Clock], Frames]
    whole: Callable[[Call, Completion, float], Reply]
    framing: Framing
    stream_headers: Callable[[Call], Mapping[str, str]] = lambda call: {}
    #: As an `Enquiry`'s, where `parse` may find that nothing but the prompt is wanted.
    answer: Answered | None = None
    about: About = UNTOLD


@dataclass(frozen=True, slots=True)
class Route:
    """A POST route that generates. `path` is a Werkzeug rule; `Surroundings.path` gets its variables."""

    path: str
    surface: Surface


@dataclass(frozen=True, slots=True)
class Enquiry:
    """A route that asks a model something without generating: vectors, tokens, rendered prompts, or only to be there.

    `parse` is as a surface's.
    """

    path: str
    parse: Callable[[JSON, Surroundings], Question | Dismissal | Reply]
    answer: Answered
    about: About = UNTOLD
    method: str = "POST"
    #: Without a body `parse` gets None instead of being spared.
    bodiless: bool = False
    scopes: Scopes = INFERENCE


@dataclass(frozen=True, slots=True)
class Chore:
    """A route about which models there are, and how.

    `parse` raises `RequestError`s, or answers with what is to be done, or at once. `whole` gets everything that was said of
    the errand, the last word last; nothing where nobody waits, and then the call's errand is the one that is under way for
    it. `frames` makes, for one call, what is fed each word and yields what goes out for it.
    """

    path: str
    parse: Callable[[JSON, Surroundings], ErrandCall | Listening | Stopping | Dismissal | Reply]
    whole: Callable[[ErrandCall, tuple[Word, ...]], Reply]
    frames: Callable[[ErrandCall], Callable[[Word], Iterable[Frame]]] | None = None
    framing: Framing = NDJSON
    method: str = "POST"
    #: Without a body `parse` gets None instead of being spared.
    bodiless: bool = False
    about: About = UNTOLD
    scopes: Scopes = ADMIN


@dataclass(frozen=True, slots=True)
class Batch:
    """A POST route whose body holds several requests, which are answered together: all of them or none.

    `answer` gets the calls, what each came to, and the time.
    """

    path: str
    parse: Callable[[JSON, Surroundings], tuple[Call, ...]]
    answer: Callable[[tuple[Call, ...], tuple[Completion, ...], float], Reply]
    about: About = UNTOLD


@dataclass(frozen=True, slots=True)
class Resumption:
    """The GET route where streams go on: `<id>` in its path is the stream's, `?from=N` leaves out what was heard. Answered
    in the words of the dialect that began the stream.
    """

    path: str
    about: About = UNTOLD


@dataclass(frozen=True, slots=True)
class Report:
    """A GET (and HEAD) route that tells what was counted and how things stand."""

    path: str
    answer: Callable[[Surroundings, Reading], Reply]
    about: About = UNTOLD
    scopes: Scopes = METRICS


@dataclass(frozen=True, slots=True)
class Page:
    """A GET (and HEAD) route that answers from what is known: listings, versions, health.

    `path` is a Werkzeug rule; its variables arrive as the second argument. May raise `RequestError`s. vital: it says how
    things are, and answers for a cluster of nobody where Redis cannot be reached. alone: it says how this process is, and
    Redis is not asked at all. `scopes`: None is that nobody needs a key for what is vital or says how this process is.
    """

    path: str
    answer: Callable[[Surroundings, Mapping[str, str]], Reply]
    about: About = UNTOLD
    vital: bool = False
    scopes: Scopes | None = None
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Desk:
    """A route about files that callers leave here, and batches of requests made of them.

    `parse` says what is wanted; it gets the JSON body, the fields of a form, or None where the route takes neither. May
    raise `RequestError`s. `whole` tells what came of it, but for a file's bytes, which are the whole answer.
    """

    path: str
    parse: Callable[[JSON, Surroundings], Wish]
    whole: Callable[[Granted], Reply]
    method: str = "GET"
    #: multipart/form-data: the file `file` goes to the disk, and stands among the fields as its name.
    form: bool = False
    about: About = UNTOLD


AnyRoute = Route | Enquiry | Batch | Chore | Resumption | Report | Page | Desk


def method_of(route: AnyRoute) -> str:
    """GET has HEAD with it, unless it `acts`."""
    match route:
        case Page() | Report() | Resumption():
            return "GET"
        case Enquiry() | Chore() | Desk():
            return route.method
        case _:
            return "POST"


def acts(route: AnyRoute) -> bool:
    """Whether to ask does something: a GET of it has no HEAD then, which is for looking alone."""
    return isinstance(route, Chore | Resumption)


def scopes_of(route: AnyRoute) -> Scopes:
    """Those of API keys that open the route, any of which will do."""
    match route:
        case Page(scopes=None):
            return ANYBODY if route.vital else READING
        case Page(scopes=scopes) | Enquiry(scopes=scopes) | Chore(scopes=scopes) | Report(scopes=scopes):
            assert scopes is not None
            return scopes
        case _:
            return INFERENCE


@dataclass(frozen=True, slots=True)
class Dialect:
    """One protocol: its routes, and how it says what went wrong.

    `prefixes`: paths below which even an unknown route is answered in this dialect; "" claims every path nobody else
    claims, and "/models/" what is below /models but not /models itself. `reads`: whether a body of this content type
    ("" where none is named) is looked at. `value`: the JSON value that a body's bytes are; raises `MalformedBody`.
    `headers`: what every answer carries, errors included, so many seconds after its request came. `error` is the shape of
    what `fault` answers, `title` what people call the protocol.
    """

    name: str
    routes: tuple[AnyRoute, ...]
    prefixes: tuple[str, ...]
    fault: Callable[[TropillaError], Reply]
    reads: Callable[[str], bool] = lambda content_type: True
    value: Callable[[bytes], JSON] = parse_json
    headers: Callable[[float], Mapping[str, str]] = lambda seconds: {}
    #: Of the answer to a browser that asks beforehand whether it may (CORS).
    preflight_status: int = 200
    #: What goes out instead of a 400.
    refused_status: Callable[[Settings], int] = lambda settings: 400
    error: Shape = field(default_factory=dict)
    title: str = ""


class Fold:
    """Events in, `Completion` out. The same for every dialect: a dialect only says how it looks."""

    def __init__(self, choices: int) -> None:
        self._tokens: list[list[Token]] = [[] for _ in range(choices)]
        self._prompts: list[tuple[PromptToken, ...]] = [()] * choices
        self._finished: list[Finished | None] = [None] * choices
        self._open = choices

    @property
    def complete(self) -> bool:
        return self._open == 0

    def feed(self, event: Event) -> None:
        """Raises the `GenerationFailed` that a `Failed` event stands for."""
        match event:
            case Prompted():
                self._prompts[event.choice] = event.tokens
            case Token():
                self._tokens[event.choice].append(event)
            case Finished():
                self._finished[event.choice] = event
                self._open -= 1
            case Failed():
                raise from_failed(event)

    def completion(self) -> Completion:
        """All choices, in index order. Only once `complete`."""
        return Completion(tuple(self._choices()))

    def _choices(self) -> Iterator[Choice]:
        for tokens, finished, prompt in zip(self._tokens, self._finished, self._prompts, strict=True):
            assert finished is not None
            yield Choice("".join(token.text for token in tokens), tuple(tokens), finished, prompt)
