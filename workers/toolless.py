"""Tools for models whose template knows nothing of them: told in a system text, called and answered in plain messages."""

from __future__ import annotations

import dataclasses
import json

from tropilla.common.generation import ChatPrompt, Message, ToolCall

#: What a call looks like; replies are searched for it.
FORM = '{"name": "the function\'s name", "arguments": {"the parameter\'s name": "its value"}}'


def described(prompt: ChatPrompt) -> str:
    """The prompt's tools, and how to call them."""
    lines = ["You can call these functions, each shown with the JSON schema of its parameters:", ""]
    for tool in prompt.tools:
        parameters = json.loads(tool.parameters) or {"type": "object", "properties": {}}
        entry = {"name": tool.name, "description": tool.description, "parameters": parameters}
        lines.append(json.dumps(entry, ensure_ascii=False))
    lines.append("")
    if prompt.tool_choice == "none":
        lines.append("Do not call any of them in this answer.")
        return "\n".join(lines)
    lines += ["To call a function, answer with nothing but a JSON object of this form:", FORM]
    if prompt.parallel_calls:
        lines.append("To call several, write one such object after the other, each on a line of its own.")
    if prompt.tool_choice == "required":
        lines.append(f"Call {f'the function {prompt.named_tool}' if prompt.named_tool else 'a function'} now.")
    else:
        lines.append("When no function is needed, answer in plain text.")
    return "\n".join(lines)


def spoken(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Calls as the text the model would have written, results as a user's messages; neighbouring results are one."""
    said: list[Message] = []
    names: dict[str, str] = {}
    after_result = False
    for message in messages:
        names.update((call.id, call.name) for call in message.tool_calls)
        if message.role != "tool":
            said.append(_with_calls(message))
        elif after_result:
            content, images = f"{said[-1].content}\n\n{_result(message, names)}", said[-1].images + message.images
            said[-1] = dataclasses.replace(said[-1], content=content, images=images)
        else:
            said.append(Message("user", _result(message, names), images=message.images))
        after_result = message.role == "tool"
    return tuple(said)


def _with_calls(message: Message) -> Message:
    if not message.tool_calls:
        return message
    lines = [*([message.content] if message.content else []), *map(_written, message.tool_calls)]
    return dataclasses.replace(message, content="\n".join(lines), tool_calls=())


def _written(call: ToolCall) -> str:
    return f'{{"name": {json.dumps(call.name, ensure_ascii=False)}, "arguments": {call.arguments or "{}"}}}'


def _result(message: Message, names: dict[str, str]) -> str:
    name = message.name or names.get(message.tool_call_id, "")
    return f"Result of {name or 'the function'}:\n{message.content}"
