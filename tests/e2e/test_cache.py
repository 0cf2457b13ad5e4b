"""An event with a cache, as its attendees see it and as its organiser finds it counted."""

import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

from tests import processes
from tests.conftest import gateway_settings
from tests.e2e.calls import Calls
from tests.e2e.test_caps import Grant, early_in_a_minute, grant, key, pytestmark, recorded, used
from tests.e2e.test_openai_python import WEATHER
from tests.e2e.wire import CHAT, EMBEDDINGS, ask, content_of, error_of, events_of

__all__ = ["early_in_a_minute", "grant", "pytestmark"]
HOUR_S = 3600
SCRIPT = Path(__file__).with_name("cache_client.mjs")
TIME = {"type": "function", "function": {"name": "get_time", "parameters": {"type": "object"}}}
Post = Callable[..., httpx.Response]


@pytest.fixture
def code(grant: Grant) -> str:
    """An event with a cache."""
    return grant(cache_max_age=HOUR_S)


@pytest.fixture
def post(http: httpx.Client, code: str) -> Post:
    """Asks in that event."""

    def send(body: dict[str, Any], name: str = "anna", path: str = CHAT) -> httpx.Response:
        response = http.post(path, headers=key(code, name), json=body)
        response.read()
        return response

    return send


def status(response: httpx.Response) -> str | None:
    return response.headers.get("x-portkey-cache-status")


def test_the_same_question_is_answered_without_a_call_upstream(
    post: Post, calls: Calls, text: str
) -> None:
    first, second = post(ask(text, temperature=0.5)), post(ask(text, temperature=0.5), "ben")

    assert [status(each) for each in (first, second)] == ["MISS", "HIT"]
    assert second.content == first.content
    assert second.headers["content-type"] == "application/json"
    assert second.headers["x-gateway-attempts"] == "0"
    assert "x-gateway-deployment" not in second.headers
    assert second.headers["x-request-id"] != first.headers["x-request-id"]
    assert calls.only(text)


@pytest.mark.parametrize(
    "other",
    [
        {"user": "ben"},
        {"model": "GPT-4o"},
        {"stream": False},
        {"stream": True},
        {"stream": True, "stream_options": {"include_usage": True}},
    ],
    ids=str,
)
def test_who_asks_and_in_which_form_makes_no_difference(
    post: Post, text: str, other: dict[str, Any]
) -> None:
    body = ask(text, model="gpt-4o", user="anna", seed=1)
    assert status(post(body)) == "MISS"
    assert status(post({**dict(reversed(body.items())), **other})) == "HIT"


@pytest.mark.parametrize(
    "other",
    [
        {"model": "gpt-4o-mini"},
        {"messages": [{"role": "user", "content": "something else"}]},
        {"messages": [{"role": "system", "content": "hi"}]},
        {"temperature": 0.25},
        {"temperature": None},
        {"max_tokens": 51},
        {"seed": 2},
        {"n": 2},
        {"tools": [WEATHER]},
        {"metadata": {"user": "a"}},
    ],
    ids=str,
)
def test_another_question_has_an_answer_of_its_own(
    post: Post, text: str, other: dict[str, Any]
) -> None:
    body = ask(text, model="gpt-4o", max_tokens=50)
    assert status(post(body)) == "MISS"
    assert status(post({**body, **other})) == "MISS"


def test_operations_do_not_share(post: Post, text: str) -> None:
    model = "text-embedding-3-small"
    assert status(post({"model": model, "input": text}, path=EMBEDDINGS)) == "MISS"
    again = post({"model": model, "input": text}, path=EMBEDDINGS)
    assert (status(again), len(again.json()["data"])) == ("HIT", 1)
    assert status(post({"model": model, "input": [text]}, path=EMBEDDINGS)) == "MISS"


def test_events_do_not_share(http: httpx.Client, grant: Grant, calls: Calls, text: str) -> None:
    codes = [grant(cache_max_age=HOUR_S), grant(cache_max_age=HOUR_S), grant()]
    responses = [http.post(CHAT, headers=key(each), json=ask(text)) for each in codes * 2]

    assert [status(each) for each in responses] == ["MISS", "MISS", None, "HIT", "HIT", None]
    assert len(calls.all(text)) == 4


