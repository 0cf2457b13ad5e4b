"""Several resources behind one gateway: who is asked, what is hidden, and who has to wait."""

import asyncio
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import pairwise
from typing import Any

import httpx
import pytest

from shared.resources import Resources
from tests import failover, fleet
from tests.failover import (
    KEY,
    OPENING_EVENTS,
    RESUMING,
    SAID,
    WHOLE,
    Answer,
    Callers,
    Gateway,
    House,
    all_left,
    assert_broken,
    assert_whole,
    deployment,
    within,
)

both_ways = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
PLACES = 20
PLACE_S = 0.5
QUEUE_TIMEOUT_S = 3
LONGEST_QUEUE = 1000


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with failover.running() as started:
        yield started


@pytest.fixture(scope="module")
def gateway(house: House) -> Iterator[Gateway]:
    # The time in the queue counts as time without a first byte.
    with house.gateway(UPSTREAM_FIRST_BYTE_TIMEOUT_S="15") as started:
        yield started


@pytest.fixture(scope="module", autouse=True)
def changed(house: House) -> Iterator[tuple[Gateway, float]]:
    """A gateway that is impatient with its queue, and when its resources changed under it.

    It is started before the first test, since it may take 30 s to notice the change.
    """

    async def change() -> None:
        async with fleet.tables(house.storage) as tables:
            resources = Resources(tables)
            await resources.save(house.row("changed", model_map="changed|after"))
            await resources.remove("removed")
            await resources.add(house.row("added", model_map="added|added"))

    patience = {
        "QUEUE_TIMEOUT_S": str(QUEUE_TIMEOUT_S),
        "UPSTREAM_FIRST_BYTE_TIMEOUT_S": "20",
    }
    with house.gateway(**patience) as started:
        for model in ("changed", "removed"):
            assert started.chat(model).status == 200
        assert started.chat("added").status == 404
        asyncio.run(change())
        yield started, time.monotonic()


@pytest.fixture(scope="module")
def impatient(changed: tuple[Gateway, float]) -> Gateway:
    return changed[0]


@pytest.fixture
def model(house: House) -> str:
    """A model of `default`, and of `second` if that cannot answer."""
    return house.model()


def second(model: str) -> str:
    return deployment("second", model)


def resource_of(answer: Answer) -> str:
    return answer.deployment.partition("/")[0]


# Failing over


def test_sixteen_callers_do_not_notice_that_one_of_two_deployments_is_down(
    house: House, gateway: Gateway, model: str
) -> None:
    seen: list[tuple[float, Answer]] = []
    is_down, is_back = asyncio.Event(), asyncio.Event()

    async def call_on(callers: Callers, number: int) -> None:
        while True:
            answer = await callers.chat(
                model, key=f"hackathon/caller-{number}", stream=number % 2 == 0
            )
            seen.append((time.time(), answer))
            if not is_down.is_set() and resource_of(answer) == "default":
                is_back.set()
            await asyncio.sleep(0.1)

    async def story() -> tuple[float, float]:
        async with gateway.clients() as callers:
            calling = [asyncio.create_task(call_on(callers, number)) for number in range(16)]
            await asyncio.wait_for(is_back.wait(), 5)
            is_down.set()
            house.first.has(model, "sim-503")
            down_at = time.time()
            await asyncio.sleep(6.5)
            is_back.clear()
            is_down.clear()
            house.first.has(model, None)
            up_at = time.time()
            await asyncio.wait_for(is_back.wait(), 10)
            await asyncio.sleep(1)
            for task in calling:
                task.cancel()
            for result in await asyncio.gather(*calling, return_exceptions=True):
                assert isinstance(result, asyncio.CancelledError)
        return down_at, up_at

    down_at, up_at = asyncio.run(story())

    for _, answer in seen:
        assert_whole(answer)
    attempts = [call["time"] for call in house.first.calls(model)]
    probes = [at for at in attempts if down_at + 1 < at < up_at]
    assert len(probes) <= 2
    assert all(later - sooner > 3 for sooner, later in pairwise(probes))
    back_at = min(at for at, answer in seen if at > up_at and resource_of(answer) == "default")
    assert back_at - up_at < 6
    after = [resource_of(answer) for at, answer in seen if at > back_at + 0.5]
    assert len(after) > 5 and set(after) == {"default"}


