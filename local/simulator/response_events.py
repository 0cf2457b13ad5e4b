"""The events of a streamed answer of the Responses API."""

import json
from collections.abc import Iterator
from itertools import count
from json.encoder import encode_basestring

from local.simulator.refusals import Json
from local.simulator.reply import Reply

_TEXT_MARK = "\0"
_NUMBER_MARK = 987654321987654321


def events(whole: Json, items: list[Json], reply: Reply) -> Iterator[bytes]:
    numbers = count()
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    begun["incomplete_details"] = None
    for kind in ("response.created", "response.in_progress"):
        yield _event(kind, next(numbers), {"response": begun})
    for place, item in enumerate(items):
        if item["type"] == "message":
            yield from _message_events(numbers, place, item, reply.tokens)
        else:
            yield from _call_events(numbers, place, item, reply.calls[place].arguments)
    yield _event(f"response.{whole['status']}", next(numbers), {"response": whole})


def _message_events(
    numbers: Iterator[int], place: int, item: Json, tokens: list[str]
) -> Iterator[bytes]:
    part = item["content"][0]
    where = {"item_id": item["id"], "output_index": place, "content_index": 0}
    begun = {**item, "status": "in_progress", "content": []}
    yield _item_event("added", next(numbers), place, begun)
    empty = {"part": {**part, "text": ""}}
    yield _event("response.content_part.added", next(numbers), {**where, **empty})
    template = {**where, "delta": _TEXT_MARK, "logprobs": []}
    yield from _deltas("response.output_text.delta", numbers, template, tokens)
    said = {"text": part["text"], "logprobs": []}
    yield _event("response.output_text.done", next(numbers), {**where, **said})
    yield _event("response.content_part.done", next(numbers), {**where, "part": part})
    yield _item_event("done", next(numbers), place, item)


def _call_events(
    numbers: Iterator[int], place: int, item: Json, tokens: list[str]
) -> Iterator[bytes]:
    where = {"item_id": item["id"], "output_index": place}
    begun = {**item, "status": "in_progress", "arguments": ""}
    yield _item_event("added", next(numbers), place, begun)
    kind = "response.function_call_arguments"
    yield from _deltas(f"{kind}.delta", numbers, {**where, "delta": _TEXT_MARK}, tokens)
    said = {"name": item["name"], "arguments": item["arguments"]}
    yield _event(f"{kind}.done", next(numbers), {**where, **said})
    yield _item_event("done", next(numbers), place, item)


def _deltas(
    kind: str, numbers: Iterator[int], template: Json, tokens: list[str]
) -> Iterator[bytes]:
    event = _event(kind, _NUMBER_MARK, template)
    head, rest = event.split(str(_NUMBER_MARK).encode())
    middle, tail = rest.split(encode_basestring(_TEXT_MARK).encode())
    for token in tokens:
        number = str(next(numbers)).encode()
        yield head + number + middle + encode_basestring(token).encode() + tail


def _item_event(what: str, number: int, place: int, item: Json) -> bytes:
    return _event(f"response.output_item.{what}", number, {"output_index": place, "item": item})


def _event(kind: str, number: int, members: Json) -> bytes:
    document = {"type": kind, "sequence_number": number, **members}
    data = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return f"event: {kind}\ndata: {data}\n\n".encode()
