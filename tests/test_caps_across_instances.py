"""Caps hold exactly, however many instances share them and whatever becomes of those."""

import asyncio
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from itertools import count, cycle, takewhile
from pathlib import Path

import httpx
import pytest

from tests import fleet, processes
from tests.conftest import add_events
from tests.e2e.calls import Call, Calls
from tests.fleet import Fleet, chat, event, granted, until

CALLERS = 64


@pytest.fixture(scope="module")
def gateways(storage: str, simulator: str) -> Iterator[Fleet]:
    with fleet.running(4, storage, simulator) as running:
        yield running
    assert not [line for gateway in running for line in gateway.complaints]


@pytest.fixture
def upstream(simulator: str) -> Iterator[Calls]:
    with httpx.Client() as http:
        yield Calls(http, simulator)


def total_tokens(calls: list[Call]) -> int:
    return sum(call["usage"]["total_tokens"] for call in calls)


def test_two_thousand_calls_by_way_of_four_instances_meet_a_cap_of_five_hundred(
    gateways: Fleet, storage: str, upstream: Calls
) -> None:
    async def storm() -> list[httpx.Response]:
        await add_events(storage, [event("many-calls", daily_requests=500)])
        async with fleet.clients(gateways) as clients:
            calls = [partial(chat, clients[i % 4], "many-calls/ann", "many") for i in range(2000)]
            return await fleet.at_once(CALLERS, calls)

    responses = asyncio.run(storm())

    refused = (429, "daily_request_cap_exceeded")
    assert fleet.answers(responses) == {(200, ""): 500, refused: 1500}
    assert len(upstream.all("many")) == 500
    headers = [response.headers for response in responses if response.status_code == 429]
    # Until the last of the 500 are answered, one of them may still fail and be free for another.
    final = [found for found in headers if found.get("x-should-retry") == "false"]
    assert all(int(found["retry-after"]) >= 1 for found in headers)
    assert all(found["retry-after"] == "1" for found in headers if found not in final)
    assert len(final) >= 1400


