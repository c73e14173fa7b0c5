"""The door: every kind of source, from stand-ins on real sockets to files in the store."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from tropilla.common.errands import Progress
from tropilla.common.gguf import read_header
from tropilla.common.recipes import Overlay
from tropilla.common.sources import parse_source
from tropilla.workers.store.fetch import Fetched, FetchFailed, Pulling, Stopped, fetch, fetch_blob
from upstream import COMMIT, Content, Hub, Said, Upstream, registry_routes

TOKEN = "hf_secret"


def fake(text: str) -> bytes:
    return b"GGUF" + text.encode() * 50


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Scene:
    """A server that is the hub, a registry and the web, and one that has the hub's content."""

    home: Path
    first: Upstream
    content: Upstream
    environment: dict[str, str]
    said: list[Progress] = field(default_factory=list)

    @property
    def pulling(self) -> Pulling:
        return Pulling(
            self.home,
            hosts=f"*,{self.first.place},{self.content.place}",
            environment=self.environment,
            sleep=lambda _: None,
            chance=lambda: 0.0,
            clock=iter(range(1 << 30)).__next__,
        )

    def hub(self, files: Mapping[str, bytes], **more: Any) -> None:
        self.first.routes.update(Hub("o/r", files, self.content, **more).routes())

    def fetch(self, text: str, pulling: Pulling | None = None, **more: Any) -> Fetched:
        more = {"report": self.said.append, "stopped": lambda: False} | more
        return fetch(parse_source(text), pulling or self.pulling, **more)

    def fails(self, text: str, pulling: Pulling | None = None, **more: Any) -> FetchFailed:
        with pytest.raises(FetchFailed) as caught:
            self.fetch(text, pulling, **more)
        assert not list((self.home / "models").glob("blobs/*"))
        return caught.value

    def holds(self, fetched: Fetched, *datas: bytes) -> bool:
        blobs = self.pulling.blobs
        return [blobs.path(file.digest).read_bytes() for file in fetched.files] == list(datas)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with Upstream() as first, Upstream() as content:
        environment = {"HF_ENDPOINT": first.url("/"), "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "hf")}
        yield Scene(tmp_path / "home", first, content, environment)


# The web


def test_a_web_file(scene: Scene) -> None:
    data = tiny.write_decoder(scene.home.parent / "t.gguf").read_bytes()
    scene.first.routes["/dir/a b.gguf"] = scene.first.routes["/dir/a%20b.gguf"] = Content(data)
    fetched = scene.fetch(scene.first.url("/dir/a%20b.gguf?token=s"), sha256=f"sha256:{sha(data).upper()}")
    assert (fetched.name, fetched.source) == ("a-b", scene.first.url("/dir/a%20b.gguf"))
    assert [(file.name, file.size_bytes) for file in fetched.files] == [("a b.gguf", len(data))]
    assert scene.holds(fetched, data)
    assert read_header(scene.pulling.blobs.path(sha(data))).architecture == "llama"
    assert {asked.path for asked in scene.first.asked} == {"/dir/a%20b.gguf?token=s"}
    statuses = list(dict.fromkeys(word.status for word in scene.said))
    assert statuses == ["pulling manifest", f"pulling {sha(data)[:12]}", "verifying sha256 digest", "writing manifest"]
    assert all("token" not in path.read_text() for path in scene.home.rglob("*.json"))


def test_a_wrong_sum_of_a_web_file(scene: Scene) -> None:
    scene.first.routes["/x.gguf"] = Content(fake("x"))
    url = scene.first.url("/x.gguf")
    assert scene.fails(url, sha256="0" * 64).message == f"sha256 mismatch: want {'0' * 64} got {sha(fake('x'))}"
    assert scene.fails(url, sha256="0" * 63).refusal == "invalid"


def test_shards_of_the_web_lie_beside_each_other(scene: Scene) -> None:
    shards = {f"m-0000{n}-of-00003.gguf": fake(str(n)) for n in (1, 2, 3)}
    scene.first.routes.update({f"/d/{name}": Content(data) for name, data in shards.items()})
    fetched = scene.fetch(scene.first.url("/d/m-00002-of-00003.gguf?k=v"), sha256=sha(fake("2")))
    assert [file.name for file in fetched.files] == list(shards)
    assert scene.holds(fetched, *shards.values())
    assert fetched.name == "m"


def test_missing_shards_are_named_before_anything_moves(scene: Scene) -> None:
    scene.first.routes["/m-00002-of-00003.gguf"] = Content(fake("2"))
    trouble = scene.fails(scene.first.url("/m-00002-of-00003.gguf"))
    assert (trouble.code, trouble.refusal) == ("file_missing", "unknown")
    assert trouble.message == "127.0.0.1 lacks shards of the model: m-00001-of-00003.gguf, m-00003-of-00003.gguf"
    assert not [asked for asked in scene.first.gets if asked.path == "/m-00002-of-00003.gguf"]


def test_more_shards_than_any_model_has_are_not_asked_for(scene: Scene) -> None:
    assert "are not taken" in scene.fails(scene.first.url("/m-00001-of-99999.gguf")).message
    assert scene.first.asked == []


# The hub


def test_a_file_of_the_hub_is_pinned_and_its_content_comes_without_the_token(scene: Scene) -> None:
    data = fake("hub")
    scene.hub({"sub dir/f.gguf": data})
    fetched = scene.fetch("https://huggingface.co/o/r/blob/main/sub%20dir/f.gguf", sha256=sha(data))
    assert scene.holds(fetched, data)
    assert fetched.source == "https://huggingface.co/o/r/resolve/main/sub%20dir/f.gguf"
    assert [(asked.method, asked.path) for asked in scene.first.asked] == [
        ("HEAD", "/o/r/resolve/main/sub%20dir/f.gguf"),
        ("GET", f"/o/r/resolve/{COMMIT}/sub%20dir/f.gguf"),
    ]
    assert {asked.headers.get("authorization") for asked in scene.first.asked} == {f"Bearer {TOKEN}"}
    assert [asked.headers.get("authorization") for asked in scene.content.asked] == [None]


def test_a_sum_that_the_hub_contradicts_is_known_before_anything_moves(scene: Scene) -> None:
    scene.hub({"f.gguf": fake("hub")})
    assert scene.fails("hf://o/r/f.gguf", sha256="0" * 64).code == "checksum_mismatch"
    assert scene.first.gets == []


def test_one_shard_of_the_hub_stands_for_all(scene: Scene) -> None:
    shards = {f"Q8_0/m-0000{n}-of-00002.gguf": fake(str(n)) for n in (1, 2)}
    scene.hub(shards)
    fetched = scene.fetch("hf://o/r@main/Q8_0/m-00002-of-00002.gguf", sha256=sha(fake("2")))
    assert scene.holds(fetched, *shards.values())
    assert [file.name for file in fetched.files] == ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"]


def test_shards_that_the_hub_lacks_are_named(scene: Scene) -> None:
    scene.hub({"m-00001-of-00003.gguf": fake("1")})
    trouble = scene.fails("hf://o/r/m-00001-of-00003.gguf")
    assert trouble.message == "o/r lacks shards of the model: m-00002-of-00003.gguf, m-00003-of-00003.gguf"
    assert scene.first.gets == []


def test_a_repository_is_listed_page_by_page_and_one_file_picked(scene: Scene) -> None:
    files = {"README.md": b"#", "mmproj-f16.gguf": fake("eye"), "m.Q2_K.gguf": fake("2"), "m.Q4_K_M.gguf": fake("4"),
             "m.Q8_0.gguf": fake("8")}  # fmt: skip
    scene.hub(files)
    fetched = scene.fetch("hf.co/o/r")
    assert scene.holds(fetched, fake("4"))
    assert (fetched.name, fetched.source) == (
        "hf.co/o/r:latest",
        "https://huggingface.co/o/r/resolve/main/m.Q4_K_M.gguf",
    )
    assert fetched.projector is not None
    assert (fetched.projector.name, fetched.projector.digest) == ("mmproj-f16.gguf", sha(fake("eye")))
    assert scene.pulling.blobs.path(fetched.projector.digest).read_bytes() == fake("eye")
    sums = {word.digest: (word.total, word.completed) for word in scene.said if word.digest}
    assert sums[f"sha256:{sha(fake('eye'))}"] == (len(fake("eye")), len(fake("eye")))
    assert len([asked for asked in scene.first.gets if asked.path.startswith("/api/")]) == 3
    assert scene.holds(scene.fetch("o/r:q8_0"), fake("8"))


def test_a_listing_that_leads_out_of_the_repository_is_passed_over(scene: Scene) -> None:
    scene.hub({"../../../../f.gguf": fake("evil"), "sub//f.gguf": fake("odd"), "f.gguf": fake("f")})
    assert scene.holds(scene.fetch("o/r"), fake("f"))


@pytest.mark.parametrize(
    ("fault", "refusal", "message"),
    [
        (
            (401, "GatedRepo"),
            "forbidden",
            "o/r is gated: accept its terms at https://huggingface.co/o/r, and set HF_TOKEN",
        ),
        (
            (403, "GatedRepo"),
            "forbidden",
            "o/r is gated: accept its terms at https://huggingface.co/o/r, and set HF_TOKEN",
        ),
        ((401, "RepoNotFound"), "unknown", "o/r is not found or private; set HF_TOKEN"),
        ((404, "RepoNotFound"), "unknown", "o/r is not found or private; set HF_TOKEN"),
        ((404, ""), "unknown", "o/r is not found or private; set HF_TOKEN"),
        ((404, "EntryNotFound"), "unknown", "o/r has no file f.gguf"),
        ((404, "RevisionNotFound"), "unknown", "o/r has no such revision"),
        ((403, ""), "forbidden", "o/r is not for us, see https://huggingface.co/o/r"),
        ((418, ""), "failed", "127.0.0.1 answers with status 418 about o/r"),
        ((503, ""), "failed", "127.0.0.1 answers with status 503"),
    ],
)
def test_what_the_hub_says_no_with(scene: Scene, fault: tuple[int, str], refusal: str, message: str) -> None:
    scene.hub({}, faults={"f.gguf": fault})
    trouble = scene.fails("hf://o/r/f.gguf")
    assert (trouble.refusal, trouble.message) == (refusal, message)


def cache(scene: Scene, path: str, data: bytes) -> Path:
    """As huggingface_hub lays it out."""
    repo = Path(scene.environment["HF_HOME"]) / "hub" / "models--o--r"
    blob = repo / "blobs" / sha(data)
    link = repo / "snapshots" / COMMIT / path
    for folder in (blob.parent, link.parent, repo / "refs"):
        folder.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(data)
    link.symlink_to(blob)
    (repo / "refs" / "main").write_text(COMMIT)
    return blob


def test_offline_everything_comes_out_of_the_hubs_cache(scene: Scene) -> None:
    blob = cache(scene, "m.Q4_K_M.gguf", fake("4"))
    cache(scene, "m.Q8_0.gguf", fake("8"))
    scene.environment["HF_HUB_OFFLINE"] = "1"
    for source in ("hf://o/r/m.Q4_K_M.gguf", "hf.co/o/r", f"hf://o/r@{COMMIT}/m.Q4_K_M.gguf"):
        fetched = scene.fetch(source)
        assert scene.holds(fetched, fake("4"))
    assert os.path.samefile(scene.pulling.blobs.path(sha(fake("4"))), blob)
    assert scene.first.asked == []


def test_offline_and_not_in_the_cache(scene: Scene) -> None:
    scene.environment["HF_HUB_OFFLINE"] = "yes"
    trouble = scene.fails("hf://o/r/m.gguf")
    assert (trouble.code, trouble.refusal) == ("file_missing", "unknown")
    assert trouble.message == "HF_HUB_OFFLINE is set, and m.gguf of o/r is not in the hub's cache"


def test_what_the_cache_has_is_not_downloaded(scene: Scene) -> None:
    cache(scene, "f.gguf", fake("f"))
    scene.hub({"f.gguf": fake("f")})
    assert scene.holds(scene.fetch("hf://o/r/f.gguf"), fake("f"))
    assert scene.first.gets == []


def test_a_spoilt_cache_is_passed_over(scene: Scene) -> None:
    cache(scene, "f.gguf", fake("f")).write_bytes(fake("g"))
    scene.hub({"f.gguf": fake("f")})
    assert scene.holds(scene.fetch("hf://o/r/f.gguf"), fake("f"))


def test_a_token_file_is_read(scene: Scene) -> None:
    del scene.environment["HF_TOKEN"]
    folder = Path(scene.environment["HF_HOME"])
    folder.mkdir()
    (folder / "token").write_text("hf_filed\n")
    scene.hub({"f.gguf": fake("f")})
    scene.fetch("hf://o/r/f.gguf")
    assert scene.first.asked[0].headers["authorization"] == "Bearer hf_filed"


def test_a_mirror_wins(scene: Scene) -> None:
    scene.environment |= {"HF_MIRROR": scene.environment["HF_ENDPOINT"], "HF_ENDPOINT": "https://nowhere.example"}
    scene.hub({"f.gguf": fake("f")})
    assert scene.holds(scene.fetch("hf://o/r/f.gguf"), fake("f"))


# Registries


LAYERS = [
    ("model", fake("llama")),
    ("template", b"{{ .System }} {{ .Prompt }}"),
    ("params", b'{"stop": ["[INST]"], "num_predict": 64}'),
    ("projector", b"GGUF eye"),
    ("license", b"MIT"),
]


def test_a_model_of_a_registry_brings_its_overlay(scene: Scene) -> None:
    scene.first.routes.update(registry_routes("library/llama3:8b", LAYERS))
    fetched = scene.fetch(scene.first.url("/library/llama3:8b"), replace(scene.pulling, insecure=True))
    assert scene.holds(fetched, fake("llama"))
    assert fetched.files[0].name == "llama3-8b.gguf"
    assert fetched.overlay == Overlay(
        template="{{ .System }} {{ .Prompt }}",
        parameters=(("stop", ("[INST]",)), ("max_tokens", 64)),
        licenses=("MIT",),
    )
    assert fetched.projector is not None
    assert (fetched.projector.name, fetched.projector.digest) == ("mmproj-llama3-8b.gguf", sha(b"GGUF eye"))
    assert scene.first.asked[0].headers["accept"] == "application/vnd.docker.distribution.manifest.v2+json"
    eye = sha(b"GGUF eye")
    last = Progress(f"pulling {eye[:12]}", f"sha256:{eye}", 8, 8, "mmproj-llama3-8b.gguf")
    assert scene.said[-3:] == [last, Progress("verifying sha256 digest"), Progress("writing manifest")]


def test_a_projector_is_named_by_its_file(scene: Scene) -> None:
    scene.first.routes.update({"/m.gguf": Content(fake("m")), "/eye.gguf": Content(fake("eye"))})
    source = scene.first.url("/m.gguf")
    fetched = scene.fetch(source, projector=parse_source(scene.first.url("/eye.gguf")))
    assert scene.holds(fetched, fake("m"))
    assert fetched.projector is not None
    assert fetched.projector.digest == sha(fake("eye"))
    assert scene.fetch(source).projector is None, "a single file brings none along"


@pytest.mark.parametrize("source", ["hf.co/o/r:Q4_0", "ns/m:t"])
def test_a_repository_is_no_projector(scene: Scene, source: str) -> None:
    trouble = scene.fails("https://x.example/m.gguf", projector=parse_source(source))
    assert trouble.refusal in ("invalid", "unknown")


def test_blobs_of_a_registry_may_be_elsewhere(scene: Scene) -> None:
    scene.first.routes.update(registry_routes("ns/m:t", LAYERS[:1]))
    path = f"/v2/ns/m/blobs/sha256:{sha(fake('llama'))}"
    scene.content.routes["/cdn"] = Content(fake("llama"), "drop:100")
    scene.first.routes[path] = lambda _: Said(307, headers={"Location": scene.content.url("/cdn")})
    fetched = scene.fetch(scene.first.url("/ns/m:t"), replace(scene.pulling, insecure=True))
    assert scene.holds(fetched, fake("llama"))
    assert [asked.headers.get("range") for asked in scene.content.asked] == [None, "bytes=100-"]


@pytest.mark.parametrize(
    ("name", "refusal", "message"),
    [
        ("library/absent", "unknown", "pull model manifest: file does not exist"),
        ("library/closed", "forbidden", None),
        ("library/tensors", "invalid", "error: not a GGUF model"),
        ("library/tampered", "failed", None),
    ],
)
def test_what_a_registry_does_not_give(scene: Scene, name: str, refusal: str, message: str | None) -> None:
    scene.first.routes["/v2/library/closed/manifests/latest"] = lambda _: Said(401)
    scene.first.routes.update(registry_routes("library/tensors:latest", [("tensor", b"x")]))
    scene.first.routes.update(registry_routes("library/tampered:latest", LAYERS[:2]))
    scene.first.routes[f"/v2/library/tampered/blobs/sha256:{sha(LAYERS[1][1])}"] = Content(b"{{ .Evil }}")
    trouble = scene.fails(scene.first.url(f"/{name}"), replace(scene.pulling, insecure=True))
    assert trouble.refusal == refusal
    assert message in (None, trouble.message)


def test_plain_http_to_a_registry_is_for_those_who_ask_for_it(scene: Scene) -> None:
    url = scene.content.url("/library/m")
    trouble = scene.fails(url)
    assert (trouble.refusal, trouble.message) == ("invalid", "insecure protocol http")
    unlisted = replace(scene.pulling, insecure=True, hosts="*")
    assert scene.fails(url, unlisted).refusal == "forbidden"
    assert scene.content.asked == []


# This machine


def test_files_of_this_machine_are_taken_from_below_the_roots_only(scene: Scene, tmp_path: Path) -> None:
    root = tmp_path / "models"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "x.gguf").write_bytes(fake("mine"))
    (tmp_path / "secret.gguf").write_bytes(fake("secret"))
    (root / "link.gguf").symlink_to(tmp_path / "secret.gguf")
    (root / "folder.gguf").mkdir()
    (root / "page.gguf").write_bytes(b"<html>")
    pulling = replace(scene.pulling, roots=(root,))
    for text, refusal in {
        str(tmp_path / "secret.gguf"): "forbidden",
        "link.gguf": "forbidden",
        "/nowhere/x.gguf": "forbidden",
        "absent.gguf": "unknown",
        "folder.gguf": "invalid",
        "page.gguf": "invalid",
    }.items():
        assert scene.fails(text, pulling).refusal == refusal, text
    assert scene.fails("sub/x.gguf").refusal == "forbidden"
    for text in ("sub/x.gguf", "./sub/x.gguf", str(root / "sub" / "x.gguf"), f"file://{root}/sub/x.gguf"):
        fetched = scene.fetch(text, pulling, sha256=sha(fake("mine")))
        assert scene.holds(fetched, fake("mine"))
        assert fetched.source == "file:x.gguf"
    # A copy: who writes into their own file later changes no model.
    assert not os.path.samefile(scene.pulling.blobs.path(sha(fake("mine"))), root / "sub" / "x.gguf")
    assert scene.said[-3].completed == scene.said[-3].total == len(fake("mine"))


