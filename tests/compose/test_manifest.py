from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from fakes import FakeBook
from tropilla.common.catalogue import Catalogue, Definition, Model, State, Trouble, TroubleCode, Worker
from tropilla.common.errands import Apply, Done, Errand, Progress, Refused, Word
from tropilla.common.errors import ConfigurationError, StoreUnavailable
from tropilla.common.recipes import File, Recipe
from tropilla.compose.manifest import (
    CONTENT_DIGITS,
    FLIGHT,
    Application,
    NotApplied,
    Wanted,
    check,
    read_manifest,
    waiting_for_models,
    whereabouts,
)

TEXT = """apiVersion: v1alpha1
models:
  - name: a
    source: https://example.com/a.gguf
  - name: b
    source: https://example.com/b.gguf
config: |
  - name: a
    parameters: {model: a.gguf}
  - name: b
    parameters: {model: b.gguf}
"""
SKETCH = """```yaml
apiVersion: # required
models: # required
```
"""


def written(folder: Path, text: str, **options: str) -> Wanted:
    file = folder / "aikitfile.yaml"
    file.write_text(text)
    return read_manifest(file, **options)


def test_a_manifest_is_read_and_its_folder_remembered(tmp_path: Path) -> None:
    wanted = written(tmp_path, TEXT)
    assert (wanted.models, wanted.folder) == (("a", "b"), tmp_path)


def test_a_page_may_hold_a_manifest_beside_a_sketch_of_one(tmp_path: Path) -> None:
    page = f"# Models\n\n{SKETCH}\nExample:\n\n```yaml\n{TEXT}```\n"
    assert written(tmp_path, page).models == ("a", "b")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "apiVersion is not defined"),
        ("apiVersion: v2", "apiVersion v2 is not supported"),
        (SKETCH, "apiVersion is not defined"),
        (f"```yaml\n{TEXT}```\n```yaml\n{TEXT}```\n", "has 2 manifests in it"),
        ("[", "aikitfile.yaml: "),
    ],
)
def test_what_is_no_manifest_is_refused_with_its_path(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=r"aikitfile\.yaml") as refused:
        written(tmp_path, text)
    assert words in refused.value.message


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        read_manifest(tmp_path / "missing.yaml")
    (tmp_path / "latin").write_bytes(b"# caf\xe9")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        read_manifest(tmp_path / "latin")


def test_equal_manifests_have_errands_that_can_be_told_to_be_equal(tmp_path: Path) -> None:
    one, same, other = (written(tmp_path, text).errand().id for text in (TEXT, TEXT, TEXT + "debug: true\n"))
    assert one != same
    assert one[:CONTENT_DIGITS] == same[:CONTENT_DIGITS] != other[:CONTENT_DIGITS]
    assert len(one) == 32


def test_a_manifest_that_nobody_here_could_serve_is_refused_before_anything_runs(tmp_path: Path) -> None:
    wanted = written(tmp_path, TEXT, runtime="cuda")
    with pytest.raises(ConfigurationError, match=r"a: it needs a gpu worker \(--gpu 1\)"):
        check(wanted, ["cpu"])
    check(wanted, ["cpu", "gpu"])
    check(wanted, [])
    check(written(tmp_path, TEXT), ["cpu"])


def test_one_entry_that_can_be_served_is_enough(tmp_path: Path) -> None:
    broken = TEXT.replace("{model: a.gguf}", "{model: missing.gguf}")
    check(written(tmp_path, broken), ["cpu"])
    with pytest.raises(ConfigurationError, match=r"a: model file missing\.gguf"):
        check(written(tmp_path, broken.replace("{model: b.gguf}", "{model: missing.gguf}")), ["cpu"])


# -- what the cluster makes of it --------------------------------------------------------------------------------------


def definition(name: str) -> Definition:
    model = Model(name, "0" * 64, 1, "llama", 1, "Q8_0", 64, 64, 8, 256, 0.0, pinned_as=f"{name}@1")
    return Definition(model, Recipe(f"{name}@1", (File("0" * 64, 1, "x.gguf"),)), preload=True)


def seen(*workers: Worker, troubles: dict[str, Trouble] | None = None, stored: str = "ab", **more: object) -> Catalogue:
    definitions = tuple(definition(name) for name in stored)
    return Catalogue(workers, definitions, MappingProxyType(troubles or {}), **more)  # type: ignore[arg-type]


def worker(state: State, name: str = "") -> Worker:
    return Worker("cpu-1@host", "cpu", state, 8, definition(name).model if name else None, ordered=True)


