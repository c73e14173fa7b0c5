"""One batch at one process: every line gets one answer, whoever stops it, and whoever takes it over."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from fakes import Clock
from tropilla.api.batches.archive import Archive
from tropilla.api.batches.book import Held
from tropilla.api.batches.lines import Line, answered, request_id
from tropilla.api.batches.records import Asked, Batch, Status, Tokens, new_batch_id, new_file_id
from tropilla.api.batches.run import Run
from tropilla.api.batches.segments import Row
from tropilla.common.errors import StoreUnavailable
from tropilla.common.settings import Settings

URL = "/v1/embeddings"
LINES = 12


class FakeBook:
    """One batch, with the rules of write.lua. `before` is called ahead of each writing, with what is to be written."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.term = 0
        self.status: Status = "validating"
        self.fields: dict[str, Any] = {}
        self.statuses: list[Status] = []
        self.before: Callable[[Mapping[str, Any]], None] = lambda fields: None

    def take(self) -> Held:
        self.term += 1
        named = {
            name: self.fields.get(key, "") for name, key in (("output_file_id", "output"), ("error_file_id", "error"))
        }
        batch = Batch(self.asked, self.status, ending=self.fields.get("ending"), **named)
        counted = {int(name[6:]): value for name, value in self.fields.items() if name.startswith("bytes:")}
        return Held(batch, self.term, counted)

    def write(self, held: Held, fields: Mapping[str, Any], *, during: Collection[Status]) -> Status | None:
        self.before(fields)
        if held.term != self.term:
            return None
        if self.status in during:
            self.fields.update(fields)
            self.status = fields.get("status", self.status)
            if self.statuses[-1:] != [self.status]:
                self.statuses.append(self.status)
        return self.status

    @property
    def counts(self) -> tuple[int, int, int]:
        total, completed, failed = (self.fields.get(name, 0) for name in ("total", "completed", "failed"))
        return total, completed, failed


