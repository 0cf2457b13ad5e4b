"""What the gateway is measured against: a bare pass-through to one deployment, with no logic at all.

    python -m benchmarks.passthrough UPSTREAM_URL

Raw ASGI on uvicorn and one aiohttp session. Method, path and body go up, the chunks of the answer
come back as they arrive. It is as lean as it can be, so that it does not flatter the gateway.
"""

import asyncio
import socket
import sys
from functools import lru_cache

import aiohttp
import uvicorn
from starlette.types import Receive, Scope, Send
from yarl import URL

_HEADERS = {"api-key": "any", "content-type": "application/json"}
_QUERY = "?api-version=2024-10-21"
_BACK = (b"content-type", b"content-length")


class Passthrough:
    """An ASGI application."""

    def __init__(self, session: aiohttp.ClientSession, deployment_url: str) -> None:
        self._session = session
        self._url = lru_cache(lambda path: URL(f"{deployment_url}{path}{_QUERY}", encoded=True))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read(receive)
        async with self._session.request(
            scope["method"],
            self._url(scope["path"]),
            data=body,
            headers=_HEADERS,
            allow_redirects=False,
        ) as response:
            headers = [
                (name.lower(), value)
                for name, value in response.raw_headers
                if name.lower() in _BACK
            ]
            start = {"type": "http.response.start", "status": response.status, "headers": headers}
            await send(start)
            async for chunk in response.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


async def _read(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message["body"]
    while message["more_body"]:
        message = await receive()
        body += message["body"]
    return body


def _listen() -> socket.socket:
    """A free port; the protocol is named because asyncio turns Nagle's algorithm off only then."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


async def _serve(deployment_url: str) -> None:
    listener = _listen()
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    ) as session:
        config = uvicorn.Config(
            Passthrough(session, deployment_url),
            http="httptools",
            lifespan="off",
            access_log=False,
            proxy_headers=False,
            log_level="warning",
        )
        sys.stdout.write(f"listening on http://127.0.0.1:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        await uvicorn.Server(config).serve([listener])


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
