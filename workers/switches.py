"""How hard to think -> the variables by which chat templates are told so. There is no standard; this is what they read:

    enable_thinking    true, false         Qwen3, GLM, SmolLM3, Nemotron, Hunyuan, Gemma 4; always passed
    thinking           true, false         DeepSeek V3.1 and later, Granite, Kimi
    reasoning          true, false         Cohere
    thinking_mode      enabled, disabled   MiniMax
    thinking_option    on, off             Ling
    reasoning_effort   a level             gpt-oss, Solar, Hy3, DeepSeek V4
    reasoning_strength, thinking_effort    the same by other names
    thinking_budget    tokens              Seed-OSS

All but the first are passed where the template reads them. Levels are words, and templates refuse those they do not
know; so there are several candidates, the best first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tropilla.common.generation import Effort

BOOLEANS = ("thinking", "reasoning")
LEVELS = ("reasoning_effort", "reasoning_strength", "thinking_effort")
#: variable -> its words for off and on
PAIRS: Mapping[str, tuple[str, str]] = {"thinking_mode": ("disabled", "enabled"), "thinking_option": ("off", "on")}
BUDGET = "thinking_budget"
#: The steps Seed-OSS was trained with; max is without a budget, which is also what it does by itself.
BUDGETS: Mapping[Effort, int] = {"off": 0, "minimal": 512, "low": 1024, "medium": 4096, "high": 16384}
SWITCHES = frozenset({"enable_thinking", *BOOLEANS, *LEVELS, *PAIRS, BUDGET})

#: level -> what to call it, the best first. Those in `RARE` only where the template's source has the word.
WORDS: Mapping[Effort, tuple[str, ...]] = {
    "off": ("none", "no_think"),
    "on": ("medium", "high"),
    "minimal": ("minimal", "low"),
    "low": ("low",),
    "medium": ("medium", "high"),
    "high": ("high",),
    "max": ("max", "high"),
}
RARE = frozenset({"none", "no_think", "minimal", "max"})


def candidates(effort: Effort, *, read: frozenset[str], words: frozenset[str]) -> Iterator[dict[str, Any]]:
    """The variables for a template that reads these and whose source has these words; the last candidate has no level."""
    thinks = effort != "off"
    switches: dict[str, Any] = {"enable_thinking": thinks, **{name: thinks for name in BOOLEANS if name in read}}
    switches |= {name: pair[thinks] for name, pair in PAIRS.items() if name in read}
    if BUDGET in read and effort in BUDGETS:
        switches[BUDGET] = BUDGETS[effort]
    levels = [name for name in LEVELS if name in read]
    if levels:
        for word in WORDS[effort]:
            if word not in RARE or word in words:
                yield {**switches, **dict.fromkeys(levels, word)}
    yield switches
