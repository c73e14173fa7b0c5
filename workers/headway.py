"""How fast a worker's steps are, and what that lets the next one hold. Pure: told what steps took, it has no clock.

A step keeps everybody waiting: streams for their next token, and whoever comes for the step that runs. So what is given to
prompts in it is measured in seconds, by the speed of earlier steps. Seconds are of computing: pauses do not count.
"""

from __future__ import annotations

from collections.abc import Iterable

#: So long a stream may be silent on account of prompts, in the steps that it has a part in and in those it is left out of.
STALL_SECONDS = 0.25
#: But so many of a prompt's tokens are computed in any case: it has to come to an end, too.
LEAST_BESIDE = 32
#: What a step may take for the prompts of a key that has more than its part, while another is about: a newcomer of the
#: other comes in the midst of it.
CROWDING_SECONDS = 0.05
#: A prompt that takes so long is worth a step of its own. A quicker one costs streams little, and the weights are read for
#: both at once: on a GPU that is most of a step.
APART_SECONDS = 0.025
#: A key is about for so long after its last token.
ABOUT_SECONDS = 5.0
#: How much of what is known of the model's speed comes from the last step.
PACE_SHARE = 0.25


class Headway:
    """What is known of one worker's speed, and of who has lately had a part in it."""

    def __init__(self) -> None:
        #: Seconds a token of a prompt takes; 0 while nothing is known.
        self._pace = 0.0
        #: Of all steps together.
        self._seconds = 0.0
        #: Key -> what that was when it last had a part.
        self._seen: dict[str, float] = {}

    def took(self, keys: Iterable[str], *, tokens: int, chunks: int, seconds: float) -> None:
        """A step of so many tokens, in so many chunks, took so long. keys: whose they were."""
        self._seconds += seconds
        self._seen.update(dict.fromkeys(keys, self._seconds))
        # A token of a stream costs more than one of a prompt: the weights are read for few.
        if tokens - chunks >= LEAST_BESIDE:
            known = self._pace or seconds / tokens
            self._pace = known + PACE_SHARE * (seconds / tokens - known)

    def about(self, present: Iterable[str]) -> set[str]:
        """The keys that are present, and those that lately were."""
        self._seen = {key: at for key, at in self._seen.items() if self._seconds - at <= ABOUT_SECONDS}
        return {*present, *self._seen}

    def seconds(self, tokens: int) -> float:
        """What so many of a prompt's tokens take; 0 while nothing is known."""
        return tokens * self._pace

    def lasts(self, tokens: int) -> bool:
        """Whether so many are worth a step of their own."""
        return self.seconds(tokens) >= APART_SECONDS

    def beside(self, streams: int, budget: int) -> int:
        """How many of a prompt's tokens so many streams can wait for, and no more than the budget."""
        return min(budget, max(int(STALL_SECONDS / self._pace) - streams, LEAST_BESIDE)) if self._pace else budget

    def crowding(self, budget: int) -> int:
        """How many of them a key that has more than its part may have in a step, and no more than the budget."""
        return min(budget, max(int(CROWDING_SECONDS / self._pace), LEAST_BESIDE)) if self._pace else budget
