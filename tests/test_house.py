"""The house's own rules: doors, library owners, pure files, sizes."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("api", "common", "compose", "workers")
#: room -> the other rooms it may import
DOORS = {"api": {"common"}, "workers": {"common"}, "common": set(), "compose": {"api", "common", "workers"}}

#: library -> the only files or folders that import it
OWNERS = {
    "redis": ("common/bus.py",),
    "llama_cpp": ("workers/llama/",),
    "flask": ("api/",),
    "werkzeug": ("api/",),
    "marshmallow": ("api/",),
    "apispec": ("api/docs/",),
    "gevent": ("api/hangup.py", "api/natively.py"),
    "kombu": ("common/tasks.py",),
    "celery": ("common/tasks.py", "workers/app.py", "workers/consumer.py", "workers/store/app.py"),
    "jinja2": ("workers/jinja.py", "workers/sandbox.py", "workers/template_filters.py", "workers/pocket/"),
    "orjson": ("common/codec.py", "api/"),
    "torch": ("workers/pocket/",),
    "tokenizers": ("workers/pocket/",),
    "gguf": ("workers/pocket/",),
    "llguidance": ("common/grammar.py", "workers/constraint.py", "workers/llama/"),
    "rich": ("compose/client/",),
    "yaml": ("common/manifest/",),
    "urllib3": ("compose/client/", "workers/store/wire.py"),
    "certifi": ("workers/store/wire.py",),
    "opentelemetry": ("common/tracing.py",),
    "PIL": ("common/bitmaps.py",),
    "pickle": (),
}

#: Files that decide and never do: what they import can neither wait, nor read, nor write.
PURE = (
    "common/catalogue.py",
    "common/codec.py",
    "common/complexity.py",
    "common/errands.py",
    "common/errors.py",
    "common/generation.py",
    "common/ggml.py",
    "common/gotemplate/",
    "common/header.py",
    "common/manifest/",
    "common/hosts.py",
    "common/keys.py",
    "common/names.py",
    "common/options.py",
    "common/orders.py",
    "common/polish.py",
    "common/origins.py",
    "common/recipes.py",
    "common/redis_release.py",
    "common/records.py",
    "common/shards.py",
    "common/sources.py",
    "common/spans.py",
    "common/terms.py",
    "api/about.py",
    "api/batches/lines.py",
    "api/batches/records.py",
    "api/batches/wishes.py",
    "api/admission.py",
    "api/cors.py",
    "api/docs/html.py",
    "api/counted.py",
    "api/exposition.py",
    "api/families.py",
    "api/framing.py",
    "api/genai.py",
    "api/hostnames.py",
    "api/idempotency.py",
    "api/images.py",
    "api/media.py",
    "api/models.py",
    "api/overlays.py",
    "api/owners.py",
    "api/placement.py",
    "api/planning.py",
    "api/reading.py",
    "api/states.py",
    "api/surface.py",
    "api/surfaces/",
    "compose/client/answers.py",
    "compose/client/letters.py",
    "compose/client/pulling.py",
    "compose/client/tables.py",
    "compose/client/talk.py",
    "compose/client/words.py",
    "workers/calls.py",
    "workers/continuation.py",
    "workers/deafness.py",
    "workers/fairness.py",
    "workers/families.py",
    "workers/fitting.py",
    "workers/gochat.py",
    "workers/gotools.py",
    "workers/headway.py",
    "workers/localchat.py",
    "workers/markers.py",
    "workers/memory.py",
    "workers/notation.py",
    "workers/outcome.py",
    "workers/placeholders.py",
    "workers/prefixes.py",
    "workers/replies.py",
    "workers/rotation.py",
    "workers/scanning.py",
    "workers/scheduler.py",
    "workers/sequence.py",
    "workers/shape.py",
    "workers/stay.py",
    "workers/store/architectures.py",
    "workers/store/naming.py",
    "workers/store/overlaying.py",
    "workers/store/picks.py",
    "workers/store/refusals.py",
    "workers/store/soundness.py",
    "workers/store/wanted.py",
    "workers/text.py",
    "workers/turns.py",
    "workers/views.py",
)
IO = {
    "asyncio", "celery", "ctypes", "flask", "gevent", "gunicorn", "http", "io", "jinja2", "kombu", "llama_cpp", "logging",
    "mmap", "multiprocessing", "numpy", "os", "pathlib", "queue", "redis", "requests", "select", "shutil", "signal",
    "socket", "ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib", "werkzeug",
}  # fmt: skip
#: A part of one of these that only takes texts apart.
NO_IO = {"urllib.parse"}

#: Who reads the wall clock, and what for. Everything else counts durations, or asks Redis for its own time: machines whose
#: clocks differ by minutes, or jump, neither lose a lease early nor keep one for ever.
WALL_CLOCK = {
    "api/account.py": "how long a request took, from its own process's clock; to be shown",
    "api/asking.py": "the time that answers bear",
    "api/auth.py": "whether an API key has expired, to the day as people say it; and when it was used, to be shown",
    "api/batches/answering.py": "how much of a batch's window, of minutes at the least, is left",
    "api/batches/archive.py": "when a file was made, and until when it is kept",
    "api/batches/clerk.py": "when a batch was made; its window is counted from that",
    "api/batches/rendering.py": "the time that answers bear",
    "api/batches/run.py": "whether a batch's window, of minutes at the least, is over",
    "api/conversation.py": "the time that answers bear",
    "api/streaming.py": "the time that answers bear",
    "api/views.py": "the time that answers bear",
    "api/wiring.py": "whether an API key has expired, as in auth.py",
    "common/tracing.py": "spans bear the time of their own machine",
    "workers/keeper.py": "kombu's own record of tickets: one that comes back early finds nobody waiting",
    "workers/store/__main__.py": "when a model was made; to be shown",
    "workers/store/desk.py": "kombu's own record of tickets",
}

MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 250
#: What is longer, and why.
LONG_FUNCTIONS: dict[str, str] = {}
LONG_FILES = {
    "common/bus.py": "everything that Redis is asked, in one place",
    "api/views.py": "a handler for each kind of route, side by side",
    "api/relay.py": "every way in which a request begins, is joined and is left",
    "api/watch.py": "one request's supervision: every question it asks, and what follows from the answers",
    "common/errors.py": "the whole tree",
    "common/settings.py": "every setting, in one table",
    "common/room.py": "everything that a place in the queue is asked, beside its scripts",
    "compose/observability/dashboards.py": "every panel of three dashboards",
    "workers/tickets.py": "one ticket's way, and whoever gets its place after it",
    "api/surface.py": "the whole contract between dialects and the rest",
    "common/catalogue.py": "the whole vocabulary of who serves what",
    "common/codec.py": "every form on the wire, in one table",
    "common/generation.py": "the whole vocabulary, in one place",
    "common/registry.py": "everything that Redis is told and asked of models",
    "workers/life.py": "one worker's states, and every way from one to the next",
    "workers/pin.py": "one model's threads: what they are made of, how they begin and how they end",
    "workers/loop.py": "one thread's state and everything that may change it",
    "workers/prefixes.py": "a tree, and every move that keeps it true",
    "workers/sequence.py": "one sequence's state and everything that may change it",
    "workers/store/download.py": "one transfer, and everything that can come between",
    "workers/store/wire.py": "one request over the network, hop by hop, and all that is refused on its way",
    "workers/scheduler.py": "everything that decides what the next step computes, and where",
}


@dataclass(frozen=True)
class Source:
    path: str
    text: str

    @property
    def room(self) -> str:
        return self.path.split("/")[0]

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def imported(self) -> tuple[str, ...]:
        """Every module that is imported anywhere in the file."""
        return tuple(self._imports())

    def _imports(self) -> Iterator[str]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.path} imports relatively"
                module = node.module or ""
                yield module
                yield from (f"{module}.{alias.name}" for alias in node.names)


@cache
def sources() -> tuple[Source, ...]:
    paths = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    return tuple(Source(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in paths)


def below(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or (place.endswith("/") and path.startswith(place)) for place in places)


def test_there_is_something_to_look_at() -> None:
    assert {source.room for source in sources()} == set(ROOMS)
    for place in (*PURE, *LONG_FILES):
        assert any(below(source.path, (place,)) for source in sources()), f"{place} is gone: take it out of the table"


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_are_entered_through_their_doors(room: str) -> None:
    closed = set(ROOMS) - DOORS[room] - {room}
    through_walls = [
        f"{source.path} imports {name}"
        for source in sources()
        if source.room == room
        for name in source.imported
        if name.startswith("tropilla.") and name.split(".")[1] in closed
    ]
    assert through_walls == []


def test_nobody_imports_a_room_by_its_bare_name() -> None:
    """Started in the repository root, `import common` would succeed and make a second copy of every class."""
    bare = [f"{s.path} imports {name}" for s in sources() for name in s.imported if name.split(".")[0] in ROOMS]
    assert bare == []


@pytest.mark.parametrize("library", OWNERS)
def test_each_library_has_its_owner(library: str) -> None:
    strangers = {
        source.path
        for source in sources()
        if not below(source.path, OWNERS[library]) and any(n.split(".")[0] == library for n in source.imported)
    }
    assert strangers == set()


def test_pure_files_import_nothing_that_waits_reads_or_writes() -> None:
    impure = {
        f"{source.path} imports {name}"
        for source in sources()
        if below(source.path, PURE)
        for name in source.imported
        if name.split(".")[0] in IO and ".".join(name.split(".")[:2]) not in NO_IO
    }
    assert impure == set()


def test_the_wall_clock_is_read_only_where_it_is_shown_or_asked_for() -> None:
    readers = {
        source.path
        for source in sources()
        if source.room != "compose"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute)
        and node.attr in {"time", "time_ns"}
        and isinstance(node.value, ast.Name)
        and node.value.id == "time"
    }
    assert readers == set(WALL_CLOCK)


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_no_function_is_long_without_a_reason() -> None:
    long = {
        f"{source.path}:{function.name}"
        for source in sources()
        for function in functions(source.tree)
        if (function.end_lineno or 0) - function.lineno + 1 > MAX_FUNCTION_LINES
    }
    assert long == set(LONG_FUNCTIONS)


def test_no_file_is_long_without_a_reason() -> None:
    assert {source.path for source in sources() if source.text.count("\n") > MAX_FILE_LINES} == set(LONG_FILES)


def test_every_file_says_what_it_answers() -> None:
    assert [source.path for source in sources() if not ast.get_docstring(source.tree)] == []


def test_exec_eval_and_pickle_are_nowhere() -> None:
    called = {
        f"{source.path}: {node.func.id}"
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"exec", "eval"}
    }
    assert called == set()


def test_everything_is_caught_only_where_it_is_logged_or_ends_the_process() -> None:
    """`except Exception` belongs to outermost loops (STYLE.md, 46)."""
    outermost = {
        "api/batches/answering.py",
        "api/batches/foreman.py",
        "api/inbox.py",
        "api/keyring.py",
        "api/steward.py",
        "api/streaming.py",
        "compose/lookout.py",
        "workers/llama/model.py",
        "workers/leaving.py",
        "workers/loop.py",
        "workers/store/desk.py",
        "workers/tickets.py",
    }
    found = {
        source.path
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}))
        and not any(isinstance(inner, ast.Raise) and inner.exc is None for inner in ast.walk(node))
    }
    assert found - outermost == set()


def test_every_package_is_shipped() -> None:
    shipped = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {file.parent for room in ROOMS for file in (ROOT / room).rglob("__init__.py")}
    assert set(shipped) == {"tropilla." + ".".join(folder.relative_to(ROOT).parts) for folder in folders}
