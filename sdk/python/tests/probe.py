"""Meets each error once and prints, as JSON, by which classes it can be caught and what it tells."""

import json
import socket
import sys
from typing import Any

import openai_proxy


def meet(**parameters: Any) -> dict[str, Any]:
    """The error of a call with these parameters."""
    messages = [{"role": "user", "content": "hello"}]
    try:
        answer = openai_proxy.ChatCompletion.create(**{"messages": messages, **parameters})
        list(answer)  # a stream meets its error on the way
    except openai_proxy.error.OpenAIError as failure:
        return {
            "classes": [f"{kind.__module__}.{kind.__qualname__}" for kind in type(failure).mro()],
            "text": str(failure),
            "http_status": failure.http_status,
            "code": failure.code,
            "modern": [getattr(failure, name, None) for name in ("status_code", "message")],
        }
    raise AssertionError(f"no error for {parameters}")


def main(gateway: str, simulator: str, caller: str) -> None:
    openai_proxy.api_key = "hackathon/githubuser"
    openai_proxy.api_base = gateway
    azure = {"api_type": "azure", "api_version": "2024-10-21"}
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{unused.getsockname()[1]}"
        met = {
            "InvalidRequestError": meet(model="sim-400"),
            "AuthenticationError": meet(
                api_key="no-such-event/anna", headers={"x-forwarded-for": caller}
            ),
            "PermissionError": meet(api_key="over-event/anna"),
            "RateLimitError": meet(api_key="used-up-event/anna"),
            "ServiceUnavailableError": meet(model="sim-503"),
            "APIError": meet(model="sim-500"),
            "APIError in a stream": meet(model="sim-cut", stream=True),
            "Timeout": meet(model="sim-silence", request_timeout=0.3),
            "APIConnectionError": meet(api_base=nowhere),
            "TryAgain": meet(api_base=f"{simulator}/openai/deployments/sim-409", **azure),
            "InvalidAPIType": meet(api_type="gcp"),
        }
    json.dump(met, sys.stdout)


main(*sys.argv[1:])
