"""OpenAI's library for Python since 1.0, asking for responses in both of its styles."""

import json
from collections.abc import Iterator
from typing import Any

from asked import API_VERSION, IMAGE, WEATHER, Ask, Client, tell
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

    def _create(self, ask: Ask, **members: Any) -> Any:
        asked = {"model": ask.model, "input": ask.text, **_limit(ask), **members}
        return self._client(ask).responses.create(**asked)

    def chat(self, ask: Ask) -> str:
        return self._create(ask).output_text

    def stream(self, ask: Ask) -> Iterator[str]:
        for event in self._create(ask, stream=True):
            if event.type == "response.output_text.delta":
                yield event.delta

    def tool(self, ask: Ask) -> tuple[str, dict[str, Any]]:
        [call] = self._create(ask, tools=[{"type": "function", **WEATHER["function"]}]).output
        return call.name, json.loads(call.arguments)

    def structured(self, ask: Ask) -> dict[str, Any]:
        answer = self._client(ask).responses.parse(
            model=ask.model, input=ask.text, text_format=City
        )
        assert answer.output_parsed
        return answer.output_parsed.model_dump()

    def vision(self, ask: Ask) -> str:
        content = [
            {"type": "input_text", "text": ask.text},
            {"type": "input_image", "image_url": IMAGE, "detail": "auto"},
        ]
        return self._create(ask, input=[{"role": "user", "content": content}]).output_text

    def embedding(self, ask: Ask) -> list[float]:
        answer = self._client(ask).embeddings.create(model=ask.model, input=ask.text)
        return answer.data[0].embedding


class Azure(Openai):
    def _client(self, ask: Ask) -> OpenAI:
        return AzureOpenAI(
            azure_endpoint=self._base, api_key=ask.key, api_version=API_VERSION, **_retries(ask)
        )


def _limit(ask: Ask) -> dict[str, int]:
    return {} if ask.max_tokens is None else {"max_output_tokens": ask.max_tokens}


def _retries(ask: Ask) -> dict[str, Any]:
    return {} if ask.retries is None else {"max_retries": ask.retries}


def make(base: str) -> dict[str, Client]:
    return {"openai": Openai(base), "azure": Azure(base)}


tell(make)
