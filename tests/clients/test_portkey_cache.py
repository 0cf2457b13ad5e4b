"""The cache, as the clients of Portkey are told of it."""

import uuid
from pathlib import Path

import pytest

from tests.clients.environments import run_together
from tests.conftest import KEY

PROGRAMS = Path(__file__).with_name("programs")
# Under names that no earlier run has asked for.
PYTHON, NODE = (f"{client} {uuid.uuid4().hex}" for client in ("python", "node"))


@pytest.fixture(scope="module")
def told(gateway: str) -> dict[str, dict[str, str | None]]:
    programs = {
        PYTHON: (PROGRAMS / "cached_portkey.py", "openai-2"),
        NODE: (PROGRAMS / "cached_portkey.mjs", ""),
    }
    return run_together(programs, gateway, KEY)


@pytest.mark.parametrize("client", [PYTHON, NODE], ids=["python", "node"])
def test_an_answer_says_what_the_cache_did(
    told: dict[str, dict[str, str | None]], client: str
) -> None:
    assert told[client] == {
        "first": "MISS",
        "again": "HIT",
        "refreshed": "REFRESH",
        "without": "DISABLED",
    }