@pytest.mark.parametrize(
    "fault", ["sim-cut-2", "sim-stall-2", "sim-malformed-2", "sim-firsterror", "sim-empty"]
)
def test_a_stream_that_fails_before_its_first_token_comes_from_elsewhere(
    house: House, gateway: Gateway, model: str, fault: str
) -> None:
    house.first.has(model, fault)
    answer = gateway.chat(model, stream=True)
    assert_whole(answer)
    assert resource_of(answer) == "second"
    assert answer.seconds < 3


def test_embeddings_fail_over_too(house: House, gateway: Gateway, model: str) -> None:
    house.first.has(model, "sim-503")
    response = gateway.post(fleet.EMBEDDINGS, {"model": model, "input": "hello"})
    assert response.status_code == 200
    assert response.headers["x-gateway-deployment"] == f"second/{second(model)}"


@both_ways
def test_a_resource_that_cannot_be_reached_is_passed_over(gateway: Gateway, stream: bool) -> None:
    answer = gateway.chat("pair-0", stream=stream)
    assert_whole(answer)
    assert resource_of(answer) == "default"


def test_a_resource_that_is_switched_off_is_not_asked(house: House, gateway: Gateway) -> None:
    assert gateway.chat("pair-1").deployment == "default/pair-1"
    assert not house.second.calls("off")


@both_ways
def test_no_call_is_tried_more_often_than_it_may_be(
    house: House, gateway: Gateway, stream: bool
) -> None:
    model = house.model("crowd")
    house.first.has(model, "sim-503")
    for resource in ("east", "west", "second"):
        house.second.has(deployment(resource, model), "sim-503")
    answer = gateway.chat(model, stream=stream)
    assert (answer.status, answer.code, answer.attempts) == (503, "503", 3)
    seen = len(house.first.calls(model)) + sum(
        len(house.second.calls(deployment(resource, model)))
        for resource in ("east", "west", "second")
    )
    assert seen == 3


def test_a_redirect_is_not_followed_and_the_next_resource_answers(
    house: House, gateway: Gateway, model: str
) -> None:
    house.first.has(model, "sim-307")
    assert gateway.chat(model).deployment == f"second/{second(model)}"
    house.second.has(second(model), "sim-307")
    refused = gateway.chat(model)
    assert (refused.status, refused.code) == (502, "upstream_unreachable")
    assert "location" not in refused.headers


@pytest.mark.parametrize("fault", ["sim-400", "sim-filter", "sim-409"])
def test_the_callers_own_faults_are_asked_nobody_else(
    house: House, gateway: Gateway, model: str, fault: str
) -> None:
    house.first.has(model, fault)
    answer = gateway.chat(model)
    assert (answer.status, answer.attempts) == (400, 1)
    assert answer.deployment == f"default/{model}"
    assert not house.second.calls(second(model))
    house.first.has(model, None)
    assert resource_of(gateway.chat(model)) == "default"


@pytest.mark.parametrize("fault", ["sim-401", "sim-403", "sim-404"])
def test_a_misconfigured_resource_is_passed_over_told_of_and_tried_last(
    house: House, gateway: Gateway, model: str, fault: str
) -> None:
    house.first.has(model, fault)
    answer = gateway.chat(model)
    assert_whole(answer)
    assert (resource_of(answer), answer.attempts) == ("second", 2)

    assert gateway.chat(model).attempts == 1
    assert len(house.first.calls(model)) == 1
    problems = [one for one in gateway.get("/health")["problems"] if f"default/{model}" in one]
    assert len(problems) == 1
    assert gateway.has_said(f"default/{model}")

    house.first.has(model, None)
    house.second.has(second(model), "sim-503")
    assert_whole(gateway.chat(model))
    house.second.has(second(model), None)
    assert not any(f"default/{model}" in one for one in gateway.get("/health")["problems"])


