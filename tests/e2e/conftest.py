"""What the end-to-end tests share: plain HTTP to the gateway, and the log of what went upstream."""

import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.calls import Calls


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def http(gateway: str) -> Iterator[httpx.Client]:
    """Plain HTTP to the gateway, with nothing added that a test did not ask for."""
    with httpx.Client(base_url=gateway, timeout=10) as client:
        yield client


@pytest.fixture
def calls(http: httpx.Client, simulator: str) -> Calls:
    """The upstream's log from now on."""
    return Calls(http, simulator)


@pytest.fixture
def text() -> str:
    """A message that no other test sends."""
    return f"say {uuid.uuid4().hex}"
