"""The errors: those of openai 0.x itself where it is installed, else the package's own."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

_HAS_OPENAI_0 = bool(find_spec("openai")) and bool(find_spec("openai.error"))

if TYPE_CHECKING or not _HAS_OPENAI_0:
    from openai_proxy._errors import (
        APIConnectionError,
        APIError,
        AuthenticationError,
        InvalidAPIType,
        InvalidRequestError,
        OpenAIError,
        PermissionError,
        RateLimitError,
        ServiceUnavailableError,
        Timeout,
        TryAgain,
    )
else:
    from openai.error import (
        APIConnectionError,
        APIError,
        AuthenticationError,
        InvalidAPIType,
        InvalidRequestError,
        OpenAIError,
        PermissionError,
        RateLimitError,
        ServiceUnavailableError,
        Timeout,
        TryAgain,
    )

__all__ = [
    "APIConnectionError",
    "APIError",
    "AuthenticationError",
    "InvalidAPIType",
    "InvalidRequestError",
    "OpenAIError",
    "PermissionError",
    "RateLimitError",
    "ServiceUnavailableError",
    "Timeout",
    "TryAgain",
]