@pytest.mark.parametrize("path", ["chat/completions", "responses"])
def test_a_404_about_what_the_caller_speaks_of_goes_to_the_caller(
    house: House, gateway: Gateway, model: str, path: str
) -> None:
    house.first.has(model, "sim-nofile")
    answer = gateway.post(f"/v1/{path}", {**fleet.ask(SAID, model), "input": SAID})

    assert (answer.status_code, answer.headers["x-gateway-attempts"]) == (404, "1")
    assert answer.json()["error"]["param"] == "file"
    assert not any(f"default/{model}" in one for one in gateway.get("/health")["problems"])


@pytest.mark.parametrize(("path", "is_told"), [("chat/completions", True), ("responses", False)])
def test_a_404_of_a_wrong_address_moves_on_and_is_told_where_every_resource_has_it(
    house: House, gateway: Gateway, model: str, path: str, is_told: bool
) -> None:
    house.first.has(model, "sim-nopath")
    answer = gateway.post(f"/v1/{path}", {**fleet.ask(SAID, model), "input": SAID})

    assert (answer.status_code, answer.headers["x-gateway-attempts"]) == (200, "2")
    problems = gateway.get("/health")["problems"]
    assert any(f"default/{model}" in one for one in problems) == is_told


@pytest.mark.parametrize("events", [2, 6])
def test_a_callers_fault_told_in_a_stream_is_no_failure(
    house: House, gateway: Gateway, model: str, events: int
) -> None:
    """Before the first content it is the answer, in the middle of it the end; five would open a breaker."""
    house.first.has(model, f"sim-badimage-{events}")
    asked = {"model": model, "input": SAID, "stream": True}
    for _ in range(6):
        answer = gateway.post("/v1/responses", asked)
        assert answer.headers["x-gateway-deployment"] == f"default/{model}"
        assert answer.headers["x-gateway-attempts"] == "1"
        assert answer.status_code == (400 if events == 2 else 200)
        assert "failed_to_download_image" in answer.text

    assert f"default/{model}" not in gateway.get("/health")["deployments"]


def test_speech_counts_once_among_the_outcomes(house: House, gateway: Gateway) -> None:
    """Half of the calls fail, which opens the breaker when there are enough of them."""
    model = house.model("alone")
    house.first.has(model, "sim-flap")
    states = set()
    for _ in range(12):
        gateway.post("/v1/audio/speech", {"model": model, "input": "hi", "voice": "coral"})
        states.add(gateway.get("/health")["deployments"].get(f"default/{model}"))
        if "open" in states:
            return
    raise AssertionError(f"after 12 calls of two attempts each it has been {states}")


@pytest.mark.parametrize("events", [2, 6])
def test_a_rate_limit_told_in_a_stream_cools_the_deployment_down(
    house: House, gateway: Gateway, model: str, events: int
) -> None:
    house.first.has(model, f"sim-limited-{events}")
    asked = {"model": model, "input": SAID, "stream": True}
    answer = gateway.post("/v1/responses", asked)

    first = "second" if events == 2 else "default"
    assert answer.headers["x-gateway-deployment"].startswith(f"{first}/")
    assert gateway.get("/health")["deployments"][f"default/{model}"] == "cooling"


def test_health_names_the_deployments_that_are_not_well(
    house: House, gateway: Gateway, model: str
) -> None:
    house.first.has(model, "sim-503")
    house.second.has(second(model), "sim-429-30")
    for _ in range(3):
        gateway.chat(model)
    told = gateway.get("/health")["deployments"]
    assert told[f"default/{model}"] == "open"
    assert told[f"second/{second(model)}"] == "cooling"
    healthy = house.model()
    gateway.chat(healthy)
    assert f"default/{healthy}" not in gateway.get("/health")["deployments"]


def test_the_last_that_can_answer_may_take_its_time(
    house: House, gateway: Gateway, model: str
) -> None:
    house.second.has(second(model), "sim-429-60")
    house.first.has(model, "sim-503", calls=2)
    gateway.chat(model)
    house.first.has(model, "sim-late-1500")
    answer = gateway.chat(model, stream=True)
    assert_whole(answer)
    assert answer.seconds >= 1.5 and answer.deployment == f"default/{model}"


