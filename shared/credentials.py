"""The app's identity in Azure, for keyless calls: one credential, its token kept until it nears its end."""

import asyncio
import time
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from shared.errors import ConfigurationError

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential

COGNITIVE_SERVICES = "https://cognitiveservices.azure.com/.default"
_RENEW_BEFORE_END_S = 300


@cache
def credential(client_id: str | None = None) -> "AsyncTokenCredential":
    """The app's managed identity in Azure, the developer's own sign-in (`az login`) elsewhere.

    `client_id` names a user-assigned identity; without it azure-identity reads AZURE_CLIENT_ID.
    azure-identity is imported here only: with keys it is never needed.
    """
    from azure.identity.aio import DefaultAzureCredential

    user_assigned = {"managed_identity_client_id": client_id} if client_id else {}
    return DefaultAzureCredential(**user_assigned)


class BearerToken:
    """A token for one scope, fetched by one caller at a time and kept until five minutes before its end."""

    def __init__(
        self, credential: Callable[[], "AsyncTokenCredential"], scope: str = COGNITIVE_SERVICES
    ) -> None:
        self._credential = credential
        self._scope = scope
        self._token = ""
        self._good_until = 0.0
        self._lock = asyncio.Lock()

    async def value(self) -> str:
        """The token. Raises ConfigurationError if the identity cannot have one."""
        from azure.core.exceptions import AzureError

        if time.time() < self._good_until:
            return self._token
        async with self._lock:
            if time.time() < self._good_until:
                return self._token
            try:
                token = await self._credential().get_token(self._scope)
            except AzureError as error:
                raise ConfigurationError(
                    "AZURE_OPENAI_API_KEY is not set and the app's identity has no token for "
                    "Azure OpenAI: give the app a managed identity with the role "
                    "'Cognitive Services OpenAI User', or set the key."
                ) from error
            self._token = token.token
            self._good_until = token.expires_on - _RENEW_BEFORE_END_S
            return self._token
