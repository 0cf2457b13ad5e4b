"""What the gateway itself does: its pages, an event's limits, wrong keys, and many callers at once."""

import json

import httpx
import pytest

from tests.conftest import KEY, MODELS
from tests.e2e.calls import Calls
from tests.e2e.wire import (
    CHAT,
    EMBEDDINGS,
    EVENT_CODE,
    ask,
    bare_host_only,
    error_of,
    some_address,
)

ALL_MODELS = [entry.split("|")[0] for entry in MODELS.split(",")]
CAPPED = {"api-key": "capped-event/anna"}  # at most 100 output tokens in a request
NARROW = {"api-key": "narrow-event/anna"}
NARROW_MODELS = ["gpt-4o", "text-embedding-3-small"]


def test_the_home_page_is_html_for_browsers(http: httpx.Client, gateway: str) -> None:
    accept = "text/html,application/xhtml+xml,*/*;q=0.8"
    response = http.get("/", headers={"accept": accept})

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert f'base_url="{gateway}/v1"' in response.text


def test_the_home_page_is_json_for_programs(http: httpx.Client, gateway: str) -> None:
    response = http.get("/")

    assert response.headers["content-type"] == "application/json"
    assert response.json()["base_url"] == f"{gateway}/v1"


def test_the_home_page_shows_the_address_that_was_used_and_nothing_it_could_smuggle_in(
    http: httpx.Client,
) -> None:
    outside = {"x-forwarded-proto": "https", "x-forwarded-host": "gateway.example.com"}
    assert http.get("/", headers=outside).json()["base_url"] == "https://gateway.example.com/v1"

    script = {"accept": "text/html", "x-forwarded-host": "<script>alert(1)</script>"}
    assert "<script>" not in http.get("/", headers=script).text


def test_health_needs_no_key_and_tells_no_secret(http: httpx.Client) -> None:
    response = http.get("/health")

    assert response.status_code == 200
    found = response.json()
    assert found["event_store"] == "ok"
    # Other tests have met deployments that fail.
    assert found["status"] == ("degraded" if found["deployments"] or found["problems"] else "ok")
    assert "default/gpt-4o" not in found["deployments"]
    assert "the-upstream-key" not in response.text


def test_an_attendee_can_see_what_the_event_allows(http: httpx.Client) -> None:
    capped = http.get("/api/v1/event", headers=CAPPED).json()
    narrow = http.get("/api/v1/event", headers=NARROW).json()

    assert (capped["name"], capped["attendee"]) == ("The capped-event", "anna")
    assert (capped["max_tokens"], narrow["max_tokens"]) == (100, None)
    assert capped["models"][: len(ALL_MODELS)] == ALL_MODELS
    assert narrow["models"] == NARROW_MODELS
    assert capped["start"] < capped["end"]
    assert "capped-event/" not in json.dumps(capped)


