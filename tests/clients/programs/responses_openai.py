"""OpenAI's library for Python since 1.0, asking for responses in both of its styles."""

import json
from collections.abc import Iterator
from typing import Any

from asked import IMAGE, WEATHER, Ask, Client, tell
from openai_clients import City, Connect, styles


class Openai:
    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    def _create(self, ask: Ask, **members: Any) -> Any:
        asked = {"model": ask.model, "input": ask.text, **_limit(ask), **members}
        return self._connect(ask).responses.create(**asked)

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
        answer = self._connect(ask).responses.parse(
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
        answer = self._connect(ask).embeddings.create(model=ask.model, input=ask.text)
        return answer.data[0].embedding


def _limit(ask: Ask) -> dict[str, int]:
    return {} if ask.max_tokens is None else {"max_output_tokens": ask.max_tokens}


def make(base: str) -> dict[str, Client]:
    return {name: Openai(connect) for name, connect in styles(base).items()}


tell(make)
