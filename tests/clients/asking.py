"""Asks client libraries all that programs/asked.py asks, and knows what their users should get."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from shared.models import pseudonym
from tests import processes
from tests.clients.environments import run_together
from tests.conftest import EVENTS, add_events, gateway_settings

PROGRAMS = Path(__file__).with_name("programs")
Client = tuple[str, str]

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
AI_SDK = {
    **{scenario: ("AI_APICallError", status) for scenario, (_, status) in OPENAI.items()},
    "used_up": ("AI_RetryError", 429),
    "broken_stream": ("AI_StreamProviderError", 500),
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


class Told(NamedTuple):
    """What each client, by its name and style, told, and how often each was refused by the cap."""

    by: dict[Client, dict[str, Any]]
    refused: dict[Client, int]


def ask(runs: Mapping[str, tuple[str, str]], storage: str, simulator: str) -> Told:
    """Run the program of each client, in its environment, on a gateway that is theirs alone.

    It is theirs since wrong keys are counted, and since its log is read to the end.
    """
    asyncio.run(add_events(storage, EVENTS))
    programs = {name: (PROGRAMS / file, environment) for name, (file, environment) in runs.items()}
    with processes.gateway(gateway_settings(storage, simulator)) as server:
        results = run_together(programs, server.url)
    told = {(name, style): by for name, styles in results.items() for style, by in styles.items()}
    refused = Counter(
        json.loads(line)["attendee"]
        for line in server.lines
        if '"daily_request_cap_exceeded"' in line
    )
    return Told(told, {client: refused[_attendee(client)] for client in told})


def _attendee(client: Client) -> str:
    return pseudonym("used-up-event", "-".join(client))