def test_an_event_narrows_the_list_of_models(http: httpx.Client) -> None:
    listed = http.get("/v1/models", headers=NARROW).json()["data"]
    kept = http.get("/v1/models/gpt-4o", headers=NARROW)
    left_out = http.get("/v1/models/gpt-4", headers=NARROW)

    assert [model["id"] for model in listed] == NARROW_MODELS
    assert all(model.keys() == {"id", "object", "created", "owned_by"} for model in listed)
    assert kept.json()["id"] == "gpt-4o"
    assert (left_out.status_code, error_of(left_out)["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/openai/deployments/gpt-4/chat/completions"]
)
def test_an_event_narrows_what_can_be_called(
    http: httpx.Client, calls: Calls, text: str, path: str
) -> None:
    response = http.post(path, headers=NARROW, json=ask(text, model="gpt-4"))

    assert response.status_code == 404
    assert "Available: gpt-4o, text-embedding-3-small." in error_of(response)["message"]
    assert calls.all(text) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nowhere"),
        ("POST", "/v1"),
        ("POST", "/v1/chat"),
        ("POST", "/v2/chat/completions"),
        ("POST", "/v1/chat/completions/extra"),
        ("POST", "/openai/deployments/chat/nope"),
        ("POST", "/V1/Chat/Completions"),
        ("GET", "/v1/event/x"),
        ("GET", "/%ff%00"),
        pytest.param("GET", "/%0a", marks=bare_host_only),
        ("GET", "/api/v1/../../etc/passwd"),
    ],
)
def test_an_unknown_path_is_a_404(http: httpx.Client, method: str, path: str) -> None:
    response = http.request(method, path, headers=EVENT_CODE)

    error = error_of(response)
    assert (response.status_code, error["code"]) == (404, "unknown_path")
    assert "/v1/chat/completions" in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/api/v1/chat/completions", "POST"),
        ("PUT", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/embeddings", "POST"),
        ("OPTIONS", "/api/v1/embeddings", "POST"),
        ("PATCH", "/openai/deployments/gpt-4o/chat/completions", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("DELETE", "/api/v1/models/gpt-4o", "GET, HEAD"),
        ("POST", "/api/v1/event", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
        ("PUT", "/health", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_a_405_that_says_what_is_allowed(
    http: httpx.Client, method: str, path: str, allow: str
) -> None:
    response = http.request(method, path, headers=EVENT_CODE)

    assert (response.status_code, error_of(response)["code"]) == (405, "method_not_allowed")
    assert response.headers["allow"] == allow


@pytest.mark.parametrize("path", ["/", "/health", "/v1/models", "/api/v1/models", "/api/v1/event"])
def test_head_gives_the_headers_alone(http: httpx.Client, path: str) -> None:
    response = http.head(path, headers=EVENT_CODE)

    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.content == b""


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"max_tokens": 101}, "max_tokens"),
        ({"max_completion_tokens": 101}, "max_completion_tokens"),
        ({"max_tokens": 100, "max_completion_tokens": 101}, "max_completion_tokens"),
        ({"max_tokens": 51, "n": 2}, "max_tokens"),
        ({"max_completion_tokens": 11, "n": 10}, "max_completion_tokens"),
        ({"n": 101}, "n"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"max_tokens": 101, "stream": True}, "max_tokens"),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", [CHAT, "/openai/deployments/gpt-4o/chat/completions"])
def test_more_output_than_the_events_cap_is_refused(
    http: httpx.Client, calls: Calls, text: str, path: str, members: dict, param: str
) -> None:
    response = http.post(path, headers=CAPPED, json=ask(text, **members))

    error = error_of(response)
    assert response.status_code == 400
    assert (error["code"], error["param"]) == ("max_tokens_exceeded", param)
    assert "100" in error["message"]
    assert calls.all(text) == []


@pytest.mark.parametrize(
    "members",
    [{"max_tokens": 100}, {"max_completion_tokens": 1}, {"max_tokens": 50, "n": 2}],
    ids=str,
)
def test_output_within_the_cap_is_asked_for_unchanged(
    http: httpx.Client, calls: Calls, text: str, members: dict
) -> None:
    body = json.dumps(ask(text, **members), indent=1)
    http.post(CHAT, headers=CAPPED, content=body)

    assert calls.only(text)["body"] == body


@pytest.mark.parametrize(
    ("members", "cap"),
    [
        ({}, 100),
        ({"max_tokens": None, "x": "é"}, 100),
        ({"n": 3}, 33),
        ({"stream": True, "stream_options": {"include_usage": True}}, 100),
    ],
    ids=str,
)
def test_the_cap_is_set_where_no_limit_is_given(
    http: httpx.Client, calls: Calls, text: str, members: dict, cap: int
) -> None:
    asked = ask(f"{text} repeat 150", **members)
    response = http.post(CHAT, headers=CAPPED, json=asked)

    assert response.status_code == 200
    sent = json.loads(calls.only(text)["body"])
    assert sent == {**asked, "max_completion_tokens": cap}


def test_an_event_without_a_cap_gets_none_set(http: httpx.Client, calls: Calls, text: str) -> None:
    http.post(CHAT, headers=EVENT_CODE, json=ask(text))
    http.post(EMBEDDINGS, headers=CAPPED, json={"input": text})

    for call in calls.all(text):
        assert "max_" not in call["body"]


@pytest.mark.parametrize("key", [KEY, "capped-event/anna"])
@pytest.mark.parametrize(
    "members",
    [
        '"max_tokens": 1, "max_tokens": 5000',
        r'"max_tokens": 1, "max\u005ftokens": 5000',
        '"model": "gpt-4o", "model": "gpt-4"',
        '"n": 1, "n": 100',
    ],
)
def test_a_member_that_stands_there_twice_is_refused(
    http: httpx.Client, calls: Calls, text: str, key: str, members: str
) -> None:
    body = f'{{"messages": [{{"role": "user", "content": "{text}"}}], {members}}}'
    response = http.post(CHAT, headers={"api-key": key}, content=body)

    assert (response.status_code, error_of(response)["code"]) == (400, "invalid_json")
    assert calls.all(text) == []


def test_wrong_keys_are_counted_for_their_address_only(http: httpx.Client) -> None:
    address = {"x-forwarded-for": f"198.51.100.7, {some_address()}:4711"}
    wrong = [
        http.get("/v1/models", headers={"api-key": f"wrong-code{n}/a", **address})
        for n in range(25)
    ]
    right = http.get("/v1/models", headers={"api-key": KEY, **address})
    elsewhere = {"api-key": "wrong-code0/a", "x-forwarded-for": some_address()}

    assert [response.status_code for response in wrong] == [401] * 20 + [429] * 5
    for response in wrong[20:]:
        assert error_of(response)["code"] == "too_many_attempts"
        assert 1 <= int(response.headers["retry-after"]) <= 60
    assert right.status_code == 200
    assert http.get("/v1/models", headers=elsewhere).status_code == 401


def test_a_claimed_address_does_not_reset_the_count(http: httpx.Client) -> None:
    address = some_address()
    statuses = [
        http.get(
            "/v1/models",
            headers={"api-key": "wrong-code/a", "x-forwarded-for": f"{some_address()}, {address}"},
        ).status_code
        for _ in range(21)
    ]

    assert statuses[-1] == 429
