"""The Responses API: reads its requests, keeps what was answered for a while."""

import json
import time
import uuid
from collections import OrderedDict
from typing import Any

from local.simulator import response_events
from local.simulator.ask import Ask, read_bool, read_int, read_object, read_objects, read_tool
from local.simulator.refusals import Json, invalid, moved_parameter, response_not_found
from local.simulator.reply import Reply, compose, filtered_half_way
from local.simulator.steps import Answer, Demand
from local.simulator.text import content_text

_KEPT = 1_000
_ENDINGS = {"length": "max_output_tokens", "content_filter": "content_filter"}


class Responses:
    """The operation and its store; the oldest answers are forgotten."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[Json, list[Json]]] = OrderedDict()

    def answer(self, demand: Demand) -> Answer:
        body = demand.fields
        messages = self._earlier(body) + _read_input(body)
        ask = _read_ask(demand.deployment, body, messages)
        wants_stream = read_bool(body, "stream") and demand.may_stream
        reply = compose(ask)[0]
        if demand.has_late_filter:
            reply = filtered_half_way(reply)
        items = _output(reply)
        whole = _document(ask, body, reply, items)
        if body.get("store") is not False:
            self._keep(whole, messages + [_as_message(reply)])
        sent = response_events.events(whole, items, reply) if wants_stream else None
        document = b"" if wants_stream else json.dumps(whole, ensure_ascii=False).encode()
        return Answer(document, sent, whole["usage"], reply.size)

    def fetch(self, response_id: str) -> Answer:
        if response_id not in self._kept:
            raise response_not_found(response_id)
        return Answer(json.dumps(self._kept[response_id][0], ensure_ascii=False).encode())

    def fetch_input(self, response_id: str) -> Answer:
        if response_id not in self._kept:
            raise response_not_found(response_id)
        *messages, _ = self._kept[response_id][1]
        items = [
            {"id": f"msg_{place}", "type": "message", "role": "user", "status": "completed"}
            | {"content": [{"type": "input_text", "text": content_text(message.get("content"))}]}
            for place, message in enumerate(messages)
        ]
        listed = {"object": "list", "data": items, "has_more": False}
        return Answer(json.dumps(listed, ensure_ascii=False).encode())

    def delete(self, response_id: str) -> Answer:
        if self._kept.pop(response_id, None) is None:
            raise response_not_found(response_id)
        gone = {"id": response_id, "object": "response.deleted", "deleted": True}
        return Answer(json.dumps(gone).encode())

    def _earlier(self, body: Json) -> list[Json]:
        previous = body.get("previous_response_id")
        if not previous:
            return []
        if not isinstance(previous, str) or previous not in self._kept:
            message = f"Previous response with id '{previous}' not found."
            raise invalid(message, "previous_response_id", "previous_response_not_found")
        return self._kept[previous][1]

    def _keep(self, document: Json, messages: list[Json]) -> None:
        self._kept[document["id"]] = (document, messages)
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)


def _read_input(body: Json) -> list[Json]:
    given = body.get("input")
    if given is None or given == []:
        message = "Missing required parameter: 'input'."
        raise invalid(message, "input", "missing_required_parameter")
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        message = "Invalid type for 'input': expected a string or an array of objects."
        raise invalid(message, "input", "invalid_type")
    return [_read_item(item) for item in given]


def _read_item(item: Json) -> Json:
    """An input item as the chat message that says the same."""
    if item.get("type") == "function_call_output":
        return {"role": "tool", "content": item.get("output")}
    if item.get("type") == "function_call":
        return {"role": "assistant", "tool_calls": [{"function": item}]}
    return item


def _read_ask(deployment: str, body: Json, messages: list[Json]) -> Ask:
    if "response_format" in body:
        raise moved_parameter("response_format", "text.format")
    instructions = body.get("instructions")
    opening = [{"role": "system", "content": instructions}] if instructions else []
    listed = [tool for tool in read_objects(body, "tools") if tool.get("type") == "function"]
    choice: Any = body.get("tool_choice") or "auto"
    is_named = isinstance(choice, dict) and choice.get("type") == "function"
    shape = read_object(read_object(body, "text"), "format")
    return Ask(
        deployment=deployment,
        messages=opening + messages,
        max_tokens=read_int(body, "max_output_tokens"),
        tools=[read_tool(tool) for tool in listed],
        tool_choice=str(choice.get("name") if is_named else choice),
        is_tool_named=is_named,
        may_call_several=body.get("parallel_tool_calls") is not False,
        response_format={"type": shape.get("type"), "json_schema": shape},
    )


def _document(ask: Ask, body: Json, reply: Reply, items: list[Json]) -> Json:
    reason = _ENDINGS.get(reply.finish)
    return {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "incomplete" if reason else "completed",
        "background": False,
        "error": None,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": ask.max_tokens,
        "model": ask.deployment,
        "output": items,
        "parallel_tool_calls": ask.may_call_several,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "store": body.get("store") is not False,
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": _usage(ask.prompt_tokens, reply.size),
        "user": body.get("user"),
        "metadata": body.get("metadata") or {},
    }


def _usage(prompt: int, size: int) -> dict[str, Any]:
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": size,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": prompt + size,
    }


def _output(reply: Reply) -> list[Json]:
    status = "incomplete" if reply.finish in _ENDINGS else "completed"
    if not reply.calls:
        part = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
        message = {"id": f"msg_{uuid.uuid4().hex}", "type": "message", "role": "assistant"}
        return [{**message, "status": status, "content": [part]}]
    return [
        {
            "id": f"fc_{uuid.uuid4().hex}",
            "type": "function_call",
            "status": "completed",
            "call_id": call.id,
            "name": call.name,
            "arguments": "".join(call.arguments),
        }
        for call in reply.calls
    ]


def _as_message(reply: Reply) -> Json:
    calls = [{"function": {"arguments": "".join(call.arguments)}} for call in reply.calls]
    return {"role": "assistant", "content": reply.text, "tool_calls": calls}