def test_local_shards(scene: Scene, tmp_path: Path) -> None:
    pulling = replace(scene.pulling, roots=(tmp_path,))
    (tmp_path / "m-00001-of-00002.gguf").write_bytes(fake("1"))
    assert scene.fails("m-00001-of-00002.gguf", pulling).message == (
        "the folder lacks shards of the model: m-00002-of-00002.gguf"
    )
    (tmp_path / "m-00002-of-00002.gguf").write_bytes(fake("2"))
    assert scene.holds(scene.fetch("m-00002-of-00002.gguf", pulling, sha256=sha(fake("2"))), fake("1"), fake("2"))


def test_stopping_a_copy_leaves_nothing(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(fake("x"))
    with pytest.raises(Stopped):
        scene.fetch("x.gguf", replace(scene.pulling, roots=(tmp_path,)), stopped=lambda: True)
    assert [path.name for path in (scene.home / "models").rglob("*") if path.is_file()] == []


# Workers of other machines


def test_a_worker_asks_the_cluster_for_a_file(scene: Scene) -> None:
    data = fake("shared")
    scene.content.routes[f"/internal/blobs/{sha(data)}"] = Content(data, "drop:50")
    pulling = replace(scene.pulling, hosts="*")
    urls = tuple(upstream.url(f"/internal/blobs/{sha(data)}") for upstream in (scene.first, scene.content))
    path = fetch_blob(sha(data), len(data), urls, pulling, report=scene.said.append, stopped=lambda: False)
    assert path == scene.pulling.blobs.path(sha(data))
    assert path.read_bytes() == data
    with pytest.raises(FetchFailed) as caught:
        fetch_blob("0" * 64, 5, (scene.first.url("/x"),), pulling, report=scene.said.append, stopped=lambda: False)
    assert caught.value.refusal == "unknown"


def test_the_clusters_address_leads_nowhere_else(scene: Scene) -> None:
    scene.first.routes["/x"] = lambda _: Said(302, headers={"Location": scene.content.url("/x")})
    pulling = replace(scene.pulling, hosts="*")
    with pytest.raises(FetchFailed) as caught:
        fetch_blob("0" * 64, 5, (scene.first.url("/x"),), pulling, report=scene.said.append, stopped=lambda: False)
    assert caught.value.refusal == "forbidden"
    assert scene.content.asked == []


# Death


CHILD = """
    import itertools
    import sys
    from pathlib import Path
    from tropilla.common.sources import parse_source
    from tropilla.workers.store.fetch import Pulling, fetch

    url, home, place = sys.argv[1:]
    # A clock that leaps says a word for every piece.
    pulling = Pulling(Path(home), hosts=place, clock=itertools.count().__next__)
    fetch(parse_source(url), pulling, report=lambda word: print(word.completed, flush=True), stopped=lambda: False)
"""


def test_a_process_that_is_killed_in_the_middle_leaves_what_the_next_one_goes_on_with(scene: Scene) -> None:
    data = b"GGUF" + bytes(range(256)) * 40_000
    scene.first.routes["/x.gguf"] = Content(data, f"stall:{len(data) // 2}")
    arguments = [scene.first.url("/x.gguf"), str(scene.home), scene.first.place]
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(CHILD), *arguments], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child, child.stdout:
        there = next(int(line) for line in child.stdout if int(line) > 0)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    (partial,) = (path for path in (scene.home / "models" / "partial").iterdir() if not path.suffix)
    left = partial.stat().st_size
    assert 0 < left < len(data)
    assert there > 0
    assert scene.holds(scene.fetch(scene.first.url("/x.gguf")), data)
    assert scene.first.gets[-1].headers["range"] == f"bytes={left}-"