@pytest.mark.parametrize("first", [False, True], ids=["document first", "stream first"])
@pytest.mark.parametrize("form", ["/v1", "/openai/v1"])
@pytest.mark.parametrize(
    "members",
    [{}, {"n": 3}, {"tools": [WEATHER, TIME]}, {"response_format": {"type": "json_object"}}],
    ids=["text", "choices", "tools", "json"],
)
def test_a_stream_and_a_document_say_the_same(
    gateway: str,
    code: str,
    calls: Calls,
    text: str,
    members: dict[str, Any],
    form: str,
    first: bool,
) -> None:
    """The official library assembles the one from the other."""
    body: dict[str, Any] = ask(f"{text}: get_weather, get_time", model="gpt-4o", **members)
    client = OpenAI(base_url=gateway + form, api_key=f"{code}/anna", max_retries=0)

    def plain() -> Any:
        raw = client.chat.completions.with_raw_response.create(**body)
        return raw.parse().model_dump(), raw.headers["x-portkey-cache-status"]

    def streamed() -> Any:
        options = {"include_usage": True}
        with client.chat.completions.stream(**body, stream_options=options) as events:
            found = events.get_final_completion().model_dump()
            return found, events._response.headers["x-portkey-cache-status"]

    with client:
        (one, missed), (two, hit), (three, hit_again) = (
            each() for each in ([streamed, plain, streamed] if first else [plain, streamed, plain])
        )

    assert (missed, hit, hit_again) == ("MISS", "HIT", "HIT")
    assert calls.only(text)
    assert told(one) == told(two) == told(three)
    assert len(one["choices"]) == members.get("n", 1)
    assert one["usage"]["completion_tokens"] > 0


def told(completion: dict[str, Any]) -> dict[str, Any]:
    """What a completion says, in whichever way the library has come by it."""
    return {
        **{name: completion[name] for name in ("id", "model", "created", "usage", "object")},
        "choices": [
            {
                "finish_reason": choice["finish_reason"],
                "content": choice["message"]["content"] or "",
                "calls": [
                    (
                        call["id"],
                        call["type"],
                        call["function"]["name"],
                        call["function"]["arguments"],
                    )
                    for call in choice["message"]["tool_calls"] or []
                ],
            }
            for choice in completion["choices"]
        ],
    }


def test_the_npm_package_reads_the_same_in_both(gateway: str, code: str) -> None:
    command = ["node", str(SCRIPT), gateway, f"{code}/anna", uuid.uuid4().hex]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)

    for name, found in results.items():
        status = found["plain"].pop("cache")
        assert status == ("HIT" if name.endswith("streamed_first") else "MISS"), name
        assert found["plain"] == found["streamed"], name
    assert len(results["tools"]["plain"]["choices"][0]["calls"]) == 2
    assert len(results["choices"]["plain"]["choices"]) == 2


def test_a_stream_tells_its_usage_only_to_who_asks(post: Post, text: str) -> None:
    post(ask(text))
    options = {"stream_options": {"include_usage": True}}
    without, with_usage = post(ask(text, stream=True)), post(ask(text, stream=True, **options))

    assert without.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert '"usage"' not in without.text
    *events, last, done = events_of(with_usage.content)
    assert done == "[DONE]" and last["choices"] == [] and last["usage"]["total_tokens"] > 0
    assert content_of(events) == content_of(events_of(without.content))


@pytest.mark.parametrize(
    ("model", "is_stream"),
    [
        ("sim-503", False),
        ("sim-filter", False),
        ("sim-latefilter", False),
        ("sim-latefilter", True),
        ("sim-cut", False),
        ("sim-cut", True),
        ("sim-stall", True),
        ("sim-miderror", True),
        ("sim-malformed", True),
        ("sim-firsterror", True),
    ],
)
def test_what_is_not_a_good_answer_in_full_is_not_kept(
    post: Post, text: str, model: str, is_stream: bool
) -> None:
    body = ask(f"{text} repeat 20", model=model, stream=is_stream)
    assert [status(post(body)) for _ in range(2)] == ["MISS", "MISS"]


