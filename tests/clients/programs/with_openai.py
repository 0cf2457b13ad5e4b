"""OpenAI's library for Python since 1.0, in both of its styles."""

import json
from collections.abc import Iterator
from typing import Any

from asked import API_VERSION, WEATHER, Ask, Client, tell
from openai import AzureOpenAI, OpenAI
from pydantic import BaseModel


class City(BaseModel):
    name: str
    people: int


class Openai:
    def __init__(self, base: str) -> None:
        self._base = base

    def _client(self, ask: Ask) -> OpenAI:
        return OpenAI(base_url=f"{self._base}/v1", api_key=ask.key, **_retries(ask))

    def chat(self, ask: Ask) -> str:
        answer = self._client(ask).chat.completions.create(
            model=ask.model, messages=ask.messages, **ask.limit
        )
        return answer.choices[0].message.content or ""

    def stream(self, ask: Ask) -> Iterator[str]:
        stream = self._client(ask).chat.completions.create(
            model=ask.model, messages=ask.messages, stream=True
        )
        for chunk in stream:
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""

    def tool(self, ask: Ask) -> tuple[str, dict[str, Any]]:
        answer = self._client(ask).chat.completions.create(
            model=ask.model, messages=ask.messages, tools=[WEATHER]
        )
        [call] = answer.choices[0].message.tool_calls or []
        return call.function.name, json.loads(call.function.arguments)

    def structured(self, ask: Ask) -> dict[str, Any]:
        answer = self._client(ask).chat.completions.parse(
            model=ask.model, messages=ask.messages, response_format=City
        )
        parsed = answer.choices[0].message.parsed
        assert parsed
        return parsed.model_dump()

    def vision(self, ask: Ask) -> str:
        answer = self._client(ask).chat.completions.create(
            model=ask.model, messages=ask.messages_with_image
        )
        return answer.choices[0].message.content or ""

    def embedding(self, ask: Ask) -> list[float]:
        answer = self._client(ask).embeddings.create(model=ask.model, input=ask.text)
        return answer.data[0].embedding


class Azure(Openai):
    def _client(self, ask: Ask) -> OpenAI:
        return AzureOpenAI(
            azure_endpoint=self._base, api_key=ask.key, api_version=API_VERSION, **_retries(ask)
        )


def _retries(ask: Ask) -> dict[str, Any]:
    return {} if ask.retries is None else {"max_retries": ask.retries}


def make(base: str) -> dict[str, Client]:
    return {"openai": Openai(base), "azure": Azure(base)}


tell(make)
