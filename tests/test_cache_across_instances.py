"""Instances share what they have stored, and go on without it when the store is away."""

import asyncio
import time
import uuid
from collections import Counter
from contextlib import ExitStack
from functools import partial

import httpx

from shared.cache import READ_WITHIN_S
from tests import fleet, processes
from tests.conftest import add_events, gateway_settings
from tests.e2e.calls import Calls
from tests.fleet import CHAT, ask, chat, event

HOUR_S = 3600


def status(response: httpx.Response) -> str:
    assert response.is_success, response.text
    return response.headers["x-portkey-cache-status"]


def test_what_one_instance_has_been_told_the_others_know(storage: str, simulator: str) -> None:
    """Also after it was stopped in the same moment: what is on its way is stored first."""
    said = uuid.uuid4().hex
    large = f"{said} repeat 3000"
    asyncio.run(add_events(storage, [event("shared-cache", cache_max_age=HOUR_S)]))

    async def one(client: httpx.AsyncClient, text: str, **members: object) -> str:
        return status(await chat(client, "shared-cache/ann", text, **members))

    async def first(gateways: fleet.Fleet) -> None:
        async with fleet.clients(gateways[:1]) as (client,):
            assert await one(client, said) == "MISS"
            assert await one(client, large, stream=True) == "MISS"

    async def second(gateways: fleet.Fleet) -> None:
        async with fleet.clients(gateways[1:]) as (client,):
            for stream in (False, True):
                assert await one(client, said, stream=stream) == "HIT"
                assert await one(client, large, stream=stream) == "HIT"

    with httpx.Client() as http, fleet.running(2, storage, simulator) as gateways:
        upstream = Calls(http, simulator)
        asyncio.run(first(gateways))
        gateways[0].stop()
        asyncio.run(second(gateways))
        assert len(upstream.all(said)) == 2
        assert not [line for gateway in gateways for line in gateway.complaints]


def test_many_who_ask_at_once_all_get_a_whole_answer(storage: str, simulator: str) -> None:
    """Through several instances, plainly and streamed, while answers are written over each other."""
    code, questions = "busy-cache", [f"{uuid.uuid4().hex} repeat {n}" for n in (5, 50, 500)]
    asyncio.run(add_events(storage, [event(code, cache_max_age=HOUR_S)]))
    found: list[tuple[str, str, int]] = []

    async def call(client: httpx.AsyncClient, text: str, stream: bool) -> None:
        options = {"stream_options": {"include_usage": True}} if stream else {}
        response = await chat(client, f"{code}/ann", text, stream=stream, **options)
        assert not stream or response.text.endswith("data: [DONE]\n\n")
        found.append((text, status(response), fleet.usage_of(response)))

    async def storm(gateways: fleet.Fleet) -> None:
        async with fleet.clients(gateways) as clients:
            calls = [
                partial(call, client, text, stream)
                for _ in range(10)
                for client in clients
                for text in questions
                for stream in (False, True)
            ]
            await fleet.at_once(16, calls)

    with fleet.running(2, storage, simulator) as gateways:
        asyncio.run(storm(gateways))
    tokens = {text: {used for asked, _, used in found if asked == text} for text in questions}
    assert all(len(each) == 1 for each in tokens.values())
    statuses = Counter(each for _, each, _ in found)
    assert statuses["HIT"] > 60 and statuses.keys() == {"HIT", "MISS"}
    missed = sum(used for _, each, used in found if each == "MISS")
    counted = asyncio.run(fleet.usage(storage, code))
    assert (counted["Requests"], counted["CacheHits"]) == (120, statuses["HIT"])
    assert counted["PromptTokens"] + counted["CompletionTokens"] == missed


def test_while_the_store_is_away_calls_are_answered_all_the_same(simulator: str) -> None:
    port = processes.free_port()
    storage = processes.connection_string(f"http://127.0.0.1:{port}")
    # Nobody waits for the ledger, so that only the cache could hold a call up.
    settings = {**gateway_settings(storage, simulator), "USAGE_DELAY_S": "1"}
    with ExitStack() as azurite, ExitStack() as running:
        azurite.enter_context(processes.azurite(port))
        asyncio.run(add_events(storage, [event("lonely-cache", cache_max_age=HOUR_S)]))
        gateway = running.enter_context(processes.gateway(settings))
        headers = {"api-key": "lonely-cache/ann"}
        client = running.enter_context(httpx.Client(base_url=gateway.url, headers=headers))
        known, unknown = uuid.uuid4().hex, uuid.uuid4().hex
        assert status(client.post(CHAT, json=ask(known))) == "MISS"

        azurite.close()
        began = time.monotonic()
        assert status(client.post(CHAT, json=ask(unknown))) == "MISS"
        assert time.monotonic() - began < READ_WITHIN_S + 1
        assert status(client.post(CHAT, json=ask(unknown))) == "HIT"
        assert status(client.post(CHAT, json=ask(known, stream=True))) == "HIT"