def test_an_answer_says_who_gave_it_and_the_log_every_attempt(
    house: House, gateway: Gateway, model: str
) -> None:
    house.first.has(model, "sim-503")
    answer = gateway.chat(model)
    assert (answer.attempts, answer.deployment) == (3, f"second/{second(model)}")
    line = gateway.line(answer)
    assert (line["model"], line["deployment"]) == (model, f"second/{second(model)}")
    told = [json.dumps(attempt) for attempt in line["attempts"]]
    assert len(told) == 3
    for attempt, (name, status) in zip(
        told,
        [(f"default/{model}", "503")] * 2 + [(f"second/{second(model)}", "200")],
        strict=True,
    ):
        assert name in attempt and status in attempt


# 429


@both_ways
def test_a_short_retry_after_is_waited_for_where_nobody_else_serves(
    house: House, gateway: Gateway, stream: bool
) -> None:
    model = house.model("alone")
    house.first.has(model, "sim-429-1", calls=1)
    answer = gateway.chat(model, stream=stream)
    assert_whole(answer)
    assert 0.9 <= answer.seconds < 2 and answer.attempts == 2
    assert len(house.first.calls(model)) == 2


def assert_busy(answer: Answer, retry_after_s: float) -> None:
    """429 at once, with about so many seconds until the next try."""
    assert answer.status == 429
    assert retry_after_s - 2 < int(answer.headers["retry-after"]) <= retry_after_s
    assert 0 <= retry_after_s * 1000 - int(answer.headers["retry-after-ms"]) < 2000
    assert answer.seconds < 1


@both_ways
def test_a_long_retry_after_is_told_to_the_callers_and_honoured(
    house: House, gateway: Gateway, stream: bool
) -> None:
    model = house.model("alone")
    house.first.has(model, "sim-429-60", calls=1)
    answers = [gateway.chat(model, stream=stream) for _ in range(3)]
    for answer in answers:
        assert_busy(answer, 60)
    assert [answer.code for answer in answers] == ["429", "upstream_busy", "upstream_busy"]
    assert len(house.first.calls(model)) == 1


@pytest.mark.parametrize(("first_s", "second_s"), [(60, 20), (20, 60)])
def test_where_all_are_busy_the_soonest_counts(
    house: House, gateway: Gateway, model: str, first_s: int, second_s: int
) -> None:
    house.first.has(model, f"sim-429-{first_s}")
    house.second.has(second(model), f"sim-429-{second_s}")
    for _ in range(2):
        assert_busy(gateway.chat(model), 20)
    assert gateway.chat(model).code == "upstream_busy"
    assert len(house.first.calls(model)) == len(house.second.calls(second(model))) == 1


def test_of_two_that_are_busy_the_first_that_is_free_answers(
    house: House, gateway: Gateway, model: str
) -> None:
    house.first.has(model, "sim-429-60")
    house.second.has(second(model), "sim-429-1", calls=1)
    answer = gateway.chat(model)
    assert_whole(answer)
    assert resource_of(answer) == "second" and 0.9 <= answer.seconds < 2


# Choosing


@pytest.mark.parametrize("kind", ["twin", "weighted"])
def test_an_attendee_stays_with_one_deployment(house: House, gateway: Gateway, kind: str) -> None:
    model = house.model(kind)
    for attendee in ("ann", "bob", "cem"):
        key = f"hackathon/{attendee}"
        asked = [gateway.chat(model, f"question {number}", key) for number in range(8)]
        assert len({answer.deployment for answer in asked}) == 1


def test_attendees_are_spread_by_weight(house: House, gateway: Gateway) -> None:
    model = house.model("weighted")
    found = Counter(
        resource_of(gateway.chat(model, key=f"hackathon/attendee-{number}"))
        for number in range(200)
    )
    assert set(found) == {"east", "west"}
    assert 0.63 <= found["west"] / 200 <= 0.87


