"""What the simulated model says: always the same for the same request."""

import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import Any

from local.simulator import text
from local.simulator.ask import Ask, Tool, image_urls, read_object
from local.simulator.refusals import Json
from local.simulator.schema import instance

_WORD = re.compile(r"[a-z]{4,}")
_COMMON = frozenset(
    _WORD.findall(
        "about current from function given have into return returns some such that their there"
        " this tool user what when where which will with your"
    )
)


@dataclass(frozen=True, slots=True)
class ToolCall:
    id: str
    name: str
    arguments: list[str]


@dataclass(frozen=True, slots=True)
class Reply:
    """One choice of an answer: tokens of text, or calls of tools."""

    tokens: list[str]
    finish: str = "stop"
    calls: tuple[ToolCall, ...] = ()

    @property
    def text(self) -> str:
        return "".join(self.tokens)

    @property
    def size(self) -> int:
        """Completion tokens; the name of a called tool counts as one."""
        return len(self.tokens) + sum(1 + len(call.arguments) for call in self.calls)


def compose(ask: Ask) -> list[Reply]:
    called = _called_tools(ask)
    if called:
        return [_call(ask, called, choice) for choice in range(ask.n)]
    said = _tokens(ask)
    replies = [Reply(said)]
    for choice in range(1, ask.n):
        suffix = [] if ask.response_format else text.tokens(f" (choice {choice + 1})")
        replies.append(Reply(said + suffix))
    return [_limited(reply, ask) for reply in replies]


def filtered_half_way(reply: Reply) -> Reply:
    """What is left of a reply when the content filter steps in late."""
    return replace(reply, tokens=reply.tokens[: len(reply.tokens) // 2], finish="content_filter")


def _tokens(ask: Ask) -> list[str]:
    if structured := _structured(ask):
        return text.tokens(structured)
    wanted = text.repeat_count(ask.last_user_text)
    return text.tokens(_sentence(ask)) if wanted is None else text.numbered_tokens(wanted)


def _sentence(ask: Ask) -> str:
    last = ask.last_message
    if last.get("role") in ("tool", "function"):
        said = f"the tool said: {text.echo(text.content_text(last.get('content')))}"
    else:
        said = f"you said: {text.echo(ask.last_user_text)}"
    return f"[simulated] {ask.deployment} here, {said}{_seen_images(ask)}"


def _seen_images(ask: Ask) -> str:
    urls = [url for message in ask.messages for url in image_urls(message)]
    if not urls:
        return ""
    noun = "image" if len(urls) == 1 else "images"
    return f" (saw {len(urls)} {noun}: {'; '.join(map(_image, urls))})"


def _image(url: str) -> str:
    if not url.startswith("data:"):
        return f"link {text.echo(url)}"
    head, _, data = url.removeprefix("data:").partition(",")
    packed = "".join(data.split())
    size = len(packed) * 3 // 4 - packed[-2:].count("=")
    return f"{head.partition(';')[0]} of {size} bytes"


def _structured(ask: Ask) -> str | None:
    wanted = ask.response_format
    if wanted.get("type") == "json_object":
        return json.dumps({"simulated": True, "answer": _sentence(ask)}, ensure_ascii=False)
    if wanted.get("type") == "json_schema":
        schema = read_object(read_object(wanted, "json_schema"), "schema")
        return json.dumps(instance(schema), ensure_ascii=False)
    return None


def _limited(reply: Reply, ask: Ask) -> Reply:
    reply = _stopped(reply, ask.stop)
    if ask.max_tokens is not None and len(reply.tokens) > ask.max_tokens:
        return Reply(reply.tokens[: ask.max_tokens], "length")
    return reply


def _stopped(reply: Reply, stop: list[str]) -> Reply:
    if not stop:
        return reply
    said = reply.text
    ends = [place for place in map(said.find, stop) if place >= 0]
    return Reply(text.tokens(said[: min(ends)])) if ends else reply


def _called_tools(ask: Ask) -> list[Tool]:
    if not ask.tools or ask.tool_choice == "none":
        return []
    if ask.is_tool_named:
        return [tool for tool in ask.tools if tool.name == ask.tool_choice]
    if ask.last_message.get("role") in ("tool", "function"):
        return []
    said = ask.last_user_text.lower()
    meant = [tool for tool in ask.tools if _is_meant(tool, said)]
    if ask.tool_choice == "required" and not meant:
        meant = ask.tools[:1]
    return meant if ask.may_call_several else meant[:1]


def _is_meant(tool: Tool, said: str) -> bool:
    """The message names the tool, or shares a telling word with its name or description."""
    if tool.name.lower() in said:
        return True
    telling = set(_WORD.findall(f"{tool.name} {tool.description}".lower())) - _COMMON
    return not telling.isdisjoint(_WORD.findall(said))


def _call(ask: Ask, tools: list[Tool], choice: int) -> Reply:
    calls = tuple(
        ToolCall(_call_id(ask, tool, choice, place), tool.name, _arguments(tool))
        for place, tool in enumerate(tools)
    )
    # Forcing one tool by name ends in "stop", as with the real service.
    return Reply([], "stop" if ask.is_tool_named else "tool_calls", calls)


def _call_id(ask: Ask, tool: Tool, choice: int, place: int) -> str:
    seed: list[Any] = [ask.last_user_text, tool.name, choice, place, len(ask.messages)]
    return f"call_{hashlib.sha256(json.dumps(seed).encode()).hexdigest()[:24]}"


def _arguments(tool: Tool) -> list[str]:
    arguments: Json = instance(tool.parameters)
    return text.tokens(json.dumps(arguments, ensure_ascii=False))
