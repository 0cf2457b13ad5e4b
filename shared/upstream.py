"""HTTP to Azure OpenAI through one session; the only user of aiohttp."""

import asyncio
from collections.abc import Sequence
from functools import lru_cache

import aiohttp
from pydantic import SecretStr
from yarl import URL

from shared.credentials import BearerToken
from shared.errors import StreamCut, UpstreamTimeout, UpstreamUnreachable
from shared.form import FormBody
from shared.models import Resource
from shared.operations import Operation
from shared.plan import Deployment
from shared.settings import OWN_RESOURCE, key_from_environ

_TYPE = {"content-type": "application/json"}
_ENCODING = {"accept-encoding": "identity"}
# Azure's front ends keep an idle connection for minutes, aiohttp by default for 15 s.
_KEEP_ALIVE_S = 60
_CONNECTIONS_PER_HOST = 512


def open_session(connect_timeout_s: float) -> aiohttp.ClientSession:
    """The process's one session; it belongs to the loop that runs now."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, limit_per_host=_CONNECTIONS_PER_HOST, keepalive_timeout=_KEEP_ALIVE_S
        ),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


class Reply:
    """An upstream's answer from its first byte on. Close it, on every path."""

    def __init__(self, response: aiohttp.ClientResponse, idle_timeout_s: float) -> None:
        self._response = response
        self._idle_timeout_s = idle_timeout_s

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Sequence[tuple[bytes, bytes]]:
        return self._response.raw_headers

    @property
    def is_stream(self) -> bool:
        content_type = self._response.headers.get("content-type", "")
        return self.status == 200 and content_type.startswith("text/event-stream")

    @property
    def is_media(self) -> bool:
        """Whether the body is neither JSON nor text."""
        kind = self._response.content_type
        return self.status == 200 and not kind.startswith("text/") and not kind.endswith("json")

    @property
    def is_json(self) -> bool:
        return self._response.content_type.endswith("json")

    @property
    def length(self) -> int | None:
        """The bytes of the body, if the upstream has told."""
        return self._response.content_length

    async def read(self) -> bytes:
        """The whole body. Raises UpstreamUnreachable if it breaks off, UpstreamTimeout if it stops."""
        chunks = []
        try:
            while chunk := await self.next_chunk(self._idle_timeout_s):
                chunks.append(chunk)
        except StreamCut as error:
            raise UpstreamUnreachable(error.message) from None
        if chunk is None:
            raise UpstreamTimeout("Azure OpenAI stopped in the middle of its answer. Try again.")
        return b"".join(chunks)

    async def next_chunk(self, wait_s: float) -> bytes | None:
        """What has arrived, waiting for it if need be; b"" at the proper end of the body.

        None after `wait_s` seconds without a byte; the body can still be read on. Raises StreamCut
        if the connection broke before the end.
        """
        content = self._response.content
        try:
            chunk = content.read_nowait()
            if chunk or content.at_eof():
                return chunk
            async with asyncio.timeout(wait_s):
                return await content.readany()
        except TimeoutError:
            return None
        except (aiohttp.ClientError, OSError):
            raise StreamCut(
                "Azure OpenAI's answer broke off before it was complete. Try again."
            ) from None

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it at once."""
        self._response.close()


class Upstream:
    """HTTP to the resources. `own_key` is the key of the one that the settings describe."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        token: BearerToken,
        own_key: SecretStr | None,
        idle_timeout_s: float,
    ) -> None:
        self._session = session
        self._token = token
        self._own_key = own_key
        self._keys: dict[str, SecretStr] = {}
        self._idle_timeout_s = idle_timeout_s

    async def post(
        self,
        deployment: Deployment,
        operation: Operation,
        headers: dict[str, str],
        body: bytes | FormBody,
        within_s: float,
    ) -> Reply:
        """Send a body to a deployment and wait for the answer's first byte, at most `within_s`.

        Raises UpstreamUnreachable, UpstreamTimeout, and ConfigurationError if the resource's key is
        missing or the app's identity is refused a token. An error that the upstream answers with is
        a Reply like any other.
        """
        headers |= _TYPE
        if isinstance(body, FormBody):
            headers |= {"content-type": body.content_type, "content-length": str(len(body))}
        url = _url(deployment.resource, operation, deployment.name)
        return await self._send("POST", url, deployment, headers, body, within_s)

    async def ask(
        self,
        method: str,
        deployment: Deployment,
        path: str,
        query: str,
        headers: dict[str, str],
        within_s: float,
    ) -> Reply:
        """The same for a call without a body, to what the deployment's resource has at this path."""
        url = _v1_url(deployment.resource, path, query)
        return await self._send(method, url, deployment, headers, None, within_s)

    async def _send(
        self,
        method: str,
        url: URL,
        deployment: Deployment,
        headers: dict[str, str],
        body: bytes | FormBody | None,
        within_s: float,
    ) -> Reply:
        headers |= _ENCODING
        headers |= await self._authorization(deployment)
        try:
            async with asyncio.timeout(within_s):
                response = await self._session.request(
                    method, url, data=body, headers=headers, allow_redirects=False
                )
        except aiohttp.ConnectionTimeoutError:
            raise UpstreamUnreachable(
                "Azure OpenAI took no connection in time. Try again."
            ) from None
        except TimeoutError:
            raise UpstreamTimeout(
                f"Azure OpenAI did not begin to answer within {within_s:.3g} seconds. Try again."
            ) from None
        except (aiohttp.ClientError, OSError):
            raise UpstreamUnreachable("Azure OpenAI cannot be reached. Try again.") from None
        return Reply(response, self._idle_timeout_s)

    async def _authorization(self, deployment: Deployment) -> dict[str, str]:
        resource = deployment.resource
        key = deployment.callers_key or self._organisers_key(resource)
        if key and resource.kind == "azure":
            return {"api-key": key.get_secret_value()}
        if key:
            return {"authorization": f"Bearer {key.get_secret_value()}"}
        if resource.kind == "azure":
            return {"authorization": f"Bearer {await self._token.value()}"}
        return {}

    def _organisers_key(self, resource: Resource) -> SecretStr | None:
        """The key in the app settings; these do not change while the app runs."""
        if resource.name == OWN_RESOURCE:
            return self._own_key
        setting = resource.key_setting
        if setting and setting not in self._keys:
            self._keys[setting] = key_from_environ(setting)
        return self._keys.get(setting)


@lru_cache(maxsize=1024)
def _url(resource: Resource, operation: Operation, deployment: str) -> URL:
    """The deployment form of Azure where the operation has one; deployments come from model maps, so
    this is bounded."""
    if resource.kind == "openai" or operation.on_v1:
        return _v1_url(resource, operation.path)
    return URL(
        f"{resource.endpoint}/openai/deployments/{deployment}/{operation.path}"
        f"?api-version={resource.api_version}",
        encoded=True,
    )


def _v1_url(resource: Resource, path: str, query: str = "") -> URL:
    """The form that names no deployment: OpenAI's own, and the second one that Azure has."""
    base = resource.endpoint if resource.kind == "openai" else f"{resource.endpoint}/openai/v1"
    return URL(f"{base}/{path}" + (f"?{query}" if query else ""), encoded=True)