def test_instances_that_are_killed_and_started_again_never_let_more_in(
    gateways: Fleet, storage: str, upstream: Calls
) -> None:
    async def call(client: httpx.AsyncClient) -> int:
        try:
            return (await chat(client, "killed-often/ann", "killed", "sim-slow-500")).status_code
        except httpx.TransportError:
            await asyncio.sleep(0.05)  # its instance is being started
            return 0

    async def kill(times: int) -> None:
        for _ in range(times):
            await asyncio.sleep(random.uniform(0.1, 1))
            gateway = random.choice(gateways)
            await asyncio.to_thread(gateway.kill)
            await asyncio.to_thread(gateway.start)

    async def storm() -> Counter[int]:
        await add_events(storage, [event("killed-often", daily_requests=500)])
        async with fleet.clients(gateways) as clients:
            killing = asyncio.create_task(kill(2))
            while_killing = takewhile(lambda _: not killing.done(), count())
            calls = (partial(call, clients[i % 4]) for i in while_killing)
            seen = await fleet.at_once(CALLERS, calls)
            after = [partial(call, clients[i % 4]) for i in range(400)]
            return Counter(seen + await fleet.at_once(CALLERS, after))

    seen = asyncio.run(storm())

    admitted = len(upstream.all("killed"))
    assert seen[200] <= admitted <= 500
    assert seen[429] > 0
    assert set(seen) <= {200, 429, 0}
    # A lease that was lost is at most a 32nd of the cap, besides what its calls had reserved.
    assert admitted >= 500 - 2 * (500 // 32 + CALLERS)


def test_of_fifty_calls_at_once_one_gets_the_last_unit(
    gateways: Fleet, storage: str, upstream: Calls
) -> None:
    async def race() -> list[httpx.Response]:
        await add_events(storage, [event("last-unit", daily_requests=10)])
        async with fleet.clients(gateways) as clients:
            for i in range(9):
                assert (await chat(clients[i % 4], "last-unit/ann", "before")).is_success
            calls = (chat(clients[i % 4], "last-unit/ann", "the last unit") for i in range(50))
            return await asyncio.gather(*calls)

    responses = asyncio.run(race())

    refused = (429, "daily_request_cap_exceeded")
    assert fleet.answers(responses) == {(200, ""): 1, refused: 49}
    assert len(upstream.all("the last unit")) == 1


@pytest.mark.parametrize(
    ("code", "cap", "refusal"),
    [
        ("tokens-a-day", "daily_tokens", "daily_token_cap_exceeded"),
        ("tokens-in-all", "token_budget", "event_budget_exceeded"),
        ("tokens-a-minute", "tokens_per_minute", "rate_limit_exceeded"),
    ],
)
def test_callers_who_ask_for_all_they_can_get_no_more_tokens_than_the_cap(
    code: str, cap: str, refusal: str, gateways: Fleet, storage: str, upstream: Calls
) -> None:
    limit = 20_000
    key = f"{code}/ann"

    async def storm() -> list[httpx.Response]:
        await add_events(storage, [event(code, **{cap: limit})])
        async with fleet.clients(gateways) as clients:
            asked = [
                partial(chat, said=f"{code} repeat 300", max_tokens=300),
                partial(chat, said=f"{code} repeat 300"),
                partial(chat, said=f"{code} repeat 9999"),
            ]
            calls = [partial(asked[i % 3], clients[i % 4], key) for i in range(250)]
            return await fleet.at_once(CALLERS, calls)

    async def use_up_the_rest() -> None:
        """Call one by one, on one instance after another."""
        async with fleet.clients(gateways) as clients:
            for client in cycle(clients):
                one = partial(chat, client, key, f"{code} repeat 100", max_tokens=100)
                # What is left, another instance may hold until it has been idle for a while.
                if not (await until(one, lambda found: found.is_success, 5)).is_success:
                    return

    responses = asyncio.run(storm())

    assert set(fleet.answers(responses)) == {(200, ""), (429, refusal)}
    asyncio.run(use_up_the_rest())
    calls = upstream.all(code)
    minutes = {call["time"] // 60 for call in calls}
    limits = limit * len(minutes) if cap == "tokens_per_minute" else limit
    assert total_tokens(calls) <= limits
    assert total_tokens(calls) >= 0.95 * limit


def test_what_idle_instances_hold_goes_back_within_seconds(gateways: Fleet, storage: str) -> None:
    caps = {"daily_requests": 100_000, "daily_tokens": 10_000_000, "token_budget": 50_000_000}

    async def call() -> list[httpx.Response]:
        await add_events(storage, [event("soon-idle", **caps)])
        async with fleet.clients(gateways) as clients:
            calls = [partial(chat, clients[i % 4], "soon-idle/ann", "hello") for i in range(200)]
            return await fleet.at_once(16, calls)

    async def leases() -> tuple[int, int, int]:
        of_attendee = await granted(storage, "soon-idle", "ann")
        of_event = await granted(storage, "soon-idle")
        requests, tokens = (of_attendee[f"Daily{of}CapGranted"] for of in ("Request", "Token"))
        return requests, tokens, of_event["TokenBudgetGranted"]

    responses = asyncio.run(call())
    tokens = sum(map(fleet.usage_of, responses))
    used = (200, tokens, tokens)

    assert asyncio.run(until(leases, lambda found: found == used, within_s=5)) == used


def test_a_graceful_stop_in_the_middle_gives_back_all_that_was_not_used(
    storage: str, simulator: str, upstream: Calls
) -> None:
    async def call(client: httpx.AsyncClient) -> int:
        try:
            response = await chat(client, "stopped-all/ann", "stopped", "sim-slow-500")
        except httpx.TransportError:
            return 0
        assert response.is_success
        return fleet.usage_of(response)

    async def storm(running: Fleet) -> int:
        stops = [asyncio.to_thread(gateway.stop) for gateway in running]
        async with fleet.clients(running) as clients:
            calls = [partial(call, clients[i % 4]) for i in range(1000)]
            calling = asyncio.create_task(fleet.at_once(CALLERS, calls))
            enough = await until(lambda: asyncio.to_thread(answered), lambda n: n > 100, 20)
            assert enough > 100
            await asyncio.gather(*stops)
            return sum(await calling)

    def answered() -> int:
        return sum(call["outcome"] == "answered" for call in upstream.all("stopped"))

    caps = {"daily_requests": 100_000, "daily_tokens": 10_000_000, "token_budget": 50_000_000}
    asyncio.run(add_events(storage, [event("stopped-all", **caps)]))
    with fleet.running(4, storage, simulator) as running:
        seen = asyncio.run(storm(running))
        assert not [line for gateway in running for line in gateway.complaints]

    done = upstream.all("stopped")
    tokens = total_tokens(done)
    of_attendee = asyncio.run(granted(storage, "stopped-all", "ann"))
    of_event = asyncio.run(granted(storage, "stopped-all"))
    assert seen == tokens
    assert of_attendee["DailyRequestCapGranted"] == len(done)
    assert of_attendee["DailyTokenCapGranted"] == tokens == of_event["TokenBudgetGranted"]


def test_without_the_store_calls_go_on_as_far_as_the_leases_last_or_where_the_event_fails_open(
    tmp_path: Path, simulator: str, upstream: Calls
) -> None:
    port = processes.free_port()
    storage = processes.connection_string(f"http://127.0.0.1:{port}")
    closed, opened = "fails-closed/ann", "fails-open/ann"
    slowest = 0.0

    async def call(client: httpx.AsyncClient, key: str) -> httpx.Response:
        nonlocal slowest
        began = time.monotonic()
        response = await chat(client, key, f"{key} hello")
        slowest = max(slowest, time.monotonic() - began)
        return response

    async def storm(running: Fleet, key: str, calls: int) -> list[httpx.Response]:
        async with fleet.clients(running) as clients:
            made = [partial(call, clients[i % 2], key) for i in range(calls)]
            return await fleet.at_once(16, made)

    async def entered() -> int:
        row = await granted(storage, "fails-open", "ann")
        return int(row.get("DailyRequestCapGranted", 0))

    with ExitStack() as azurite:
        azurite.enter_context(processes.azurite(port, tmp_path))
        events = [
            event("fails-closed", daily_requests=5000),
            event("fails-open", daily_requests=200, fail_open=True),
        ]
        asyncio.run(add_events(storage, events))
        with fleet.running(2, storage, simulator) as running:
            before = asyncio.run(storm(running, closed, 100))
            before_open = asyncio.run(storm(running, opened, 20))
            assert all(response.is_success for response in before + before_open)

            azurite.close()
            refused = asyncio.run(storm(running, closed, 400))
            gone_on = asyncio.run(storm(running, opened, 250))

            assert fleet.answers(refused)[503, "event_store_unavailable"] > 0
            assert set(fleet.answers(refused)) <= {(200, ""), (503, "event_store_unavailable")}
            errors = [response for response in refused if not response.is_success]
            assert {response.headers["retry-after"] for response in errors} == {"1"}
            assert fleet.answers(gone_on) == {(200, ""): 250}
            assert slowest < 6

            azurite.enter_context(processes.azurite(port, tmp_path))
            opened_calls = len(upstream.all(opened))
            found = asyncio.run(until(entered, lambda n: n == opened_calls, 8))
            # A lease that was on its way back when the store stopped may be lost, never found twice.
            assert opened_calls <= found <= opened_calls + 2 * (200 // 32)
            assert fleet.answers(asyncio.run(storm(running, closed, 20))) == {(200, ""): 20}
        for code in ("fails-closed", "fails-open"):
            calls = len(upstream.all(code))
            assert asyncio.run(fleet.usage(storage, code))["Attempts"] == calls


def test_a_store_that_hangs_holds_up_the_first_who_ask_and_then_one_at_a_time(
    simulator: str,
) -> None:
    closed, opened = "hangs-closed", "hangs-open"
    caps = {"daily_requests": 500}

    async def call(client: httpx.AsyncClient, code: str, name: str) -> tuple[int, float]:
        began = time.monotonic()
        response = await chat(client, f"{code}/{name}", "hello")
        return response.status_code, time.monotonic() - began

    async def hang(running: Fleet, process: subprocess.Popen[str]) -> None:
        async with fleet.clients(running) as (client,):
            for code in (closed, opened):
                assert (await call(client, code, "ann"))[0] == 200
            process.send_signal(signal.SIGSTOP)
            try:
                for code, expected in ((closed, 503), (opened, 200)):
                    status, took_s = await call(client, code, "bob")
                    assert status == expected and took_s < 8
                await asyncio.sleep(1.1)  # until the store is given another chance
                both = (call(client, [closed, opened][i % 2], f"c{i}") for i in range(16))
                later = await asyncio.gather(*both)
                assert [status for status, _ in later] == [503, 200] * 8
                # The others wait for the ledger, at most 2 s.
                assert sum(took_s > 3 for _, took_s in later) == 1
            finally:
                process.send_signal(signal.SIGCONT)

    with processes.azurite(processes.free_port()) as azurite:
        storage = processes.connection_string(azurite.url)
        events = [event(closed, **caps), event(opened, **caps, fail_open=True)]
        asyncio.run(add_events(storage, events))
        with fleet.running(1, storage, simulator) as running:
            asyncio.run(hang(running, azurite.process))


def test_in_steady_state_four_calls_share_a_write_of_the_caps(simulator: str) -> None:
    command = ["node_modules/.bin/azurite-table", "--disableTelemetry", "--inMemoryPersistence"]
    port = processes.free_port()
    generous = {
        "daily_requests": 10**6,
        "requests_per_minute": 10**5,
        "daily_tokens": 10**9,
        "tokens_per_minute": 10**8,
        "token_budget": 10**10,
    }
    calls = 400

    async def storm(running: Fleet, key: str, calls: int) -> None:
        async with fleet.clients(running) as clients:
            made = [partial(chat, clients[0], key, "hello") for _ in range(calls)]
            assert fleet.answers(await fleet.at_once(16, made)) == {(200, ""): calls}

    with processes.running(
        [*command, "--tablePort", str(port)], ready=r"successfully started on (\S+)"
    ) as azurite:
        storage = processes.connection_string(azurite.url)
        asyncio.run(add_events(storage, [event("steady-state", **generous)]))
        with fleet.running(1, storage, simulator) as running:
            asyncio.run(storm(running, "steady-state/ann", 200))
            seen = len(azurite.lines)
            asyncio.run(storm(running, "steady-state/ann", calls))
            lines = azurite.lines[seen:]

    asked = Counter(
        next((table for table in ("quotas", "usage") if table in found[1]), "other")
        for line in lines
        if (found := re.search(r'"[A-Z]+ (\S+) HTTP', line))
    )
    assert asked["usage"] > 0
    assert asked["quotas"] / calls < 0.25
    assert asked.total() / calls < 1
