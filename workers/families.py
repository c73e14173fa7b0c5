"""How families of models write tool calls and reasoning, and which family a chat template belongs to.

Models were trained on one notation each, and their templates give it away. Notations that are left out (gpt-oss' channels,
a tag for each argument, calls in Python) fall back to the generic one: those models can be made to call, and what they
write of their own accord stays text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

MARKER = re.compile(r"</?[^<>/\s=]+>|\[[A-Z_]+\]")


@dataclass(frozen=True, slots=True)
class Family:
    """One notation, as it is written:

        head  before NAME between ARGUMENTS after  joint  before NAME between ARGUMENTS after  tail

    What is read is more than what is written: JSON objects and lists of them, behind every tag and at the start of an
    answer, since small models forget their tags (`replies`).
    """

    name: str
    #: A template with all of these, and with none of `never`, is one of this family.
    signs: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    #: What gives a call away as soon as it begins, and is never text: `head` or `before` starts with it. "": nothing does.
    tag: str = ""
    #: Tags that open a call when read, where it is not `tag` alone.
    opens: tuple[str, ...] = ()
    head: str = ""
    before: str = '{"name": "'
    between: str = '", "arguments": '
    after: str = "}"
    joint: str = ""
    tail: str = ""
    #: Where the name stands bare behind the tag: a regex for what is read between it and the arguments.
    separator: str = ""
    #: Whether an answer of such a model may make several calls.
    several: bool = True

    @property
    def tags(self) -> tuple[str, ...]:
        """Every tag that opens a call when read."""
        return self.opens or ((self.tag,) if self.tag else ())

    @property
    def markers(self) -> frozenset[str]:
        """Every tag in the notation: where it is a control token, its spelling has to be read all the same."""
        texts = (
            *self.tags,
            self.head,
            self.before,
            self.between,
            self.after,
            self.tail,
            self.separator.replace("\\", ""),
        )
        return frozenset(MARKER.findall("\n".join(texts)))


@dataclass(frozen=True, slots=True)
class Tags:
    """What stands around a block."""

    open: str
    close: str


GENERIC = Family("json", several=False)
#: The first that fits is taken.
FAMILIES: tuple[Family, ...] = (
    Family(
        "mistral-named",
        signs=("[TOOL_CALLS]", "[ARGS]"),
        tag="[TOOL_CALLS]",
        before="[TOOL_CALLS]",
        between="[ARGS]",
        after="",
        separator=r"(\[CALL_ID\]\w*)?(\[ARGS\])?\s*",
    ),
    Family(
        "mistral",
        signs=("[TOOL_CALLS]",),
        tag="[TOOL_CALLS]",
        head="[TOOL_CALLS] [",
        joint=", ",
        tail="]",
        separator=r"(\[CALL_ID\]\w*)?(\[ARGS\])?\s*",
    ),
    Family(
        "deepseek-r1",
        signs=("<｜tool▁calls▁begin｜>", "```json"),
        tag="<｜tool▁calls▁begin｜>",
        opens=(
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>",
            "<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
        ),
        head="<｜tool▁calls▁begin｜>",
        before="<｜tool▁call▁begin｜>function<｜tool▁sep｜>",
        between="\n```json\n",
        after="\n```<｜tool▁call▁end｜>",
        joint="\n",
        tail="<｜tool▁calls▁end｜>",
        separator=r"\s*```json\s*",
    ),
    Family(
        "deepseek",
        signs=("<｜tool▁calls▁begin｜>",),
        tag="<｜tool▁calls▁begin｜>",
        opens=("<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>", "<｜tool▁call▁begin｜>"),
        head="<｜tool▁calls▁begin｜>",
        before="<｜tool▁call▁begin｜>",
        between="<｜tool▁sep｜>",
        after="<｜tool▁call▁end｜>",
        tail="<｜tool▁calls▁end｜>",
        separator=r"<｜tool▁sep｜>\s*",
    ),
    Family(
        "function",
        signs=("<function=",),
        # With a tag for each argument: Qwen3-Coder.
        never=("<parameter=",),
        tag="<function=",
        before="<function=",
        between=">",
        after="</function>",
        separator=r">\s*",
    ),
    Family(
        "tool-calls", ("<tool_calls>",), tag="<tool_calls>", head="<tool_calls>[", joint=", ", tail="]</tool_calls>"
    ),
    Family(
        "hermes",
        signs=("<tool_call>", '"arguments'),
        # The same tag around XML: Qwen3-Coder, GLM.
        never=("<parameter=", "<arg_key>"),
        tag="<tool_call>",
        before='<tool_call>\n{"name": "',
        after="}\n</tool_call>",
        joint="\n",
    ),
    Family("nemotron", ("<TOOLCALL>",), tag="<TOOLCALL>", head="<TOOLCALL>[", joint=", ", tail="]</TOOLCALL>"),
    Family("granite", ("<|tool_call|>",), tag="<|tool_call|>", head="<|tool_call|>[", joint=", ", tail="]"),
    Family(
        "llama3",
        signs=("<|start_header_id|>", '"parameters"'),
        opens=("<|python_tag|>",),
        between='", "parameters": ',
        several=False,
    ),
    GENERIC,
)

REASONING: tuple[Tags, ...] = (
    Tags("<think>", "</think>"),
    Tags("<thinking>", "</thinking>"),
    Tags("<reasoning>", "</reasoning>"),
    Tags("<thought>", "</thought>"),
    Tags("[THINK]", "[/THINK]"),
    Tags("<seed:think>", "</seed:think>"),
    Tags("<|START_THINKING|>", "<|END_THINKING|>"),
    Tags("◁think▷", "◁/think▷"),
)


def family_of(template: str) -> Family:
    """The notation of models with this chat template (its Jinja source)."""
    return next(family for family in FAMILIES if _has(template, family.signs, family.never))


def reasoning_tags(template: str) -> Tags | None:
    """The tags around the reasoning of models with this chat template; None if it knows of none."""
    # Either will do: a template may only cut reasoning out of old turns, or only open a block in the prompt.
    return next((tags for tags in REASONING if tags.open in template or tags.close in template), None)


def _has(template: str, signs: Sequence[str], never: Sequence[str]) -> bool:
    return all(sign in template for sign in signs) and not any(sign in template for sign in never)