def failed(name: str, code: TroubleCode = "out_of_memory") -> dict[str, dict[str, Trouble]]:
    return {f"{name}@1": {"cpu-1@host": Trouble(code, f"{name} does not fit")}}


def test_models_are_waited_for_until_the_first_answers() -> None:
    names = ("a", "b")
    assert waiting_for_models(seen(worker("idle")), names) == "a, b: loading"
    assert waiting_for_models(seen(worker("loading", "a")), names) == "a, b: loading"
    assert waiting_for_models(seen(worker("ready", "a")), names) is None
    assert waiting_for_models(seen(), ()) is None


def test_models_that_never_will_answer_are_not_waited_for() -> None:
    one = seen(worker("idle"), failures=failed("a"))
    assert waiting_for_models(one, ("a", "b")) == "b: loading"
    both = seen(worker("idle"), failures={**failed("a"), **failed("b")})
    with pytest.raises(NotApplied, match="a does not fit; b does not fit"):
        waiting_for_models(both, ("a", "b"))


def test_what_was_seen_in_the_middle_of_a_download_is_no_failure() -> None:
    coming = seen(worker("idle"), stored="", troubles={"a": Trouble("downloading", "a is on its way")})
    assert waiting_for_models(coming, ("a",)) == "a: loading"


def test_models_are_told_where_they_are_those_that_answer_first() -> None:
    found = whereabouts(seen(worker("ready", "b"), stored="abc", failures=failed("a")), ("a", "b", "c"))
    assert list(found.items()) == [
        ("b", "on cpu-1"),
        ("c", "is loaded when somebody asks for it"),
        ("a", "cannot be used: a does not fit"),
    ]


# -- the errand --------------------------------------------------------------------------------------------------------


class Book(FakeBook):
    """One that can be away, and whose errands end one by one."""

    away = False

    def begin(self, errand: Errand, flight: str) -> str:
        if self.away:
            raise StoreUnavailable("away")
        return super().begin(errand, flight)


class Counter:
    """Where the errand is handed in."""

    def __init__(self, wanted: Wanted, *words: Word) -> None:
        self.book = Book(*words)
        self.submitted: list[tuple[Errand, str]] = []
        self.application = Application(wanted, self.book, lambda *errand: self.submitted.append(errand))


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    return written(tmp_path, TEXT)


def test_the_errand_is_handed_in_once_and_followed_to_its_end(wanted: Wanted) -> None:
    part = Progress("pulling ab", "sha256:" + "ab" * 32, 1000, 400, "a.gguf")
    counter = Counter(wanted, Progress("pulling a"), part, replace(part, completed=410))
    assert counter.application.news(0.0) == ["pulling a", "a.gguf: 400 B of 1.0 KB (40%), resumed at 40%"]
    assert counter.application.news(1.0) == []
    counter.book.words.append(Done(warnings=("b has no template",)))
    assert not counter.application.over
    assert counter.application.news(2.0) == ["manifest: b has no template"]
    assert counter.application.over
    ((errand, flight),) = counter.submitted
    assert isinstance(errand, Apply)
    assert (errand.manifest, errand.folder, flight) == (TEXT, str(wanted.folder), FLIGHT)


def test_a_refusal_says_why(wanted: Wanted) -> None:
    counter = Counter(wanted, Refused("failed", "the disk is full"))
    with pytest.raises(NotApplied, match="the manifest could not be applied: the disk is full"):
        counter.application.news(0.0)


def test_the_same_manifest_under_way_is_gone_on_with(wanted: Wanted) -> None:
    counter = Counter(wanted, Progress("pulling a"))
    counter.book.flights[FLIGHT] = wanted.errand().id
    assert counter.application.news(0.0) == ["pulling a"]
    assert (counter.submitted, counter.book.stopped) == ([], [])


def test_another_manifest_under_way_is_stopped_first(wanted: Wanted) -> None:
    counter = Counter(wanted, Progress("pulling a"))
    counter.book.flights[FLIGHT] = "f" * 32
    assert counter.application.news(0.0) == []
    assert (counter.submitted, counter.book.stopped) == ([], ["f" * 32])
    del counter.book.flights[FLIGHT]
    assert counter.application.news(1.0) == ["pulling a"]
    assert len(counter.submitted) == 1


def test_a_redis_that_is_away_is_asked_again(wanted: Wanted) -> None:
    counter = Counter(wanted, Done())
    counter.book.away = True
    assert counter.application.news(0.0) == []
    counter.book.away = False
    counter.application.news(1.0)
    assert counter.application.over
