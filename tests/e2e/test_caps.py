"""An event's caps, as those who run into them see them, and as its organiser finds them counted."""

import asyncio
import json
import os
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from shared.models import Event
from shared.settings import storage_from_environ
from shared.tables import Tables
from shared.usage_table import Record, UsageTable
from tests import processes
from tests.conftest import add_events, gateway_settings
from tests.e2e.calls import Calls
from tests.e2e.wire import CHAT, EMBEDDINGS, ask, content_of, error_of, events_of

pytestmark = pytest.mark.skipif(
    "TEST_GATEWAY_URL" in os.environ and "TEST_STORAGE" not in os.environ,
    reason="events cannot be added to a storage that is not known",
)
Grant = Callable[..., str]
Standing = dict[str, dict[str, Any]]
PLENTY = 100_000
ALL_CAPS = {
    "daily_requests": PLENTY,
    "daily_embedding_requests": PLENTY,
    "requests_per_minute": PLENTY,
    "daily_tokens": PLENTY,
    "tokens_per_minute": PLENTY,
    "token_budget": PLENTY,
}
OF_REQUESTS = ["daily_requests", "daily_embedding_requests", "requests_per_minute"]
OF_TOKENS = ["daily_tokens", "tokens_per_minute", "token_budget"]
OF_MINUTES = ["requests_per_minute", "tokens_per_minute"]
CODES = {
    "daily_requests": "daily_request_cap_exceeded",
    "daily_embedding_requests": "daily_request_cap_exceeded",
    "requests_per_minute": "rate_limit_exceeded",
    "daily_tokens": "daily_token_cap_exceeded",
    "tokens_per_minute": "rate_limit_exceeded",
    "token_budget": "event_budget_exceeded",
}
GRANTS = {
    "daily_requests": "requests a day for each attendee",
    "daily_embedding_requests": "embedding requests a day for each attendee",
    "requests_per_minute": "requests a minute for each attendee",
    "daily_tokens": "tokens a day for each attendee",
    "tokens_per_minute": "tokens a minute for all attendees together",
    "token_budget": "tokens in all",
}


@pytest.fixture(autouse=True)
def early_in_a_minute() -> None:
    """No test runs across the end of a minute, where the counts begin anew."""
    left_s = 60 - time.time() % 60
    if left_s < 4:
        time.sleep(left_s)


@pytest.fixture
def grant(gateway: str, storage: str) -> Grant:
    """Adds an event with these caps, and tells its code."""

    def add(**members: Any) -> str:
        code = f"caps-{uuid.uuid4().hex[:20]}"
        now = datetime.now(UTC)
        window = {"start": now - timedelta(days=1), "end": now + timedelta(days=1)}
        event = Event(code=code, name=f"The {code}", **window, **members)
        asyncio.run(add_events(storage, [event]))
        return code

    return add


def key(code: str, name: str = "anna") -> dict[str, str]:
    return {"api-key": f"{code}/{name}"}


def standing(http: httpx.Client, code: str, name: str = "anna") -> Standing:
    found: Standing = http.get("/api/v1/event", headers=key(code, name)).json()["caps"]
    return found


def used(http: httpx.Client, code: str, name: str = "anna") -> dict[str, int]:
    return {cap: stands["used"] for cap, stands in standing(http, code, name).items()}


def call(http: httpx.Client, code: str, cap: str = "", name: str = "anna") -> httpx.Response:
    """A small call that this cap counts."""
    if cap == "daily_embedding_requests":
        return http.post(EMBEDDINGS, headers=key(code, name), json={"input": "hi"})
    return http.post(CHAT, headers=key(code, name), json=ask("repeat 50", max_tokens=50))


def records(storage: str, code: str) -> list[Record]:
    """What the ledger has stored of an event."""

    async def read() -> list[Record]:
        tables = Tables(storage_from_environ({"EVENT_STORAGE": storage}))
        try:
            return [record async for record in UsageTable(tables).records(code)]
        finally:
            await tables.close()

    return asyncio.run(read())


def recorded(storage: str, code: str, counter: str, count: int = 1) -> Counter[str]:
    """All that is counted for an event, once this counter stands at `count`."""
    deadline = time.monotonic() + 2
    while True:
        total: Counter[str] = Counter()
        for record in records(storage, code):
            total.update(record.counts)
        if total[counter] == count:
            return total
        assert time.monotonic() < deadline, f"the ledger has {total}"
        time.sleep(0.02)