def test_the_calls_that_an_attendee_makes_at_once_are_balanced(
    house: House, gateway: Gateway
) -> None:
    model = house.model("twin")
    house.first.has(model, "sim-slow-500")
    house.second.has(deployment("east", model), "sim-slow-500")

    async def at_once() -> list[Answer]:
        async with gateway.clients() as callers:
            return await asyncio.gather(*(callers.chat(model) for _ in range(20)))

    found = Counter(map(resource_of, asyncio.run(at_once())))
    assert found.total() == 20 and min(found["default"], found["east"]) >= 7


def test_an_attendee_comes_back_to_its_deployment_when_that_is_well_again(
    house: House, gateway: Gateway
) -> None:
    model = house.model("weighted")
    home = gateway.chat(model).deployment
    house.second.has(home.partition("/")[2], "sim-429-1", calls=1)
    away = gateway.chat(model)
    assert_whole(away)
    assert away.deployment != home
    assert within(3, lambda: gateway.chat(model).deployment, lambda name: name == home) == home


# The queue


async def all_at_once(
    gateway: Gateway, model: str, attendees: list[str]
) -> list[tuple[str, Answer]]:
    """One call for each mention of an attendee, in this order."""

    async def call(attendee: str) -> tuple[str, Answer]:
        return attendee, await gateway.lean_chat(model, key=f"hackathon/{attendee}")

    return await asyncio.gather(*map(call, attendees))


def waits(answers: list[tuple[str, Answer]]) -> dict[str, list[float]]:
    """The seconds of each attendee's calls, the shortest first."""
    found: dict[str, list[float]] = defaultdict(list)
    for attendee, answer in answers:
        found[attendee].append(answer.seconds)
    return {attendee: sorted(seconds) for attendee, seconds in found.items()}


def queue(house: House, gateway: Gateway, attendees: list[str]) -> dict[str, list[float]]:
    """How long the calls take at a deployment that refuses those beyond its places."""
    model = house.model("alone")
    house.first.has(model, f"sim-places-{PLACES}")

    answers = asyncio.run(all_at_once(gateway, model, attendees))

    for _, answer in answers:
        assert_whole(answer)
    assert [call["status"] for call in house.first.calls(model)] == [200] * len(attendees)
    return waits(answers)


def test_two_hundred_callers_are_served_in_turn_by_twenty_places(
    house: House, gateway: Gateway
) -> None:
    attendees = [f"attendee-{number}" for number in range(20)] * 10
    random.shuffle(attendees)

    found = queue(house, gateway, attendees)

    ideal_s = len(attendees) / PLACES * PLACE_S
    assert max(seconds[-1] for seconds in found.values()) <= 1.5 * ideal_s
    means = [sum(seconds) / len(seconds) for seconds in found.values()]
    lasts = [seconds[-1] for seconds in found.values()]
    assert max(means) < 3 * min(means)
    assert max(lasts) < 3 * min(lasts)


def test_a_burst_of_one_attendee_does_not_keep_the_others_waiting(
    house: House, gateway: Gateway
) -> None:
    others = [f"other-{number}" for number in range(9)]

    found = queue(house, gateway, ["burst"] * 110 + others * 10)

    # The burst has taken the places; then ten attendees share them until nine have had ten calls.
    ideal_s = PLACE_S + 10 * 10 / PLACES * PLACE_S
    lasts = [found[other][-1] for other in others]
    assert max(lasts) <= 1.5 * ideal_s
    assert max(lasts) < 3 * min(lasts)
    assert max(lasts) < found["burst"][-1] <= 1.5 * 200 / PLACES * PLACE_S


def test_nobody_waits_for_a_place_while_another_deployment_has_one(
    house: House, gateway: Gateway, model: str
) -> None:
    house.first.has(model, f"sim-places-{PLACES}")

    answers = asyncio.run(all_at_once(gateway, model, ["ann"] * (PLACES + 10)))

    found = Counter(resource_of(answer) for _, answer in answers)
    assert found == {"default": PLACES, "second": 10}
    assert max(answer.seconds for _, answer in answers) < 2 * PLACE_S


