"""Requests with images at a real worker, without any API: files in Redis, digests in the queue."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
import sight
from celery import Celery
from cluster.herd import Herd, wait_for
from sight.pictures import solid
from tropilla.common import codec, names
from tropilla.common.catalogue import Lane
from tropilla.common.generation import (
    PICTURE,
    ChatPrompt,
    Event,
    Failed,
    Finished,
    GenerationRequest,
    Image,
    Message,
    Sampling,
    Token,
    Tokenized,
    TokenizeRequest,
    new_request_id,
)
from tropilla.common.pictures import Pictures
from tropilla.common.settings import Settings
from tropilla.common.tasks import create_celery, submit

LANE = Lane("sight", "cpu")
#: An image that nobody renews is gone so soon.
IMAGE_SECONDS = 10.0


def png(colour: str) -> Image:
    file = io.BytesIO()
    solid(colour).save(file, "PNG")
    return Image(hashlib.sha256(file.getvalue()).hexdigest(), file.getvalue(), param="messages.0")


class Scene:
    """A worker that sees, and whoever would be the API."""

    def __init__(self, folder: Path) -> None:
        self.herd = Herd(
            folder, model=f"sight={sight.MODEL}", projector=sight.PROJECTOR, image_seconds=IMAGE_SECONDS, slots=2,
            context=2048, threads=1, lease_seconds=1, cache_type="f32",
        )  # fmt: skip
        settings = Settings(redis_url=self.herd.redis_url, image_seconds=IMAGE_SECONDS)
        self.pictures = Pictures(self.herd.bus, settings)
        self.celery: Celery = create_celery(settings)
        self.worker = self.herd.start_worker()

    def ask(self, colour: str, tokens: int, *, kept: bool = True) -> str:
        image = png(colour)
        if kept:
            self.pictures.keep([image])
        prompt = ChatPrompt((Message("user", f"{PICTURE}Count to 100.", images=(image,)),))
        asked = GenerationRequest(
            new_request_id(), "sight", (prompt,), Sampling(temperature=0.0), max_tokens=tokens, ignore_eos=True
        )
        self.admit(asked)
        return asked.id

    def admit(self, asked: GenerationRequest | TokenizeRequest) -> None:
        self.herd.admit(asked, LANE)
        submit(self.celery, LANE.name, ticket=asked.id, shown=asked.model)

    def said(self, request_id: str) -> list[Event]:
        return [codec.decode_event(item.index, item.payload) for item in self.herd.bus.read_journal(request_id)]

    def whole(self, request_id: str, *watched: Image) -> list[Event]:
        """watched: images of it that are renewed meanwhile, as the API process does that waits for a request."""

        def ended() -> list[Event]:
            self.pictures.renew(image.digest for image in watched)
            said = self.said(request_id)
            return said if said and isinstance(said[-1], Finished | Failed | Tokenized) else []

        return list(wait_for(ended, "the request to end"))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("seeing"))
    yield scene
    scene.celery.close()
    scene.herd.stop()


def text(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Token))


def test_what_waits_names_its_images_and_the_worker_finds_them(scene: Scene) -> None:
    request_id = scene.ask("red", 4)
    events = scene.whole(request_id)
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.usage.generated == 4
    image = png("red")
    prompt = ChatPrompt((Message("user", f"{PICTURE}Count to 100.", images=(image,)),))
    counted = TokenizeRequest(new_request_id(), "sight", (prompt,))
    scene.admit(counted)
    (told,) = scene.whole(counted.id)
    assert isinstance(told, Tokenized)
    assert len(told.tokens) == finished.usage.prompt
    assert scene.worker.log.count(f"image {image.digest[:12]}: 9 tokens") == 1, "it was encoded once"
    assert image.data is not None
    assert image.data not in codec.encode_request(counted)


def test_an_image_that_is_gone_ends_its_request_with_the_reason(scene: Scene) -> None:
    (failed,) = scene.whole(scene.ask("purple", 4, kept=False))
    assert isinstance(failed, Failed)
    assert (failed.code, "not there any more" in failed.message) == ("expired", True)


def test_another_worker_goes_on_with_the_picture_where_the_first_was_killed(scene: Scene) -> None:
    whole = text(scene.whole(scene.ask("blue", 400)))
    request_id = scene.ask("blue", 400)
    wait_for(lambda: len(scene.said(request_id)) > 20, "some tokens")
    scene.worker.kill()
    # A busy machine takes longer to start one than an image is kept here, which nobody but its watch renews meanwhile.
    scene.worker = scene.herd.start_worker(ready=False)
    assert text(scene.whole(request_id, png("blue"))) == whole
    assert scene.worker.log.count("goes on at event") == 1


def test_the_images_of_a_running_request_are_kept_and_then_forgotten(scene: Scene) -> None:
    image, other = png("yellow"), png("orange")
    scene.pictures.keep([image, other])
    key, beside = names.image_key(image.digest), names.image_key(other.digest)
    for each in (key, beside):
        scene.herd.redis.pexpire(each, 3000)
    request_id = scene.ask("yellow", 1900, kept=False)
    left = wait_for(lambda: max(int(scene.herd.redis.pttl(key)) - 3000, 0), "the worker to renew it", 2.5)
    assert left > 0
    assert int(scene.herd.redis.pttl(beside)) <= 3000
    scene.herd.room.cancel(request_id, seconds=60, journal_seconds=60)
