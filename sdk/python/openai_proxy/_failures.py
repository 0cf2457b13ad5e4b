"""Which error an answer is, or the lack of one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from openai_proxy import error
from openai_proxy.openai_object import parse

_BY_STATUS: dict[int, type[error.OpenAIError]] = {
    400: error.InvalidRequestError,
    401: error.AuthenticationError,
    403: error.PermissionError,
    404: error.InvalidRequestError,
    409: error.TryAgain,
    415: error.InvalidRequestError,
    429: error.RateLimitError,
    503: error.ServiceUnavailableError,
}


@contextmanager
def named() -> Iterator[None]:
    """Raises httpx's exceptions under the names of `openai_proxy.error`."""
    try:
        yield
    except httpx.TimeoutException as problem:
        timeout = error.Timeout(f"Request timed out: {_say(problem)}")
        timeout.request = problem.request
        raise timeout from problem
    except httpx.HTTPError as problem:
        broken = error.APIConnectionError(f"Error communicating with the proxy: {_say(problem)}")
        broken.request = problem.request
        raise broken from problem


def refusal(response: httpx.Response) -> error.OpenAIError:
    """The error that a whole answer is."""
    kind = _BY_STATUS.get(response.status_code, error.APIError)
    try:
        document = parse(response.content)
    except ValueError:
        document = None
    return _failure(kind, response, response.text, document)


def broken_stream(response: httpx.Response, data: str, document: Any = None) -> error.OpenAIError:
    """The error that a stream's event is, or that one is which cannot be read."""
    return _failure(error.APIError, response, data, document, " (Error occurred while streaming.)")


def cut_stream(response: httpx.Response) -> error.OpenAIError:
    """The error that a stream without its end is."""
    failure = error.APIConnectionError("The stream ended before the answer was complete.")
    failure.request = response.request
    return failure


def _failure(
    kind: type[error.OpenAIError],
    response: httpx.Response,
    body: str,
    document: Any,
    when: str = "",
) -> error.OpenAIError:
    found = document.get("error") if isinstance(document, dict) else None
    told = found if isinstance(found, dict) else {}
    details = {"param": told.get("param")} if kind is error.InvalidRequestError else {}
    message = told.get("message") or f"HTTP code {response.status_code} from API ({body})"
    failure = kind(
        f"{message}{when}",
        http_body=body,
        http_status=response.status_code,
        json_body=document,
        headers=response.headers,
        code=told.get("code"),
        **details,
    )
    failure.request, failure.response = response.request, response
    return failure


def _say(problem: httpx.HTTPError) -> str:
    return str(problem) or type(problem).__name__