def test_a_place_in_the_queue_is_given_up_after_a_while(house: House, impatient: Gateway) -> None:
    model = house.model("narrow")
    name = deployment("narrow", model)
    house.second.has(name, "sim-silence")

    async def story() -> Answer:
        async with impatient.clients() as callers:
            holding = asyncio.create_task(callers.chat(model))
            await asyncio.to_thread(house.second.calls_when, name, bool)
            answer = await callers.chat(model)
            await leave(holding)
            return answer

    answer = asyncio.run(story())
    assert (answer.status, answer.code) == (429, "upstream_busy")
    assert int(answer.headers["retry-after"]) >= 1
    assert int(answer.headers["retry-after-ms"]) > 0
    assert QUEUE_TIMEOUT_S - 0.1 <= answer.seconds < QUEUE_TIMEOUT_S + 1
    assert len(house.second.calls(name)) == 1


async def leave(*calls: "asyncio.Task[Any]") -> None:
    """Close the connections of these calls."""
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)


def test_more_than_the_queue_holds_are_sent_away_at_once(house: House, gateway: Gateway) -> None:
    model = house.model("narrow")
    name = deployment("narrow", model)
    house.second.has(name, "sim-silence", calls=1)

    async def story() -> tuple[list[Answer], Answer]:
        holding = asyncio.create_task(gateway.lean_chat(model))
        await asyncio.to_thread(house.second.calls_when, name, bool)
        calls = range(LONGEST_QUEUE + 20)
        many = [asyncio.create_task(gateway.lean_chat(model)) for _ in calls]
        waiting = set(many)
        async with asyncio.timeout(12):
            while len(waiting) > LONGEST_QUEUE:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        refused = [call.result() for call in many if call.done()]
        await leave(holding, *many)
        return refused, await gateway.lean_chat(model)

    refused, after = asyncio.run(story())
    assert len(refused) == 20
    for answer in refused:
        assert (answer.status, answer.code) == (429, "upstream_busy")
        assert int(answer.headers["retry-after"]) >= 1
        assert int(answer.headers["retry-after-ms"]) > 0
    assert_whole(after)
    assert after.seconds < 1, "callers who have left are still in the queue"


# Callers who leave


@pytest.mark.parametrize("fault", ["sim-drip-300", "sim-silence"])
def test_a_caller_who_leaves_frees_the_place(house: House, gateway: Gateway, fault: str) -> None:
    model = house.model("narrow")
    name = deployment("narrow", model)
    house.second.has(name, fault, calls=1)

    async def story() -> Answer:
        async with gateway.clients() as callers:
            leaving = asyncio.create_task(callers.chat(model, stream=True))
            await asyncio.to_thread(house.second.calls_when, name, bool)
            await leave(leaving)
            return await callers.chat(model)

    answer = asyncio.run(story())
    assert_whole(answer)
    assert answer.seconds < 1
    left, _ = house.second.calls(name)
    assert all_left([left]) and left["client_left_after_ms"] < 1500


def test_a_stream_has_its_place_until_it_ends_or_is_left(house: House, gateway: Gateway) -> None:
    model = house.model("narrow")
    name = deployment("narrow", model)

    async def story() -> list[Answer]:
        async with gateway.clients() as callers:
            answers = [await callers.chat(model, stream=True) for _ in range(3)]
            house.second.has(name, "sim-drip-300", calls=1)
            body = {"model": model, "stream": True, "messages": [{"role": "user", "content": SAID}]}
            async with (
                httpx.AsyncClient(base_url=gateway.url) as leaving,
                leaving.stream("POST", fleet.CHAT, headers={"api-key": KEY}, json=body) as response,
            ):
                await anext(response.aiter_raw())
            return [*answers, await callers.chat(model)]

    for answer in asyncio.run(story()):
        assert_whole(answer)
        assert answer.seconds < 1.5