def next_minute() -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)


def next_day() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


# A cap that is used up.


@pytest.mark.parametrize("cap", OF_REQUESTS)
def test_a_call_over_a_cap_of_requests_is_refused(
    http: httpx.Client, grant: Grant, cap: str
) -> None:
    code = grant(**{cap: 2})
    answered = [call(http, code, cap).status_code for _ in range(2)]
    refused = call(http, code, cap)

    begins = next_minute() if cap in OF_MINUTES else next_day()
    error = error_of(refused)
    assert answered == [200, 200]
    assert (refused.status_code, error["type"]) == (429, "rate_limit_error")
    assert (error["code"], error["param"]) == (CODES[cap], None)
    assert error["message"] == (
        f"This event allows 2 {GRANTS[cap]}; they are used up. "
        f"The count begins anew at {begins:%Y-%m-%d %H:%M} UTC."
    )
    check_wait(refused, begins)
    assert refused.headers.get("x-should-retry") == (None if cap in OF_MINUTES else "false")
    assert refused.headers["x-ratelimit-limit-requests"] == "2"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert used(http, code) == {cap: 2}


@pytest.mark.parametrize("cap", OF_TOKENS)
def test_a_call_over_a_cap_of_tokens_is_refused(http: httpx.Client, grant: Grant, cap: str) -> None:
    code = grant(**{cap: 200})
    first = http.post(CHAT, headers=key(code), json=ask("repeat 100", max_tokens=100))
    spent = first.json()["usage"]["total_tokens"]
    refused = http.post(CHAT, headers=key(code), json=ask("repeat 100", max_tokens=100))

    begins = next_minute() if cap in OF_MINUTES else next_day()
    error = error_of(refused)
    assert first.status_code == 200
    assert (refused.status_code, error["type"], error["code"]) == (
        429,
        "rate_limit_error",
        CODES[cap],
    )
    start = f"This event allows 200 {GRANTS[cap]}; {200 - spent} are left, and this call needs 1"
    assert error["message"].startswith(start)
    if cap == "token_budget":
        assert error["message"].endswith("Ask your organiser for more.")
    else:
        assert error["message"].endswith(f"anew at {begins:%Y-%m-%d %H:%M} UTC.")
    check_wait(refused, begins)
    assert refused.headers.get("x-should-retry") == (None if cap in OF_MINUTES else "false")
    assert refused.headers["x-ratelimit-limit-tokens"] == "200"
    assert refused.headers["x-ratelimit-remaining-tokens"] == str(200 - spent)
    assert used(http, code) == {cap: spent}


def check_wait(refused: httpx.Response, until: datetime) -> None:
    wait_s = (until - datetime.now(UTC)).total_seconds()
    assert refused.headers["retry-after"].isdigit() and refused.headers["retry-after-ms"].isdigit()
    assert max(wait_s, 1) <= int(refused.headers["retry-after"]) <= wait_s + 2
    assert wait_s <= int(refused.headers["retry-after-ms"]) / 1000 <= wait_s + 2


@pytest.mark.parametrize("cap", [*OF_REQUESTS, *OF_TOKENS])
def test_a_cap_of_0_allows_nothing(
    http: httpx.Client, calls: Calls, text: str, grant: Grant, cap: str
) -> None:
    code = grant(**{cap: 0})
    path, body = CHAT, ask(text)
    if cap == "daily_embedding_requests":
        path, body = EMBEDDINGS, {"input": text}
    refused = http.post(path, headers=key(code), json=body)

    error = error_of(refused)
    assert (refused.status_code, error["code"]) == (429, CODES[cap])
    assert error["message"].startswith(f"This event allows 0 {GRANTS[cap]}")
    assert "Shorten" not in error["message"]
    assert refused.headers["x-should-retry"] == "false"
    assert calls.all(text) == []


def test_embeddings_and_chats_have_caps_apart(http: httpx.Client, grant: Grant) -> None:
    code = grant(daily_requests=1, daily_embedding_requests=2)
    embed, chat = "daily_embedding_requests", "daily_requests"

    order = [embed, chat, chat, embed, embed]
    assert [call(http, code, cap).status_code for cap in order] == [200, 200, 429, 200, 429]
    assert used(http, code) == {chat: 1, embed: 2}


