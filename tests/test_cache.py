"""The cache against a real Azurite: what is kept, in which rows, for how long, and when it goes."""

import asyncio
import random
import uuid
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from shared.cache import FRESH_S, MEMORY_BYTES, MOST_BYTES, READ_WITHIN_S, Cache
from shared.cache_table import PROPERTY_BYTES, ROW_BYTES, TABLE, CacheTable, Key, Stored
from shared.tables import Row, Tables, decode_key
from tests import fleet, processes

START = 1_800_000_000.0
HOUR_S = 3600
UNPACKABLE = random.Random(0).randbytes(MOST_BYTES)


class Instance:
    """A cache as an instance of the app has it, and its clock."""

    def __init__(self, tables: Tables, now: float = START) -> None:
        self.now = now
        self.tables = tables
        self.table = CacheTable(tables)
        self.cache = Cache(self.table, lambda: self.now)


@asynccontextmanager
async def instances(storage: str, count: int) -> AsyncIterator[list[Instance]]:
    """So many instances on one store; what they write is stored at the end of the block."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(count):
            tables = await stack.enter_async_context(fleet.tables(storage))
            found.append(Instance(tables))
            stack.push_async_callback(found[-1].cache.close)
        yield found


def some_key(code: str = "cached-event") -> Key:
    return Key(code, uuid.uuid4().hex)


def run(storage: str, count: int, work: Callable[..., Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        async with instances(storage, count) as found:
            await work(*found)

    asyncio.run(all_of_it())


async def stored(instance: Instance) -> None:
    """Wait until what has been put is in the table."""
    await instance.cache.close()


async def rows_of(storage: str, key: Key) -> list[Row]:
    async with fleet.tables(storage) as tables:
        rows = [row async for row in tables.rows(TABLE, key.code, key.code)]
        return [row for row in rows if decode_key(row["RowKey"]).startswith(key.digest)]


@pytest.mark.parametrize(
    ("size", "rows"),
    [
        (1, 1),
        (PROPERTY_BYTES - 1, 1),
        (PROPERTY_BYTES, 1),
        (PROPERTY_BYTES + 1, 1),
        (ROW_BYTES - 1, 1),
        (ROW_BYTES, 1),
        (ROW_BYTES + 1, 2),
        (3 * ROW_BYTES + 7, 4),
        (MOST_BYTES - 1, 6),
        (MOST_BYTES, 6),
    ],
)
def test_an_answer_of_any_size_comes_back_from_the_table(
    storage: str, size: int, rows: int
) -> None:
    key, document = some_key(), UNPACKABLE[:size]

    async def work(writer: Instance, reader: Instance) -> None:
        writer.cache.put(key, document, HOUR_S)
        await stored(writer)
        found = await reader.table.read(key)
        assert found and found.document == document
        assert (found.stored_at, found.expires_at) == (START, START + HOUR_S)
        assert len(await rows_of(storage, key)) == rows

    run(storage, 2, work)


def test_text_is_packed(storage: str) -> None:
    key, document = some_key(), b"the same again and again " * 100_000

    async def work(writer: Instance, reader: Instance) -> None:
        writer.cache.put(key, document, HOUR_S)
        await stored(writer)
        assert await reader.cache.get(key, HOUR_S) == document
        [row] = await rows_of(storage, key)
        assert zlib.decompress(row["Data0"]) == document

    run(storage, 2, work)


def test_an_answer_is_there_at_once_and_for_other_instances(storage: str) -> None:
    async def work(writer: Instance, reader: Instance) -> None:
        key = some_key()
        writer.cache.put(key, b"said", HOUR_S)
        assert await writer.cache.get(key, HOUR_S) == b"said"
        await stored(writer)
        assert await reader.cache.get(key, HOUR_S) == b"said"
        assert await reader.cache.get(Key("other-event", key.digest), HOUR_S) is None
        assert await reader.cache.get(some_key(key.code), HOUR_S) is None

    run(storage, 2, work)


def test_an_answer_expires_in_memory_and_in_the_table(storage: str) -> None:
    async def work(writer: Instance, reader: Instance) -> None:
        key = some_key()
        writer.cache.put(key, b"said", 100)
        await stored(writer)
        writer.now = reader.now = START + 99.5
        assert await writer.cache.get(key, HOUR_S) == b"said"
        assert await reader.cache.get(key, HOUR_S) == b"said"
        writer.now = reader.now = START + 100
        assert await writer.cache.get(key, HOUR_S) is None
        assert await reader.cache.get(key, HOUR_S) is None

    run(storage, 2, work)


def test_a_caller_may_want_a_younger_answer_than_the_one_that_is_there(storage: str) -> None:
    async def work(writer: Instance, reader: Instance) -> None:
        key = some_key()
        writer.cache.put(key, b"said", HOUR_S)
        await stored(writer)
        writer.now = reader.now = START + 10
        for instance in (writer, reader):
            assert await instance.cache.get(key, 10) is None
            assert await instance.cache.get(key, 11) == b"said"

    run(storage, 2, work)


@pytest.mark.parametrize("again", [b"new", UNPACKABLE[: ROW_BYTES + 1]], ids=["small", "large"])
def test_what_another_instance_writes_anew_is_seen_within_30_s(storage: str, again: bytes) -> None:
    async def work(writer: Instance, reader: Instance) -> None:
        key = some_key()
        writer.cache.put(key, UNPACKABLE[: 2 * ROW_BYTES], HOUR_S)
        await stored(writer)
        assert await reader.cache.get(key, HOUR_S) == UNPACKABLE[: 2 * ROW_BYTES]
        writer.now = START + 1
        writer.cache.put(key, again, HOUR_S)
        await stored(writer)
        reader.now = START + FRESH_S
        assert await reader.cache.get(key, HOUR_S) == again

    run(storage, 2, work)


def test_a_newer_answer_on_its_way_to_the_table_is_not_forgotten(storage: str) -> None:
    async def work(instance: Instance) -> None:
        key, newer = some_key(), UNPACKABLE[: 4 * ROW_BYTES]
        instance.cache.put(key, b"older", HOUR_S)
        await stored(instance)
        instance.now = START + 1
        instance.cache.put(key, newer, HOUR_S)
        instance.now += FRESH_S
        assert await instance.cache.get(key, HOUR_S) == newer

    run(storage, 1, work)


def test_a_reader_never_mixes_two_writes(storage: str) -> None:
    """Two instances write answers of different sizes over each other while a third reads."""
    key = some_key()
    answers = [
        bytes([letter]) * 8 + UNPACKABLE[: 2 * ROW_BYTES - 500 * letter] for letter in (1, 2)
    ]

    async def write(instance: Instance, document: bytes) -> None:
        for again in range(8):
            instance.now = START + again
            instance.cache.put(key, document, HOUR_S)
            await stored(instance)

    async def work(first: Instance, second: Instance, reader: Instance) -> None:
        writes = [write(first, answers[0]), write(second, answers[1])]
        tasks = [asyncio.create_task(each) for each in writes]
        seen = set()
        while not all(task.done() for task in tasks):
            found = await reader.table.read(key)
            if found:
                assert found.document in answers
                seen.add(found.version)
        await asyncio.gather(*tasks)
        assert len(seen) > 2

    run(storage, 3, work)


def test_an_answer_whose_rows_are_not_all_there_is_none(storage: str) -> None:
    async def work(writer: Instance, reader: Instance) -> None:
        key = some_key()
        writer.cache.put(key, UNPACKABLE[: 2 * ROW_BYTES], HOUR_S)
        await stored(writer)
        _, second = await rows_of(storage, key)
        async with fleet.tables(storage) as tables:
            await tables.delete(TABLE, key.code, decode_key(second["RowKey"]))
        assert await reader.cache.get(key, HOUR_S) is None

    run(storage, 2, work)


def test_memory_keeps_what_was_used_last(storage: str) -> None:
    """With the table emptied behind its back, what an instance still has it has in memory."""
    document = bytes(MOST_BYTES - 4096)
    keys = [some_key("memory-event") for _ in range(MEMORY_BYTES // MOST_BYTES + 1)]

    async def work(instance: Instance) -> None:
        for key in keys:
            instance.cache.put(key, document, HOUR_S)
            await instance.cache.get(keys[0], HOUR_S)
        await stored(instance)
        await instance.table.remove("memory-event")
        kept = [bool(await instance.cache.get(key, HOUR_S)) for key in keys]
        assert kept == [True, False, *[True] * (len(keys) - 2)]

    run(storage, 1, work)


def test_what_is_removed_with_its_event_is_gone_within_30_s(storage: str) -> None:
    async def work(writer: Instance, other: Instance) -> None:
        key, kept = some_key("removed-event"), some_key("removed-event-2")
        for each in (key, kept):
            writer.cache.put(each, UNPACKABLE[: ROW_BYTES + 1], HOUR_S)
        await stored(writer)
        await other.table.remove("removed-event")
        assert await rows_of(storage, key) == []
        writer.now = START + FRESH_S
        assert await writer.cache.get(key, HOUR_S) is None
        assert await writer.cache.get(kept, HOUR_S)

    run(storage, 2, work)


def test_at_night_what_has_expired_goes_and_what_no_answer_has(storage: str) -> None:
    """Rows that a broken write has left, or a newer answer, go after an hour: they may be in use."""
    code = "swept-event"
    begin = datetime.fromtimestamp(START, UTC)
    two_rows = UNPACKABLE[: ROW_BYTES + 1]

    async def work(writer: Instance) -> None:
        table = writer.table
        short, long, rewritten, broken = (some_key(code) for _ in range(4))
        await table.write(short, Stored(two_rows, START, START + 10, "v1"))
        await table.write(long, Stored(two_rows, START, START + 10 * HOUR_S, "v1"))
        await table.write(rewritten, Stored(two_rows, START, START + 10 * HOUR_S, "v1"))
        await table.write(rewritten, Stored(two_rows, START, START + 10 * HOUR_S, "v2"))
        await table.write(broken, Stored(two_rows, START, START + 10 * HOUR_S, "v1"))
        await writer.tables.delete(TABLE, code, broken.digest)

        async def left() -> list[int]:
            keys = (short, long, rewritten, broken)
            return [len(await rows_of(storage, key)) for key in keys]

        async def sweep(after: timedelta) -> list[int]:
            await table.sweep(begin + after)
            return await left()

        assert await left() == [2, 2, 3, 1]
        assert await sweep(timedelta(seconds=9)) == [2, 2, 3, 1]
        assert await sweep(timedelta(seconds=10)) == [0, 2, 3, 1]
        assert await sweep(timedelta(hours=1, seconds=1)) == [0, 2, 2, 0]
        found = await table.read(rewritten)
        assert found and (found.document, found.version) == (two_rows, "v2")
        assert await sweep(timedelta(hours=10)) == [0, 0, 0, 0]

    run(storage, 1, work)


def test_without_the_store_there_is_what_memory_has_and_nothing_waits(simulator: str) -> None:
    port = processes.free_port()
    with processes.azurite(port) as server:
        storage = processes.connection_string(server.url)

        async def work(instance: Instance) -> None:
            known, late, unknown = some_key(), some_key(), some_key()
            instance.cache.put(known, b"said", HOUR_S)
            await stored(instance)
            server.process.send_signal(19)  # SIGSTOP: it takes connections and never answers
            try:
                loop = asyncio.get_running_loop()
                began = loop.time()
                assert await instance.cache.get(unknown, HOUR_S) is None
                assert loop.time() - began < READ_WITHIN_S + 1
                began = loop.time()
                instance.now = START + 1
                for _ in range(100):
                    assert await instance.cache.get(unknown, HOUR_S) is None
                instance.cache.put(late, b"late", HOUR_S)
                assert await instance.cache.get(late, HOUR_S) == b"late"
                instance.now = START + FRESH_S
                assert await instance.cache.get(known, HOUR_S) == b"said"
                assert loop.time() - began < READ_WITHIN_S + 1
            finally:
                server.process.send_signal(18)  # SIGCONT
            instance.now += FRESH_S
            assert await instance.cache.get(known, HOUR_S) == b"said"
            for _ in range(2):
                other = some_key()
                await instance.table.write(other, Stored(b"back", START, START + HOUR_S, "v1"))
                assert await instance.cache.get(other, HOUR_S) == b"back"

        run(storage, 1, work)
