"""Images from JSON to an admitted request that names them: every dialect's way of writing them, and every refusal."""

from __future__ import annotations

import base64
import dataclasses
import gc
import gzip
import hashlib
import io
import json
import random
import re
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import orjson
import pytest
from fakes import Clock, FakeAlbum, FakeAnnouncements, FakeBatches, FakeBook, FakeStore, answer, streams
from flask.testing import FlaskClient
from PIL import Image as Pillow
from scene import POCKET
from tropilla.api import images, media
from tropilla.api.app import Collaborators, create_app
from tropilla.api.chores import Errands
from tropilla.api.cluster import Cluster
from tropilla.api.images import NAMED, BrokenBase64, bare, decoded, in_markdown, joined, of_url, referred
from tropilla.api.inbox import Mailbox
from tropilla.api.reading import Wrong
from tropilla.api.relay import Relay
from tropilla.api.supply import Supply
from tropilla.common import codec
from tropilla.common.catalogue import Lane, Worker
from tropilla.common.errands import Done, Errand, Look, Refused, Word
from tropilla.common.generation import (
    PICTURE,
    ChatPrompt,
    Image,
    PromptToken,
    TextPrompt,
    Tokenized,
    TokenizeRequest,
    images_of,
)
from tropilla.common.settings import Settings

SEEING = dataclasses.replace(
    POCKET, name="seer", digest="ee" * 32, capabilities=("completion", "tools", "vision"), projector="dd" * 32
)


def picture(colour: str = "red", form: str = "PNG", size: tuple[int, int] = (8, 8)) -> bytes:
    with io.BytesIO() as file:
        Pillow.new("RGB", size, colour).save(file, form)
        return file.getvalue()


def frames() -> bytes:
    """A GIF that is red at first, and blue then."""
    with io.BytesIO() as file:
        red, blue = (Pillow.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
        red.save(file, "GIF", save_all=True, append_images=[blue])
        return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of some kilobytes that unpacks to so many black points."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + width // 8)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


RED, BLUE = picture("red"), picture("blue")
RED_DIGEST, BLUE_DIGEST = (hashlib.sha256(data).hexdigest() for data in (RED, BLUE))


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def link(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{b64(data)}"


# -- the words of Go's decoder -----------------------------------------------------------------------------------------

#: text -> the byte that Go 1.22's base64.StdEncoding stops at; None: it does not
BASE64: list[tuple[str, int | None]] = [
    ("", None),
    ("aGk=", None),
    ("aGk", 3 - 3),
    ("aG", 2 - 2),
    ("aGlm", None),
    ("aGlmYQ==", None),
    ("aGl\nmYQ\r\n==\n", None),
    ("aGlmYQ=", 7),
    ("aGlmYQ=x", 6),
    ("aGlmYQ", 4),
    ("aGlmY", 4),
    ("aGlmY===", 5),
    ("aGlm=", 4),
    ("=", 0),
    ("aGk=aGk=", 4),
    ("aGk==", 4),
    ("aGk= ", 4),
    ("a-k=", 1),
    ("a_k=", 1),
    ("aGkä", 3),
    ("äGk=", 0),
    ("!", 0),
    ("aGlmYR==", None),
]


@pytest.mark.parametrize(("text", "at"), BASE64, ids=range(len(BASE64)))
def test_base64_is_read_as_go_reads_it(text: str, at: int | None) -> None:
    if at is None:
        plain = text.replace("\n", "").replace("\r", "")
        assert decoded(text) == base64.b64decode(plain)
        return
    with pytest.raises(BrokenBase64) as broken:
        decoded(text)
    assert broken.value.at == at


# -- URLs, markdown, places --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        link(RED),
        link(RED, "image/jpeg"),
        link(RED, "IMAGE/PNG;name=a.png"),
        link(RED).replace("data:", "DATA:"),
        link(RED).replace("+", "%2B").replace("/", "%2F").replace("image%2F", "image/"),
    ],
    ids=range(5),
)
def test_a_data_url_is_its_file(url: str) -> None:
    image = of_url(url, "here")
    assert (image.digest, image.data, image.param, image.text) == (RED_DIGEST, RED, "here", url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("data:image/png;base64", "has no comma"),
        ("data:" + "x" * 300 + ",", "has no comma"),
        ("data:,hi", "of type ''"),
        ("data:text/plain;base64,aGk=", "of type 'text/plain'"),
        ("data:image/svg+xml;base64,aGk=", "of type 'image/svg+xml'"),
        ("data:image/png,hi", "must be base64"),
        ("data:image/png;base64,", "is empty"),
        ("data:image/png;base64,a", "illegal data at byte 0"),
        ("ftp://a/b.png", "expected a data: URL"),
        ("", "expected a data: URL"),
        ("https://a/" + "b" * 4096, "more than 4096 characters"),
    ],
)
def test_any_other_url_is_refused_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(Wrong, match=re.escape(reason)):
        of_url(url, "")


