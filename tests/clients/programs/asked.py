"""What a client is asked to do, and how it tells what its user gets: as JSON, in the last line printed.

Needs nothing but Python, so that it runs beside any version of any library.
"""

import base64
import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

KEY = "hackathon/githubuser"
API_VERSION = "2024-10-21"
IMAGE = "data:image/png;base64," + base64.b64encode(b"\x89PNG not really").decode()
CITY = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["name", "people"],
    "additionalProperties": False,
}
CITY_FORMAT = {
    "type": "json_schema",
    "json_schema": {"name": "City", "strict": True, "schema": CITY},
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


@dataclass(frozen=True)
class Ask:
    """One question. `retries` of None leaves them to the client's default."""

    text: str = "hello"
    model: str = "gpt-4o"
    key: str = KEY
    max_tokens: int | None = None
    retries: int | None = 0

    @property
    def messages(self) -> list[Any]:
        return [{"role": "user", "content": self.text}]

    @property
    def messages_with_image(self) -> list[Any]:
        image = {"type": "image_url", "image_url": {"url": IMAGE}}
        return [{"role": "user", "content": [{"type": "text", "text": self.text}, image]}]

    @property
    def limit(self) -> dict[str, int]:
        """The parameter that limits the output, if there is a limit."""
        return {} if self.max_tokens is None else {"max_tokens": self.max_tokens}


class Client(Protocol):
    """A client library in one of its styles, each call as its users write it."""

    def chat(self, ask: Ask) -> str: ...

    def stream(self, ask: Ask) -> Iterator[str]: ...

    def tool(self, ask: Ask) -> tuple[str, dict[str, Any]]:
        """The name and the arguments of the one tool call."""

    def structured(self, ask: Ask) -> dict[str, Any]: ...

    def vision(self, ask: Ask) -> str: ...

    def embedding(self, ask: Ask) -> list[float]: ...


def tell(make: Callable[[str], dict[str, Client]]) -> None:
    """Ask every style of client, given the gateway's address, and print what each gives.

    Arguments of the command line: the gateway's address, and a name for the attendee whose requests
    are counted.
    """
    base, name = sys.argv[1:]
    with ThreadPoolExecutor(16) as pool:
        told = {
            style: {
                scenario: pool.submit(call)
                for scenario, call in _scenarios(client, f"{name}-{style}").items()
            }
            for style, client in make(base).items()
        }
    results = {
        style: {scenario: future.result() for scenario, future in scenarios.items()}
        for style, scenarios in told.items()
    }
    sys.stdout.write("\n" + json.dumps(results) + "\n")


def _scenarios(client: Client, attendee: str) -> dict[str, Callable[[], Any]]:
    def failing(**members: Any) -> Callable[[], Any]:
        return lambda: _failure(lambda: [client.chat(Ask(**members))])

    return {
        "plain": _told(lambda: client.chat(Ask("plain"))),
        "stream": _told(lambda: list(client.stream(Ask("streamed")))),
        "tools": _told(lambda: client.tool(Ask("How is the weather?"))),
        "structured": _told(lambda: client.structured(Ask("A city?"))),
        "vision": _told(lambda: client.vision(Ask("Seen?"))),
        "embedding": _told(lambda: client.embedding(Ask(model="text-embedding-3-small"))),
        "wrong_key": failing(key="no-such-event/anna"),
        "closed_event": failing(key="over-event/anna"),
        "wrong_model": failing(model="gpt-9"),
        "bad_request": failing(key="capped-event/anna", max_tokens=101),
        "filtered": failing(model="sim-filter"),
        "used_up": failing(key=f"used-up-event/{attendee}", retries=None),
        "server_error": failing(model="sim-500"),
        "unavailable": failing(model="sim-503"),
        "broken_stream": lambda: _failure(lambda: client.stream(Ask(model="sim-cut"))),
    }


def _told(call: Callable[[], Any]) -> Callable[[], Any]:
    """The call, which tells its failure instead of raising it."""

    def told() -> Any:
        try:
            return call()
        except Exception as error:
            return {"failed": repr(error)}

    return told


def _failure(call: Callable[[], Any]) -> dict[str, Any]:
    """The exception that a call ends with, and what was received before."""
    received: list[str] = []
    try:
        for piece in call():
            received.append(piece)
    except Exception as error:
        return {
            "classes": [kind.__name__ for kind in type(error).mro()],
            "status": getattr(error, "status_code", getattr(error, "http_status", None)),
            "text": str(error),
            "received": "".join(received),
        }
    return {"classes": [], "received": "".join(received)}
