"""What the HTTP request at hand says: bytes -> a value -> what a dialect makes of it, by what is known of the cluster."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from flask import request
from tropilla.api import admission, auth, images, media
from tropilla.api.cluster import Cluster
from tropilla.api.framing import compact
from tropilla.api.idempotency import Asked, Parse
from tropilla.api.natively import breathe
from tropilla.api.showing import Showing
from tropilla.api.supply import Supply
from tropilla.api.surface import JSON, Call, Dialect, Question, Surroundings
from tropilla.common import names
from tropilla.common.catalogue import Catalogue
from tropilla.common.errands import Task
from tropilla.common.errors import GenerationFailed, ModelUnavailable, StoreUnavailable, UnknownModel, UnreadableBody
from tropilla.common.generation import Request, images_of
from tropilla.common.settings import Settings
from tropilla.common.terms import Priority, Terms

#: So many bodies of the largest size are read at once, each of which takes three times its size until its images lie where
#: workers look; and so many images are looked through, which takes half a second for one of the largest.
LARGEST_BODIES, IMAGES = 4, 32

Understood = TypeVar("Understood")
Meant = TypeVar("Meant", Call, Question)


@dataclass(frozen=True, slots=True)
class Body:
    """A request's JSON value, and how many bytes it was read from."""

    value: JSON
    size: int = 0