def test_without_a_cap_of_their_own_embeddings_are_not_counted(
    http: httpx.Client, grant: Grant
) -> None:
    code = grant(daily_requests=1)
    embedded = [call(http, code, "daily_embedding_requests") for _ in range(3)]

    assert [response.status_code for response in embedded] == [200] * 3
    assert used(http, code) == {"daily_requests": 0}


def test_embeddings_cost_tokens(http: httpx.Client, grant: Grant) -> None:
    code = grant(daily_tokens=1000, requests_per_minute=10)
    spent = http.post(EMBEDDINGS, headers=key(code), json={"input": "one two three"}).json()

    prompt = spent["usage"]["prompt_tokens"]
    assert used(http, code) == {"daily_tokens": prompt, "requests_per_minute": 1}
    long = http.post(EMBEDDINGS, headers=key(code), json={"input": "word " * 2000})
    assert error_of(long)["code"] == "daily_token_cap_exceeded"


@pytest.mark.parametrize("cap", ["daily_requests", "requests_per_minute"])
def test_each_attendee_has_a_share_of_their_own(http: httpx.Client, grant: Grant, cap: str) -> None:
    code = grant(**{cap: 1})
    statuses = [call(http, code, name=name).status_code for name in ("anna", "anna", "Anna", "bob")]

    assert statuses == [200, 429, 200, 200]
    assert used(http, code, "carl") == {cap: 0}


def test_each_attendee_has_tokens_of_their_own(http: httpx.Client, grant: Grant) -> None:
    code = grant(daily_tokens=90)

    assert [call(http, code, name=name).status_code for name in ("anna", "anna", "bob")] == [
        200,
        429,
        200,
    ]


@pytest.mark.parametrize("cap", ["tokens_per_minute", "token_budget"])
def test_all_attendees_share_the_events_tokens(http: httpx.Client, grant: Grant, cap: str) -> None:
    code = grant(**{cap: 90})
    statuses = [call(http, code, name=name).status_code for name in ("anna", "bob", "carl")]

    assert statuses == [200, 429, 429]
    assert used(http, code, "dora") == used(http, code, "anna") != {cap: 0}


def test_events_do_not_share_anything(http: httpx.Client, grant: Grant) -> None:
    first, second = grant(token_budget=90), grant(token_budget=90)

    assert [call(http, code).status_code for code in (first, first, second)] == [200, 429, 200]


# What OpenAI's own client makes of it.


@pytest.fixture
def client(gateway: str) -> Iterator[Callable[[str], tuple[OpenAI, list[httpx.Request]]]]:
    """OpenAI's client as people make it, and the requests that it has sent."""
    opened: list[OpenAI] = []

    def make(code: str) -> tuple[OpenAI, list[httpx.Request]]:
        sent: list[httpx.Request] = []
        transport = httpx.Client(event_hooks={"request": [sent.append]})
        made = OpenAI(base_url=f"{gateway}/v1", api_key=f"{code}/anna", http_client=transport)
        opened.append(made)
        return made, sent

    yield make
    for made in opened:
        made.close()


def say(client: OpenAI, text: str, **members: Any) -> Any:
    messages: Any = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="gpt-4o", messages=messages, **members)


@pytest.mark.parametrize(
    ("caps", "code"),
    [
        ({"daily_requests": 1}, "daily_request_cap_exceeded"),
        ({"daily_tokens": 40}, "daily_token_cap_exceeded"),
        ({"token_budget": 40}, "event_budget_exceeded"),
    ],
    ids=str,
)
@pytest.mark.parametrize("streams", [False, True], ids=["document", "stream"])
def test_the_openai_client_raises_once_and_does_not_try_again(
    client: Any, grant: Grant, caps: dict, code: str, streams: bool
) -> None:
    library, sent = client(grant(**caps))
    say(library, "repeat 20", max_tokens=20)
    with pytest.raises(openai.RateLimitError) as caught:
        say(library, "repeat 20", max_tokens=20, stream=streams)

    assert (caught.value.code, caught.value.type) == (code, "rate_limit_error")
    assert "This event allows" in str(caught.value)
    assert len(sent) == 2