def test_a_stream_without_its_last_event_is_kept(post: Post, text: str) -> None:
    assert status(post(ask(text, model="sim-nodone", stream=True))) == "MISS"
    assert status(post(ask(text, model="sim-nodone"))) == "HIT"


def test_a_stream_that_its_caller_has_left_is_not_kept(
    http: httpx.Client, post: Post, code: str, calls: Calls, text: str
) -> None:
    body = ask(f"{text} repeat 50", model="sim-drip", stream=True)
    with http.stream("POST", CHAT, headers=key(code), json=body) as response:
        next(response.iter_bytes())
    calls.wait_until_left(text)

    with http.stream("POST", CHAT, headers=key(code), json=body) as response:
        assert status(response) == "MISS"


def test_a_body_that_readers_could_read_differently_is_not_kept(
    http: httpx.Client, code: str, text: str
) -> None:
    """Else one attendee could have another's question answered with what he likes."""
    body = f'{{"messages": [{{"role": "user", "content": "{text} a", "content": "{text}"}}]}}'
    asked = [http.post(CHAT, headers=key(code), content=body.encode()) for _ in range(2)]
    assert [status(each) for each in asked] == ["DISABLED", "DISABLED"]
    assert status(http.post(CHAT, headers=key(code), json=ask(text))) == "MISS"


def test_a_refused_call_tells_that_it_has_no_part_in_the_cache(post: Post) -> None:
    refused = post({"messages": "", "model": "gpt-9"})
    assert (error_of(refused)["code"], status(refused)) == ("model_not_found", "DISABLED")


def test_a_hit_costs_a_request_and_no_tokens(
    http: httpx.Client, grant: Grant, storage: str, text: str
) -> None:
    code = grant(
        cache_max_age=HOUR_S,
        daily_requests=3,
        requests_per_minute=50,
        daily_tokens=10**6,
        tokens_per_minute=10**6,
        token_budget=10**6,
    )
    responses = []
    standing = []
    for _ in range(4):
        responses.append(http.post(CHAT, headers=key(code), json=ask(text)))
        standing.append(used(http, code))

    assert [status(each) for each in responses[:3]] == ["MISS", "HIT", "HIT"]
    tokens = responses[0].json()["usage"]["total_tokens"]
    for cap in ("daily_tokens", "tokens_per_minute", "token_budget"):
        assert [each[cap] for each in standing] == [tokens] * 4
    for cap in ("daily_requests", "requests_per_minute"):
        assert [each[cap] for each in standing] == [1, 2, 3, 3]
    assert responses[2].headers["x-ratelimit-remaining-requests"] == "0"
    assert error_of(responses[3])["code"] == "daily_request_cap_exceeded"
    counted = recorded(storage, code, "Requests", 4)
    assert counted["CacheHits"] == 2 and counted["Attempts"] == 1
    assert counted["PromptTokens"] + counted["CompletionTokens"] == tokens
    assert counted["RefusedErrors"] == 1 and counted["EstimatedTokens"] == 0


def test_a_hit_is_served_where_the_tokens_are_used_up(
    http: httpx.Client, grant: Grant, text: str
) -> None:
    code = grant(cache_max_age=HOUR_S, token_budget=60)
    said = ask(f"{text} repeat 10", max_tokens=10)
    assert status(http.post(CHAT, headers=key(code), json=said)) == "MISS"
    refused = http.post(CHAT, headers=key(code), json=ask(f"no {text}", max_tokens=60))
    assert error_of(refused)["code"] == "event_budget_exceeded"
    assert status(http.post(CHAT, headers=key(code), json=said)) == "HIT"


