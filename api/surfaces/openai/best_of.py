"""`best_of`: more answers are generated than given; the likeliest are."""

from __future__ import annotations

from tropilla.common.generation import Choice, Completion


def best(completion: Completion, *, generated: int, wanted: int) -> Completion:
    """The `wanted` likeliest of every `generated` choices, best first; of equally likely ones the earlier."""
    if generated == wanted:
        return completion
    groups = [completion.choices[at : at + generated] for at in range(0, len(completion.choices), generated)]
    return Completion(tuple(choice for group in groups for choice in sorted(group, key=_unlikelihood)[:wanted]))


def _unlikelihood(choice: Choice) -> float:
    """Minus the mean log-probability of its tokens, the end of the turn included."""
    told = [token.logprob for token in choice.tokens if token.logprob is not None]
    return -sum(told) / len(told) if told else 0.0
