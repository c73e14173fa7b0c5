"""The usual families of chat templates, written down again in short: what each gets, to the character.

They are shortened to what decides the text of a plain conversation, of one with tools and of a continuation; what is
left is as their authors write it (trimmed contents, namespaces, macros, dates, objections).
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import pytest
from fakes import BOS, MARKER_TEXTS, FakeVocabulary
from tropilla.common.generation import ChatPrompt, Message, Tool, ToolCall
from tropilla.workers.prompt import ChatTemplate

QWEN = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {{- '<|im_start|>' + message.role }}
        %THINK%
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' }}
            {{- tool_call.name }}
            {{- '", "arguments": ' }}
            {%- if tool_call.arguments is string %}
                {{- tool_call.arguments }}
            {%- else %}
                {{- tool_call.arguments | tojson }}
            {%- endif %}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    %GENERATION%
{%- endif %}
"""
QWEN3_THINK = """\
{%- if loop.last and message.reasoning_content is string %}
            {{- '\\n<think>\\n' + message.reasoning_content.strip('\\n') + '\\n</think>\\n' }}
        {%- elif '</think>' in message.content %}
            {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}"""
QWEN3_GENERATION = """\
{%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}"""
LLAMA2 = """\
{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}\
{% set system_message = messages[0]['content'] %}\
{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}\
{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}\
{% if loop.index0 == 0 and system_message != false %}\
{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}\
{% else %}{% set content = message['content'] %}{% endif %}\
{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}\
{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"""
LLAMA31 = """\
{{- bos_token }}
{%- if custom_tools is defined %}
    {%- set tools = custom_tools %}
{%- endif %}
{%- if not date_string is defined %}
    {%- set date_string = strftime_now("%d %b %Y") %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nToday Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- if tools is not none %}
    {%- if messages | length != 0 %}
        {%- set first_user_message = messages[0]['content'] | trim %}
        {%- set messages = messages[1:] %}
    {%- else %}
        {{- raise_exception("Cannot put tools in the first user message when there's no first user message!") }}
    {%- endif %}
    {{- '<|start_header_id|>user<|end_header_id|>\\n\\nFunctions:\\n\\n' -}}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
    {{- first_user_message + "<|eot_id|>" }}
{%- endif %}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {{- message['content'] | trim + '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls | length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + tool_call.name + '", "parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
MISTRAL = """\
{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace(index=0) %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, conversation roles must alternate") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {{- '{"type": "function", "function": ' + tool.function | tojson + "}" }}
                {{- ", " if not loop.last else "]" }}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function | tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id | length != 9 %}
                {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
            {%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {{- ", " if not loop.last else "]" + eos_token }}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"] | trim + eos_token }}
    {%- elif message["role"] == "tool" %}
        {{- '[TOOL_RESULTS] {"content": ' + message.content | string + ", " }}
        {{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported") }}
    {%- endif %}
{%- endfor %}
"""
GEMMA = """\
{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}\
{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}\
{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}\
{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}\
{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}"""
PHI3 = """\
{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}\
{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}\
{% elif message['role'] == 'user' %}{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}\
{% elif message['role'] == 'assistant' %}{{'<|assistant|>\\n' + message['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}\
{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"""
ZEPHYR = """\
{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""
DEEPSEEK_R1 = """\
{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}\
{% set ns = namespace(is_first=false, is_tool=false, system_prompt='') %}{%- for message in messages %}\
{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}\
{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}\
{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<｜User｜>' + message['content']}}{%- endif %}\
{%- if message['role'] == 'assistant' and message['content'] is not none %}{% set content = message['content'] %}\
{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}\
{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- endfor -%}\
{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜><think>\\n'}}{% endif %}"""
HERMES = """\
{%- macro json_to_python_type(json_spec) %}
{%- set basic_type_map = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"} %}
{%- if basic_type_map[json_spec.type] is defined %}
    {{- basic_type_map[json_spec.type] }}
{%- elif json_spec.type == "array" %}
    {{- "list[" + json_to_python_type(json_spec | items) + "]" }}
{%- else %}
    {{- "Any" }}
{%- endif %}
{%- endmacro %}
{{- bos_token }}
{{- '<|im_start|>system\\n<tools> ' }}
{%- for tool in tools %}
    {%- if tool.function is defined %}
        {%- set tool = tool.function %}
    {%- endif %}
    {{- tool.name + '(' }}
    {%- for param_name, param_fields in tool.parameters.properties | items %}
        {{- param_name + ": " + json_to_python_type(param_fields) }}
        {%- if not loop.last %}
            {{- ", " }}
        {%- endif %}
    {%- endfor %}
    {{- ") - " + tool.description }}
{%- endfor %}
{{- ' </tools><|im_end|>\\n' }}
{%- for message in messages %}
    {%- if message.role == "assistant" and message.tool_calls is defined %}
        {{- '<|im_start|>assistant' }}
        {%- for tool_call in message.tool_calls %}
            {{- '\\n<tool_call>\\n{"name": "' + tool_call.function.name + '", "arguments": ' }}
            {{- tool_call.function.arguments | tojson + '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {{- '<|im_start|>tool\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
SOURCES = {
    "chatml": "",
    "llama2": LLAMA2,
    "llama3.1": LLAMA31,
    "mistral": MISTRAL,
    "qwen2.5": QWEN.replace("%THINK%", "").replace("%GENERATION%", ""),
    "qwen3": QWEN.replace("%THINK%", QWEN3_THINK).replace("%GENERATION%", QWEN3_GENERATION),
    "gemma": GEMMA,
    "phi3": PHI3,
    "zephyr": ZEPHYR,
    "deepseek-r1": DEEPSEEK_R1,
    "hermes": HERMES,
}

TALK = (Message("system", "Be kind."), Message("user", "Hi"), Message("assistant", "Yo"), Message("user", "Bye"))
CALL = ToolCall("add", '{"a": 1}', "call_00112233445566778899")
CALLED = (
    Message("user", "Add"),
    Message("assistant", "", tool_calls=(CALL,)),
    Message("tool", "2", tool_call_id=CALL.id),
)
ADD = Tool("add", "Adds", '{"type": "object", "properties": {"a": {"type": "integer"}}}')
SHOWN = (
    '{"type": "function", "function": {"name": "add", "description": "Adds", "parameters": '
    '{"type": "object", "properties": {"a": {"type": "integer"}}}}}'
)

ML = "<|im_start|>{}\n{}<|im_end|>\n"
ML_TALK = (
    ML.format("system", "Be kind.") + ML.format("user", "Hi") + ML.format("assistant", "Yo") + ML.format("user", "Bye")
)
OPEN = "<|im_start|>assistant\n"
HEAD = "<|start_header_id|>{}<|end_header_id|>\n\n"

#: family -> what the talk becomes. `<s>` is dropped: tokenizing adds it.
PLAIN = {
    "chatml": ML_TALK + OPEN,
    "llama2": "[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi [/INST] Yo </s><s>[INST] Bye [/INST]",
    "llama3.1": (
        HEAD.format("system") + "Today Date: 04 Jul 2025\n\nBe kind.<|eot_id|>" + HEAD.format("user") + "Hi<|eot_id|>"
        + HEAD.format("assistant") + "Yo<|eot_id|>" + HEAD.format("user") + "Bye<|eot_id|>" + HEAD.format("assistant")
    ),
    "mistral": "[INST] Hi[/INST] Yo</s>[INST] Be kind.\n\nBye[/INST]",
    "qwen2.5": ML_TALK + OPEN,
    "qwen3": ML_TALK + OPEN,
    "gemma": (
        "<start_of_turn>user\nBe kind.\n\nHi<end_of_turn>\n<start_of_turn>model\nYo<end_of_turn>\n"
        "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n"
    ),
    "phi3": (
        "<|system|>\nBe kind.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nYo<|end|>\n<|user|>\nBye<|end|>\n<|assistant|>\n"
    ),
    "zephyr": "<|system|>\nBe kind.</s>\n<|user|>\nHi</s>\n<|assistant|>\nYo</s>\n<|user|>\nBye</s>\n<|assistant|>\n",
    "deepseek-r1": "Be kind.<｜User｜>Hi<｜Assistant｜>Yo<｜end▁of▁sentence｜><｜User｜>Bye<｜Assistant｜><think>\n",
}  # fmt: skip
QWEN_CALLED = (
    ML.format("system", f"# Tools\n\n<tools>\n{SHOWN}\n</tools>")
    + ML.format("user", "Add")
    + ML.format("assistant", '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>')
    + ML.format("user", "<tool_response>\n2\n</tool_response>")
    + OPEN
)
#: family -> what a call and its result become, for those that know tools.
WITH_TOOLS = {
    "qwen2.5": QWEN_CALLED,
    "qwen3": QWEN_CALLED,
    "mistral": (
        f"[AVAILABLE_TOOLS] [{SHOWN}][/AVAILABLE_TOOLS][INST] Add[/INST]"
        '[TOOL_CALLS] [{"name": "add", "arguments": {"a": 1}, "id": "ID"}]</s>'
        '[TOOL_RESULTS] {"content": 2, "call_id": "ID"}[/TOOL_RESULTS]'
    ),
    "hermes": (
        "<|im_start|>system\n<tools> add(a: int) - Adds </tools><|im_end|>\n" + ML.format("user", "Add")
        + ML.format("assistant", '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>')
        + ML.format("tool", "<tool_response>\n2\n</tool_response>") + OPEN
    ),
}  # fmt: skip
CONTINUED = {
    "llama2": " Yo",
    "llama3.1": HEAD.format("assistant") + "Yo",
    "mistral": "[/INST] Yo",
    "gemma": "<start_of_turn>model\nYo",
    "phi3": "<|assistant|>\nYo",
    "zephyr": "<|assistant|>\nYo",
    "deepseek-r1": "<｜Assistant｜>Yo",
}


def template(family: str) -> ChatTemplate:
    return ChatTemplate(
        SOURCES[family], bos="<s>", eos="</s>", markers=MARKER_TEXTS, now=lambda: datetime.datetime(2025, 7, 4)
    )


def render(family: str, messages: tuple[Message, ...], **asked: Any) -> str:
    return "".join(template(family).segments(ChatPrompt(messages, **asked)))


@pytest.mark.parametrize("family", PLAIN)
def test_a_talk_is_written_as_the_family_writes_it(family: str) -> None:
    assert render(family, TALK) == PLAIN[family]


@pytest.mark.parametrize("family", WITH_TOOLS)
def test_calls_and_results_are_written_as_the_family_writes_them(family: str) -> None:
    text = render(family, CALLED, tools=(ADD,))
    if family == "mistral":
        short = text.split('"id": "')[1][:9]
        text = text.replace(short, "ID")
    assert text == WITH_TOOLS[family]


def test_llama_is_shown_tools_in_the_first_user_message_and_results_as_json() -> None:
    text = render("llama3.1", CALLED, tools=(ADD,))
    assert 'Functions:\n\n{\n    "type": "function"' in text
    assert text.endswith(
        "Add<|eot_id|>" + HEAD.format("assistant") + '{"name": "add", "parameters": {"a": 1}}<|eot_id|>'
        + HEAD.format("ipython") + '"2"<|eot_id|>' + HEAD.format("assistant")
    )  # fmt: skip


KNOW_TOOLS = {"llama3.1", "mistral", "qwen2.5", "qwen3", "hermes"}


@pytest.mark.parametrize("family", SOURCES)
def test_tools_reach_every_family(family: str) -> None:
    assert template(family).knows_tools == (family in KNOW_TOOLS)
    text = render(family, CALLED, tools=(ADD,))
    assert "Adds" in text
    assert '{"a": 1}' in text
    assert "2" in text.split('{"a": 1}')[1]


def test_families_that_think_are_known() -> None:
    assert {family for family in SOURCES if template(family).thinks} == {"qwen3", "deepseek-r1"}


def test_qwen3_is_told_not_to_think() -> None:
    quiet = OPEN + "<think>\n\n</think>\n\n"
    assert render("qwen3", TALK, effort="off").endswith(quiet)
    assert render("qwen3", TALK, variables='{"enable_thinking": false}').endswith(quiet)
    assert render("qwen3", TALK, effort="high").endswith(OPEN)


@pytest.mark.parametrize("family", SOURCES)
def test_an_answer_is_continued_or_answered(family: str) -> None:
    begun = (*TALK[1:2], dataclasses.replace(TALK[2], content="Yo"))
    text = render(family, begun, tools=(ADD,) if family == "hermes" else ())
    assert text.endswith(CONTINUED.get(family, OPEN + "Yo"))
    closed = render(family, begun, tools=(ADD,) if family == "hermes" else (), continue_last=False)
    assert closed.startswith(text)
    assert len(closed) > len(text)


@pytest.mark.parametrize("adds_bos", [True, False])
@pytest.mark.parametrize("family", sorted(set(SOURCES) - {"llama2"}))
def test_there_is_one_bos_where_the_vocabulary_or_the_template_wants_one(family: str, adds_bos: bool) -> None:
    vocabulary = FakeVocabulary(adds_bos=adds_bos)
    chat = ChatTemplate(SOURCES[family], bos="<s>", eos="</s>", adds_bos=adds_bos, markers=MARKER_TEXTS)
    ids: list[int] = []
    for part in chat.segments(ChatPrompt(TALK, tools=(ADD,) if family == "hermes" else ())):
        ids += vocabulary.tokenize(part, special=True, start=not ids)
    assert ids.count(BOS) == (1 if adds_bos or "bos_token" in SOURCES[family] else 0)
    assert BOS not in ids[1:]