@pytest.mark.parametrize(
    ("text", "links", "pieces"),
    [
        ("no image", True, ["no image"]),
        ("a ![b](https://c) d", True, ["a ", "https://c", " d"]),
        ("a ![b](https://c) d", False, ["a ![b](https://c) d"]),
        ("![](https://c)![](https://d)", True, ["", "https://c", "", "https://d", ""]),
        ("![ ![x](https://c)", True, ["", "https://c", ""]),
        ("![x] (https://c) ![](https://d)", True, ["![x] (https://c) ", "https://d", ""]),
        ("![x](https://c", True, ["![x](https://c"]),
        ("![x", True, ["![x"]),
        ("![x]", True, ["![x]"]),
    ],
)
def test_markdown_is_cut_at_its_images(text: str, links: bool, pieces: list[str]) -> None:
    assert [each.url if isinstance(each, Image) else each for each in in_markdown(text, links=links)] == pieces


def test_markdown_of_nothing_but_beginnings_takes_no_longer_than_it_has_characters() -> None:
    """A search that began anew at each of these would take hours."""
    for hopeless in ("![" * 500_000, "![a]" * 300_000, "![a](" * 300_000, "![](x" * 300_000):
        assert "".join(str(each) for each in in_markdown(hopeless, links=False)) == hopeless


def test_a_joint_stands_between_texts_alone() -> None:
    one, two = Image("a"), Image("b")
    assert joined(["x", "y", one, "z", two], "\n") == (f"x\ny{PICTURE}z{PICTURE}", (one, two))
    assert joined([one], "\n") == (PICTURE, (one,))
    assert joined([], "\n") == ("", ())


def test_bodies_lose_what_only_this_house_writes() -> None:
    said = {"a": [f"x{PICTURE}y", {f"k{PICTURE}": NAMED + RED_DIGEST}]}
    for text in (b'["\\ufdd2"]', b'["\\uFdD5"]'):
        assert bare(orjson.loads(text), text) == [""]
    assert bare(said, orjson.dumps(said)) == {"a": ["xy", {"k": RED_DIGEST}]}
    other = orjson.loads(b'"\\u00e4"')
    assert bare(other, b'"\\u00e4"') is other


def test_a_kept_body_names_its_images_in_their_places() -> None:
    image, url = of_url(link(RED), ""), of_url("https://a/b.png", "")
    body = {"a": [link(RED), f"x ![]({link(RED)}) y", "https://a/b.png", 5], "b": link(BLUE)}
    name = NAMED + RED_DIGEST
    assert referred(body, [image, url]) == {"a": [name, f"x ![]({name}) y", "https://a/b.png", 5], "b": link(BLUE)}
    assert referred(body, [url]) is body
    assert of_url(name, "p") == images.of_base64(name, "p") == Image(RED_DIGEST, param="p")


# -- through the application -------------------------------------------------------------------------------------------


class LookBook(FakeBook):
    """A store that has fetched what it was asked for, or says why not."""

    def __init__(self) -> None:
        super().__init__()
        self.word: Word | None = Done(BLUE_DIGEST)
        self.looks: list[Errand] = []

    def staffed(self, office: str) -> bool:
        return self.word is not None

    def begin(self, errand: Errand, flight: str) -> str:
        self.looks.append(errand)
        return errand.id

    def hear(self, errand_id: str, after: str = "0", *, wait_seconds: float = 0.0) -> list[tuple[str, Word]]:
        assert self.word is not None
        return [("1", self.word)] if after == "0" else []


