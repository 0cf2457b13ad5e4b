"""A whole answer in its two forms: a document, and the events of the stream that says the same."""

import json
from collections.abc import Iterator
from typing import Any

from shared.sse import DONE, choices_of, data_of, delta_of

Json = dict[str, Any]

# Clients that read line by line take no longer line than 64 KiB, where a letter may have 12 bytes.
_PIECE = 4096
# A stream with more bytes than this is not taken down.
_MOST_BYTES = 16 * 2**20
# Texts that come whole, though perhaps more than once; all others grow.
_WHOLE = frozenset({"id", "type", "role", "name"})
_NOT_IN_ENVELOPE = frozenset({"choices", "usage", "object", "obfuscation"})
_CHUNK = ".chunk"


class _Text:
    """A text in the pieces that it came in."""

    def __init__(self) -> None:
        self.pieces: list[str] = []


class Recording:
    """Takes down the events of a stream. `is_over` once it has ended properly."""

    def __init__(self) -> None:
        self.is_over = False
        self._size = 0
        self._is_good = True
        self._kind = ""
        self._envelope: Json = {}
        self._choices: dict[int, Json] = {}

    def note(self, events: bytes) -> None:
        """Whole events, as they go to the caller."""
        self._size += len(events)
        self._is_good = self._is_good and self._size <= _MOST_BYTES
        self.is_over = events.endswith(DONE)
        for event in events.split(b"\n\n") if self._is_good else ():
            if data := data_of(event):
                self._note_one(data)

    def document(self, usage: Json | None) -> bytes | None:
        """The document that the stream amounts to; None if there was an error in it, or too much.

        Without the usage, which callers of documents count on, there is none either.
        """
        if not (self.is_over and self._is_good and usage):
            return None
        choices = [_joined(choice) for _, choice in sorted(self._choices.items())]
        for choice in choices:
            for call in (choice.get("message") or {}).get("tool_calls") or ():
                del call["index"]
        kind = self._kind.removesuffix(_CHUNK)
        return json.dumps(
            {**self._envelope, "object": kind, "choices": choices, "usage": usage}
        ).encode()

    def _note_one(self, data: Json) -> None:
        if data.get("error"):
            self._is_good = False
        self._kind = str(data.get("object") or self._kind)
        for name, value in data.items():
            if name not in _NOT_IN_ENVELOPE and not self._envelope.get(name):
                self._envelope[name] = value
        for choice in choices_of(data):
            index = choice.get("index") or 0
            _add_to_choice(self._choices.setdefault(index, {"index": index}), choice)


def is_whole(document: object, answers: int) -> bool:
    """Whether a document is a good answer in full, which can be given again in either form.

    It has so many answers, each has come to its end, and none was stopped by a content filter. Sound
    has not the same form in a stream as in a document.
    """
    if not isinstance(document, dict) or document.get("error"):
        return False
    if "choices" not in document:
        return isinstance(document.get("data"), list)
    choices = choices_of(document)
    return len(choices) >= answers and all(map(_is_whole_choice, choices))


def was_cut_short(document: Json) -> bool:
    """Whether one of its answers ended at the bound on its length."""
    return any(choice.get("finish_reason") == "length" for choice in choices_of(document))


def as_stream(document: Json, *, tells_usage: bool, has_prelude: bool) -> bytes:
    """The events of a stream that says what the document says, `[DONE]` included.

    `tells_usage` as with `stream_options.include_usage`; `has_prelude`: with Azure's first event.
    """
    kind = document.get("object")
    held_back = ("choices", "usage", "prompt_filter_results")
    base = {name: value for name, value in document.items() if name not in held_back}
    base["object"] = f"{kind}{_CHUNK}" if kind == "chat.completion" else kind
    chunk = {**base, "usage": None} if tells_usage else base
    sent: list[Json] = []
    if has_prelude and (results := document.get("prompt_filter_results")):
        empty = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
        sent.append({**empty, "prompt_filter_results": results})
    for choice in choices_of(document):
        sent += ({**chunk, "choices": [part]} for part in _parts(choice))
    if tells_usage:
        sent.append({**base, "choices": [], "usage": document.get("usage")})
    return b"".join(map(_event, sent)) + DONE


