"""What is stored when an instance stops, although a part of the store hangs."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx

from shared.app import App
from shared.call_log import CallLog
from shared.exchange import Call
from shared.models import Caller
from shared.operations import CHAT_COMPLETIONS
from shared.paths import Target
from shared.settings import Settings
from tests import fleet, processes
from tests.conftest import gateway_settings

CODE = "stopping-event"


@asynccontextmanager
async def hanging(azurite_url: str, table: str, until: asyncio.Event) -> AsyncIterator[str]:
    """A way to this Azurite, on which what goes to one table is held up."""
    there = httpx.URL(azurite_url)

    async def pass_on(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_request: bool
    ) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(2**16):
                if is_request and f"/devstoreaccount1/{table}".encode() in chunk:
                    await until.wait()
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, requests = await asyncio.open_connection(there.host, there.port)
        await asyncio.gather(
            pass_on(reader, requests, is_request=True), pass_on(answers, writer, is_request=False)
        )

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def test_usage_and_leases_are_stored_while_the_cache_hangs(simulator: str) -> None:
    """The platform gives an instance little time to stop."""
    event = fleet.event(CODE, cache_max_age=3600, daily_tokens=100_000)
    caller = Caller(event, "ann")
    body = b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "bye"}]}'
    call = Call(CHAT_COMPLETIONS, Target(CHAT_COMPLETIONS), caller, [], body, CallLog())

    async def stop(azurite_url: str) -> None:
        storage, recovers = processes.connection_string(azurite_url), asyncio.Event()

        async def left_over() -> int:
            """How many tokens are granted to the instance beyond those that are known to be used."""
            lease, used = (
                await fleet.granted(storage, CODE, "ann"),
                await fleet.usage(storage, CODE),
            )
            granted = int(lease["DailyTokenCapGranted"])
            return granted - used["PromptTokens"] - used["CompletionTokens"]

        async with hanging(azurite_url, "cache", recovers) as slow_url:
            slow = processes.connection_string(slow_url)
            settings = Settings.from_environ(gateway_settings(slow, simulator))
            app = App(settings.model_copy(update={"usage_delay_s": 60.0}))
            assert (await app.proxy.forward(call)).status == 200
            assert await left_over() > 1000
            began = time.monotonic()
            closing = asyncio.create_task(app.close())
            assert await fleet.until(left_over, lambda tokens: not tokens, 10) == 0
            assert time.monotonic() - began < 3
            assert not closing.done(), "the cache did not hang"
            recovers.set()
            await closing

    with processes.azurite(processes.free_port()) as azurite:
        asyncio.run(stop(azurite.url))