def test_an_answer_that_a_cap_has_cut_short_is_not_for_others(
    http: httpx.Client, grant: Grant, text: str
) -> None:
    """One attendee has few tokens left and gets a short answer; another one gets it in full."""
    code = grant(cache_max_age=HOUR_S, daily_tokens=200)
    question = ask(f"{text} repeat 120")
    spent = ask(f"{text} more, repeat 90", max_tokens=90)
    assert http.post(CHAT, headers=key(code), json=spent).is_success
    short = http.post(CHAT, headers=key(code), json=question)
    whole = http.post(CHAT, headers=key(code, "ben"), json=question)

    assert short.json()["choices"][0]["finish_reason"] == "length"
    assert status(whole) == "MISS"
    assert whole.json()["choices"][0]["finish_reason"] == "stop"
    assert status(http.post(CHAT, headers=key(code, "cid"), json=question)) == "HIT"


def test_an_answer_that_its_caller_wants_short_is_kept(post: Post, text: str) -> None:
    body = ask(f"{text} repeat 20", max_tokens=5)
    found = [post(body), post(body)]
    assert [status(each) for each in found] == ["MISS", "HIT"]
    assert found[1].json()["choices"][0]["finish_reason"] == "length"


def test_attendees_are_told_that_answers_are_shared(
    http: httpx.Client, grant: Grant, code: str
) -> None:
    told = [http.get("/api/v1/event", headers=key(each)).json() for each in (code, grant())]
    assert [each["cache_max_age"] for each in told] == [HOUR_S, None]


@pytest.fixture
def logging_gateway(storage: str, simulator: str) -> Iterator[processes.Server]:
    with processes.gateway(gateway_settings(storage, simulator)) as server:
        yield server


def test_the_log_tells_hits_and_never_what_they_say(
    logging_gateway: processes.Server, code: str, text: str
) -> None:
    with httpx.Client(base_url=logging_gateway.url, headers=key(code)) as client:
        for stream in (False, True):
            client.post(CHAT, json=ask(text, stream=stream)).raise_for_status()
        client.get("/health")
    logging_gateway.process.send_signal(2)
    logging_gateway.process.wait(10)

    lines = [line for line in logging_gateway.lines if line.startswith("{")]
    found = [json.loads(line) for line in lines]
    assert [each["cache"] for each in found] == ["MISS", "HIT", ""]
    assert [each["prompt_tokens"] > 0 for each in found] == [True, False, False]
    assert (found[1]["deployment"], found[1]["attempts"]) == ("", [])
    assert text not in "".join(logging_gateway.lines)


PORTKEY_CACHE = {"x-portkey-config": '{"cache": {"mode": "simple", "max_age": 3600}}'}


def test_a_portkey_client_may_ask_for_itself(http: httpx.Client, grant: Grant, text: str) -> None:
    code = grant()

    def asked(**headers: str) -> str | None:
        return status(http.post(CHAT, headers={**key(code), **headers}, json=ask(text)))

    refresh = {"x-portkey-cache-force-refresh": "true"}
    assert asked(**PORTKEY_CACHE) == "MISS"
    assert asked(**PORTKEY_CACHE) == "HIT"
    assert asked(**PORTKEY_CACHE, **refresh) == "REFRESH"
    assert asked(**{"x-portkey-trace-id": "a"}) == asked(**refresh) == "DISABLED"
    assert asked() is None


def test_a_portkey_client_shares_what_its_event_has(
    http: httpx.Client, code: str, text: str
) -> None:
    trace, only = {"x-portkey-trace-id": "a"}, {"x-portkey-virtual-key": "default"}
    found = [
        status(http.post(CHAT, headers={**key(code), **headers}, json=ask(text)))
        for headers in ({}, trace, PORTKEY_CACHE, only, only)
    ]
    assert found == ["MISS", "HIT", "HIT", "MISS", "HIT"]


def test_completions_of_several_prompts_come_back_in_either_form(
    post: Post, calls: Calls, text: str
) -> None:
    body = {"model": "gpt-4o", "prompt": [text, f"{text} again"]}
    whole = post({**body, "stream": True}, path="/v1/completions")
    again = post(body, path="/v1/completions")

    assert [status(each) for each in (whole, again)] == ["MISS", "HIT"]
    said = ["", ""]
    for event in events_of(whole.content):
        for choice in event["choices"] if event != "[DONE]" else ():
            said[choice["index"]] += choice["text"]
    assert [choice["text"] for choice in again.json()["choices"]] == said
    assert calls.only(text)