def _is_whole_choice(choice: Json) -> bool:
    if choice.get("finish_reason") in (None, "", "content_filter"):
        return False
    message = choice.get("message")
    if not isinstance(message, dict):
        return isinstance(choice.get("text"), str)
    calls = message.get("tool_calls") or []
    return not message.get("audio") and all(isinstance(call, dict) for call in calls)


def _add_to_choice(choice: Json, added: Json) -> None:
    for name, value in added.items():
        if name == "delta":
            choice["message"] = _sum(choice.get("message"), delta_of(added))
        elif name in ("text", "logprobs"):
            choice[name] = _sum(choice.get(name), value)
        elif isinstance(value, dict):
            choice[name] = {**(choice.get(name) or {}), **value}
        elif value is not None or name not in choice:
            choice[name] = value


def _sum(before: Any, added: Any, name: str = "") -> Any:
    """What the member of this name becomes: texts and lists grow, the rest is as it was said last."""
    match added:
        case None:
            return before
        case str() if name in _WHOLE:
            return before or added
        case str():
            text = before if isinstance(before, _Text) else _Text()
            text.pieces.append(added)
            return text
        case dict():
            members = before if isinstance(before, dict) else {}
            for each, value in added.items():
                members[each] = _sum(members.get(each), value, each)
            return members
        case list():
            items = before if isinstance(before, list) else []
            for item in added:
                _add_item(items, item)
            return items
    return added


def _add_item(items: list[Any], item: Any) -> None:
    """An item with an `index` goes on with the one that has the same."""
    if not isinstance(item, dict) or "index" not in item:
        items.append(item)
        return
    for known in items:
        if isinstance(known, dict) and known.get("index") == item["index"]:
            _sum(known, item)
            return
    items.append(_sum(None, item))


def _joined(value: Any) -> Any:
    match value:
        case _Text():
            return "".join(value.pieces)
        case dict():
            return {name: _joined(member) for name, member in value.items()}
        case list():
            return [_joined(item) for item in value]
    return value


def _parts(choice: Json) -> list[Json]:
    """A choice in the pieces in which a stream has it; the reason for its end comes last."""
    known = ("index", "message", "text", "logprobs", "finish_reason")
    others = {name: value for name, value in choice.items() if name not in known}
    nothing: Json = {"text": ""} if "text" in choice else {"delta": {}}
    pieces = (
        [{"text": piece} for piece in _pieces(choice["text"] or "")]
        if "text" in choice
        else [{"delta": delta} for delta in _deltas(choice.get("message") or {})]
    )
    parts = [
        {"index": choice.get("index", 0), **piece, "finish_reason": None}
        for piece in (*pieces, nothing)
    ]
    parts[-1] |= {"finish_reason": choice.get("finish_reason"), **others}
    if "logprobs" in choice:
        for part in parts:
            part["logprobs"] = None
        parts[min(1, len(parts) - 1)]["logprobs"] = choice["logprobs"]
    return parts


def _deltas(members: Json) -> list[Json]:
    """Members in pieces: the first has the beginning of each, the others what texts have beyond that."""
    first: Json = {}
    rest: list[Json] = []
    for name, value in members.items():
        match value:
            case str() if name not in _WHOLE:
                first[name] = ""
                rest += ({name: piece} for piece in _pieces(value))
            case dict():
                begun, *more = _deltas(value)
                first[name] = begun
                rest += ({name: each} for each in more)
            case list() if name == "tool_calls" and value:
                for index, call in enumerate(value):
                    rest += ({name: [{"index": index, **each}]} for each in _deltas(call))
            case _:
                first[name] = value
    return [first, *rest]


def _pieces(text: str) -> Iterator[str]:
    return (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))


def _event(data: Json) -> bytes:
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"
