"""OpenAI's clients for Python since 1.0, as their users make them, in both styles."""

from collections.abc import Callable
from functools import partial
from typing import Any

from asked import API_VERSION, Ask
from openai import AzureOpenAI, OpenAI
from pydantic import BaseModel

Connect = Callable[[Ask], OpenAI]


class City(BaseModel):
    name: str
    people: int


def styles(base: str) -> dict[str, Connect]:
    return {"openai": partial(_openai, base), "azure": partial(_azure, base)}


def _openai(base: str, ask: Ask) -> OpenAI:
    return OpenAI(base_url=f"{base}/v1", api_key=ask.key, **_retries(ask))


def _azure(base: str, ask: Ask) -> OpenAI:
    return AzureOpenAI(
        azure_endpoint=base, api_key=ask.key, api_version=API_VERSION, **_retries(ask)
    )


def _retries(ask: Ask) -> dict[str, Any]:
    return {} if ask.retries is None else {"max_retries": ask.retries}
