"""Every client library that people bring, unmodified, in each of its styles: what its user gets.

Each runs as a program of its own beside its own libraries, all of them at once, and tells what each call
gave; see programs/asked.py.
"""

import math

import pytest

from tests.clients.asking import AI_SDK, OPENAI, SAYS, Client, Told, ask

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
# These put a text of their own in place of the server's.
SILENT = {
    ("openai 0.28", "unavailable"),
    ("portkey-ai for node", "broken_stream"),
}
# The AI SDK does not know x-should-retry.
REQUESTS_OF_A_REFUSED_CALL = {**dict.fromkeys(RUNS, 1), "ai sdk": 3}


@pytest.fixture(scope="module")
def told(storage: str, simulator: str) -> Told:
    return ask(RUNS, storage, simulator)


pytestmark = pytest.mark.parametrize(
    "client", CLIENTS, ids=[f"{client}, {style}" for client, style in CLIENTS]
)


def test_a_chat_is_answered(told: Told, client: Client) -> None:
    assert told.by[client]["plain"] == "[simulated] gpt-4o here, you said: plain"


def test_a_stream_comes_in_pieces(told: Told, client: Client) -> None:
    pieces = told.by[client]["stream"]

    assert "".join(pieces) == "[simulated] gpt-4o here, you said: streamed"
    assert len(pieces) > 5


def test_a_tool_is_called(told: Told, client: Client) -> None:
    assert told.by[client]["tools"] == ["get_weather", {"city": "simulated"}]


def test_an_answer_has_the_structure_asked_for(told: Told, client: Client) -> None:
    assert told.by[client]["structured"] == {"name": "simulated", "people": 1}


def test_an_image_arrives_whole(told: Told, client: Client) -> None:
    saw = "[simulated] gpt-4o here, you said: Seen? (saw 1 image: image/png of 15 bytes)"
    assert told.by[client]["vision"] == saw


def test_an_embedding_is_a_whole_vector(told: Told, client: Client) -> None:
    vector = told.by[client]["embedding"]

    assert len(vector) == 1536
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("scenario", SAYS)
def test_a_failure_is_caught_by_its_name(told: Told, client: Client, scenario: str) -> None:
    failure = told.by[client][scenario]
    name, status = ERRORS[client][scenario]

    assert name in failure["classes"]
    assert failure["status"] == status
    if (client[0], scenario) not in SILENT:
        assert SAYS[scenario] in failure["text"]


def test_a_broken_stream_has_given_what_came_before(told: Told, client: Client) -> None:
    assert told.by[client]["broken_stream"]["received"] == "["


def test_what_no_retry_cures_is_asked_once_by_those_who_know_how_to_be_told(
    told: Told, client: Client
) -> None:
    assert told.refused[client] == REQUESTS_OF_A_REFUSED_CALL[client[0]]