def test_the_openai_client_tries_again_when_calls_under_way_hold_the_rest(
    http: httpx.Client, client: Any, grant: Grant
) -> None:
    code = grant(daily_tokens=1000)
    library, sent = client(code)
    holds = ask("repeat 3", model="sim-drip", stream=True, max_tokens=900)
    with http.stream("POST", CHAT, headers=key(code), json=holds):
        refused = http.post(CHAT, headers=key(code), json=ask("repeat 3", max_tokens=200))
        answer = say(library, "repeat 3", max_tokens=200)

    assert refused.headers["retry-after"] == "1"
    assert "x-should-retry" not in refused.headers
    assert error_of(refused)["message"].endswith("try again in a moment.")
    assert answer.usage.completion_tokens == 3
    assert len(sent) == 2


# What costs nothing.


@pytest.mark.parametrize(
    ("members", "status", "column", "attempts"),
    [
        ({"model": "sim-400"}, 400, "RequestErrors", 1),
        ({"model": "sim-filter"}, 400, "RequestErrors", 1),
        ({"model": "sim-409"}, 400, "UpstreamErrors", 1),
        ({"model": "sim-429"}, 429, "UpstreamErrors", 3),
        ({"model": "sim-500", "stream": True}, 500, "UpstreamErrors", 2),
        ({"model": "sim-reset"}, 502, "UpstreamErrors", 2),
        ({"model": "sim-silence"}, 504, "UpstreamErrors", 1),
        ({"model": "sim-cut"}, 502, "UpstreamErrors", 2),
        ({"model": "sim-empty", "stream": True}, 502, "UpstreamErrors", 2),
        ({"model": "sim-notstream", "stream": True}, 502, "UpstreamErrors", 2),
        ({"model": "gpt-9"}, 404, "RequestErrors", 0),
        ({"max_tokens": 5001}, 400, "RequestErrors", 0),
        ({"max_tokens": "many"}, 400, "RequestErrors", 0),
        ({"messages": []}, 400, "RequestErrors", 1),
    ],
    ids=str,
)
def test_a_call_that_fails_gives_all_back(
    http: httpx.Client,
    storage: str,
    grant: Grant,
    members: dict,
    status: int,
    column: str,
    attempts: int,
) -> None:
    code = grant(**ALL_CAPS, max_tokens=5000)
    response = http.post(CHAT, headers=key(code), json=ask("hello", **members))

    assert response.status_code == status
    assert used(http, code) == dict.fromkeys(ALL_CAPS, 0)
    counted = recorded(storage, code, column)
    assert counted["Requests"] == 1
    assert counted["PromptTokens"] + counted["CompletionTokens"] + counted["EstimatedTokens"] == 0
    # A deployment that another test has made cool down is not tried at once.
    assert min(attempts, 1) <= counted["Attempts"] <= attempts


def test_a_body_that_is_no_json_costs_nothing(
    http: httpx.Client, storage: str, grant: Grant
) -> None:
    code = grant(**ALL_CAPS)
    response = http.post(CHAT, headers=key(code), content=b'{"messages": [')

    assert error_of(response)["code"] == "invalid_json"
    assert used(http, code) == dict.fromkeys(ALL_CAPS, 0)
    assert recorded(storage, code, "RequestErrors")["Attempts"] == 0


@pytest.mark.parametrize("tight", ["daily_tokens", "tokens_per_minute", "token_budget"])
def test_a_call_that_one_cap_refuses_costs_nothing_under_the_others(
    http: httpx.Client, storage: str, grant: Grant, tight: str
) -> None:
    code = grant(**{**ALL_CAPS, tight: 20})
    refused = [http.post(CHAT, headers=key(code), json=ask("hi", max_tokens=500)) for _ in "abc"]

    assert {error_of(response)["code"] for response in refused} == {CODES[tight]}
    assert used(http, code) == dict.fromkeys(ALL_CAPS, 0)
    counted = recorded(storage, code, "RefusedErrors", 3)
    assert (counted["Requests"], counted["Attempts"]) == (3, 0)


