"""The Responses API by clients that ask for it, the AI SDK of itself: what their users get."""

import pytest

from tests.clients.asking import AI_SDK, OPENAI, SAYS, Client, Told, ask

RUNS = {
    "openai 1": ("responses_openai.py", "openai-1"),
    "openai 2": ("responses_openai.py", "openai-2"),
    "openai 3": ("responses_openai.py", ""),
    "ai sdk": ("responses_ai_sdk.mjs", ""),
}
STYLES = {**dict.fromkeys(RUNS, ("openai", "azure")), "ai sdk": ("openai", "azure", "azure_v1")}
CLIENTS = [(client, style) for client in RUNS for style in STYLES[client]]
ERRORS = {**dict.fromkeys(RUNS, OPENAI), "ai sdk": AI_SDK}
GIVEN = {
    "plain": "[simulated] gpt-4o here, you said: plain",
    "tools": ["get_weather", {"city": "simulated"}],
    "structured": {"name": "simulated", "people": 1},
    "vision": "[simulated] gpt-4o here, you said: Seen? (saw 1 image: image/png of 15 bytes)",
}


@pytest.fixture(scope="module")
def told(storage: str, simulator: str) -> Told:
    return ask(RUNS, storage, simulator)


pytestmark = pytest.mark.parametrize(
    "client", CLIENTS, ids=[f"{client}, {style}" for client, style in CLIENTS]
)


@pytest.mark.parametrize("scenario", GIVEN)
def test_what_is_asked_for_is_given(told: Told, client: Client, scenario: str) -> None:
    assert told.by[client][scenario] == GIVEN[scenario]


def test_a_stream_comes_in_pieces(told: Told, client: Client) -> None:
    pieces = told.by[client]["stream"]

    assert "".join(pieces) == "[simulated] gpt-4o here, you said: streamed"
    assert len(pieces) > 5


@pytest.mark.parametrize("scenario", SAYS)
def test_a_failure_is_caught_by_its_name(told: Told, client: Client, scenario: str) -> None:
    failure = told.by[client][scenario]
    name, status = ERRORS[client[0]][scenario]

    assert name in failure["classes"]
    assert failure["status"] == status
    assert SAYS[scenario] in failure["text"]