class Mailboxes:
    name = "inbox"

    def __init__(self) -> None:
        self.open: dict[str, Mailbox] = {}

    def register(self, request_id: str) -> Mailbox:
        return self.open.setdefault(request_id, Mailbox())

    def forget(self, request_id: str, mailbox: Mailbox) -> None:
        del self.open[request_id]


class World:
    """The whole application with a model that sees and one that does not; whatever is submitted is answered with "ok"."""

    def __init__(self, model: str = "seer", **settings: Any) -> None:
        self.asked: list[Any] = []
        self.calls: list[bytes] = []
        self.album, self.book = FakeAlbum(), LookBook()
        self.inbox, self.store = Mailboxes(), FakeStore(Clock())
        told = Settings(default_model=model, **settings)
        workers = (Worker(f"{each.name}@h", "cpu", "ready", 4, each) for each in (SEEING, POCKET))
        announced = FakeAnnouncements(*workers)
        cluster = Cluster(announced, announced)
        self.submit = self._submit
        relay = Relay(
            self.store, self.store, self.inbox, lambda asked, lane: self.submit(asked, lane), cluster.look_again, told
        )
        collaborators = Collaborators(
            told,
            cluster,
            relay,
            self.inbox,
            self.book,
            Errands(self.book, lambda errand, flight: None),
            streams(self.store.calls),
            FakeBatches(),
            self.album,
        )  # type: ignore[arg-type]
        self.client: FlaskClient = create_app(collaborators).test_client()

    def _submit(self, asked: Any, _: Lane) -> None:
        self.asked.append(asked)
        self.store.journal.clear()
        said = (
            [Tokenized(0, 0, (PromptToken(-1, b""),), "[img-0]")]
            if isinstance(asked, TokenizeRequest)
            else answer("ok")
        )
        for delivered in self.store.write(*said):
            self.inbox.open[asked.id].put(dataclasses.replace(delivered, request_id=asked.id))

    def post(self, path: str, body: Any) -> Any:
        response = self.client.post(path, json=body)
        response.get_data()
        return response


def openai(*parts: Any) -> tuple[str, Any]:
    return "/v1/chat/completions", {"model": "seer", "messages": [{"role": "user", "content": list(parts)}]}


def responses(*parts: Any) -> tuple[str, Any]:
    return "/v1/responses", {"model": "seer", "input": [{"role": "user", "content": list(parts)}]}


def anthropic(*blocks: Any) -> tuple[str, Any]:
    turn = {"role": "user", "content": list(blocks)}
    return "/v1/messages", {"model": "seer", "max_tokens": 5, "messages": [turn]}


def source(data: bytes) -> Any:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": b64(data)}}


def text(said: str, kind: str = "text") -> Any:
    return {"type": kind, "text": said}


def seen(data: bytes) -> Any:
    return {"type": "image_url", "image_url": {"url": link(data)}}


def shown(data: bytes) -> Any:
    return {"type": "input_image", "image_url": link(data), "detail": "high"}


def turn(**more: Any) -> Any:
    return {"role": "user", "content": "", **more}


