"""The package's own errors, for where openai 0.x is not installed.

OpenAIError
├── APIError                   an answer of 5xx, or none of the API's; an error in a stream
├── TryAgain                   409
├── Timeout
├── APIConnectionError         no connection, or one that broke
├── InvalidRequestError        400, 404, 415; something missing before the call
├── AuthenticationError        401
├── PermissionError            403
├── RateLimitError             429
├── ServiceUnavailableError    503
└── InvalidAPIType
"""

from collections.abc import Mapping
from typing import Any

import httpx

from openai_proxy._modern import also
from openai_proxy.openai_object import OpenAIObject


@also("OpenAIError")
class OpenAIError(Exception):
    """Has the attributes of openai 0.x's errors and, below them, those of the newer ones."""

    def __init__(
        self,
        message: str | None = None,
        http_body: str | None = None,
        http_status: int | None = None,
        json_body: Any = None,
        headers: Mapping[str, str] | None = None,
        code: str | None = None,
    ) -> None:
        Exception.__init__(self, message)  # super() may be a class of openai's, which wants more
        self.user_message = message
        self.http_body = http_body
        self.http_status = http_status
        self.json_body = json_body
        self.headers = headers or {}
        self.code = code
        self.request_id = self.headers.get("x-request-id")
        self.organization = self.headers.get("openai-organization")
        self.error = _error_in(json_body)

        self.message = message or ""
        self.status_code = http_status
        self.body = self.error
        self.type = self.error.get("type") if self.error else None
        self.param = self.error.get("param") if self.error else None
        self.request: httpx.Request | None = None
        self.response: httpx.Response | None = None

    def __str__(self) -> str:
        return self.user_message or "<empty message>"

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(message={self.user_message!r}, "
            f"http_status={self.http_status!r}, request_id={self.request_id!r})"
        )


@also("APIError")
class APIError(OpenAIError):
    pass


@also("ConflictError")
class TryAgain(OpenAIError):
    pass


@also("APITimeoutError")
class Timeout(OpenAIError):
    pass


@also("APIConnectionError")
class APIConnectionError(OpenAIError):
    pass


@also("BadRequestError")
class InvalidRequestError(OpenAIError):
    def __init__(
        self,
        message: str | None = None,
        param: str | None = None,
        code: str | None = None,
        http_body: str | None = None,
        http_status: int | None = None,
        json_body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, http_body, http_status, json_body, headers, code)
        self.param = param


@also("AuthenticationError")
class AuthenticationError(OpenAIError):
    pass


@also("PermissionDeniedError")
class PermissionError(OpenAIError):
    pass


@also("RateLimitError")
class RateLimitError(OpenAIError):
    pass


@also("InternalServerError")
class ServiceUnavailableError(OpenAIError):
    pass


@also("OpenAIError")
class InvalidAPIType(OpenAIError):
    pass


def _error_in(document: Any) -> OpenAIObject | None:
    error = document.get("error") if isinstance(document, dict) else None
    return error if isinstance(error, OpenAIObject) else None
