"""Events kept in memory, over a real store whose reads are counted."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from shared import store_cache
from shared.errors import EventStoreUnavailable
from shared.events import Events
from shared.models import Event
from shared.settings import storage_from_environ
from shared.store_cache import StoreCache
from shared.tables import Tables
from tests import processes
from tests.conftest import NOW, add_events

DAY = timedelta(days=1)


class World:
    """An event cache over a store that may be swapped for one that nobody answers at."""

    def __init__(self, events: Events, nowhere: Events) -> None:
        self.events = events
        self.reads = 0
        self.now = 1000.0
        self.is_down = False
        self._nowhere = nowhere
        self.cache = StoreCache[Event](self._read, lambda: self.now)

    async def _read(self, code: str) -> Event | None:
        self.reads += 1
        return await (self._nowhere if self.is_down else self.events).get(code)

    async def background_reads(self) -> None:
        await asyncio.gather(*self.cache._reads.values(), return_exceptions=True)


@asynccontextmanager
async def world(storage: str, code: str) -> AsyncIterator[World]:
    await add_events(storage, [Event(code=code, start=NOW - DAY, end=NOW + DAY)])
    closed = processes.connection_string(f"http://127.0.0.1:{processes.free_port()}")
    good, bad = (
        Tables(storage_from_environ({"EVENT_STORAGE": text})) for text in (storage, closed)
    )
    try:
        yield World(Events(good), Events(bad))
    finally:
        await good.close()
        await bad.close()


@pytest.fixture
def run(storage: str) -> Callable[[str, Callable[[World], Awaitable[None]]], None]:
    def _run(code: str, scenario: Callable[[World], Awaitable[None]]) -> None:
        async def main() -> None:
            async with world(storage, code) as it:
                await scenario(it)

        asyncio.run(main())

    return _run


Run = Callable[[str, Callable[[World], Awaitable[None]]], None]


async def set_active(world: World, code: str, active: bool) -> None:
    event = await world.events.get(code)
    assert event
    await world.events.save(event.model_copy(update={"active": active}))


def test_a_change_is_seen_within_thirty_seconds(run: Run) -> None:
    async def scenario(world: World) -> None:
        event = await world.cache.get("cache-change")
        assert event and event.active
        await set_active(world, "cache-change", False)
        world.now += 19.9
        event = await world.cache.get("cache-change")
        assert event and event.active and world.reads == 1
        world.now += 10.1
        event = await world.cache.get("cache-change")
        assert event and not event.active

    run("cache-change", scenario)


def test_a_busy_event_is_read_again_before_it_is_too_old(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.cache.get("cache-busy")
        world.now += 25
        await set_active(world, "cache-busy", False)
        event = await world.cache.get("cache-busy")
        assert event and event.active
        await world.background_reads()
        event = await world.cache.get("cache-busy")
        assert event and not event.active and world.reads == 2

    run("cache-busy", scenario)


def test_one_read_is_in_flight_however_many_wait(run: Run) -> None:
    async def scenario(world: World) -> None:
        found = await asyncio.gather(*(world.cache.get("cache-many") for _ in range(50)))
        assert all(found) and world.reads == 1

    run("cache-many", scenario)


def test_a_waiter_who_leaves_takes_nothing_from_the_others(run: Run) -> None:
    async def scenario(world: World) -> None:
        first = asyncio.create_task(world.cache.get("cache-leave"))
        second = asyncio.create_task(world.cache.get("cache-leave"))
        await asyncio.sleep(0)
        first.cancel()
        assert await second
        assert world.reads == 1

    run("cache-leave", scenario)


def test_a_missing_code_is_asked_for_again_after_ten_seconds(run: Run) -> None:
    async def scenario(world: World) -> None:
        assert await world.cache.get("cache-none") is None
        world.now += 9.9
        assert await world.cache.get("cache-none") is None
        assert world.reads == 1
        world.now += 0.1
        assert await world.cache.get("cache-none") is None
        assert world.reads == 2

    run("cache-other", scenario)


def test_a_flood_of_unknown_codes_costs_a_read_each_and_displaces_no_event(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_cache, "MISSES_KEPT", 50)

    async def scenario(world: World) -> None:
        await world.cache.get("cache-flood")
        for number in range(200):
            assert await world.cache.get(f"unknown-{number}") is None
        assert world.reads == 201
        assert len(world.cache._misses) == 50
        assert not world.cache._reads
        assert await world.cache.get("cache-flood")
        assert world.reads == 201

    run("cache-flood", scenario)


def test_while_the_store_is_down_a_known_event_goes_on_for_fifteen_minutes(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.cache.get("cache-down")
        world.is_down = True
        world.now += 31
        assert await world.cache.get("cache-down")
        assert world.cache.store_is_down
        world.now += 15 * 60 - 32
        assert await world.cache.get("cache-down")
        await world.background_reads()
        world.now += 1
        with pytest.raises(EventStoreUnavailable):
            await world.cache.get("cache-down")

    run("cache-down", scenario)


def test_while_the_store_is_down_nobody_waits_for_it_twice(run: Run) -> None:
    async def scenario(world: World) -> None:
        await world.cache.get("cache-wait")
        world.is_down = True
        world.now += 31
        await world.cache.get("cache-wait")
        reads = world.reads
        for _ in range(10):
            assert await world.cache.get("cache-wait")
        assert world.reads == reads
        world.now += 1
        assert await world.cache.get("cache-wait")
        await world.background_reads()
        assert world.reads == reads + 1

    run("cache-wait", scenario)


def test_when_the_store_is_back_it_is_asked_again(run: Run) -> None:
    async def scenario(world: World) -> None:
        world.is_down = True
        with pytest.raises(EventStoreUnavailable):
            await world.cache.get("cache-back")
        assert world.cache.store_is_down
        world.is_down = False
        assert await world.cache.get("cache-back")
        assert not world.cache.store_is_down

    run("cache-back", scenario)