def test_a_caller_who_leaves_the_queue_is_never_served(house: House, gateway: Gateway) -> None:
    model = house.model("narrow")
    name = deployment("narrow", model)
    house.second.has(name, "sim-slow-800", calls=1)

    async def story() -> list[Answer]:
        async with gateway.clients() as callers:
            first = asyncio.create_task(callers.chat(model, "first"))
            await asyncio.to_thread(house.second.calls_when, name, bool)
            leaving = [asyncio.create_task(callers.chat(model, "leaving")) for _ in range(3)]
            await asyncio.sleep(0.2)
            last = asyncio.create_task(callers.chat(model, "last"))
            await leave(*leaving)
            return [await first, await last]

    for answer in asyncio.run(story()):
        assert (answer.status, answer.finish) == (200, "stop")
    said = [json.loads(call["body"])["messages"][0]["content"] for call in house.second.calls(name)]
    assert said == ["first", "last"]


def test_many_who_leave_at_any_moment_leave_every_place_free(
    house: House, gateway: Gateway
) -> None:
    model = house.model("alone")
    house.first.has(model, "sim-drip-10")

    async def storm() -> list[tuple[str, Answer]]:
        async def leave_soon(callers: Callers, number: int) -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(0, 0.2)):
                    await callers.chat(model, key=f"hackathon/{number % 7}", stream=number % 2 == 0)

        async with gateway.clients() as callers:
            await fleet.at_once(60, (partial(leave_soon, callers, i) for i in range(400)))
            await asyncio.to_thread(house.first.wait_until_idle)
            house.first.has(model, f"sim-places-{PLACES}")
            return await all_at_once(gateway, model, ["ann"] * PLACES)

    for _, answer in asyncio.run(storm()):
        assert_whole(answer)
        assert answer.seconds < 2 * PLACE_S


# Streams resumed


@pytest.fixture
def resumed() -> dict[str, Any]:
    """What a call says of an event that has its streams resumed."""
    return {"key": f"{RESUMING}/ann", "stream": True}


def test_a_stream_is_not_resumed_where_the_other_answer_differs(
    house: House, gateway: Gateway, model: str, resumed: dict[str, Any]
) -> None:
    house.first.has(model, f"sim-cut-{OPENING_EVENTS + 8}")
    whole = f"[simulated] {model} here, you said: hello"
    # The other deployment names itself where this one has named itself.
    assert_broken(gateway.chat(model, "hello", **resumed), "upstream_stream_cut", whole)
    assert len(house.second.calls(second(model))) == 1


@pytest.mark.parametrize("fault", ["sim-503", "sim-429-60", "sim-cut-20", "sim-400", "sim-reset"])
def test_a_stream_that_cannot_be_resumed_is_broken(
    house: House, gateway: Gateway, model: str, resumed: dict[str, Any], fault: str
) -> None:
    house.first.has(model, f"sim-cut-{OPENING_EVENTS + 40}")
    house.second.has(second(model), fault)
    assert_broken(gateway.chat(model, **resumed), "upstream_stream_cut")


def test_without_another_deployment_a_cut_stream_is_whole_or_broken(
    house: House, gateway: Gateway, resumed: dict[str, Any]
) -> None:
    model = house.model("alone")
    house.first.has(model, f"sim-cut-{OPENING_EVENTS + 40}", calls=1)
    answer = gateway.chat(model, **resumed)
    if answer.is_done:
        assert_whole(answer)
    else:
        assert_broken(answer, "upstream_stream_cut")


# Parameters that a model does not take


@pytest.mark.parametrize("model", ["thinks", "learns"])
@both_ways
def test_parameters_that_a_model_does_not_take_are_translated_or_dropped(
    house: House, gateway: Gateway, model: str, stream: bool
) -> None:
    taken: dict[str, Any] = {"max_tokens": 5, "temperature": 0.2, "top_p": 0.5, "seed": 7}
    gateway.chat(model, SAID, stream=stream, max_tokens=5)
    for member in ("temperature", "top_p"):
        gateway.chat(model, SAID, stream=stream, **{member: taken[member]})
    before = len(house.first.calls(f"gpt-5-{model}"))

    answer = gateway.chat(model, SAID, stream=stream, **taken)

    assert (answer.status, answer.finish, answer.attempts) == (200, "length", 1)
    assert WHOLE.startswith(answer.text)
    dropped = answer.headers["x-gateway-dropped-params"]
    assert [name.strip() for name in dropped.split(",")] == ["temperature", "top_p"]
    (call,) = house.first.calls(f"gpt-5-{model}")[before:]
    sent = json.loads(call["body"])
    assert (sent["max_completion_tokens"], sent["seed"]) == (5, 7)
    assert not {"max_tokens", "temperature", "top_p"} & set(sent)


