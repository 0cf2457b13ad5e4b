"""Every client library that people bring, unmodified, in each of its styles: what its user gets.

Each runs as a program of its own beside its own libraries, all of them at once, and tells what each call
gave; see programs/asked.py.
"""

import asyncio
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from shared.models import pseudonym
from tests import processes
from tests.clients.environments import run_together
from tests.conftest import EVENTS, add_events, gateway_settings

PROGRAMS = Path(__file__).with_name("programs")
# The program of each client, and the environment that it runs in if not the project's own.
RUNS = {
    "openai 0.28": ("with_openai_0.py", "openai-0"),
    "openai 1": ("with_openai.py", "openai-1"),
    "openai 2": ("with_openai.py", "openai-2"),
    "openai 3": ("with_openai.py", ""),
    "portkey-ai": ("with_portkey.py", "openai-2"),
    "langchain-openai": ("with_langchain.py", "openai-2"),
    "litellm": ("with_litellm.py", "openai-2"),
    "openai for node": ("with_openai.mjs", ""),
    "portkey-ai for node": ("with_portkey.mjs", ""),
    "ai sdk": ("with_ai_sdk.mjs", ""),
}
STYLES = {
    **dict.fromkeys(RUNS, ("openai", "azure")),
    "portkey-ai": ("key",),
    "portkey-ai for node": ("key",),
    "ai sdk": ("openai", "azure", "azure_deployment"),
}
CLIENTS = [(client, style) for client in RUNS for style in STYLES[client]]

# By which name a failure is caught, and with which status, if it tells one.
OPENAI = {
    "wrong_key": ("AuthenticationError", 401),
    "closed_event": ("PermissionDeniedError", 403),
    "wrong_model": ("NotFoundError", 404),
    "bad_request": ("BadRequestError", 400),
    "filtered": ("BadRequestError", 400),
    "used_up": ("RateLimitError", 429),
    "server_error": ("InternalServerError", 500),
    "unavailable": ("InternalServerError", 503),
    "broken_stream": ("APIError", None),
}
OPENAI_0 = {
    **OPENAI,
    "closed_event": ("PermissionError", 403),
    "wrong_model": ("InvalidRequestError", 404),
    "bad_request": ("InvalidRequestError", 400),
    "filtered": ("InvalidRequestError", 400),
    "server_error": ("APIError", 500),
    "unavailable": ("ServiceUnavailableError", 503),
    "broken_stream": ("APIError", 200),
}
LANGCHAIN = {
    "wrong_key": ("OpenAIAuthenticationError", 401),
    "closed_event": ("OpenAIPermissionDeniedError", 403),
    "wrong_model": ("OpenAIModelNotFoundError", 404),
    "bad_request": ("OpenAIInvalidRequestError", 400),
    "filtered": ("OpenAIInvalidRequestError", 400),
    "used_up": ("OpenAIRateLimitError", 429),
    "server_error": ("OpenAIAPIError", 500),
    "unavailable": ("OpenAIAPIError", 503),
    "broken_stream": ("APIError", None),
}
LITELLM = {
    **OPENAI,
    "closed_event": ("APIError", 403),
    "unavailable": ("ServiceUnavailableError", 503),
    "broken_stream": ("MidStreamFallbackError", 500),
}
LITELLM_AZURE = {
    **LITELLM,
    "filtered": ("ContentPolicyViolationError", 400),
    "server_error": ("APIError", 500),
}
# It hands the error event to the caller, whose loop finds no choices in it.
PORTKEY_NODE = {**OPENAI, "broken_stream": ("TypeError", None)}
AI_SDK = {
    **{scenario: ("AI_APICallError", status) for scenario, (_, status) in OPENAI.items()},
    "used_up": ("AI_RetryError", 429),
    "broken_stream": ("AI_StreamProviderError", 500),
}
ERRORS = {
    **dict.fromkeys(CLIENTS, OPENAI),
    ("openai 0.28", "openai"): OPENAI_0,
    ("openai 0.28", "azure"): OPENAI_0,
    ("langchain-openai", "openai"): LANGCHAIN,
    ("langchain-openai", "azure"): LANGCHAIN,
    ("litellm", "openai"): LITELLM,
    ("litellm", "azure"): LITELLM_AZURE,
    ("portkey-ai for node", "key"): PORTKEY_NODE,
    **{("ai sdk", style): AI_SDK for style in STYLES["ai sdk"]},
}
SAYS = {
    "wrong_key": "Incorrect API key provided",
    "closed_event": "This event ended at ",
    "wrong_model": "Available: gpt-4o, gpt-4o-mini",
    "bad_request": "asks for more output than this event allows: at most 100 tokens",
    "filtered": "content management policy",
    "used_up": "Ask your organiser for more.",
    "server_error": "The server had an error while processing your request",
    "unavailable": "The service is temporarily unable",
    "broken_stream": "broke off before it was complete",
}
# These put a text of their own in place of the server's.
SILENT = {
    ("openai 0.28", "unavailable"),
    ("portkey-ai for node", "broken_stream"),
}
# The AI SDK does not know x-should-retry.
REQUESTS_OF_A_REFUSED_CALL = {**dict.fromkeys(RUNS, 1), "ai sdk": 3}