class FakeAnswering:
    """Answers with a 200, or with what `says` has for a custom_id. Lines in `stuck` wait until somebody leaves."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.settlings: list[int] = []
        self.forsaken: list[int] = []
        self.says: dict[str, int] = {}
        self.stuck: set[str] = set()
        self.most_at_once = self._at_once = 0
        self._left = threading.Event()
        self._lock = threading.Lock()

    def answer(self, asked: Asked, line: Line, data: bytes) -> Row | None:
        assert json.loads(data)["custom_id"] == line.custom_id
        with self._lock:
            self.asked.append(line.custom_id)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if line.custom_id in self.stuck:
                assert self._left.wait(10)
                return None
            status = self.says.get(line.custom_id, 200)
            text = answered(request_id(asked.id, line.number, 0), line.custom_id, status, {"n": line.number})
            return Row(line.number, status == 200, Tokens(2, 1, 3, 0), text)
        finally:
            with self._lock:
                self._at_once -= 1

    def settled(self, line: int) -> None:
        self.settlings.append(line)

    @property
    def waiting(self) -> int:
        return self._at_once if self.stuck else 0

    def cancel(self) -> None:
        self._left.set()

    def forsake(self, asked: Asked, numbers: Iterable[int]) -> None:
        self.forsaken += numbers

    def abandon(self) -> None:
        self._left.set()


class World:
    def __init__(self, home: Path) -> None:
        self.clock = Clock(1_700_000_000.0)
        self.archive = Archive(home / "files", self.clock)
        self.asked = Asked(new_batch_id(self.clock.now), URL, new_file_id(self.clock.now), "1h", 0, 1_700_003_600, 60)
        self.book = FakeBook(self.asked)
        self.put(*(self.entry(f"c{number}") for number in range(LINES)))

    @staticmethod
    def entry(custom_id: str) -> bytes:
        told = {"custom_id": custom_id, "method": "POST", "url": URL, "body": {"input": "x"}}
        return json.dumps(told).encode() + b"\n"

    def put(self, *lines: bytes) -> None:
        self.archive.folder.mkdir(exist_ok=True)
        self.archive.path(self.asked.input_file_id).write_bytes(b"".join(lines))

    def taken(self, answering: FakeAnswering, window: int = 3) -> Run:
        return Run(self.book.take(), self.book, self.archive, answering, Settings(), lambda: window, self.clock)

    def left(self, kind: str) -> list[Any]:
        """What a file that the batch has left holds."""
        file_id = self.book.fields[kind]
        if not file_id:
            return []
        file = self.archive.find(file_id)
        assert file is not None
        assert file.purpose == "batch_output"
        data = self.archive.path(file_id).read_bytes()
        assert file.size_bytes == len(data)
        return [json.loads(line) for line in data.splitlines()]

    def each_once(self) -> None:
        """Every custom_id has one line, and the answers come in the order of the input."""
        output, errors = ([each["custom_id"] for each in self.left(kind)] for kind in ("output", "error"))
        assert sorted([*output, *errors]) == sorted(f"c{number}" for number in range(LINES))
        for some in (output, errors):
            assert some == sorted(some, key=lambda name: int(name[1:]))
        assert not self.archive.bench(self.asked.id).exists()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_every_line_is_answered_and_the_answers_are_left_in_two_files(world: World) -> None:
    answering = FakeAnswering()
    answering.says = {"c3": 400, "c7": 500}
    world.taken(answering).run()
    assert world.book.statuses == ["in_progress", "finalizing", "completed"]
    world.each_once()
    assert [each["custom_id"] for each in world.left("error")] == ["c3", "c7"]
    assert world.left("error")[0]["response"]["status_code"] == 400
    assert world.book.counts == (LINES, LINES - 2, 2)
    assert json.loads(world.book.fields["tokens"]) == {
        "prompt": 2 * LINES, "cached": LINES, "generated": 3 * LINES, "reasoning": 0,
    }  # fmt: skip


def test_no_more_lines_are_under_way_than_the_window_lets(world: World) -> None:
    answering = FakeAnswering()
    world.taken(answering, window=2).run()
    assert answering.most_at_once <= 2
    assert len(answering.asked) == LINES


def test_an_answer_is_let_go_of_once_it_counts(world: World) -> None:
    answering = FakeAnswering()

    def before(fields: Mapping[str, Any]) -> None:
        assert len(answering.settlings) <= world.book.counts[1]

    world.book.before = before
    world.taken(answering).run()
    assert sorted(answering.settlings) == list(range(1, LINES + 1))


def test_a_batch_without_failures_leaves_no_error_file(world: World) -> None:
    world.taken(FakeAnswering()).run()
    assert world.book.fields["error"] == ""
    assert len(world.left("output")) == LINES


def test_a_file_with_objections_fails_before_anything_is_asked(world: World) -> None:
    world.put(world.entry("c0"), b"{\n", world.entry("c0"))
    answering = FakeAnswering()
    world.taken(answering).run()
    assert world.book.statuses == ["failed"]
    told = json.loads(world.book.fields["objections"])
    assert [(each["code"], each["line"]) for each in told] == [("invalid_json_line", 2), ("duplicate_custom_id", 3)]
    assert answering.asked == []


def test_a_file_that_is_gone_fails_the_batch(world: World) -> None:
    world.archive.path(world.asked.input_file_id).unlink()
    world.taken(FakeAnswering()).run()
    assert json.loads(world.book.fields["objections"])[0]["code"] == "file_not_found"


def test_a_line_that_is_too_long_is_told_and_the_next_one_is_found(world: World) -> None:
    world.put(b"x" * (2 * Settings().most_body_bytes) + b"\n", b"{\n")
    world.taken(FakeAnswering()).run()
    told = json.loads(world.book.fields["objections"])
    assert [(each["code"], each["line"]) for each in told] == [("line_too_long", 1), ("invalid_json_line", 2)]


def cancelling(world: World) -> Callable[[Mapping[str, Any]], None]:
    """Somebody cancels once two lines are done."""

    def before(fields: Mapping[str, Any]) -> None:
        if fields.get("completed", 0) >= 2 and world.book.status == "in_progress":
            world.book.status = "cancelling"

    return before


def test_a_cancelled_batch_leaves_what_was_answered_and_says_so_of_the_rest(world: World) -> None:
    answering = FakeAnswering()
    answering.stuck = {f"c{number}" for number in range(3, LINES)}
    world.book.before = cancelling(world)
    world.taken(answering).run()
    assert world.book.statuses == ["in_progress", "cancelling", "cancelled"]
    world.each_once()
    assert [each["custom_id"] for each in world.left("output")] == ["c0", "c1", "c2"]
    assert {each["error"]["code"] for each in world.left("error")} == {"batch_cancelled"}
    assert world.book.counts == (LINES, 3, LINES - 3)


def test_what_an_earlier_process_has_under_way_of_a_cancelled_batch_is_cancelled_too(world: World) -> None:
    world.book.take()
    answering = FakeAnswering()
    answering.stuck = {f"c{number}" for number in range(3, LINES)}
    world.book.before = cancelling(world)
    world.taken(answering).run()
    begun = {int(name[1:]) + 1 for name in answering.asked}
    assert set(answering.forsaken) == set(range(1, LINES + 1)) - begun


def test_a_batch_whose_window_is_over_leaves_what_was_answered(world: World) -> None:
    answering = FakeAnswering()
    answering.stuck = {"c4", "c5", "c6"}

    def late(fields: Mapping[str, Any]) -> None:
        if fields.get("completed", 0) >= 4:
            world.clock.now = world.asked.expires_at

    world.book.before = late
    world.taken(answering, window=1).run()
    assert world.book.statuses == ["in_progress", "finalizing", "expired"]
    world.each_once()
    assert {each["error"]["code"] for each in world.left("error")} == {"batch_expired"}
    assert len(world.left("output")) == 4


def test_a_batch_that_is_cancelled_while_its_file_is_looked_through_runs_nothing(world: World) -> None:
    world.book.status = "cancelling"
    held = world.book.take()
    answering = FakeAnswering()
    Run(held, world.book, world.archive, answering, Settings(), lambda: 3, world.clock).run()
    assert (world.book.status, answering.asked) == ("cancelled", [])
    world.each_once()


class Killed(BaseException):
    """The process is gone in this very moment."""


@pytest.mark.parametrize("moment", range(1, 18))
def test_whenever_its_process_is_killed_another_goes_on_and_nothing_is_told_twice(world: World, moment: int) -> None:
    """Before the nth writing, and once more at the fourth of its successor; with one line at a time."""
    after = iter((moment, 4))
    countdown = next(after)

    def before(_: Mapping[str, Any]) -> None:
        nonlocal countdown
        countdown -= 1
        if countdown == 0:
            countdown = next(after, 10**6)
            raise Killed

    world.book.before = before
    asked: list[str] = []
    while world.book.status != "completed":
        answering = FakeAnswering()
        answering.says = {"c5": 500}
        with contextlib.suppress(Killed):
            world.taken(answering, window=1).run()
        asked += answering.asked
    world.each_once()
    assert [each["custom_id"] for each in world.left("error")] == ["c5"]
    assert len(asked) <= LINES + 2, "only the line that was not written down is asked again"


def test_a_process_that_was_frozen_writes_nothing_that_counts(world: World) -> None:
    """It stops in the middle; another takes the batch, and the first comes back before that one is done."""
    zombie, frozen, thawed = FakeAnswering(), threading.Event(), threading.Event()

    def freeze(fields: Mapping[str, Any]) -> None:
        if fields.get("completed", 0) >= 3 and threading.current_thread() is thread:
            frozen.set()
            assert thawed.wait(10)

    world.book.before = freeze
    first = world.taken(zombie, window=1)
    thread = threading.Thread(target=first.run)
    thread.start()
    assert frozen.wait(10)
    second = FakeAnswering()
    second.says = {"c11": 429}
    later = world.taken(second, window=1)
    thawed.set()
    thread.join(10)
    later.run()
    world.each_once()
    # What was not written down when it froze was asked again.
    assert second.asked[0] == "c2"
    assert [each["custom_id"] for each in world.left("error")] == ["c11"]


def test_a_process_that_is_told_to_leave_decides_nothing_more(world: World) -> None:
    answering = FakeAnswering()
    answering.stuck = {f"c{number}" for number in range(2, LINES)}
    run = world.taken(answering)
    world.book.before = lambda fields: run.leave() if fields.get("completed") else None
    run.run()
    assert world.book.status == "in_progress"
    world.book.before = lambda fields: None
    world.taken(FakeAnswering()).run()
    world.each_once()


def test_an_ending_that_was_written_down_is_carried_out_by_whoever_comes_next(world: World) -> None:
    def killed(fields: Mapping[str, Any]) -> None:
        if fields.get("status") == "completed":
            raise Killed

    world.book.before = killed
    with pytest.raises(Killed):
        world.taken(FakeAnswering()).run()
    named = world.book.fields["output"]
    world.book.before = lambda fields: None
    answering = FakeAnswering()
    # Its time is over, too: that changes nothing any more.
    world.clock.now = world.asked.expires_at + 5
    world.taken(answering).run()
    assert (world.book.status, world.book.fields["output"], answering.asked) == ("completed", named, [])
    data = world.archive.path(named).read_bytes()
    assert len(data.splitlines()) == LINES


def test_a_line_that_breaks_its_thread_stops_the_batch_for_now(world: World) -> None:
    answering = FakeAnswering()
    answering.answer = lambda *_: None  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match=r"line \d of batch"):
        world.taken(answering).run()
    world.taken(FakeAnswering()).run()
    world.each_once()


def test_a_redis_that_does_not_answer_stops_it_for_now(world: World) -> None:
    def down(fields: Mapping[str, Any]) -> None:
        if fields.get("completed", 0) >= 5:
            raise StoreUnavailable("Redis cannot serve")

    world.book.before = down
    with pytest.raises(StoreUnavailable):
        world.taken(FakeAnswering(), window=1).run()
    world.book.before = lambda fields: None
    world.taken(FakeAnswering()).run()
    world.each_once()


def test_while_nothing_comes_it_is_asked_whose_the_batch_is(world: World) -> None:
    answering = FakeAnswering()
    answering.stuck = {f"c{number}" for number in range(LINES)}

    def taken_away(fields: Mapping[str, Any]) -> None:
        if fields.get("completed") == 0:
            world.book.term += 1

    world.book.before = taken_away
    world.taken(answering).run()
    assert world.book.status == "in_progress"


def test_a_batch_whose_lines_all_wait_is_stuck(world: World) -> None:
    answering = FakeAnswering()
    answering.stuck = {f"c{number}" for number in range(LINES)}
    run, seen = world.taken(answering), []
    assert not run.stuck

    def look(fields: Mapping[str, Any]) -> None:
        if answering.most_at_once == 3 and not seen:
            seen.append(run.stuck)
            run.leave()

    world.book.before = look
    run.run()
    assert seen == [True]


def test_a_batch_whose_key_is_revoked_leaves_what_was_answered_and_says_why(world: World) -> None:
    answering, refused = FakeAnswering(), [""]
    answering.stuck = {f"c{number}" for number in range(5, LINES)}
    run = Run(
        world.book.take(), world.book, world.archive, answering, Settings(), lambda: 3, world.clock,
        refusal=lambda key: refused[0],
    )  # fmt: skip

    def look(fields: Mapping[str, Any]) -> None:
        if world.book.counts[1] == 5:
            refused[0] = "this API key was revoked"

    world.book.before = look
    run.run()
    assert world.book.statuses == ["in_progress", "cancelling", "cancelled"]
    (objection,) = json.loads(world.book.fields["objections"])
    told = "The batch was cancelled: this API key was revoked."
    assert (objection["code"], objection["message"]) == ("invalid_api_key", told)
    assert [each["custom_id"] for each in world.left("output")] == [f"c{number}" for number in range(5)]
    assert {each["error"]["code"] for each in world.left("error")} == {"batch_cancelled"}
    world.each_once()
