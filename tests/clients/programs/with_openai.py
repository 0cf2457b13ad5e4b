"""OpenAI's library for Python since 1.0, in both of its styles."""

import json
from collections.abc import Iterator
from typing import Any

from asked import WEATHER, Ask, Client, tell
from openai_clients import City, Connect, styles


class Openai:
    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    def chat(self, ask: Ask) -> str:
        answer = self._connect(ask).chat.completions.create(
            model=ask.model, messages=ask.messages, **ask.limit
        )
        return answer.choices[0].message.content or ""

    def stream(self, ask: Ask) -> Iterator[str]:
        stream = self._connect(ask).chat.completions.create(
            model=ask.model, messages=ask.messages, stream=True
        )
        for chunk in stream:
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""

    def tool(self, ask: Ask) -> tuple[str, dict[str, Any]]:
        answer = self._connect(ask).chat.completions.create(
            model=ask.model, messages=ask.messages, tools=[WEATHER]
        )
        [call] = answer.choices[0].message.tool_calls or []
        return call.function.name, json.loads(call.function.arguments)

    def structured(self, ask: Ask) -> dict[str, Any]:
        answer = self._connect(ask).chat.completions.parse(
            model=ask.model, messages=ask.messages, response_format=City
        )
        parsed = answer.choices[0].message.parsed
        assert parsed
        return parsed.model_dump()

    def vision(self, ask: Ask) -> str:
        answer = self._connect(ask).chat.completions.create(
            model=ask.model, messages=ask.messages_with_image
        )
        return answer.choices[0].message.content or ""

    def embedding(self, ask: Ask) -> list[float]:
        answer = self._connect(ask).embeddings.create(model=ask.model, input=ask.text)
        return answer.data[0].embedding


def make(base: str) -> dict[str, Client]:
    return {name: Openai(connect) for name, connect in styles(base).items()}


tell(make)