def test_an_embedding_that_fails_gives_all_back(http: httpx.Client, grant: Grant) -> None:
    code = grant(**ALL_CAPS)
    response = http.post(EMBEDDINGS, headers=key(code), json={"input": "hi", "model": "sim-500"})

    assert response.status_code == 500
    assert used(http, code) == dict.fromkeys(ALL_CAPS, 0)


# What costs something although it went wrong.


@pytest.mark.parametrize("model", ["sim-cut", "sim-tear", "sim-miderror"])
def test_a_stream_that_breaks_is_charged_for_what_has_come(
    http: httpx.Client, storage: str, grant: Grant, model: str
) -> None:
    code = grant(daily_requests=10, daily_tokens=PLENTY)
    body = ask("repeat 50", model=model, stream=True)
    response = http.post(CHAT, headers=key(code), json=body)

    assert "error" in events_of(response.content)[-1]
    spent = used(http, code)
    assert spent["daily_requests"] == 1
    assert 3 <= spent["daily_tokens"] <= 40
    counted = recorded(storage, code, "UpstreamErrors")
    assert counted["EstimatedTokens"] == spent["daily_tokens"]
    assert counted["PromptTokens"] + counted["CompletionTokens"] == 0


def test_an_error_as_the_first_event_of_a_stream_is_counted_as_the_upstreams(
    http: httpx.Client, storage: str, grant: Grant
) -> None:
    code = grant(daily_requests=10)
    body = ask("repeat 50", model="sim-firsterror", stream=True)
    response = http.post(CHAT, headers=key(code), json=body)

    assert (response.status_code, error_of(response)["type"]) == (500, "server_error")
    assert response.headers["content-type"] == "application/json"
    assert recorded(storage, code, "UpstreamErrors")["Requests"] == 1


@pytest.mark.parametrize(
    ("number", "status", "cost"), [(2, 400, False), (6, 200, True)], ids=["in front", "half way"]
)
def test_a_fault_of_the_caller_in_a_stream_is_counted_as_the_callers(
    http: httpx.Client,
    storage: str,
    simulator: str,
    grant: Grant,
    number: int,
    status: int,
    cost: bool,
) -> None:
    code = grant(daily_requests=10, daily_tokens=PLENTY)
    fault = {"fault": f"sim-badimage-{number}", "calls": 1}
    httpx.put(f"{simulator}/simulator/faults/grok-3", json=fault).raise_for_status()
    body = {"model": "grok-beta", "input": "repeat 50", "stream": True}
    response = http.post("/v1/responses", headers=key(code), json=body)

    assert response.status_code == status
    counted = recorded(storage, code, "RequestErrors")
    assert counted["UpstreamErrors"] == 0
    assert (counted["EstimatedTokens"] > 0) == cost


def test_a_stream_left_half_way_is_charged_for_what_has_come(
    gateway: str, http: httpx.Client, storage: str, calls: Calls, text: str, grant: Grant
) -> None:
    code = grant(daily_requests=10, daily_tokens=PLENTY)
    body = ask(f"{text} repeat 1000", model="sim-drip", stream=True)
    with (
        httpx.Client(base_url=gateway) as leaving,
        leaving.stream("POST", CHAT, headers=key(code), json=body) as response,
    ):
        lines = response.iter_lines()
        while " 8" not in next(lines):  # the eighth token
            pass

    calls.wait_until_left(text)
    counted = recorded(storage, code, "CallerLeftErrors")
    prompt = 40
    assert 8 <= counted["EstimatedTokens"] <= 8 + 8 + prompt
    assert used(http, code) == {"daily_requests": 1, "daily_tokens": counted["EstimatedTokens"]}


@pytest.mark.parametrize("model", ["sim-silence", "sim-stall"])
def test_hanging_up_before_the_answer_is_no_way_around_a_cap(
    http: httpx.Client, storage: str, calls: Calls, text: str, grant: Grant, model: str
) -> None:
    code = grant(daily_requests=10, daily_tokens=PLENTY)
    with pytest.raises(httpx.ReadTimeout):
        body = ask(text, model=model, max_tokens=500)
        http.post(CHAT, headers=key(code), json=body, timeout=0.5)

    calls.wait_until_left(text)
    counted = recorded(storage, code, "CallerLeftErrors")
    assert 500 < counted["EstimatedTokens"] < 600
    assert used(http, code) == {"daily_requests": 1, "daily_tokens": counted["EstimatedTokens"]}


