"""Sends calls by httpx, blocking or not."""

import os
import ssl
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, closing
from functools import lru_cache

import httpx

from openai_proxy._call import Call
from openai_proxy._events import Events
from openai_proxy._failures import cut_stream, named, refusal
from openai_proxy.openai_object import OpenAIObject, parse

_HEAD = OpenAIObject()  # what a stream yields first, once its answer has begun


def send(call: Call) -> OpenAIObject:
    client = _client(os.getpid())
    with named():
        response = client.send(_request(client, call))
    return _answer(response)


async def asend(call: Call) -> OpenAIObject:
    async with _async_client() as client:
        with named():
            response = await client.send(_request(client, call))
    return _answer(response)


def stream(call: Call) -> Generator[OpenAIObject, None, None]:
    """The answer's objects. A refusal is raised at once, not when the first of them is asked for."""
    objects = _stream(call)
    next(objects)
    return objects


async def astream(call: Call) -> AsyncGenerator[OpenAIObject, None]:
    """As `stream`."""
    objects = _astream(call)
    await anext(objects)
    return objects


def _stream(call: Call) -> Generator[OpenAIObject, None, None]:
    client = _client(os.getpid())
    with named(), closing(client.send(_request(client, call), stream=True)) as response:
        if not _is_stream(response):
            response.read()
            raise refusal(response)
        yield _HEAD
        events = Events(response)
        for piece in response.iter_bytes():
            yield from events.read(piece)
        if not events.is_complete:
            raise cut_stream(response)


async def _astream(call: Call) -> AsyncGenerator[OpenAIObject, None]:
    async with _async_client() as client:
        with named():
            async with aclosing(await client.send(_request(client, call), stream=True)) as response:
                if not _is_stream(response):
                    await response.aread()
                    raise refusal(response)
                yield _HEAD
                events = Events(response)
                async for piece in response.aiter_bytes():
                    for item in events.read(piece):
                        yield item
                if not events.is_complete:
                    raise cut_stream(response)


def _request(client: httpx.Client | httpx.AsyncClient, call: Call) -> httpx.Request:
    return client.build_request(
        "POST", call.url, headers=call.headers, content=call.content, timeout=call.timeout
    )


def _answer(response: httpx.Response) -> OpenAIObject:
    if response.is_success:
        try:
            document = parse(response.content)
        except ValueError:
            document = None
        if isinstance(document, OpenAIObject):
            return document
    raise refusal(response)


def _is_stream(response: httpx.Response) -> bool:
    content_type = response.headers.get("content-type", "")
    return response.is_success and content_type.startswith("text/event-stream")


@lru_cache(maxsize=1)
def _client(process: int) -> httpx.Client:
    """The client of this process: threads may share its connections, a fork must not."""
    return httpx.Client(verify=_tls(), limits=httpx.Limits(max_connections=None))


def _async_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(verify=_tls())


@lru_cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()