PNG, P = b64(RED), PICTURE
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": [text("a"), source(RED)]}
USED = {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "look", "input": {}}]}
#: name -> ((path, body), what the model is told, the fields of its images)
TAKEN: dict[str, tuple[tuple[str, Any], str, list[str]]] = {
    "openai": (openai(text("a"), seen(RED), text("b")), f"a{P}b", ["messages[0].content[1].image_url.url"]),
    "openai-bare": (
        openai({"type": "image_url", "image_url": link(RED)}, text("a"), text("b")),
        f"{P}a\nb",
        ["messages[0].content[0].image_url"],
    ),
    "openai-markdown": (
        ("/v1/chat/completions", {"messages": [turn(content=f"a ![]({link(RED)}) b")]}),
        f"a {P} b",
        ["messages[0].content"],
    ),
    "openai-both": (
        openai(seen(RED), text(f"a ![]({link(RED)})")),
        f"{P}a {P}",
        ["messages[0].content[0].image_url.url", "messages[0].content"],
    ),
    "responses": (responses(shown(RED), text("a", "input_text")), f"{P}a", ["input[0].content[0].image_url"]),
    "responses-output": (
        ("/v1/responses", {"input": [{"type": "function_call_output", "call_id": "c", "output": [shown(RED)]}]}),
        P,
        ["input[0].output[0].image_url"],
    ),
    "responses-count": (
        ("/v1/responses/input_tokens", {"input": [{"role": "user", "content": [shown(RED)]}]}),
        P,
        ["input[0].content[0].image_url"],
    ),
    "chat-count": (
        ("/v1/chat/completions/input_tokens", openai(seen(RED))[1]),
        P,
        ["messages[0].content[0].image_url.url"],
    ),
    "anthropic": (anthropic(source(RED), text("a")), f"{P}a", ["messages[0].content[0].source.data"]),
    "anthropic-result": (
        ("/v1/messages", {"max_tokens": 5, "messages": [turn(content="x"), USED, turn(content=[RESULT])]}),
        f"a{P}",
        ["messages[2].content[0].content[1].source.data"],
    ),
    "anthropic-count": (
        ("/v1/messages/count_tokens", {"messages": [turn(content=[source(RED)])]}),
        P,
        ["messages[0].content[0].source.data"],
    ),
    "generate": (("/api/generate", {"model": "seer", "prompt": "a", "images": [PNG]}), f"{P}a", ["images[0]"]),
    "generate-marks": (
        ("/api/generate", {"model": "seer", "prompt": "a [img] b [img]", "images": [PNG, PNG]}),
        f"a {P} b {P}",
        ["images[0]", "images[1]"],
    ),
    "generate-one-mark": (
        ("/api/generate", {"model": "seer", "prompt": "a [img] b", "images": [PNG, PNG]}),
        f"{P}a {P} b",
        ["images[1]", "images[0]"],
    ),
    "generate-raw": (
        ("/api/generate", {"model": "seer", "raw": True, "prompt": "a [img-1] [img-0] [img-7]", "images": [PNG, PNG]}),
        f"a {P} {P} [img-7]",
        ["images[1]", "images[0]"],
    ),
    "ollama-chat": (
        ("/api/chat", {"model": "seer", "messages": [turn(content="x"), turn(content="[img-0]?", images=[PNG])]}),
        f"x|{P}?",
        ["messages[1].images[0]"],
    ),
    "ollama-debug": (
        ("/api/chat", {"model": "seer", "messages": [turn(images=[PNG])], "_debug_render_only": True}),
        P,
        ["messages[0].images[0]"],
    ),
    "tgi": (("/generate", {"inputs": f"a ![x]({link(RED)}) b"}), f"a {P} b", ["inputs"]),
    "tgi-stream": (("/generate_stream", {"inputs": f"![]({link(RED)})"}), P, ["inputs"]),
    "tgi-root": (("/", {"inputs": f"![]({link(RED)})"}), P, ["inputs"]),
    "tgi-model-root": (("/models/seer/generate", {"inputs": f"![]({link(RED)})"}), P, ["inputs"]),
    "invocations": (
        ("/invocations", openai(seen(RED))[1]),
        P,
        ["messages[0].content[0].image_url.url"],
    ),
    "vertex": (("/vertex", {"instances": [{"inputs": f"![]({link(RED)})"}]}), P, ["inputs"]),
}


def told(prompt: Any) -> str:
    if isinstance(prompt, ChatPrompt):
        return "|".join(message.content for message in prompt.messages if message.role != "assistant").removeprefix(
            "x|a"
        )
    assert isinstance(prompt, TextPrompt)
    return prompt.text


@pytest.mark.parametrize("name", TAKEN)
def test_an_image_is_laid_where_workers_look_and_its_request_names_it(name: str) -> None:
    (path, body), prompt, params = TAKEN[name]
    world = World()
    response = world.client.post(path, json=body)
    assert world.asked, response.get_data(as_text=True)
    (asked,) = world.asked
    said = told(asked.prompts[0])
    assert said in (prompt, prompt.removeprefix("a"))
    assert images_of(asked) == tuple(Image(RED_DIGEST, param=param) for param in params)
    assert world.album.kept == {RED_DIGEST: RED}
    assert len(codec.encode_request(asked)) < 4096
    response.close()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