# The bound on an answer under a cap of tokens.


def sent_limit(calls: Calls, text: str) -> Any:
    return json.loads(calls.only(text)["body"]).get("max_completion_tokens")


@pytest.mark.parametrize("cap", OF_TOKENS)
@pytest.mark.parametrize("streams", [False, True], ids=["document", "stream"])
def test_an_answer_that_nobody_bounds_gets_4096_tokens_where_they_are_there(
    http: httpx.Client, calls: Calls, text: str, grant: Grant, cap: str, streams: bool
) -> None:
    http.post(CHAT, headers=key(grant(**{cap: PLENTY})), json=ask(text, stream=streams))

    assert sent_limit(calls, text) == 4096


@pytest.mark.parametrize("cap", OF_TOKENS)
def test_an_answer_that_nobody_bounds_gets_what_is_left(
    http: httpx.Client, calls: Calls, text: str, grant: Grant, cap: str
) -> None:
    code = grant(**{cap: 1000})
    response = http.post(CHAT, headers=key(code), json=ask(f"{text} repeat 5000"))

    usage = response.json()["usage"]
    assert 900 < sent_limit(calls, text) < 1000
    assert usage["completion_tokens"] == sent_limit(calls, text)
    assert used(http, code) == {cap: usage["total_tokens"]}
    assert usage["total_tokens"] <= 1000


def test_without_a_cap_of_tokens_an_answer_is_not_bounded(
    http: httpx.Client, calls: Calls, text: str, grant: Grant
) -> None:
    code = grant(daily_requests=9, requests_per_minute=9, daily_embedding_requests=9)
    http.post(CHAT, headers=key(code), json=ask(text))

    assert sent_limit(calls, text) is None


def test_answers_get_shorter_until_too_little_is_left(
    http: httpx.Client, calls: Calls, text: str, grant: Grant
) -> None:
    code = grant(daily_tokens=1000)
    sizes, ends = [], []
    while True:
        response = http.post(CHAT, headers=key(code), json=ask(f"{text} repeat 300"))
        if response.status_code != 200:
            break
        document = response.json()
        sizes.append(document["usage"]["completion_tokens"])
        ends.append(document["choices"][0]["finish_reason"])

    assert sizes[:3] == [300] * 3 and all(16 <= size < 300 for size in sizes[3:])
    assert ends == ["stop"] * 3 + ["length"] * len(sizes[3:])
    assert len(calls.all(text)) == len(sizes) >= 4
    assert error_of(response)["code"] == "daily_token_cap_exceeded"
    stands = standing(http, code)["daily_tokens"]
    assert 950 < stands["used"] <= 1000
    assert f"{stands['remaining']} are left" in error_of(response)["message"]


def test_an_answer_of_less_than_16_tokens_is_not_begun(
    http: httpx.Client, calls: Calls, text: str, grant: Grant
) -> None:
    http.post(CHAT, headers=key(grant(token_budget=1000)), json=ask(text))
    prompt = 1000 - sent_limit(calls, text)
    enough, too_little = grant(token_budget=prompt + 16), grant(token_budget=prompt + 15)

    refused = http.post(CHAT, headers=key(too_little), json=ask(text))
    answered = http.post(CHAT, headers=key(enough), json=ask(text))
    assert (refused.status_code, answered.status_code) == (429, 200)
    sent = [json.loads(call["body"])["max_completion_tokens"] for call in calls.all(text)]
    assert sent == [1000 - prompt, 16]


def test_the_tokens_left_are_shared_by_the_answers_of_a_call(
    http: httpx.Client, calls: Calls, text: str, grant: Grant
) -> None:
    code = grant(token_budget=1000)
    response = http.post(CHAT, headers=key(code), json=ask(f"{text} repeat 5000", n=3))

    assert 300 < sent_limit(calls, text) <= 333
    assert response.json()["usage"]["completion_tokens"] == 3 * sent_limit(calls, text)
    assert used(http, code)["token_budget"] <= 1000


def test_the_cap_of_a_request_bounds_an_answer_too(
    http: httpx.Client, calls: Calls, text: str, grant: Grant
) -> None:
    code = grant(token_budget=PLENTY, max_tokens=100)
    http.post(CHAT, headers=key(code), json=ask(text, n=2))

    assert sent_limit(calls, text) == 50