class Told(NamedTuple):
    """What each client in each style told, and how often each was refused by the cap."""

    by: dict[tuple[str, str], dict[str, Any]]
    refused: dict[tuple[str, str], int]


@pytest.fixture(scope="module")
def told(storage: str, simulator: str) -> Told:
    """A gateway of its own: wrong keys are counted, and its log is read to the end."""
    asyncio.run(add_events(storage, EVENTS))
    with processes.gateway(gateway_settings(storage, simulator)) as server:
        programs = {name: (PROGRAMS / file, libraries) for name, (file, libraries) in RUNS.items()}
        results = run_together(programs, server.url)
    refused = Counter(
        json.loads(line)["attendee"]
        for line in server.lines
        if '"daily_request_cap_exceeded"' in line
    )
    return Told(
        {(client, style): results[client][style] for client, style in CLIENTS},
        {
            (client, style): refused[pseudonym("used-up-event", f"{client}-{style}")]
            for client, style in CLIENTS
        },
    )


pytestmark = pytest.mark.parametrize(
    "client", CLIENTS, ids=[f"{client}, {style}" for client, style in CLIENTS]
)


def test_a_chat_is_answered(told: Told, client: tuple[str, str]) -> None:
    assert told.by[client]["plain"] == "[simulated] gpt-4o here, you said: plain"


def test_a_stream_comes_in_pieces(told: Told, client: tuple[str, str]) -> None:
    pieces = told.by[client]["stream"]

    assert "".join(pieces) == "[simulated] gpt-4o here, you said: streamed"
    assert len(pieces) > 5


def test_a_tool_is_called(told: Told, client: tuple[str, str]) -> None:
    assert told.by[client]["tools"] == ["get_weather", {"city": "simulated"}]


def test_an_answer_has_the_structure_asked_for(told: Told, client: tuple[str, str]) -> None:
    assert told.by[client]["structured"] == {"name": "simulated", "people": 1}


def test_an_image_arrives_whole(told: Told, client: tuple[str, str]) -> None:
    saw = "[simulated] gpt-4o here, you said: Seen? (saw 1 image: image/png of 15 bytes)"
    assert told.by[client]["vision"] == saw


def test_an_embedding_is_a_whole_vector(told: Told, client: tuple[str, str]) -> None:
    vector = told.by[client]["embedding"]

    assert len(vector) == 1536
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("scenario", SAYS)
def test_a_failure_is_caught_by_its_name(
    told: Told, client: tuple[str, str], scenario: str
) -> None:
    failure = told.by[client][scenario]
    name, status = ERRORS[client][scenario]

    assert name in failure["classes"]
    assert failure["status"] == status
    if (client[0], scenario) not in SILENT:
        assert SAYS[scenario] in failure["text"]


def test_a_broken_stream_has_given_what_came_before(told: Told, client: tuple[str, str]) -> None:
    assert told.by[client]["broken_stream"]["received"] == "["


def test_what_no_retry_cures_is_asked_once_by_those_who_know_how_to_be_told(
    told: Told, client: tuple[str, str]
) -> None:
    assert told.refused[client] == REQUESTS_OF_A_REFUSED_CALL[client[0]]