def test_a_refused_parameter_is_learned_once(house: House, gateway: Gateway) -> None:
    answers = [gateway.chat("learns", SAID, presence_penalty=1) for _ in range(3)]
    assert [answer.status for answer in answers] == [200] * 3
    assert all("presence_penalty" in it.headers["x-gateway-dropped-params"] for it in answers)
    calls = [call for call in house.first.calls("gpt-5-learns") if "penalty" in call["body"]]
    assert [call["status"] for call in calls] == [400]


def test_what_one_operation_refuses_another_still_gets(house: House, gateway: Gateway) -> None:
    form = {"response_format": {"type": "json_object"}}
    body = {"model": "learns", "input": SAID, **form}
    refused_once = gateway.post("/v1/responses", body)
    answer = gateway.chat("learns", "JSON", **form)

    assert refused_once.headers["x-gateway-dropped-params"] == "response_format"
    assert "response_format" not in answer.headers.get("x-gateway-dropped-params", "")
    sent = json.loads(house.first.calls("gpt-5-learns")[-1]["body"])
    assert sent["response_format"] == form["response_format"]


def test_without_a_flag_nothing_is_changed(gateway: Gateway, house: House) -> None:
    model = house.model()
    answer = gateway.chat(model, SAID, max_tokens=5, temperature=0.2)
    assert "x-gateway-dropped-params" not in answer.headers
    (call,) = house.first.calls(model)
    sent = json.loads(call["body"])
    assert (sent["max_tokens"], sent["temperature"]) == (5, 0.2)


# Resources


@both_ways
def test_an_openai_resource_is_called_in_its_own_form(
    house: House, gateway: Gateway, stream: bool
) -> None:
    answer = gateway.chat("open", stream=stream)
    assert_whole(answer)
    assert answer.deployment == "base/vendor/open-1"
    call = house.second.calls("vendor/open-1")[-1]
    headers = dict(call["headers"])
    assert call["path"] == "/openai/v1/chat/completions"
    assert headers["authorization"] == "Bearer the-key-of-the-base"
    assert "api-key" not in headers
    assert json.loads(call["body"])["model"] == "vendor/open-1"


def test_an_openai_resource_without_a_key_gets_none(house: House, gateway: Gateway) -> None:
    gateway.chat("keyless")
    calls = house.second.logged("/keyless/openai/v1/")
    assert calls
    assert not any({"authorization", "api-key"} & dict(call["headers"]).keys() for call in calls)


def test_each_resource_gets_its_own_key(house: House, gateway: Gateway, model: str) -> None:
    house.first.has(model, "sim-503")
    gateway.chat(model)
    keys = [
        dict(call["headers"])["api-key"]
        for call in (house.first.calls(model)[0], house.second.calls(second(model))[0])
    ]
    assert keys == ["the-upstream-key", "the-key-of-the-second"]


def test_every_model_of_every_resource_is_listed_once(gateway: Gateway) -> None:
    listed = [model["id"] for model in gateway.get("/v1/models")["data"]]
    assert len(listed) == len(set(listed))
    assert {"pair-0", "weighted-0", "open", "thinks"} <= set(listed)


def test_resources_change_while_the_gateway_runs(
    house: House, changed: tuple[Gateway, float]
) -> None:
    gateway, changed_at = changed

    def asked() -> list[Answer]:
        return [gateway.chat(model) for model in ("changed", "removed", "added")]

    def has_changed(answers: list[Answer]) -> bool:
        first, gone, new = answers
        return first.deployment == "changed/after" and gone.status == 404 and new.status == 200

    left_s = changed_at + 32 - time.monotonic()
    first, gone, new = within(left_s, asked, has_changed)
    assert first.deployment == "changed/after"
    assert (gone.status, gone.code) == (404, "model_not_found")
    assert_whole(new)
    assert new.deployment == "added/added"