def test_what_was_asked_for_and_fits_goes_up_unchanged(
    http: httpx.Client, calls: Calls, text: str, grant: Grant
) -> None:
    body = json.dumps(ask(text, max_tokens=8000), indent=1)
    http.post(CHAT, headers=key(grant(token_budget=PLENTY)), content=body)

    assert calls.only(text)["body"] == body


@pytest.mark.parametrize(
    "members",
    [
        {"max_tokens": 1000},
        {"max_completion_tokens": 1000},
        {"max_tokens": 10, "max_completion_tokens": 1000},
        {"max_tokens": 1000, "max_completion_tokens": 10},
        {"max_tokens": 250, "n": 4},
        {"max_tokens": 1000, "stream": True},
        {"max_tokens": 10**30},
    ],
    ids=str,
)
def test_asking_for_more_than_is_left_is_refused_with_what_is_left(
    http: httpx.Client, calls: Calls, text: str, grant: Grant, members: dict
) -> None:
    code = grant(token_budget=1000)
    refused = http.post(CHAT, headers=key(code), json=ask(text, **members))

    message = error_of(refused)["message"]
    assert refused.status_code == 429
    assert "1,000 are left" in message
    assert message.endswith("Shorten the prompt, or ask for a shorter answer.")
    assert calls.all(text) == []


def test_many_calls_at_once_never_pass_a_cap(
    gateway: str, http: httpx.Client, grant: Grant
) -> None:
    code = grant(daily_requests=20, token_budget=3000)

    async def call_all() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=gateway, headers=key(code), timeout=20) as client:
            body = ask("repeat 60", max_tokens=60)
            return await asyncio.gather(*(client.post(CHAT, json=body) for _ in range(60)))

    statuses = Counter(response.status_code for response in asyncio.run(call_all()))
    assert statuses == {200: 20, 429: 40}
    assert used(http, code)["daily_requests"] == 20


# What an attendee is told beforehand.


def test_the_event_tells_where_its_caps_stand(http: httpx.Client, grant: Grant) -> None:
    code = grant(**ALL_CAPS)
    spent = call(http, code).json()["usage"]["total_tokens"]
    stands = standing(http, code)

    assert stands.keys() == ALL_CAPS.keys()
    for cap in ALL_CAPS:
        one = 0 if cap == "daily_embedding_requests" else 1
        count = spent if cap in OF_TOKENS else one
        resets = next_minute() if cap in OF_MINUTES else next_day()
        assert stands[cap] == {
            "limit": PLENTY,
            "used": count,
            "remaining": PLENTY - count,
            "resets_at": None if cap == "token_budget" else resets.isoformat(),
            "counts": "tokens" if cap in OF_TOKENS else "requests",
            "per": "event" if cap in ("tokens_per_minute", "token_budget") else "attendee",
        }


def test_the_event_tells_only_of_the_caps_it_has(http: httpx.Client, grant: Grant) -> None:
    assert standing(http, grant()) == {}
    assert standing(http, grant(max_tokens=100)) == {}
    assert list(standing(http, grant(token_budget=0))) == ["token_budget"]


def test_a_raised_cap_lets_calls_in_again(
    http: httpx.Client, storage: str, simulator: str, grant: Grant
) -> None:
    code = grant(daily_requests=2, token_budget=100)
    assert [call(http, code).status_code for _ in range(2)] == [200, 429]
    spent = used(http, code)["token_budget"]

    now = datetime.now(UTC)
    window = {"start": now - timedelta(days=1), "end": now + timedelta(days=1)}
    raised = Event(code=code, **window, daily_requests=2, token_budget=1000)
    asyncio.run(add_events(storage, [raised]))
    with (
        processes.gateway(gateway_settings(storage, simulator)) as server,
        httpx.Client(base_url=server.url) as another,
    ):
        assert standing(another, code)["token_budget"]["limit"] == 1000
        assert spent <= used(another, code)["token_budget"] < 100
        assert [call(another, code).status_code for _ in range(2)] == [200, 429]
        assert used(another, code)["daily_requests"] == 2
        assert used(another, code)["token_budget"] >= 2 * spent


# The headers that tell it with every answer.


