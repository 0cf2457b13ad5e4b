"""The embedded host: serves the function app's own handlers with uvicorn, where Core Tools is missing.

    python -m local.host [--port 7071]

It reads the triggers of function_app.py and the route prefix of host.json, chooses among the routes
as the Functions host does, and gives each handler the same Request that the Functions worker gives
it. Settings are the environment and the Values of local.settings.json; the environment wins.
"""

import argparse
import asyncio
import json
import logging
import re
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from local.environment import ROOT, read_local_settings

Handler = Callable[[Request], Awaitable[Response]]


class Routes:
    """The app's HTTP triggers: literal routes first, then those with parameters, then catch-alls."""

    def __init__(self, functions: list[Any], prefix: str) -> None:
        self._literal: dict[tuple[str, str], Handler] = {}
        self._patterns: list[tuple[int, re.Pattern[str], str, Handler]] = []
        for function in functions:
            trigger = function.get_trigger().get_dict_repr()
            if "route" not in trigger:
                continue
            route = "/" + "/".join(part for part in (prefix, trigger["route"].strip("/")) if part)
            for method in trigger["methods"]:
                self._add(
                    str(getattr(method, "value", method)), route, function.get_user_function()
                )
        self._patterns.sort(key=lambda pattern: pattern[0])

    def _add(self, method: str, route: str, handler: Handler) -> None:
        if "{" not in route:
            self._literal[method, route] = handler
            return
        pattern = re.sub(r"\{\*\w+\}", ".*", re.sub(r"\{\w+\}", "[^/]+", route))
        rank = 2 if "{*" in route else 1
        self._patterns.append((rank, re.compile(pattern, re.DOTALL), method, handler))

    def find(self, method: str, path: str) -> Handler | None:
        literal = self._literal.get((method, path))
        if literal:
            return literal
        for _, pattern, allowed, handler in self._patterns:
            if allowed == method and pattern.fullmatch(path):
                return handler
        return None


class Host:
    """An ASGI application around the function app."""

    def __init__(self, routes: Routes, close: Callable[[], Awaitable[None]]) -> None:
        self._routes = routes
        self._close = close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            handler = self._routes.find(scope["method"], scope["path"])
            if handler is None:
                await Response(status_code=404)(scope, receive, send)
                return
            response = await handler(Request(scope, receive, send))
            await response(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self._close()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return


def load(root: Path = ROOT) -> Host:
    """The function app in this folder, as an ASGI application."""
    sys.path.insert(0, str(root))
    import function_app
    from shared import app

    prefix = json.loads((root / "host.json").read_text())["extensions"]["http"]["routePrefix"]
    return Host(Routes(function_app.app.get_functions(), prefix), app.close)


def listen(port: int) -> socket.socket:
    """A socket on this port of the loopback interface; 0 is any free one. Raises OSError."""
    # The protocol is named because asyncio turns Nagle's algorithm off only then.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()  # calls that come before the server runs wait for it
    return listener


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the function app on this machine.")
    parser.add_argument("--port", type=int, default=7071, help="0 for any free port")
    port = parser.parse_args().port
    try:
        listener = listen(port)
    except OSError:
        sys.exit(f"Port {port} is taken. Choose another one: --port {port + 1}")
    read_local_settings()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    config = uvicorn.Config(load(), log_config=None, access_log=False)
    server = uvicorn.Server(config)
    sys.stdout.write(f"listening on http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    with suppress(KeyboardInterrupt):
        asyncio.run(server.serve([listener]))


if __name__ == "__main__":
    main()
