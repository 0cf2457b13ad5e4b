"""From the bytes of a stream to the objects in it."""

from collections.abc import Iterator

import httpx

from openai_proxy._failures import broken_stream
from openai_proxy.openai_object import OpenAIObject, parse


class Events:
    """The events of one answer; its bytes may come in any pieces.

    Lines end with LF or CRLF only, as the format has it: JSON may hold what else ends a line in Python.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._rest = b""
        self.is_complete = False

    def read(self, piece: bytes) -> Iterator[OpenAIObject]:
        """The objects that are whole with this piece. Raises an APIError that stands in the stream."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            field, _, value = line.partition(b":")
            if field != b"data":
                continue
            if value.strip() == b"[DONE]":
                self.is_complete = True
            else:
                yield self._parse(value)

    def _parse(self, data: bytes) -> OpenAIObject:
        text = data.decode(errors="replace").strip()
        try:
            event = parse(text)
        except ValueError as problem:
            raise broken_stream(self._response, text) from problem
        if not isinstance(event, OpenAIObject) or event.get("error"):
            raise broken_stream(self._response, text, event)
        return event
