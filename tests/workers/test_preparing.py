"""Requests that are ended before they are prepared: by their callers, by other workers, by a worker that leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from engine_run import ask
from eyes import FakeEyes, Files, gallery
from fakes import MARKER_TEXTS, FakeVocabulary, job
from tropilla.common.generation import PICTURE, Finished, GenerationRequest, TextPrompt, Token, Usage
from tropilla.workers.answers import Answers
from tropilla.workers.continuation import NOTHING, Past
from tropilla.workers.entry import Entry
from tropilla.workers.intake import Intake
from tropilla.workers.loop import Job, Outgoing
from tropilla.workers.preparing import Preparations
from tropilla.workers.prompt import ChatTemplate


class NoGrammars:
    def matcher(self, grammar: str) -> Any:
        raise AssertionError("nothing is constrained here")


class Scene:
    """A request with two images; something happens while the first of them is encoded. What it would be prepared into goes
    to `submitted`, and what is said of it to `said`.
    """

    def __init__(self) -> None:
        self.eyes, self.files, self.preparations = FakeEyes(), Files(), Preparations()
        self.submitted: list[Job] = []
        self.said: list[Outgoing] = []
        vocabulary = FakeVocabulary()
        template = ChatTemplate("", bos="<s>", eos="</s>", markers=MARKER_TEXTS)
        answers = Answers(template, NoGrammars(), special=vocabulary.tags)
        seen = gallery(self.eyes, self.files.files)
        self.intake = Intake(vocabulary, template, answers, context=64, gallery=seen)
        # Of bus, engine, loop and publisher it needs one call each.
        this = cast(Any, self)
        self.entry = Entry(this, this, this, this, self.preparations, worker="w", load_seconds=0.0)

    def sequences(self, request: GenerationRequest, past: Past, go_on: Callable[[], None]) -> list[Any]:
        return list(self.intake.sequences(request, past, go_on=go_on))

    def submit(self, posted: Job, sequences: list[Any]) -> None:
        self.submitted.append(posted)

    def put(self, events: list[Outgoing]) -> None:
        self.said += events

    def asked(self, *, n: int = 1) -> GenerationRequest:
        images = (self.files.image(1), self.files.image(2))
        return ask(TextPrompt(PICTURE * 2 + "b", images=images), name="a", n=n)

    def enter(self, happens: Callable[[], object], *, attempt: int = 1, n: int = 1, told: Past = NOTHING) -> Job:
        self.eyes.before_encoding = happens
        posted = job("a", choices=n - len(told.ended), attempt=attempt)
        self.entry.submit(posted, self.asked(n=n), told)
        return posted


def test_nothing_happens_to_who_is_not_meant() -> None:
    scene = Scene()

    def others() -> None:
        scene.preparations.cancel("b")
        scene.preparations.fence("a", 1)

    posted = scene.enter(others, attempt=2)
    assert (scene.submitted, scene.said, scene.eyes.encoded) == ([posted], [], [1, 2])


def test_a_caller_that_hangs_up_is_not_encoded_for_any_further() -> None:
    scene = Scene()
    token = Token(0, 0, 7, "x")
    told = Past({1: (token,)}, frozenset({0}))
    posted = scene.enter(lambda: scene.preparations.cancel("a"), n=3, told=told)
    assert (scene.submitted, scene.eyes.encoded) == ([], [1])
    events = [outgoing.event for outgoing in scene.said]
    assert [(event.choice, event.reason, event.usage) for event in events if isinstance(event, Finished)] == [
        (1, "cancelled", Usage(0, 0, 1)),
        (2, "cancelled", Usage(0, 0, 0)),
    ]
    assert [outgoing.ends for outgoing in scene.said] == [False, True]
    assert posted.finished == events


def test_what_another_worker_has_by_now_is_left_without_a_word() -> None:
    scene = Scene()
    posted = scene.enter(lambda: scene.preparations.fence("a", 1))
    assert (scene.submitted, scene.said, scene.eyes.encoded) == ([], [], [1])
    assert (posted.ended.is_set(), posted.taken_away, posted.handed_back) == (True, True, False)


def test_a_worker_that_leaves_hands_back_what_it_prepares_and_prepares_nothing_more() -> None:
    scene = Scene()
    posted = scene.enter(scene.preparations.hand_back)
    assert (posted.ended.is_set(), posted.handed_back, scene.eyes.encoded) == (True, True, [1])
    late = scene.enter(lambda: pytest.fail("it encodes"))
    assert (late.handed_back, scene.submitted, scene.said) == (True, [], [])
