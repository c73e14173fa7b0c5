"""Which notation a chat template gives away: what real templates say of calls and reasoning."""

from __future__ import annotations

import re

import pytest
from tropilla.workers.families import FAMILIES, GENERIC, Family, Tags, family_of, reasoning_tags

QWEN = r"""within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": <function-name>, \"arguments\": <args>}"""
TEMPLATES = [
    ("Qwen 2.5", QWEN, "hermes", ""),
    ("Qwen 3", QWEN + "{{ content.split('</think>')[-1] }}", "hermes", "<think>"),
    ("Qwen 3 Coder", "<tool_call>\n<function=example>\n<parameter=a>\nvalue\n</parameter>", "json", ""),
    ("GLM 4.6", "<tool_call>{{ name }}\n<arg_key>{{ k }}</arg_key> <think></think>", "json", "<think>"),
    (
        "Hermes 2 Pro",
        '<tool_call>\n{"arguments": <args-dict>, "name": <function-name>}\n</tool_call> "parameters" <|start_header_id|>',
        "hermes",
        "",
    ),
    ("Llama 3.1", "<|start_header_id|>assistant {{- '\"parameters\": ' }} <|python_tag|>", "llama3", ""),
    ("Llama 3, no tools", "<|start_header_id|>user<|end_header_id|>", "json", ""),
    ("Mistral 7B v0.3", "{{ '[TOOL_CALLS] [' }}", "mistral", ""),
    ("Mistral Small 3.2", "{{ '[TOOL_CALLS]' + name + '[ARGS]' + arguments }}", "mistral-named", ""),
    ("Ministral 3", "[TOOL_CALLS] [ARGS] [THINK]{{ thought }}[/THINK]", "mistral-named", "[THINK]"),
    ("R1 distilled", "'<｜tool▁calls▁begin｜>' '```json' '<｜Assistant｜><think>\n'", "deepseek-r1", "<think>"),
    ("DeepSeek V3.1", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜> </think>", "deepseek", "<think>"),
    ("Functionary 3.1", "<function=example_function_name>{", "function", ""),
    ("Nemotron Nano v2", "<TOOLCALL>[ <think>", "nemotron", "<think>"),
    ("Granite 3.3", "respond only with <|tool_call|> followed by a JSON list", "granite", ""),
    ("Apriel", "<tool_calls>[ <thinking>", "tool-calls", "<thinking>"),
    ("MiniMax M3", "ns_token ~ '<tool_call>'", "json", ""),
    ("Command R", "<|START_THINKING|>", "json", "<|START_THINKING|>"),
    ("Gemma 2", "<start_of_turn>", "json", ""),
    ("none", "", "json", ""),
]
EACH = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


@pytest.mark.parametrize(
    ("template", "family", "opening"), [case[1:] for case in TEMPLATES], ids=[case[0] for case in TEMPLATES]
)
def test_a_template_gives_its_family_away(template: str, family: str, opening: str) -> None:
    assert family_of(template).name == family
    tags = reasoning_tags(template)
    assert (tags.open if tags else "") == opening


def test_tags_close_what_they_open() -> None:
    assert reasoning_tags("<seed:think>") == Tags("<seed:think>", "</seed:think>")
    assert reasoning_tags("thinking") is None


def test_everybody_else_is_generic() -> None:
    assert FAMILIES[-1] is GENERIC
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


@EACH
def test_a_notation_begins_with_its_tag(family: Family) -> None:
    assert (family.head or family.before).startswith(family.tag)
    assert not family.tag or any(tag.startswith(family.tag) for tag in family.tags)


@EACH
def test_no_tag_begins_another(family: Family) -> None:
    assert not any(a != b and b.startswith(a) for a in family.tags for b in family.tags)


@EACH
def test_what_is_written_between_name_and_arguments_is_read_there(family: Family) -> None:
    assert not family.separator or family.before.endswith('"') or re.fullmatch(family.separator, family.between)


def test_markers_are_all_the_tags_of_a_notation() -> None:
    markers = {family.name: family.markers for family in FAMILIES}
    assert markers["hermes"] == {"<tool_call>", "</tool_call>"}
    assert markers["mistral-named"] == {"[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"}
    assert markers["llama3"] == {"<|python_tag|>"}
    assert markers["deepseek"] == {
        f"<｜tool▁{name}｜>" for name in ("calls▁begin", "call▁begin", "sep", "call▁end", "calls▁end")
    }
    assert markers["json"] == frozenset()