def test_four_formats_are_read(form: str) -> None:
    world = World()
    data = picture(form=form)
    world.post("/api/generate", {"model": "seer", "prompt": "a", "images": [b64(data)]})
    assert world.album.kept == {hashlib.sha256(data).hexdigest(): data}


def test_an_animation_is_taken() -> None:
    world = World()
    world.post(*openai(seen(frames())))
    assert len(world.asked) == 1


def test_an_image_is_laid_down_on_its_callers_account() -> None:
    world = World()
    path, body = openai(seen(RED))
    for key in ("one", "two"):
        world.client.post(path, json=body, headers={"Authorization": f"Bearer {key}"}).get_data()
    world.post(path, body)
    one, two, nobody = world.album.keys
    assert nobody == ""
    assert len({one, two, nobody}) == 3


def test_several_prompts_of_one_image_lay_it_down_once() -> None:
    world = World()
    world.post(*openai(seen(RED), seen(BLUE), seen(RED)))
    assert [image.digest for image in images_of(world.asked[0])] == [RED_DIGEST, BLUE_DIGEST, RED_DIGEST]
    assert world.album.kept == {RED_DIGEST: RED, BLUE_DIGEST: BLUE}


def test_what_stands_for_images_is_no_callers_to_say() -> None:
    world = World()
    name = NAMED + RED_DIGEST
    refused = world.post(*openai({"type": "image_url", "image_url": name}))
    assert (refused.status_code, world.asked) == (400, [])
    world.post(*openai(text(f"a{PICTURE}b"), seen(RED)))
    assert told(world.asked[0].prompts[0]) == f"ab{PICTURE}"


def test_text_for_a_model_that_only_reads_stays_text() -> None:
    world = World("pocket")
    shown = f"a ![x]({link(RED)}) ![](https://c/d.png)"
    world.post("/generate", {"inputs": shown})
    world.post("/v1/chat/completions", {"messages": [turn(content=shown)]})
    assert [told(asked.prompts[0]) for asked in world.asked] == [shown, shown]
    assert world.album.kept == {}


# -- refusals ----------------------------------------------------------------------------------------------------------

TINY_BOMB = bomb(8000, 5001)
Write = Callable[[bytes], tuple[str, Any]]


def written_openai(data: bytes) -> tuple[str, Any]:
    return openai(seen(data))


def written_ollama(data: bytes) -> tuple[str, Any]:
    return "/api/chat", {"model": "seer", "messages": [turn(images=[b64(data)])]}


def written_tgi(data: bytes) -> tuple[str, Any]:
    return "/generate", {"inputs": f"![]({link(data)})"}


def written_anthropic(data: bytes) -> tuple[str, Any]:
    return anthropic(source(data))


WRITERS: dict[str, tuple[Write, str, int]] = {
    "openai": (written_openai, "messages[0].content[0].image_url.url", 400),
    "responses": (lambda data: responses(shown(data)), "input[0].content[0].image_url", 400),
    "ollama": (written_ollama, "messages[0].images[0]", 400),
    "tgi": (written_tgi, "inputs", 422),
    "anthropic": (written_anthropic, "messages[0].content[0].source.data", 400),
}


def refusal(response: Any) -> str:
    """What the dialect says, in the shape that is its own."""
    body = response.json
    match body:
        case {"type": "error", "error": {"type": "invalid_request_error", "message": message}}:
            return str(message)
        case {"error": {"type": "invalid_request_error", "message": message, "param": param}}:
            assert param in message
            return str(message)
        case {"error": str(message), "error_type": "validation"}:
            assert message.startswith("Input validation error: ")
            return message
        case {"error": str(message)}:
            return message
    raise AssertionError(body)


