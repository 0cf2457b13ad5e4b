"""The Portkey form from end to end: which deployments a call goes to, how often, and with what."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from shared.configs import Configs, SavedConfig
from shared.usage_table import UsageTable
from tests import failover, fleet
from tests.conftest import add_events
from tests.failover import KEY, SAID, Answer, Gateway, House, assert_whole, deployment
from tests.hostile import HOSTILE

both_ways = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
SHORT, TOKENS, TAGGED = "short-answers", "few-tokens", "tagged-event"
SAVED = {"strategy": {"mode": "single"}, "targets": [{"virtual_key": "west"}]}


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with failover.running() as started:

        async def prepare() -> None:
            events = [
                fleet.event(SHORT, max_tokens=50),
                fleet.event(TOKENS, daily_tokens=2000),
                fleet.event(TAGGED, usage_tag="team"),
                fleet.event("one-model", models=("crowd-0",)),
            ]
            await add_events(started.storage, events)
            async with fleet.tables(started.storage) as tables:
                await Configs(tables).add(SavedConfig("pc-west", json.dumps(SAVED)))

        asyncio.run(prepare())
        yield started


@pytest.fixture(scope="module")
def gateway(house: House) -> Iterator[Gateway]:
    with house.gateway() as started:
        yield started


def post(
    gateway: Gateway, model: str, headers: dict[str, Any], key: str = KEY, **members: Any
) -> httpx.Response:
    texts = {
        f"x-portkey-{name}": value if isinstance(value, str) else json.dumps(value)
        for name, value in headers.items()
    }
    return httpx.post(
        gateway.url + fleet.CHAT,
        headers={"x-portkey-api-key": key, **texts},
        json=fleet.ask(SAID, model, **members),
        timeout=20,
    )


def chat(gateway: Gateway, model: str, headers: dict[str, Any], **members: Any) -> Answer:
    return Answer(post(gateway, model, headers, **members), 0)


def resource(answer: Answer) -> str:
    return answer.deployment.partition("/")[0]


def fallback(
    *targets: dict[str, Any], on: list[int] | None = None, **others: Any
) -> dict[str, Any]:
    strategy = {"mode": "fallback"} | ({} if on is None else {"on_status_codes": on})
    return {"config": {"strategy": strategy, "targets": list(targets), **others}}


EAST, WEST, SECOND = ({"virtual_key": name} for name in ("east", "west", "second"))


@both_ways
@pytest.mark.parametrize(
    "headers",
    [
        {"virtual-key": "second"},
        {"provider": "second"},
        {"provider": "@second"},
        {"config": SECOND},
        {"config": {"strategy": {"mode": "single"}, "targets": [SECOND, EAST]}},
        {"virtual-key": "second", "config": {"retry": {"attempts": 1}}},
        {"virtual-key": "east", "config": SECOND},
    ],
    ids=str,
)
def test_the_call_goes_to_the_resource_that_is_named(
    house: House, gateway: Gateway, headers: dict[str, Any], stream: bool
) -> None:
    answer = chat(gateway, house.model("crowd"), headers, stream=stream)
    assert_whole(answer)
    assert (resource(answer), answer.attempts) == ("second", 1)


@pytest.mark.parametrize("provider", ["openai", "azure-openai"])
def test_the_name_of_a_kind_of_provider_means_any_resource(
    house: House, gateway: Gateway, provider: str
) -> None:
    assert_whole(chat(gateway, house.model("alone"), {"provider": provider}))


@both_ways
def test_a_fallback_goes_on_at_once_in_its_order(
    house: House, gateway: Gateway, stream: bool
) -> None:
    model = house.model("crowd")
    for name in ("east", "west"):
        house.second.has(deployment(name, model), "sim-500")
    answer = chat(gateway, model, fallback(WEST, EAST, SECOND), stream=stream)
    assert_whole(answer)
    tried = [each["deployment"] for each in gateway.line(answer)["attempts"]]
    assert tried == [f"{name}/{deployment(name, model)}" for name in ("west", "east", "second")]


@pytest.mark.parametrize("fault", ["sim-400", "sim-404", "sim-500", "sim-429"])
def test_a_fallback_moves_on_after_the_statuses_it_names_and_no_others(
    house: House, gateway: Gateway, fault: str
) -> None:
    status = int(fault.removeprefix("sim-"))
    for named, expected in [(status, 200), (418, status)]:
        model = house.model("crowd")
        house.second.has(deployment("east", model), fault)
        answer = chat(gateway, model, fallback(EAST, WEST, on=[named]))
        assert answer.status == expected
        assert resource(answer) == ("west" if expected == 200 else "east")
        assert answer.attempts == (2 if expected == 200 else 1)


def test_a_nested_fallback_is_left_for_what_stands_around_it(
    house: House, gateway: Gateway
) -> None:
    model = house.model("crowd")
    for name in ("east", "west"):
        house.second.has(deployment(name, model), "sim-503")
    inner = {"strategy": {"mode": "fallback", "on_status_codes": [503]}, "targets": [EAST, WEST]}
    assert_whole(chat(gateway, model, fallback(inner, SECOND, on=[503])))
    stays = chat(gateway, model, fallback(inner, SECOND, on=[429]))
    assert (stays.status, resource(stays), stays.attempts) == (503, "west", 2)


@both_ways
@pytest.mark.parametrize(("attempts", "expected"), [(0, 500), (2, 500), (3, 200), (5, 200)])
def test_retries_are_as_many_as_are_asked_for(
    house: House, gateway: Gateway, attempts: int, expected: int, stream: bool
) -> None:
    model = house.model("crowd")
    house.second.has(deployment("east", model), "sim-500", calls=3)
    config = {**EAST, "retry": {"attempts": attempts}}
    answer = chat(gateway, model, {"config": config}, stream=stream)
    assert (answer.status, answer.attempts) == (expected, min(attempts, 3) + 1)


def test_only_the_statuses_that_are_named_are_tried_again(house: House, gateway: Gateway) -> None:
    model = house.model("crowd")
    house.second.has(deployment("east", model), "sim-500", calls=1)
    retry = {"attempts": 3, "on_status_codes": [503]}
    answer = chat(gateway, model, {"config": {**EAST, "retry": retry}})
    assert (answer.status, answer.attempts) == (500, 1)


@both_ways
def test_a_caller_in_a_hurry_moves_on_and_makes_nobody_else_do_so(
    house: House, gateway: Gateway, stream: bool
) -> None:
    model = house.model("crowd")
    house.second.has(deployment("east", model), "sim-slow")
    hurried = fallback({**EAST, "request_timeout": 100}, WEST)
    for _ in range(6):  # a breaker would open after five
        answer = chat(gateway, model, hurried, stream=stream)
        assert_whole(answer)
        assert (resource(answer), answer.attempts) == ("west", 2)
    assert_whole(chat(gateway, model, {"virtual-key": "east"}, stream=stream))
    late = post(gateway, model, {"config": {**EAST, "request_timeout": 100}})
    assert (late.status_code, late.json()["error"]["code"]) == (504, "upstream_timeout")


def test_what_a_caller_in_a_hurry_gives_up_is_charged_and_tried_again_within_the_cap(
    house: House, gateway: Gateway
) -> None:
    model = house.model("crowd")
    house.second.has(deployment("east", model), "sim-slow")
    retry = {"attempts": 5, "on_status_codes": [408]}
    config = {"config": {**EAST, "request_timeout": 100, "retry": retry}}
    members = {"max_tokens": 500}
    answer = post(gateway, model, config, key=f"{TOKENS}/hurried", **members)

    # Of 2,000 tokens three attempts at some 510 can be paid, and a fourth cannot.
    assert answer.json()["error"]["code"] == "daily_token_cap_exceeded"
    assert answer.headers["x-gateway-attempts"] == "3"
    standing = gateway.get("/api/v1/event", key=f"{TOKENS}/hurried")["caps"]["daily_tokens"]
    assert 1500 < standing["used"] <= 2000
    assert gateway.line(Answer(answer, 0))["estimated_tokens"] == standing["used"]


def test_a_hurried_attempt_before_the_answer_is_charged_beside_it(
    house: House, gateway: Gateway
) -> None:
    model = house.model("crowd")
    house.second.has(deployment("east", model), "sim-slow")
    answer = chat(
        gateway,
        model,
        fallback({**EAST, "request_timeout": 100}, WEST),
        key=f"{TOKENS}/in-between",
        max_tokens=100,
    )
    assert answer.status == 200
    used = gateway.get("/api/v1/event", key=f"{TOKENS}/in-between")["caps"]["daily_tokens"]["used"]
    assert 100 < used - answer.usage["total_tokens"] < 150


def test_a_resource_named_fifty_times_queues_a_call_once(house: House, gateway: Gateway) -> None:
    model = house.model("narrow")
    targets = [{"virtual_key": "narrow"}] * 50

    async def at_once(number: int) -> list[int]:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as http:
            headers = {
                "x-portkey-api-key": KEY,
                "x-portkey-config": json.dumps(fallback(*targets)["config"]),
            }
            body = fleet.ask("hi", model)
            calls = [http.post(fleet.CHAT, headers=headers, json=body) for _ in range(number)]
            return [response.status_code for response in await asyncio.gather(*calls)]

    for _ in range(3):
        assert asyncio.run(at_once(15)) == [200] * 15


def test_load_is_shared_by_the_weights_that_are_given(house: House, gateway: Gateway) -> None:
    model = house.model("crowd")
    targets = [{**EAST, "weight": 3}, {**WEST, "weight": 1}, {**SECOND, "weight": 0}]
    config = {"config": {"strategy": {"mode": "loadbalance"}, "targets": targets}}
    seen = Counter(
        resource(chat(gateway, model, config, key=f"hackathon/attendee-{number}"))
        for number in range(80)
    )
    assert seen.keys() == {"east", "west"}
    assert 45 < seen["east"] < 75, seen  # 60; three standard deviations are 12


def test_override_params_replace_the_callers_and_decide_on_the_model(
    house: House, gateway: Gateway
) -> None:
    model, other = house.model("crowd"), house.model("crowd")
    params = {"model": other, "temperature": 0.25, "max_tokens": 7}
    answer = chat(gateway, model, {"config": {**EAST, "override_params": params}}, temperature=1)
    assert answer.status == 200
    (call,) = house.second.calls(deployment("east", other))
    sent = json.loads(call["body"])
    assert (sent["temperature"], sent["max_tokens"]) == (0.25, 7)
    assert gateway.line(answer)["model"] == other


@both_ways
@pytest.mark.parametrize(
    ("asked", "params", "bounds"),
    [
        ("max_completion_tokens", {"max_tokens": 50}, {"max_tokens": 50}),
        ("max_tokens", {"max_completion_tokens": 50}, {"max_completion_tokens": 50}),
        ("max_tokens", {"max_tokens": 50}, {"max_tokens": 50}),
        ("max_tokens", {"temperature": 0}, {"max_tokens": 500}),
    ],
    ids=str,
)
def test_a_bound_on_the_output_takes_the_place_of_the_callers(
    house: House,
    gateway: Gateway,
    asked: str,
    params: dict[str, Any],
    bounds: dict[str, int],
    stream: bool,
) -> None:
    model = house.model("crowd")
    headers = {"config": {**EAST, "override_params": params}}
    answer = chat(gateway, model, headers, stream=stream, **{asked: 500})
    assert answer.status == 200, answer
    (call,) = house.second.calls(deployment("east", model))
    sent = json.loads(call["body"])
    names = ("max_tokens", "max_completion_tokens")
    assert {name: sent[name] for name in names if name in sent} == bounds


def test_each_target_has_its_own_params(house: House, gateway: Gateway) -> None:
    model = house.model("crowd")
    house.second.has(deployment("east", model), "sim-500")
    first = {**EAST, "override_params": {"max_tokens": 5}}
    second = {**WEST, "override_params": {"temperature": 0.5}}
    assert_whole(chat(gateway, model, fallback(first, second)))
    (east,) = house.second.calls(deployment("east", model))
    (west,) = house.second.calls(deployment("west", model))
    assert json.loads(east["body"])["max_tokens"] == 5
    sent = json.loads(west["body"])
    assert sent["temperature"] == 0.5 and "max_tokens" not in sent


def test_a_target_that_does_not_serve_the_model_is_passed_over(
    house: House, gateway: Gateway
) -> None:
    answer = chat(gateway, house.model("twin"), fallback(WEST, EAST))
    assert (answer.status, resource(answer), answer.attempts) == (200, "east", 1)


@both_ways
def test_no_params_lead_past_the_caps_of_the_event(
    house: House, gateway: Gateway, stream: bool
) -> None:
    model = house.model("crowd")
    asks = {"config": {**EAST, "override_params": {"max_tokens": 51}}}
    refused = post(gateway, model, asks, key=f"{SHORT}/ann", stream=stream)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "max_tokens_exceeded")
    wrong = {"config": {**EAST, "override_params": {"max_tokens": "many"}}}
    assert post(gateway, model, wrong, key=f"{SHORT}/ann").json()["error"]["param"] == "max_tokens"
    # One target says how much it wants, the other leaves it open and is bounded by us.
    open_ended = fallback({**EAST, "override_params": {"max_tokens": 10}}, WEST)
    house.second.has(deployment("east", model), "sim-500")
    assert post(gateway, model, open_ended, key=f"{SHORT}/ann", stream=stream).status_code == 200
    (west,) = house.second.calls(deployment("west", model))
    assert json.loads(west["body"])["max_completion_tokens"] == 50


def test_no_params_lead_past_a_cap_of_tokens(house: House, gateway: Gateway) -> None:
    asks = {"config": {**EAST, "override_params": {"max_tokens": 2000}}}
    refused = post(gateway, house.model("crowd"), asks, key=f"{TOKENS}/ann")
    assert refused.json()["error"]["code"] == "daily_token_cap_exceeded"


def test_no_config_leads_to_a_model_that_the_event_does_not_allow(
    house: House, gateway: Gateway
) -> None:
    model = house.model("crowd")
    for headers in (
        {"virtual-key": "east"},
        {"config": {"override_params": {"model": model}}},
        fallback(EAST, WEST),
    ):
        asked = "crowd-0" if "override_params" in str(headers) else model
        refused = post(gateway, asked, headers, key="one-model/ann")
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
        assert not house.second.calls(deployment("east", model))


def test_a_saved_config_is_found_by_its_name(house: House, gateway: Gateway) -> None:
    answer = chat(gateway, house.model("crowd"), {"config": "pc-west"})
    assert (answer.status, resource(answer)) == (200, "west")
    unknown = post(gateway, house.model("crowd"), {"config": "pc-unknown"})
    assert unknown.status_code == 400
    assert unknown.json()["error"]["param"] == "x-portkey-config"
    assert "pc-unknown" in unknown.json()["error"]["message"]


@both_ways
def test_the_trace_comes_back_and_is_logged_with_the_metadata(
    house: House, gateway: Gateway, stream: bool
) -> None:
    headers = {"trace-id": "trace 1 of 2", "metadata": {"team": "red", "_user": "ann"}}
    for model in (house.model("crowd"), "no-such-model"):
        response = post(gateway, model, headers, stream=stream)
        assert response.headers["x-portkey-trace-id"] == "trace 1 of 2"
        line = gateway.line(Answer(response, 0))
        assert line["trace_id"] == "trace 1 of 2"
        assert line["metadata"] == {"team": "red", "_user": "ann"}


def test_usage_is_counted_by_the_tag_that_the_event_names(house: House, gateway: Gateway) -> None:
    for team in ("red", "red", "blue", None):
        metadata = {"metadata": {"team": team, "other": "x"}} if team else {}
        assert post(gateway, "crowd-0", metadata, key=f"{TAGGED}/ann").status_code == 200

    async def tags() -> Counter[str]:
        async with fleet.tables(house.storage) as tables:
            records = [record async for record in UsageTable(tables).records(TAGGED)]
        found: Counter[str] = Counter()
        for record in records:
            found[record.key.tag] += record.counts["Requests"]
        return found

    assert asyncio.run(tags()) == {"red": 2, "blue": 1, "": 1}


def test_an_unknown_resource_is_refused_with_the_names_of_those_there_are(
    house: House, gateway: Gateway
) -> None:
    refused = post(gateway, house.model("crowd"), {"virtual-key": "esat"})
    assert refused.status_code == 400
    assert "'esat'" in refused.json()["error"]["message"]
    assert "east" in refused.json()["error"]["message"]


@pytest.mark.parametrize("attack", HOSTILE, ids=str)
def test_nothing_hostile_in_the_headers_is_followed(
    house: House, gateway: Gateway, attack: str
) -> None:
    headers, named = HOSTILE[attack]
    model = "crowd-1"  # which no other test calls
    response = httpx.post(
        gateway.url + fleet.CHAT,
        headers=[
            (b"x-portkey-api-key", KEY.encode()),
            *((name.encode(), value.encode()) for name, value in headers.items()),
        ],
        json=fleet.ask(SAID, model),
    )
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert named in f"{error['message']} {error['param']}"
    assert not house.second.calls(deployment("east", model))
    assert not house.first.calls(model)
