"""What a caller asks of the cache, through the whole gateway in this process."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from shared import reuse
from shared.app import App
from shared.cache import MOST_BYTES, Cache
from shared.cache_table import CacheTable, Key, Stored
from shared.call_log import CallLog
from shared.catalogue import Served
from shared.exchange import Call
from shared.limits import Members
from shared.models import Caller, Event, Resource
from shared.operations import CHAT_COMPLETIONS, OPERATIONS, Operation
from shared.paths import Target
from shared.plan import Deployment, Leg
from shared.settings import Settings
from shared.wishes import CacheWish, Wish, Wishes
from tests import fleet
from tests.conftest import gateway_settings
from tests.fleet import ask

Ask = Callable[[Call], Awaitable[tuple[dict[bytes, bytes], bytes]]]
AZURE = "https://example.openai.azure.com"
STATUS = b"x-portkey-cache-status"
NO_WISH = CacheWish()
HOUR = CacheWish(max_age_s=3600)
REFRESH = CacheWish(max_age_s=3600, refresh=True)


def some_event(**members: Any) -> Event:
    return fleet.event(f"wishes-{uuid.uuid4().hex[:20]}", **members)


@pytest.fixture
def text() -> str:
    return f"say {uuid.uuid4().hex}"


def call_of(
    event: Event,
    body: Members,
    cache: CacheWish = NO_WISH,
    wishes: Wish | Wishes | None = None,
    operation: Operation = CHAT_COMPLETIONS,
) -> Call:
    content = json.dumps(body).encode()
    caller = Caller(event, "ann")
    return Call(operation, Target(operation), caller, [], content, CallLog(), wishes, cache)


@asynccontextmanager
async def gateway(storage: str, simulator: str) -> AsyncIterator[Ask]:
    """Answers a call, with the headers and the whole body."""
    app = App(Settings.from_environ(gateway_settings(storage, simulator)))

    async def send(call: Call) -> tuple[dict[bytes, bytes], bytes]:
        answer = await app.proxy.forward(call)
        if isinstance(answer.body, bytes):
            return dict(answer.headers), answer.body
        async with aclosing(answer.body) as stream:
            return dict(answer.headers), b"".join([events async for events in stream])

    try:
        yield send
    finally:
        await app.close()


def statuses(storage: str, simulator: str, event: Event, *calls: tuple[Any, ...]) -> list[str]:
    """What the cache had to do with each of these calls, one after another."""

    async def run() -> list[str]:
        async with gateway(storage, simulator) as send:
            answers = [await send(call_of(event, *call)) for call in calls]
            return [headers.get(STATUS, b"").decode() for headers, _ in answers]

    return asyncio.run(run())


def test_a_caller_may_ask_for_the_cache_where_the_event_does_not(
    storage: str, simulator: str, text: str
) -> None:
    body = ask(text)
    found = statuses(
        storage, simulator, some_event(), (body, HOUR), (body, HOUR), (body, NO_WISH), (body, HOUR)
    )
    assert found == ["MISS", "HIT", "", "HIT"]


def test_a_wish_for_a_refresh_counts_where_there_is_a_cache(
    storage: str, simulator: str, text: str
) -> None:
    body, refresh = ask(text), CacheWish(refresh=True)
    cached = some_event(cache_max_age=3600)
    found = statuses(storage, simulator, cached, (body, refresh), (body,), (body, REFRESH), (body,))
    assert found == ["REFRESH", "HIT", "REFRESH", "HIT"]
    assert statuses(storage, simulator, some_event(), (body, refresh)) == [""]


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_refresh_makes_the_answer_anew(
    storage: str, simulator: str, text: str, is_stream: bool
) -> None:
    """By the documents' ids, which are never the same twice."""
    event = some_event(cache_max_age=3600)

    async def run() -> list[bytes]:
        async with gateway(storage, simulator) as send:
            calls = [
                call_of(event, ask(text, stream=is_stream and cache is REFRESH), cache)
                for cache in (NO_WISH, NO_WISH, REFRESH, NO_WISH)
            ]
            bodies = [body for _, body in [await send(call) for call in calls]]
            return [body[body.index(b"chatcmpl-") :][:38] for body in bodies]

    ids = asyncio.run(run())
    assert ids[0] == ids[1] != ids[2] == ids[3]


def test_a_callers_own_age_comes_before_the_events(storage: str, simulator: str, text: str) -> None:
    body, off = ask(text), CacheWish(max_age_s=0)
    cached = some_event(cache_max_age=3600)
    found = statuses(storage, simulator, cached, (body,), (body, off), (body, HOUR))
    assert found == ["MISS", "DISABLED", "HIT"]


