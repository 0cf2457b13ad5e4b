"""LangChain's classes for OpenAI and for Azure OpenAI."""

from collections.abc import Iterator
from typing import Any

from asked import API_VERSION, CITY, WEATHER, Ask, Client, tell
from langchain_core.messages import HumanMessage
from langchain_openai import AzureChatOpenAI, AzureOpenAIEmbeddings, ChatOpenAI, OpenAIEmbeddings


class Openai:
    def __init__(self, base: str) -> None:
        self._base = base

    def _model(self, ask: Ask) -> ChatOpenAI:
        return ChatOpenAI(
            base_url=f"{self._base}/v1", api_key=ask.key, model=ask.model, **_options(ask)
        )

    def _embeddings(self, ask: Ask) -> OpenAIEmbeddings:
        return OpenAIEmbeddings(
            base_url=f"{self._base}/v1",
            api_key=ask.key,
            model=ask.model,
            # Its own tokenizer is loaded from the network.
            check_embedding_ctx_length=False,
        )

    def chat(self, ask: Ask) -> str:
        return str(self._model(ask).invoke(ask.text).content)

    def stream(self, ask: Ask) -> Iterator[str]:
        for chunk in self._model(ask).stream(ask.text):
            yield str(chunk.content)

    def tool(self, ask: Ask) -> tuple[str, dict[str, Any]]:
        [call] = self._model(ask).bind_tools([WEATHER]).invoke(ask.text).tool_calls
        return call["name"], call["args"]

    def structured(self, ask: Ask) -> dict[str, Any]:
        schema = {"title": "City", "description": "A city", **CITY}
        found = self._model(ask).with_structured_output(schema).invoke(ask.text)
        assert isinstance(found, dict)
        return found

    def vision(self, ask: Ask) -> str:
        message = HumanMessage(content=ask.messages_with_image[0]["content"])
        return str(self._model(ask).invoke([message]).content)

    def embedding(self, ask: Ask) -> list[float]:
        return self._embeddings(ask).embed_query(ask.text)


class Azure(Openai):
    def _model(self, ask: Ask) -> ChatOpenAI:
        return AzureChatOpenAI(
            azure_endpoint=self._base,
            api_key=ask.key,
            api_version=API_VERSION,
            azure_deployment=ask.model,
            **_options(ask),
        )

    def _embeddings(self, ask: Ask) -> OpenAIEmbeddings:
        return AzureOpenAIEmbeddings(
            azure_endpoint=self._base,
            api_key=ask.key,
            api_version=API_VERSION,
            model=ask.model,
            check_embedding_ctx_length=False,
        )


def _options(ask: Ask) -> dict[str, Any]:
    return ask.limit | ({} if ask.retries is None else {"max_retries": ask.retries})


def make(base: str) -> dict[str, Client]:
    return {"openai": Openai(base), "azure": Azure(base)}


tell(make)
