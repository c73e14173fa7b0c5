"""What the tests of Jan's routes drive them with: a cluster in each state a model can be in, and a client."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jsonschema_rs
from fakes import Clock, FakeAlbum, FakeBatches, FakeBook, FakeInbox, FakeStore, errands, streams
from flask.testing import FlaskClient
from openai_events import model
from tropilla.api.app import Collaborators, create_app
from tropilla.api.cluster import Cluster
from tropilla.api.relay import Relay
from tropilla.common.catalogue import Catalogue, Definition, Flavour, Model, State, Trouble, Worker
from tropilla.common.errands import Errand, Word
from tropilla.common.generation import Loaded
from tropilla.common.recipes import BARE, File, Overlay, Recipe
from tropilla.common.settings import Settings

SEED: dict[str, Any] = json.loads((Path(__file__).parent / "api/surfaces/jan_schemas.json").read_text())
HUB = "https://huggingface.co/TheBloke/zephyr-7B-beta-GGUF"


def valid(schema: str, body: Any) -> None:
    """By the user's own schema, formats included; raises what is wrong."""
    asked = {**SEED, "$ref": f"#/components/schemas/{schema}"}
    jsonschema_rs.validator_for(asked, validate_formats=True).validate(body)


def made(name: str = "m", *, overlay: Overlay = BARE, **facts: Any) -> Model:
    return dataclasses.replace(model(name), pinned_as=f"{name}@1", overlay=overlay, **facts)


def definition(name: str = "m", *, source: str = f"{HUB}/resolve/main/m.gguf", **more: Any) -> Definition:
    recipe = {key: more.pop(key) for key in ("context", "slots", "threads", "gpu_layers", "cache_type") if key in more}
    files = (File("ab" * 32, 1, f"{name}.gguf"),)
    return Definition(made(name, **more), Recipe(f"{name}@1", files, **recipe), source)


def worker(state: State = "idle", held: Model | None = None, *, flavour: Flavour = "cpu", **more: Any) -> Worker:
    return Worker("w", flavour, state, 8, held, **{"ordered": held is not None, **more})


def running(defined: Definition, **more: Any) -> Catalogue:
    return Catalogue((worker("ready", defined.model, **more),), (defined,))


GONE = Trouble("download_failed", "the hub does not answer")
COMING = Trouble("downloading", "it is being downloaded")
BROKEN = Trouble("out_of_memory", "it needs 8 GB, and there are 4")


class Scene:
    """The API over a catalogue that stays, and a store that says `words` of every errand."""

    def __init__(self, catalogue: Catalogue, *words: Word, tasks: tuple[Errand, ...] = (), **settings: Any) -> None:
        self.clock, self.settings, self.cluster = Clock(), Settings(**settings), catalogue
        self.book, self.lanes = FakeBook(*words), []
        for errand in tasks:
            self.book.begin(errand, errand.id)
        self.store = FakeStore(self.clock)
        self.inbox = FakeInbox(self.clock, self.store.write(Loaded(0, 0, 1.0, "w")))
        cluster = Cluster(self, self, self.clock)
        relay = Relay(self.store, self.store, self.inbox, self._submit, cluster.pulled, self.settings, self.clock)
        collaborators = Collaborators(
            self.settings,
            cluster,
            relay,
            self.inbox,  # type: ignore[arg-type]
            self.book,  # type: ignore[arg-type]
            errands(self.book),
            streams(),
            FakeBatches(),
            FakeAlbum(),
        )
        self.client: FlaskClient = create_app(collaborators).test_client()

    def catalogue(self) -> Catalogue:
        return self.cluster

    def full_percent(self) -> float:
        return 0.0

    def _submit(self, asked: Any, lane: Any) -> None:
        self.lanes.append((asked, lane.name))

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        response = self.client.open(path, method=method, **({} if body is None else {"json": body}))
        return response.status_code, response.json

    @property
    def errand(self) -> Errand:
        """The last that the store was asked for."""
        return self.book.begun[-1][0]
