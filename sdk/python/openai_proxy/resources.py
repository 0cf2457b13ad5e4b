"""The operations, each a class with `create` and `acreate`."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from typing import Any, ClassVar, Literal, overload

from openai_proxy import _transport
from openai_proxy._call import make_call
from openai_proxy.error import TryAgain
from openai_proxy.openai_object import OpenAIObject

_PAUSE_S = 0.5

Objects = Generator[OpenAIObject, None, None]
AsyncObjects = AsyncGenerator[OpenAIObject, None]


class _Resource:
    """One operation. Nothing is tried again, but for an answer of 409 within `timeout` seconds."""

    _operation: ClassVar[str]

    @overload
    @classmethod
    def create(cls, *, stream: Literal[False] | None = None, **parameters: Any) -> OpenAIObject: ...

    @overload
    @classmethod
    def create(cls, *, stream: Literal[True], **parameters: Any) -> Objects: ...

    @overload
    @classmethod
    def create(cls, *, stream: bool | None, **parameters: Any) -> OpenAIObject | Objects: ...

    @classmethod
    def create(cls, *, stream: bool | None = None, **parameters: Any) -> OpenAIObject | Objects:
        """The answer, or with `stream=True` its objects one by one.

        The parameters are the API's, and this package's options: `api_key`, `api_base`, `api_version`,
        `api_type`, `organization`, `request_id`, `headers`, `engine` or `deployment_id`,
        `request_timeout` (seconds, or a pair of them: to connect, and of silence) and `timeout`.
        Raises the errors of `openai_proxy.error`.
        """
        call = make_call(cls._operation, stream, parameters)
        until = time.monotonic() + call.try_again_s
        while True:
            try:
                return _transport.stream(call) if stream else _transport.send(call)
            except TryAgain:
                if time.monotonic() + _PAUSE_S > until:
                    raise
                time.sleep(_PAUSE_S)

    @overload
    @classmethod
    async def acreate(
        cls, *, stream: Literal[False] | None = None, **parameters: Any
    ) -> OpenAIObject: ...

    @overload
    @classmethod
    async def acreate(cls, *, stream: Literal[True], **parameters: Any) -> AsyncObjects: ...

    @overload
    @classmethod
    async def acreate(
        cls, *, stream: bool | None, **parameters: Any
    ) -> OpenAIObject | AsyncObjects: ...

    @classmethod
    async def acreate(
        cls, *, stream: bool | None = None, **parameters: Any
    ) -> OpenAIObject | AsyncObjects:
        """As `create`, without blocking."""
        call = make_call(cls._operation, stream, parameters)
        until = time.monotonic() + call.try_again_s
        while True:
            try:
                return await (_transport.astream(call) if stream else _transport.asend(call))
            except TryAgain:
                if time.monotonic() + _PAUSE_S > until:
                    raise
                await asyncio.sleep(_PAUSE_S)


class ChatCompletion(_Resource):
    _operation = "chat/completions"


class Completion(_Resource):
    _operation = "completions"


class Embedding(_Resource):
    _operation = "embeddings"
