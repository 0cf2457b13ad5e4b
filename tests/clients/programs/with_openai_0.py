"""OpenAI's library for Python before 1.0, in both of its styles."""

import array
import base64
import json
from collections.abc import Iterator
from typing import Any

import openai
from asked import API_VERSION, CITY_FORMAT, WEATHER, Ask, Client, tell


class Openai:
    def __init__(self, base: str) -> None:
        self._base = base

    def _options(self, ask: Ask) -> dict[str, Any]:
        return {"model": ask.model, "api_key": ask.key, "api_base": f"{self._base}/v1"}

    def _create(self, ask: Ask, **members: Any) -> Any:
        asked = {"messages": ask.messages, **ask.limit, **members}
        return openai.ChatCompletion.create(**self._options(ask), **asked)

    def chat(self, ask: Ask) -> str:
        return self._create(ask).choices[0].message.content

    def stream(self, ask: Ask) -> Iterator[str]:
        for chunk in self._create(ask, stream=True):
            if chunk.choices:
                yield chunk.choices[0].delta.get("content") or ""

    def tool(self, ask: Ask) -> tuple[str, dict[str, Any]]:
        answer = self._create(
            ask, functions=[WEATHER["function"]], function_call={"name": "get_weather"}
        )
        call = answer.choices[0].message.function_call
        return call.name, json.loads(call.arguments)

    def structured(self, ask: Ask) -> dict[str, Any]:
        answer = self._create(ask, response_format=CITY_FORMAT)
        return json.loads(answer.choices[0].message.content)

    def vision(self, ask: Ask) -> str:
        answer = self._create(ask, messages=ask.messages_with_image)
        return answer.choices[0].message.content

    def embedding(self, ask: Ask) -> list[float]:
        # What it asks for by default, too, but decodes with numpy only.
        answer = openai.Embedding.create(
            **self._options(ask), input=ask.text, encoding_format="base64"
        )
        return array.array("f", base64.b64decode(answer.data[0].embedding)).tolist()


class Azure(Openai):
    def _options(self, ask: Ask) -> dict[str, Any]:
        azure = {"api_type": "azure", "api_version": API_VERSION, "api_base": self._base}
        return {"engine": ask.model, "api_key": ask.key, **azure}


def make(base: str) -> dict[str, Client]:
    return {"openai": Openai(base), "azure": Azure(base)}


tell(make)
