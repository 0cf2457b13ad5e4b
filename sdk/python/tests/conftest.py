"""One gateway, as the repository's own tests start it, and the two ways to call it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import openai_proxy
import pytest

from tests.conftest import KEY, gateway, gateway_server, simulator, storage
from tests.e2e.calls import Calls

__all__ = ["gateway", "gateway_server", "simulator", "storage"]
USED_UP = "used-up-event/anna"


class Way:
    """`create`, or `acreate` in an event loop of its own. A stream is answered as a list."""

    def __init__(self, name: str) -> None:
        self._is_async = name == "acreate"
        self.received: list[Any] = []

    def chat(self, text: str = "hello", **parameters: Any) -> Any:
        messages = [{"role": "user", "content": text}]
        return self(openai_proxy.ChatCompletion, **{"messages": messages, **parameters})

    def __call__(self, resource: Any, **parameters: Any) -> Any:
        if self._is_async:
            return asyncio.run(self._acreate(resource, parameters))
        answer = resource.create(**parameters)
        if not isinstance(answer, Iterator):
            return answer
        for item in answer:
            self.received.append(item)
        return self.received

    async def _acreate(self, resource: Any, parameters: dict[str, Any]) -> Any:
        answer = await resource.acreate(**parameters)
        if not isinstance(answer, AsyncIterator):
            return answer
        async for item in answer:
            self.received.append(item)
        return self.received


@pytest.fixture(params=["create", "acreate"])
def way(request: pytest.FixtureRequest) -> Way:
    return Way(request.param)


@pytest.fixture
def proxy(gateway: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module's attributes as a user of the gateway sets them."""
    monkeypatch.setattr(openai_proxy, "api_key", KEY)
    monkeypatch.setattr(openai_proxy, "api_base", gateway)


@pytest.fixture
def azure(simulator: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The simulated Azure OpenAI without a gateway between; the base URL of its deployments."""
    monkeypatch.setattr(openai_proxy, "api_key", "any")
    monkeypatch.setattr(openai_proxy, "api_version", "2024-10-21")
    monkeypatch.setattr(openai_proxy, "api_type", "azure")
    return f"{simulator}/openai/deployments"


@pytest.fixture
def text() -> str:
    """A message that no other test sends."""
    return f"say {uuid.uuid4().hex}"


@pytest.fixture(scope="session")
def http(gateway: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway, timeout=10) as client:
        yield client


@pytest.fixture
def calls(http: httpx.Client, simulator: str) -> Calls:
    """What goes upstream from now on."""
    return Calls(http, simulator)