def test_what_may_not_be_cached_is_told_to_be_off(storage: str, simulator: str, text: str) -> None:
    uncached = replace(CHAT_COMPLETIONS, is_cacheable=False)
    calls = [(ask(text), HOUR, None, operation) for operation in (uncached, CHAT_COMPLETIONS)]
    assert statuses(storage, simulator, some_event(), *calls, *calls) == [
        "DISABLED",
        "MISS",
        "DISABLED",
        "HIT",
    ]


def test_where_the_caller_leads_the_call_is_a_part_of_the_question(
    storage: str, simulator: str, text: str
) -> None:
    """Else one caller's override of the prompt would answer for all."""
    body = ask(text)
    shorter = Wish(params={"max_tokens": 3})
    spelled = Wish(params={"max_tokens": 4})
    other = Wish(model_map="gpt-4o|gpt-4o-mini")
    only = Wish(resource="default")
    found = statuses(
        storage,
        simulator,
        some_event(),
        (body, HOUR),
        (body, HOUR, Wish()),
        *[(body, HOUR, wish) for wish in (shorter, spelled, other, only)] * 2,
        (body, HOUR, Wishes((shorter, spelled))),
        (body, HOUR, Wishes((shorter, spelled))),
        (body, HOUR),
    )
    assert found == ["MISS", "HIT", *["MISS"] * 4, *["HIT"] * 4, "MISS", "HIT", "HIT"]


def test_an_answer_is_stored_although_the_instance_stops_at_once(
    storage: str, simulator: str, text: str
) -> None:
    event, call = some_event(cache_max_age=3600), (ask(text),)
    assert statuses(storage, simulator, event, call) == ["MISS"]
    assert statuses(storage, simulator, event, call) == ["HIT"]


def test_the_gateway_sweeps_out_what_has_expired(storage: str, simulator: str) -> None:
    key, now = Key("swept-event", uuid.uuid4().hex), time.time()

    async def run() -> None:
        app = App(Settings.from_environ(gateway_settings(storage, simulator)))
        async with fleet.tables(storage) as tables:
            table = CacheTable(tables)
            await table.write(key, Stored(b"said", now - 20, now + 3600, "v1"))
            await app.sweep_cache()
            assert await table.read(key)
            await table.write(key, Stored(b"said", now - 20, now - 10, "v2"))
            assert await app.sweep_cache() > 0
            assert await table.read(key) is None
        await app.close()

    asyncio.run(run())


def test_a_hit_is_served_where_more_tokens_are_spent_than_there_are(
    storage: str, simulator: str, text: str
) -> None:
    """As when a prompt was estimated too low, or the organiser has lowered a cap."""
    event = some_event(cache_max_age=3600, token_budget=10_000, daily_tokens=10_000)
    lowered = event.model_copy(update={"token_budget": 1, "daily_tokens": 1})
    assert statuses(storage, simulator, event, (ask(text),)) == ["MISS"]
    assert statuses(storage, simulator, lowered, (ask(text),)) == ["HIT"]


def test_what_is_too_large_is_not_kept(storage: str, text: str) -> None:
    members = ask(text)
    call = call_of(some_event(cache_max_age=3600), members)
    deployment = Deployment(Resource(name="default", endpoint=AZURE, model_map="m"), "m")
    head, tail = b'{"choices":[{"message":{"content":"', b'"},"finish_reason":"stop"}]}'

    async def run() -> None:
        async with fleet.tables(storage) as tables:
            cache = Cache(CacheTable(tables), time.time)
            found = reuse.of(cache, call, members, Served("m", Leg(deployment, "m")))
            assert found
            for size, is_kept in ((MOST_BYTES + 1, False), (MOST_BYTES, True)):
                document = head + b"a" * (size - len(head) - len(tail)) + tail
                found.keep(document, is_bounded=False)
                assert (await found.find() == document) is is_kept
            await cache.close()

    asyncio.run(run())


def test_operations_do_not_share(text: str) -> None:
    deployment = Deployment(Resource(name="default", endpoint=AZURE, model_map="m"), "m")
    served, event = Served("m", Leg(deployment, "m")), some_event()
    calls = [call_of(event, {}, operation=each) for each in OPERATIONS.values()]
    assert len({reuse.digest(call, {}, served) for call in calls}) == len(calls) > 1


def test_a_callers_own_resource_says_nothing_to_others(storage: str, text: str) -> None:
    members = ask(text)
    call = call_of(some_event(cache_max_age=3600), members)
    organisers = Deployment(Resource(name="default", endpoint=AZURE, model_map="m"), "gpt-4o")
    own = replace(organisers, callers_key=SecretStr("a-key"))

    async def run() -> None:
        async with fleet.tables(storage) as tables:
            cache = Cache(CacheTable(tables), time.time)
            for deployment, has_part in ((organisers, True), (own, False)):
                served = Served("gpt-4o", Leg(deployment, "gpt-4o"))
                assert (reuse.of(cache, call, members, served) is not None) is has_part

    asyncio.run(run())