#: file -> what is said of it
UNREADABLE: dict[str, tuple[bytes, str]] = {
    "text": (b"hi", "the image is not a PNG, JPEG, WebP or GIF image"),
    "bmp": (picture(form="BMP"), "the image is not a PNG, JPEG, WebP or GIF image"),
    "cut-png": (picture(size=(64, 64))[:-30], "the image is broken or cut off"),
    "cut-jpeg": (picture(form="JPEG", size=(64, 64))[:-40], "the image is broken or cut off"),
    "cut-webp": (picture(form="WEBP", size=(64, 64))[:-10], "the image is"),
    "bomb": (TINY_BOMB, "the image has 8000 x 5001 pixels; at most 40000000 are read"),
    "large": (picture() + bytes(5000), "at most 5000 are taken"),
}


@pytest.mark.parametrize("dialect", WRITERS)
@pytest.mark.parametrize("name", UNREADABLE)
def test_what_is_no_image_is_refused_before_the_queue(dialect: str, name: str) -> None:
    write, field, status = WRITERS[dialect]
    data, reason = UNREADABLE[name]
    world = World(max_image_bytes=5000 if name == "large" else len(TINY_BOMB))
    response = world.post(*write(data))
    said = refusal(response)
    assert response.status_code == status
    assert reason in said
    assert f"'{field}'" in said
    assert (world.asked, world.album.kept) == ([], {})


def test_a_bomb_is_small_and_its_limit_the_operators() -> None:
    assert len(TINY_BOMB) < 20_000
    world = World(max_image_pixels=41_000_000)
    assert world.post(*written_openai(TINY_BOMB)).status_code == 200


@pytest.mark.parametrize("dialect", WRITERS)
def test_too_many_are_refused_at_the_first_that_is_too_much(dialect: str) -> None:
    path, body = WRITERS[dialect][0](RED)
    world = World(max_images=2)
    more = {
        "openai": lambda: body["messages"][0]["content"].extend([seen(RED)] * 2),
        "responses": lambda: body["input"][0]["content"].extend([shown(RED)] * 2),
        "ollama": lambda: body["messages"][0]["images"].extend([PNG] * 2),
        "tgi": lambda: body.update(inputs=body["inputs"] * 3),
        "anthropic": lambda: body["messages"][0]["content"].extend([source(RED)] * 2),
    }
    more[dialect]()
    response = world.post(path, body)
    assert "the request has 3 images; at most 2 are taken" in refusal(response)
    assert (response.status_code, world.asked, world.album.kept) == (WRITERS[dialect][2], [], {})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (openai(seen(RED)), "the model 'pocket' reads text only"),
        (responses(shown(RED)), "the model 'pocket' reads text only"),
        (anthropic(source(RED)), "the model 'pocket' reads text only"),
        (
            ("/api/chat", {"messages": [turn(images=[PNG])]}),
            "registry.ollama.ai/library/pocket:latest does not support vision",
        ),
        (
            ("/api/generate", {"prompt": "a", "images": [PNG]}),
            "registry.ollama.ai/library/pocket:latest does not support vision",
        ),
    ],
    ids=["openai", "responses", "anthropic", "ollama-chat", "ollama-generate"],
)
def test_a_model_without_a_projector_is_shown_nothing(body: tuple[str, Any], text: str) -> None:
    world = World("pocket")
    path, fields = body
    response = world.post(path, {**fields, "model": "pocket"})
    assert (response.status_code, world.asked, world.album.kept) == (400, [], {})
    assert text in refusal(response)


def test_an_openai_error_says_which_value_is_not_supported() -> None:
    path, body = openai(seen(RED))
    error = World().post(path, {**body, "model": "pocket"}).json["error"]
    assert (error["param"], error["code"]) == ("messages[0].content[0].image_url.url", "unsupported_value")


def test_ollama_says_where_the_base64_breaks() -> None:
    world = World()
    for body in ({"prompt": "a", "images": ["aGk=", "aG!="]}, {"messages": [turn(images=["aG!="])]}):
        path = "/api/generate" if "prompt" in body else "/api/chat"
        response = world.post(path, {"model": "seer", **body})
        assert (response.status_code, response.json) == (400, {"error": "illegal base64 data at input byte 2"})


