"""Portkey's library for Python, with a key and no more."""

import json
from collections.abc import Iterator
from typing import Any

from asked import CITY_FORMAT, WEATHER, Ask, Client, tell
from portkey_ai import Portkey


class Key:
    def __init__(self, base: str) -> None:
        self._base = base

    def _create(self, ask: Ask, **members: Any) -> Any:
        client = Portkey(base_url=f"{self._base}/v1", api_key=ask.key)
        asked = {"model": ask.model, "messages": ask.messages, **ask.limit, **members}
        return client.chat.completions.create(**asked)

    def chat(self, ask: Ask) -> str:
        return self._create(ask).choices[0].message.content

    def stream(self, ask: Ask) -> Iterator[str]:
        for chunk in self._create(ask, stream=True):
            yield chunk.choices[0].delta.content or ""

    def tool(self, ask: Ask) -> tuple[str, dict[str, Any]]:
        [call] = self._create(ask, tools=[WEATHER]).choices[0].message.tool_calls
        return call.function.name, json.loads(call.function.arguments)

    def structured(self, ask: Ask) -> dict[str, Any]:
        answer = self._create(ask, response_format=CITY_FORMAT)
        return json.loads(answer.choices[0].message.content)

    def vision(self, ask: Ask) -> str:
        return self._create(ask, messages=ask.messages_with_image).choices[0].message.content

    def embedding(self, ask: Ask) -> list[float]:
        client = Portkey(base_url=f"{self._base}/v1", api_key=ask.key)
        answer = client.embeddings.create(model=ask.model, input=ask.text, encoding_format="float")
        return answer.data[0].embedding


def make(base: str) -> dict[str, Client]:
    return {"key": Key(base)}


tell(make)
