"""Chat completions: the document, and the events of the stream."""

import json
import time
import uuid
from collections.abc import Iterator
from json.encoder import encode_basestring
from typing import Any

from local.simulator.ask import Ask, read_bool, read_chat
from local.simulator.refusals import Json, invalid
from local.simulator.reply import Reply, ToolCall, compose, filtered_half_way
from local.simulator.steps import Answer, Demand, usage_of

FILTER_RESULTS: Json = {
    name: {"filtered": False, "severity": "safe"}
    for name in ("hate", "self_harm", "sexual", "violence")
}
PROMPT_FILTER_RESULTS: list[Json] = [
    {
        "prompt_index": 0,
        "content_filter_results": {
            **FILTER_RESULTS,
            "jailbreak": {"filtered": False, "detected": False},
        },
    }
]
DONE = b"data: [DONE]\n\n"
_FINGERPRINT = "fp_simulated"
_FILTERED = {**FILTER_RESULTS, "violence": {"filtered": True, "severity": "high"}}
_MODELS = {
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-5-mini": "gpt-5-mini-2025-08-07",
    "gpt-5": "gpt-5-2025-08-07",
    "o3-mini": "o3-mini-2025-01-31",
    "o4-mini": "o4-mini-2025-04-16",
}
MARK = "\0"


def model_of(deployment: str) -> str:
    """The model behind a deployment, as answers name it."""
    for name, model in _MODELS.items():
        if deployment.startswith(name):
            return model
    return "gpt-4o-2024-11-20"


def answer(demand: Demand) -> Answer:
    body = demand.fields
    ask = read_chat(demand.deployment, body)
    wants_stream, wants_usage = read_stream(body)
    replies = compose(ask)
    if demand.has_late_filter:
        replies = [filtered_half_way(reply) for reply in replies]
    is_legacy = bool(body.get("functions"))
    usage = usage_of(ask.prompt_tokens, sum(reply.size for reply in replies))
    size = usage["completion_tokens"]
    if wants_stream and demand.may_stream:
        sent = _events(ask, replies, usage if wants_usage else None, is_legacy)
        return Answer(events=sent, usage=usage, tokens=size)
    return Answer(_document(ask, replies, usage, is_legacy), usage=usage, tokens=size)


def read_stream(body: Json) -> tuple[bool, bool]:
    """Whether a stream is wanted, and usage at its end."""
    wants_stream = read_bool(body, "stream")
    options = body.get("stream_options")
    if options is not None and not wants_stream:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise invalid(message, "stream_options")
    return wants_stream, isinstance(options, dict) and bool(options.get("include_usage"))


def event(document: Json) -> bytes:
    return f"data: {json.dumps(document, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def first_event() -> bytes:
    """Azure's opening event, which breaks loops that index `choices[0]`."""
    opening = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
    return event({**opening, "prompt_filter_results": PROMPT_FILTER_RESULTS})


def token_events(template: Json, tokens: list[str]) -> Iterator[bytes]:
    """One event per token; the template holds the mark where the token goes."""
    head, tail = event(template).split(encode_basestring(MARK).encode())
    for token in tokens:
        yield head + encode_basestring(token).encode() + tail


def envelope(ask: Ask, kind: str, prefix: str) -> Json:
    return {
        "id": f"{prefix}-{uuid.uuid4().hex[:29]}",
        "object": kind,
        "created": int(time.time()),
        "model": model_of(ask.deployment),
        "system_fingerprint": _FINGERPRINT,
    }


def filter_results(reply: Reply) -> Json:
    return _FILTERED if reply.finish == "content_filter" else FILTER_RESULTS


def _document(ask: Ask, replies: list[Reply], usage: Json, is_legacy: bool) -> bytes:
    choices = [
        {
            "index": index,
            "content_filter_results": {} if reply.calls else filter_results(reply),
            "message": _message(reply, is_legacy),
            "finish_reason": _finish(reply, is_legacy),
            "logprobs": None,
        }
        for index, reply in enumerate(replies)
    ]
    document = envelope(ask, "chat.completion", "chatcmpl")
    document |= {"choices": choices, "prompt_filter_results": PROMPT_FILTER_RESULTS}
    return json.dumps(document | {"usage": usage}, ensure_ascii=False).encode()


def _message(reply: Reply, is_legacy: bool) -> Json:
    message: Json = {"role": "assistant", "content": reply.text, "refusal": None, "annotations": []}
    if not reply.calls:
        return message
    message["content"] = None
    calls = [_call(call, "".join(call.arguments)) for call in reply.calls]
    if is_legacy:
        return message | {"function_call": calls[0]["function"]}
    return message | {"tool_calls": calls}


def _call(call: ToolCall, arguments: str) -> Json:
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def _finish(reply: Reply, is_legacy: bool) -> str:
    return "function_call" if is_legacy and reply.finish == "tool_calls" else reply.finish


def _events(ask: Ask, replies: list[Reply], usage: Json | None, is_legacy: bool) -> Iterator[bytes]:
    base = envelope(ask, "chat.completion.chunk", "chatcmpl")
    chunk = base if usage is None else base | {"usage": None}
    yield first_event()
    for index, reply in enumerate(replies):
        yield from _choice_events(chunk, index, reply, is_legacy)
    if usage is not None:
        yield event({**base, "choices": [], "usage": usage})
    yield DONE


def _choice_events(chunk: Json, index: int, reply: Reply, is_legacy: bool) -> Iterator[bytes]:
    def with_delta(delta: Json, finish: str | None = None, results: Any = None) -> Json:
        choice = {"index": index, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {**chunk, "choices": [{**choice, "content_filter_results": results or {}}]}

    content = None if reply.calls else ""
    yield event(with_delta({"role": "assistant", "content": content, "refusal": None}))
    yield from token_events(with_delta({"content": MARK}, results=FILTER_RESULTS), reply.tokens)
    for place, call in enumerate(reply.calls):
        function = {"name": call.name, "arguments": ""}
        if is_legacy:
            yield event(with_delta({"function_call": function}))
            more: Json = {"function_call": {"arguments": MARK}}
        else:
            yield event(with_delta({"tool_calls": [{"index": place, **_call(call, "")}]}))
            more = {"tool_calls": [{"index": place, "function": {"arguments": MARK}}]}
        yield from token_events(with_delta(more), call.arguments)
    results = _FILTERED if reply.finish == "content_filter" else None
    yield event(with_delta({}, _finish(reply, is_legacy), results))