def test_none_of_several_prompts_is_asked_where_one_image_is_wrong() -> None:
    world = World()
    instances = [{"inputs": f"![]({link(RED)})"}, {"inputs": f"![]({link(b'hi')})"}]
    assert world.post("/vertex", {"instances": instances}).status_code == 422
    assert (world.asked, world.album.kept) == ([], {})


# -- the size of bodies ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "shown", "status"),
    [(10, 1, 200), (900, 12, 200), (1300, 1, 413), (1300, 0, 413), (10, 60, 413)],
    ids=["small", "large-images", "long-text", "text-alone", "too-large-images"],
)
def test_a_bodys_text_and_its_images_have_a_limit_each(words: int, shown: int, status: int) -> None:
    world = World(max_body_bytes=1200, max_image_body_bytes=4000, max_images=100)
    prompt = {"model": "seer", "prompt": "x" * words, "images": [PNG] * shown}
    response = world.post("/api/generate", prompt)
    assert (response.status_code, len(world.asked)) == (status, int(status == 200))


def test_routes_without_images_take_no_larger_bodies() -> None:
    world = World(max_body_bytes=1200)
    assert world.post("/api/embed", {"model": "pocket", "input": "x" * 1500}).status_code == 413
    assert world.post("/api/create", {"model": "a", "system": "x" * 1500}).status_code == 413


def noise(edge: int) -> bytes:
    """A PNG of about three bytes for each of its points."""
    with io.BytesIO() as file:
        Pillow.frombytes("RGB", (edge, edge), random.Random(edge).randbytes(3 * edge * edge)).save(file, "PNG")
        return file.getvalue()


@pytest.mark.parametrize("stream", [True, False])
def test_while_a_request_waits_its_body_is_forgotten(stream: bool) -> None:
    image = noise(600)
    world, held = World(), []
    path, body = openai(seen(image), text("a"))
    sent, again = (json.dumps({**body, "stream": stream, "user": each}) for each in "ab")

    def measured(asked: Any, lane: Lane) -> None:
        held.append(tracemalloc.get_traced_memory()[0])
        World._submit(world, asked, lane)

    world.submit = measured
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for each in (sent, again):
            world.client.post(path, data=each, content_type="application/json").get_data()
    finally:
        tracemalloc.stop()
        gc.enable()
    first, second = held
    # One copy of the image is Redis's here, and Werkzeug's test client keeps the body of each request.
    assert first < len(image) + len(sent) + len(image) // 4
    assert second < len(image) + 2 * len(sent) + len(image) // 4