def limits_of(response: httpx.Response) -> dict[str, str]:
    prefix = "x-ratelimit-"
    return {
        name.removeprefix(prefix): value
        for name, value in response.headers.items()
        if name.startswith(prefix)
    }


UPSTREAMS = {
    "limit-requests": "1000",
    "remaining-requests": "999",
    "limit-tokens": "1000000",
    "remaining-tokens": "999000",
}


@pytest.mark.parametrize("members", [{}, {"stream": True}], ids=["document", "stream"])
@pytest.mark.parametrize(
    "caps", [{}, {"daily_requests": 5000}, {"token_budget": 10**9}, {"max_tokens": 10}], ids=str
)
def test_the_upstreams_own_limits_are_told_where_they_are_tighter(
    http: httpx.Client, grant: Grant, caps: dict, members: dict
) -> None:
    response = http.post(CHAT, headers=key(grant(**caps)), json=ask("hello", **members))

    assert limits_of(response) == UPSTREAMS
    assert len(response.headers.get_list("x-ratelimit-limit-requests")) == 1


@pytest.mark.parametrize("members", [{}, {"stream": True}], ids=["document", "stream"])
def test_the_tightest_cap_is_told_where_it_is_tighter(
    http: httpx.Client, grant: Grant, members: dict
) -> None:
    code = grant(daily_requests=50, requests_per_minute=7, token_budget=9000, daily_tokens=8000)
    response = http.post(CHAT, headers=key(code), json=ask("repeat 3", max_tokens=500, **members))

    limits = limits_of(response)
    assert (limits["limit-requests"], limits["remaining-requests"]) == ("7", "6")
    assert re.fullmatch(r"\d{1,2}s|1m0s", limits["reset-requests"])
    assert limits["limit-tokens"] == "8000"
    reserved = 8000 - int(limits["remaining-tokens"])
    assert 500 < reserved < 550 if members else reserved == used(http, code)["daily_tokens"]
    assert "h" in limits["reset-tokens"] or datetime.now(UTC).hour == 23
    assert len(limits) == 6


def test_ours_and_the_upstreams_limits_are_told_side_by_side(
    http: httpx.Client, grant: Grant
) -> None:
    limits = limits_of(call(http, grant(daily_requests=5)))

    assert (limits["limit-requests"], limits["remaining-requests"]) == ("5", "4")
    assert (limits["limit-tokens"], limits["remaining-tokens"]) == ("1000000", "999000")


def test_limits_are_told_with_an_error_of_the_upstream(http: httpx.Client, grant: Grant) -> None:
    code = grant(daily_requests=5)
    failed = http.post(CHAT, headers=key(code), json=ask("hello", model="sim-500"))
    unreachable = http.post(CHAT, headers=key(code), json=ask("hello", model="sim-reset"))

    assert limits_of(failed)["remaining-requests"] == "5"
    assert limits_of(failed)["limit-requests"] == "5"
    assert limits_of(unreachable)["remaining-requests"] == "5"


def test_the_upstreams_own_refusal_keeps_its_limits(http: httpx.Client, grant: Grant) -> None:
    code = grant(daily_requests=5, daily_tokens=PLENTY)
    refused = http.post(CHAT, headers=key(code), json=ask("hello", model="sim-429"))

    assert refused.headers["retry-after"] == "1"
    assert limits_of(refused)["remaining-requests"] == "0"
    assert limits_of(refused)["remaining-tokens"] == "0"
    assert limits_of(refused)["reset-requests"] == "1"


def test_a_refusal_tells_of_the_other_caps_too(http: httpx.Client, grant: Grant) -> None:
    code = grant(daily_requests=1, daily_tokens=PLENTY)
    spent = call(http, code).json()["usage"]["total_tokens"]
    limits = limits_of(call(http, code))

    assert (limits["limit-requests"], limits["remaining-requests"]) == ("1", "0")
    assert limits["remaining-tokens"] == str(PLENTY - spent)


def test_a_stream_is_answered_whole_under_every_cap(http: httpx.Client, grant: Grant) -> None:
    code = grant(**ALL_CAPS)
    body = ask("repeat 40", stream=True)
    events = events_of(http.post(CHAT, headers=key(code), json=body).content)

    assert content_of(events).endswith(" 40")
    assert used(http, code)["daily_tokens"] == 40 + 2