class Book(Protocol):
    """What is needed of `registry.Registry`."""

    def information(self, digest: str) -> bytes | None: ...
    def tasks(self) -> tuple[Task, ...]: ...
    def task(self, errand_id: str) -> Task | None: ...
    def staffed(self, office: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Asking:
    """Of whichever request Flask serves now."""

    settings: Settings
    cluster: Cluster
    registry: Book
    #: As `Surroundings.arrays`.
    arrays: Callable[[str], Mapping[str, JSON]]
    showing: Showing
    draining: Callable[[], bool] = lambda: False
    #: As `Surroundings.ailing`.
    ailing: Callable[[], Mapping[str, str]] = dict
    _bodies: Supply = field(default_factory=lambda: Supply("places for requests with large images", LARGEST_BODIES))
    _images: Supply = field(default_factory=lambda: Supply("places for images that are looked through", IMAGES))

    def data(self, dialect: Dialect) -> bytes:
        """The request's body as it came. Raises `UnreadableBody` for a content type that the dialect does not read."""
        self._check_type(dialect)
        return request.get_data(cache=False)

    @staticmethod
    def _check_type(dialect: Dialect) -> None:
        kind = request.headers.get("Content-Type", "")
        if not dialect.reads(kind):
            raise UnreadableBody(f"Content-Type '{kind}' is not supported. Expected 'application/json'.")

    @contextmanager
    def pictured(self, dialect: Dialect) -> Iterator[bytes]:
        """As `data`, of a request that may show images: there is memory for one that is large while the `with` lasts, and
        it should be over, and what was made of the body forgotten, when they lie where workers look. Raises `Overloaded`.
        """
        request.max_content_length, most = self.settings.most_body_bytes, self.settings.max_body_bytes
        self._check_type(dialect)
        length, packed = request.content_length, media.packed(request.headers.get("Content-Encoding", ""))
        # Whoever does not say how much comes, and sends it slowly, is no matter to others while it is little.
        begun = _beginning(most + 1) if length is None else b""
        with ExitStack() as held:
            if packed or len(begun) > most or (length is not None and length > most):
                held.enter_context(self._bodies.lent(1, auth.principal().key))
            yield begun + request.get_data(cache=False)

    def body(self, dialect: Dialect, data: bytes, *, pictured: bool = False) -> Body:
        most = self.settings.most_body_bytes if pictured else self.settings.max_body_bytes
        text = media.unpacked(data, request.headers.get("Content-Encoding", ""), most)
        least = self.settings.max_body_bytes
        if len(text) <= least:
            return Body(images.bare(dialect.value(text), text), len(text))
        # A large one is read, gone through and (by whoever has asked for this) decoded with others in between.
        breathe()
        value = dialect.value(text)
        breathe()
        value = images.bare(value, text)
        # Before anything else is said of it; which of its texts are images is known later.
        if pictured and len(text) - media.could_show(value) > least:
            raise media.too_large(least)
        breathe()
        return Body(value, len(text))

    def understood(
        self, parse: Callable[[JSON, Surroundings], Understood], body: JSON, around: Surroundings
    ) -> Understood:
        """A model that nobody knows may have been made at another process a moment ago: that is looked into."""
        try:
            return parse(body, around)
        except (UnknownModel, ModelUnavailable):
            return parse(body, replace(around, catalogue=self.cluster.catalogue(fresh=True)))

    def unasked(self) -> Surroundings:
        """For what comes by no HTTP request: a line of a batch."""
        return Surroundings(
            self.cluster.catalogue(),
            self.settings,
            time.time(),
            information=self.registry.information,
            arrays=self.arrays,
        )

    def around(self, variables: Mapping[str, str], *, fresh: bool = False, alone: bool = False) -> Surroundings:
        """alone: where Redis cannot be reached, those of a cluster of nobody. Else raises `StoreUnavailable`."""
        began = time.monotonic()
        answered: float | None = None
        try:
            catalogue = self.cluster.catalogue(fresh=fresh)
            answered = time.monotonic() - began
        except StoreUnavailable:
            if not alone:
                raise
            catalogue = Catalogue()
        return self._around(catalogue, variables, answered)

    def within(self, variables: Mapping[str, str]) -> Surroundings:
        """As `around`, of a cluster of nobody: nothing outside this process is asked."""
        return self._around(Catalogue(), variables, None)

    def _around(self, catalogue: Catalogue, variables: Mapping[str, str], answered: float | None) -> Surroundings:
        return Surroundings(
            catalogue,
            self.settings,
            time.time(),
            _headers(),
            variables,
            request.args.to_dict(),
            auth.principal(),
            self.registry.information,
            self.arrays,
            tasks=self.registry.tasks,
            task=self.registry.task,
            draining=self.draining(),
            ailing=self.ailing(),
            answered=answered,
            staffed=lambda: self.registry.staffed(names.STORE_OFFICE),
        )

    def asked(self, route: str, parse: Parse, body: Body, around: Surroundings) -> Asked:
        return Asked(route, functools.partial(self.understood, parse), body.value, around, body.size)

    def shown(self, call: Meant, asked: Asked) -> tuple[Meant, Asked]:
        """With its images where workers look for them, and the body that names them in their places. Raises `BodyTooLarge`
        for what is too large without them, and as `Showing.shown`.
        """
        (shown,), asked = self.all_shown((call,), asked)
        return shown, asked

    def all_shown(self, calls: tuple[Meant, ...], asked: Asked) -> tuple[tuple[Meant, ...], Asked]:
        """As `shown`, of all that one body asks."""
        there = [image for call in calls for image in images_of(call.request) if image.text]
        body, most = images.referred(asked.body, there), self.settings.max_body_bytes
        if asked.size > most:
            breathe()
        if asked.size > most and (not there or len(compact(body)) - len(there) * images.NAME_BYTES > most):
            raise media.too_large(most)
        key = asked.around.principal.key
        with ExitStack() as held:
            if there:
                held.enter_context(self._images.lent(len(there), key))
            requests = self.showing.shown(tuple(call.request for call in calls), key)
        shown = (replace(call, request=request) for call, request in zip(calls, requests, strict=True))
        return tuple(shown), replace(asked, body=body)

    def terms(self, asked: Request, said: Priority | None = None) -> Terms:
        """On which terms it waits. said: how urgent its body calls it. Raises `InvalidField` naming a header."""
        return admission.terms(_headers(), asked, said, principal=auth.principal())


def _beginning(most: int) -> bytes:
    """So many bytes of the request's body, or all of it."""
    begun = bytearray()
    while len(begun) < most and (more := request.stream.read(most - len(begun))):
        begun += more
    return bytes(begun)


def _headers() -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


@contextmanager
def blaming(prompt_field: str) -> Iterator[None]:
    """A prompt that the worker refuses is a fault of the field it came from."""
    try:
        yield
    except GenerationFailed as error:
        if error.status < 500:
            error.param = prompt_field
        raise