def test_memory_for_large_bodies_is_lent_until_they_are_laid_down(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []
    lent = Supply.lent

    def counted(supply: Supply, units: int, key: str) -> AbstractContextManager[None]:
        taken.append(f"{supply._what}: {units}")
        return lent(supply, units, key)

    monkeypatch.setattr(Supply, "lent", counted)
    world = World(max_body_bytes=1200, max_image_body_bytes=4000)
    bodies, looked = "places for requests with large images: 1", "places for images that are looked through"
    for shown in ([PNG], [PNG] * 12):
        world.post("/api/generate", {"model": "seer", "prompt": "a", "images": shown})
    packed = gzip.compress(orjson.dumps({"model": "seer", "prompt": "a", "images": [PNG]}))
    world.client.post("/api/generate", data=packed, headers={"Content-Encoding": "gzip"}).get_data()
    world.post("/api/generate", {"model": "seer", "prompt": "a"})
    # Of those whose length nobody says only what is large is waited for.
    for shown in ([PNG], [PNG] * 12):
        chunked = orjson.dumps({"model": "seer", "prompt": "a", "images": shown})
        world.client.post(
            "/api/generate",
            input_stream=io.BytesIO(chunked),
            headers={"Transfer-Encoding": "chunked"},
            environ_overrides={"wsgi.input_terminated": True},
        ).get_data()
    assert taken == [
        f"{looked}: 1", bodies, f"{looked}: 12", bodies, f"{looked}: 1", f"{looked}: 1", bodies, f"{looked}: 12"
    ]  # fmt: skip


# -- images behind URLs ------------------------------------------------------------------------------------------------

AWAY = "https://example.com/a.png"
LINKED: dict[str, tuple[str, Any]] = {
    "openai": openai({"type": "image_url", "image_url": {"url": AWAY}}),
    "responses": responses({"type": "input_image", "image_url": AWAY}),
    "anthropic": anthropic({"type": "image", "source": {"type": "url", "url": AWAY}}),
    "tgi": ("/generate", {"inputs": f"![]({AWAY})"}),
}


@pytest.mark.parametrize("dialect", LINKED)
def test_urls_are_off_until_the_operator_turns_them_on(dialect: str) -> None:
    world = World()
    response = world.post(*LINKED[dialect])
    assert "TROPILLA_IMAGE_URLS=on" in refusal(response)
    assert (response.status_code, world.asked, world.book.looks) == (WRITERS[dialect][2], [], [])


@pytest.mark.parametrize("dialect", LINKED)
def test_the_store_fetches_what_a_url_names(dialect: str) -> None:
    world = World(image_urls="on", max_image_bytes=12345)
    world.post(*LINKED[dialect])
    (look,) = world.book.looks
    assert isinstance(look, Look)
    assert (look.url, look.most_bytes) == (AWAY, 12345)
    assert [image.digest for image in images_of(world.asked[0])] == [BLUE_DIGEST]


@pytest.mark.parametrize("dialect", LINKED)
def test_what_the_store_refuses_is_the_callers_fault(dialect: str) -> None:
    world = World(image_urls="on")
    world.book.word = Refused("forbidden", "example.com is not allowed")
    response = world.post(*LINKED[dialect])
    assert "the image could not be fetched: example.com is not allowed" in refusal(response)
    assert (response.status_code, world.asked) == (WRITERS[dialect][2], [])


def test_where_the_store_has_no_room_its_caller_is_told_to_come_again() -> None:
    world = World(image_urls="on")
    world.book.word = Refused("conflict", "the images of the requests that wait fill the 512 MB there are for them")
    response = world.post(*LINKED["openai"])
    assert (response.status_code, response.headers["Retry-After"], world.asked) == (429, "10", [])


def test_without_a_store_nothing_is_fetched() -> None:
    world = World(image_urls="on")
    world.book.word = None
    response = world.post(*LINKED["openai"])
    # OpenAI's word for whatever is the server's own fault.
    assert (response.status_code, response.json["error"]["type"], world.asked) == (500, "server_error", [])


# -- what is kept of a call --------------------------------------------------------------------------------------------


#: What Ollama tells by the clock of whoever tells it.
TIMES = re.compile(rb'"(created_at|total_duration|load_duration)":[^,]*')


@pytest.mark.parametrize("name", ["openai-both", "responses", "anthropic-result", "generate-raw", "ollama-chat", "tgi"])
def test_a_stream_is_told_again_without_its_images(name: str) -> None:
    """By another process, which has the kept call and the journal, when Redis has forgotten the image."""
    (path, body), _, _ = TAKEN[name]
    world = World()
    with world.client.post(path, json={**body, "stream": True} if path != "/generate" else body) as first:
        said, (asked,) = first.get_data(), world.asked
    kept = world.store.calls.kept.get(asked.id, b"")
    if path == "/generate":
        # Nobody goes on with what is no stream.
        assert kept == b""
        return
    assert PNG.encode() not in kept
    assert RED_DIGEST.encode() in kept
    world.album.kept.clear()
    with world.client.get(f"/v1/streams/{asked.id}?from=0") as rest:
        assert (rest.status_code, world.album.kept) == (200, {})
        assert TIMES.sub(b"", rest.get_data()) == TIMES.sub(b"", said)


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ({"messages": [{"images": ["A" * 5000, "short"]}]}, 5000),
        ({"url": "data:image/png;base64," + "A" * 5000}, 5022),
        ({"inputs": "look: ![](data:image/png;base64," + "A" * 5000 + ")"}, 5033),
        ({"prompt": "many words " * 1000}, 0),
        ({"data": "A" * 63}, 0),
    ],
)
def test_what_could_be_an_image_is_counted_before_a_body_is_too_large(value: Any, count: int) -> None:
    assert media.could_show(value) == count
