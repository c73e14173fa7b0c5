from __future__ import annotations

import io

from rich.console import Console
from tropilla.compose.client.answers import PullLine
from tropilla.compose.client.bars import Bars, Lines, follow
from tropilla.compose.client.pulling import Pull

DIGEST = "sha256:" + "ab" * 32
MB = 1_000_000


def part(completed: int, total: int = 100 * MB, digest: str = DIGEST) -> PullLine:
    return PullLine(f"pulling {digest[7:19]}", digest, total, completed)


WHOLE = [PullLine("pulling manifest"), part(0), part(40 * MB), part(100 * MB), PullLine("verifying sha256 digest"),
         PullLine("writing manifest"), PullLine("success")]  # fmt: skip


def test_a_file_that_comes_says_how_fast_and_how_long() -> None:
    pull = Pull()
    pull.feed(part(0), 10.0)
    coming = pull.feed(part(40 * MB), 14.0)
    assert coming is not None
    assert coming.sentence(14.0) == "abababababab: 40 MB of 100 MB (40%), 10 MB/s, 0:06 left"


def test_what_was_there_already_is_said_and_counts_for_no_speed() -> None:
    pull = Pull()
    pull.feed(part(40 * MB), 0.0)
    coming = pull.feed(part(50 * MB), 10.0)
    assert coming is not None
    assert coming.sentence(10.0) == "abababababab: 50 MB of 100 MB (50%), 1.0 MB/s, 0:50 left, resumed at 40%"


def test_a_file_that_is_there_and_one_that_has_just_begun() -> None:
    pull = Pull()
    notes = [pull.feed(part(done, digest=f"sha256:{done}"), 0.0) for done in (100 * MB, MB // 2)]
    assert [coming.note for coming in notes if coming] == ["is here already", ""]


def test_a_file_of_unknown_size_divides_by_nothing() -> None:
    coming = Pull().feed(part(5 * MB, total=0), 0.0)
    assert coming is not None
    assert coming.sentence(0.0) == "abababababab: 5.0 MB of 0 B"


def test_only_the_last_word_is_success() -> None:
    pull = Pull()
    for line in WHOLE[:-1]:
        pull.feed(line, 0.0)
        assert not pull.succeeded
    pull.feed(WHOLE[-1], 0.0)
    assert pull.succeeded


def test_a_log_gets_beginnings_ends_and_now_and_then_a_line() -> None:
    said: list[str] = []
    ticks = iter(range(1000))
    slow = [part(n * MB) for n in range(101)]
    follow(
        [PullLine("pulling manifest"), PullLine("pulling manifest"), *slow, *WHOLE[4:]], Lines(said.append, lambda: 0)
    )
    assert [line.split(",")[0] for line in said] == [
        "pulling manifest", "abababababab: 0 B of 100 MB (0%)", "abababababab: 100 MB of 100 MB (100%)",
        "verifying sha256 digest", "writing manifest",
    ]  # fmt: skip
    said.clear()
    follow(slow, Lines(said.append, lambda: next(ticks) / 10), clock=lambda: 0.0)
    # 101 lines in ten seconds: at 0, 5 and 10.
    assert len(said) == 3


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(width: int, *lines: PullLine) -> str:
    """What was on the terminal in the end, escape sequences and all."""
    output = Terminal()
    console = Console(file=output, width=width, force_terminal=True, color_system=None, legacy_windows=False)
    with Bars(console) as bars:
        follow(lines, bars)
    return output.getvalue()


def test_bars_stay_with_their_sizes_and_the_status_goes() -> None:
    final = drawn(100, *WHOLE).rsplit("\n", 2)[-2]
    assert "abababababab" in final
    assert "100 MB of 100 MB" in final
    assert "100%" in final
    resumed = drawn(100, part(40 * MB), part(50 * MB))
    assert "resumed at 40%" in resumed


def test_a_narrow_terminal_gets_the_share_alone() -> None:
    final = drawn(44, *WHOLE).rsplit("\n", 2)[-2]
    assert "100%" in final
    assert "MB" not in final
