"""The Azure OpenAI gateway in the module style of openai 0.x: set the attributes, then call `create`."""

from openai_proxy import error
from openai_proxy.error import APIError, InvalidRequestError, OpenAIError
from openai_proxy.openai_object import OpenAIObject
from openai_proxy.resources import ChatCompletion, Completion, Embedding

__all__ = [
    "APIError",
    "ChatCompletion",
    "Completion",
    "Embedding",
    "InvalidRequestError",
    "OpenAIError",
    "OpenAIObject",
    "api_base",
    "api_key",
    "api_type",
    "api_version",
    "error",
]
__version__ = "0.1.0"

api_key: str | None = None
api_base: str | None = None
api_version: str | None = None
api_type: str | None = "open_ai"
