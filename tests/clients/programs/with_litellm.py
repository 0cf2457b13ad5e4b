"""litellm as a client, by its providers `openai` and `azure`."""

import json
from collections.abc import Iterator
from typing import Any

import litellm
from asked import API_VERSION, CITY_FORMAT, WEATHER, Ask, Client, tell

litellm.suppress_debug_info = True


class Openai:
    def __init__(self, base: str) -> None:
        self._base = base

    def _options(self, ask: Ask) -> dict[str, Any]:
        return {"model": f"openai/{ask.model}", "api_base": f"{self._base}/v1", "api_key": ask.key}

    def _complete(self, ask: Ask, **members: Any) -> Any:
        retries = {} if ask.retries is None else {"max_retries": ask.retries}
        asked = {"messages": ask.messages, **ask.limit, **retries, **members}
        return litellm.completion(**self._options(ask), **asked)

    def chat(self, ask: Ask) -> str:
        return self._complete(ask).choices[0].message.content

    def stream(self, ask: Ask) -> Iterator[str]:
        for chunk in self._complete(ask, stream=True):
            yield chunk.choices[0].delta.content or ""

    def tool(self, ask: Ask) -> tuple[str, dict[str, Any]]:
        [call] = self._complete(ask, tools=[WEATHER]).choices[0].message.tool_calls
        return call.function.name, json.loads(call.function.arguments)

    def structured(self, ask: Ask) -> dict[str, Any]:
        answer = self._complete(ask, response_format=CITY_FORMAT)
        return json.loads(answer.choices[0].message.content)

    def vision(self, ask: Ask) -> str:
        return self._complete(ask, messages=ask.messages_with_image).choices[0].message.content

    def embedding(self, ask: Ask) -> list[float]:
        return litellm.embedding(**self._options(ask), input=[ask.text]).data[0]["embedding"]


class Azure(Openai):
    def _options(self, ask: Ask) -> dict[str, Any]:
        azure = {"api_base": self._base, "api_version": API_VERSION}
        return {"model": f"azure/{ask.model}", "api_key": ask.key, **azure}


def make(base: str) -> dict[str, Client]:
    return {"openai": Openai(base), "azure": Azure(base)}


tell(make)
