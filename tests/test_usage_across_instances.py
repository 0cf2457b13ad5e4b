"""What attendees use through several instances is counted once, in full, whatever becomes of those."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest

from shared.folding import Folding
from shared.models import pseudonym
from shared.tables import Tables
from shared.usage_table import TABLE, Key, Record, UsageTable
from tests import fleet
from tests.conftest import add_events
from tests.e2e.calls import Calls
from tests.fleet import CHAT, EMBEDDINGS, Fleet, ask, chat, event, until

Totals = dict[tuple[str, str], Counter[str]]


@pytest.fixture(scope="module")
def gateways(storage: str, simulator: str) -> Iterator[Fleet]:
    with fleet.running(4, storage, simulator) as running:
        yield running
    assert not [line for gateway in running for line in gateway.complaints]


@pytest.fixture
def upstream(simulator: str) -> Iterator[Calls]:
    with httpx.Client() as http:
        yield Calls(http, simulator)


async def totals(storage: str, code: str) -> Totals:
    """What the table holds of an event, by pseudonym and model."""
    found: Totals = {}
    async with fleet.tables(storage) as tables:
        async for record in UsageTable(tables).records(code):
            key = (record.key.attendee, record.key.model)
            found.setdefault(key, Counter()).update(record.counts)
    return found


async def abandon(client: httpx.AsyncClient, key: str, said: str) -> None:
    """Leave in the middle of a stream."""
    body = ask(said, "sim-drip-10", stream=True)
    async with client.stream("POST", CHAT, headers={"api-key": key}, json=body) as response:
        async for chunk in response.aiter_text():
            if " 9" in chunk:
                return


async def embed(client: httpx.AsyncClient, key: str, said: str) -> httpx.Response:
    body = {"model": "text-embedding-3-small", "input": [said, said]}
    return await client.post(EMBEDDINGS, headers={"api-key": key}, json=body)


def test_the_table_says_what_the_upstream_has_said(
    gateways: Fleet, storage: str, upstream: Calls
) -> None:
    code = "adds-up"
    kinds = [
        chat,
        partial(chat, stream=True),
        partial(chat, model="gpt-4", stream=True, stream_options={"include_usage": True}),
        partial(chat, model="sim-cut", stream=True),
        abandon,
        embed,
    ]
    names = [f"attendee-{i}" for i in range(10)]

    async def storm() -> None:
        await add_events(storage, [event(code)])
        async with fleet.clients(gateways) as clients:
            calls = [
                partial(kind, random.choice(clients), f"{code}/{name}", f"{code} {name} repeat 50")
                for name in names
                for kind in kinds * 4
            ]
            random.shuffle(calls)
            await fleet.at_once(32, calls)

    def of(call: dict[str, Any]) -> tuple[str, str]:
        name = next(name for name in names if name in call["body"])
        return pseudonym(code, name), call["deployment"]

    asyncio.run(storm())
    requests = len(names) * len(kinds) * 4
    found = asyncio.run(
        until(lambda: totals(storage, code), lambda now: _requests(now) == requests, 5)
    )

    told: Totals = {}
    sent: Counter[tuple[str, str]] = Counter()
    for call in upstream.all(code):
        usage = call["usage"] or {}
        told.setdefault(of(call), Counter()).update(
            prompt=usage.get("prompt_tokens", 0), completion=usage.get("completion_tokens", 0)
        )
        sent[of(call)] += 0 if call["usage"] else call["events_sent"]
    assert _requests(found) == requests
    assert found.keys() == told.keys()
    for key, counts in found.items():
        missing = told[key]["prompt"] - counts["PromptTokens"]
        missing += told[key]["completion"] - counts["CompletionTokens"]
        if key[1] == "sim-drip-10":  # its callers leave, now and then just when upstream is done
            assert missing >= 0
        else:
            assert missing == 0 and counts["PromptTokens"] == told[key]["prompt"]
        if key[1] in ("sim-cut", "sim-drip-10"):
            # Each of the four calls has a prompt of some 15 tokens.
            assert sent[key] / 2 <= counts["EstimatedTokens"] <= sent[key] + 4 * 30 + missing
        else:
            assert counts["EstimatedTokens"] == 0


def test_what_callers_had_in_full_is_counted_although_the_instance_is_killed(
    gateways: Fleet, storage: str
) -> None:
    code = "killed-after"
    streamed = partial(chat, stream=True, stream_options={"include_usage": True})
    names = ["ann", "bob", "cid", "dan"]
    seen: Counter[tuple[str, str]] = Counter()

    async def call(client: httpx.AsyncClient, enough: int, i: int) -> None:
        kind = streamed if i % 2 else chat
        try:
            response = await kind(client, f"{code}/{names[i % 4]}", f"{code} repeat {i % 40}")
        except httpx.TransportError:
            return
        assert not i % 2 or response.text.endswith("data: [DONE]\n\n")
        seen[pseudonym(code, names[i % 4]), "gpt-4o"] += fleet.usage_of(response)
        if seen.total() >= enough:
            gateways[0].kill()

    async def storm(enough: int) -> None:
        async with fleet.clients(gateways[:1]) as (client,):
            await fleet.at_once(32, [partial(call, client, enough, i) for i in range(400)])
        gateways[0].kill()
        gateways[0].start()

    asyncio.run(add_events(storage, [event(code)]))
    for _ in range(3):
        asyncio.run(storm(seen.total() + random.randrange(100, 3000)))
    found = asyncio.run(totals(storage, code))

    for key, tokens in seen.items():
        assert found[key]["PromptTokens"] + found[key]["CompletionTokens"] >= tokens


def test_an_attendee_with_the_longest_name_does_not_keep_the_others_out_of_the_table(
    gateways: Fleet, storage: str
) -> None:
    async def call() -> None:
        await add_events(storage, [event("long-names", store_names=True)])
        async with fleet.clients(gateways[:1]) as (client,):
            for name in ("ann", "\N{GRINNING FACE}" * 40, "ann", "bob"):
                headers = {b"api-key": f"long-names/{name}".encode()}
                response = await client.post(CHAT, headers=headers, json=ask("hello"))
                assert response.is_success

    asyncio.run(call())

    def is_all(found: Counter[str]) -> bool:
        return found["Requests"] == 4

    assert is_all(asyncio.run(until(lambda: fleet.usage(storage, "long-names"), is_all, 3)))


def test_a_graceful_stop_in_the_middle_loses_no_usage(
    gateways: Fleet, storage: str, upstream: Calls
) -> None:
    code = "stopped-amid"

    async def call(client: httpx.AsyncClient, **members: object) -> None:
        with suppress(httpx.TransportError):
            await chat(client, f"{code}/ann", f"{code} repeat 20", "sim-drip-10", **members)

    async def storm() -> None:
        async with fleet.clients(gateways) as clients:
            calls = [partial(call, clients[i % 4], stream=bool(i % 8 > 3)) for i in range(600)]
            calling = asyncio.create_task(fleet.at_once(32, calls))
            enough = await until(lambda: asyncio.to_thread(upstream.all, code), _is_enough, 20)
            assert _is_enough(enough)
            await asyncio.gather(*(asyncio.to_thread(gateway.stop) for gateway in gateways))
            await calling

    asyncio.run(add_events(storage, [event(code)]))
    try:
        asyncio.run(storm())
    finally:
        for gateway in gateways:
            gateway.start()
    found = asyncio.run(fleet.usage(storage, code))

    told = [call["usage"] for call in upstream.all(code)]
    assert found["Attempts"] == len(told)
    assert found["PromptTokens"] == sum(usage["prompt_tokens"] for usage in told)
    assert found["CompletionTokens"] == sum(usage["completion_tokens"] for usage in told)
    assert found["EstimatedTokens"] == 0


YESTERDAY = datetime.now(UTC) - timedelta(days=1)
COUNTS = {"Requests": 1, "PromptTokens": 10, "CompletionTokens": 100}


async def write_rows(tables: Tables, code: str, hour: datetime, names: int, rows: int) -> None:
    """Rows of so many attendees, each with so many rows, in the hour and in the one before noon."""
    hours = [hour.replace(hour=of_day, minute=0, second=0, microsecond=0) for of_day in (3, 11)]

    async def write(i: int) -> None:
        keys = [
            Key(code, hours[i % 2], f"attendee-{j}", "gpt-4o", "chat/completions")
            for j in range(names)
        ]
        await UsageTable(tables).write(f"{i:012x}", [Record(key, COUNTS) for key in keys])

    await fleet.at_once(16, [partial(write, i) for i in range(rows)])


async def by_key(tables: Tables, code: str) -> dict[Key, Counter[str]]:
    found: dict[Key, Counter[str]] = {}
    async for record in UsageTable(tables).records(code):
        found.setdefault(record.key, Counter()).update(record.counts)
    return found


async def rows_of(tables: Tables, code: str) -> list[dict[str, Any]]:
    return [row async for row in tables.rows(TABLE, f"{code}/", f"{code}/~")]


def _is_enough(calls: list[dict[str, Any]]) -> bool:
    return sum(call["outcome"] == "answered" for call in calls) > 100


def _requests(found: Totals) -> int:
    return sum(counts["Requests"] for counts in found.values())


@pytest.mark.parametrize(("code", "names"), [("folds-once", 3), ("folds-pages", 6)])
def test_two_who_fold_at_once_change_no_total_not_even_for_those_who_read(
    code: str, names: int, storage: str
) -> None:
    """Six attendees have more rows than the store returns in one page."""

    async def fold() -> tuple[int, list[str], dict[Key, Counter[str]]]:
        async with fleet.tables(storage) as tables, fleet.tables(storage) as others:
            await write_rows(tables, code, YESTERDAY, names, rows=260)
            before = await by_key(tables, code)
            assert len(before) == 2 * names
            folding = asyncio.gather(
                Folding(tables).fold(datetime.now(UTC)), Folding(others).fold(datetime.now(UTC))
            )
            wrong = []
            async with fleet.tables(storage) as readers:
                while not folding.done():
                    if (seen := await by_key(readers, code)) != before:
                        requests = sum(counts["Requests"] for counts in seen.values())
                        wrong.append(f"{requests} requests of {260 * names}")
            await folding
            await Folding(tables).fold(datetime.now(UTC))
            assert await by_key(tables, code) == before
            rows = await rows_of(tables, code)
            assert await Folding(tables).fold(datetime.now(UTC)) == 0
            assert await rows_of(tables, code) == rows
            return len(rows), wrong, before

    rows, wrong, before = asyncio.run(fold())

    assert rows == names
    assert all(
        counts == {name: 130 * n for name, n in COUNTS.items()} for counts in before.values()
    )
    assert wrong == []


def test_the_rows_of_today_are_left_alone(storage: str) -> None:
    async def fold() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        async with fleet.tables(storage) as tables:
            await write_rows(tables, "folds-not", datetime.now(UTC), names=2, rows=5)
            before = await rows_of(tables, "folds-not")
            await Folding(tables).fold(datetime.now(UTC))
            return before, await rows_of(tables, "folds-not")

    before, after = asyncio.run(fold())

    assert len(before) == 10
    assert after == before
