"""The simulator's switch, and the faults that look at more than one call."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests import processes

EMBEDDINGS = "/openai/deployments/{}/embeddings?api-version=2024-10-21"
CHAT = "/openai/deployments/{}/chat/completions?api-version=2024-10-21"


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with (
        processes.simulator() as server,
        httpx.Client(base_url=server.url, headers={"api-key": "any"}, timeout=5) as client,
    ):
        yield client


def tell(http: httpx.Client, deployment: str, **told: Any) -> httpx.Response:
    return http.put(f"/simulator/faults/{deployment}", json=told)


def chat(http: httpx.Client, deployment: str, said: str = "repeat 6", **more: Any) -> Any:
    body = {"messages": [{"role": "user", "content": said}], **more}
    return http.post(CHAT.format(deployment), json=body)


def statuses(http: httpx.Client, deployment: str, calls: int) -> list[int]:
    return [chat(http, deployment).status_code for _ in range(calls)]


def test_a_deployment_has_a_fault_for_so_many_calls(http: httpx.Client) -> None:
    assert tell(http, "counted", fault="sim-503", calls=2).status_code == 200
    assert statuses(http, "counted", 4) == [503, 503, 200, 200]


def test_a_deployment_has_a_fault_until_it_is_told_otherwise(http: httpx.Client) -> None:
    tell(http, "told", fault="sim-500")
    assert statuses(http, "told", 3) == [500] * 3
    tell(http, "told", fault="sim-429-7")
    assert chat(http, "told").headers["retry-after"] == "7"
    tell(http, "told", fault=None)
    assert statuses(http, "told", 2) == [200] * 2


def test_the_switch_counts_more_than_the_name(http: httpx.Client) -> None:
    tell(http, "sim-503", fault="sim-500", calls=1)
    assert statuses(http, "sim-503", 2) == [500, 503]


def test_a_fault_is_for_every_operation_and_no_other_deployment(http: httpx.Client) -> None:
    tell(http, "a/b", fault="sim-500", calls=2)
    tell(http, "a%2Fb", fault="sim-503", calls=2)
    assert http.post(EMBEDDINGS.format("a%2Fb"), json={"input": "a"}).status_code == 503
    body = {"model": "a/b", "messages": [{"role": "user", "content": "hello"}]}
    assert http.post("/openai/v1/chat/completions", json=body).status_code == 503
    assert statuses(http, "a", 1) == [200]


@pytest.mark.parametrize(
    ("told", "param"),
    [
        ({"fault": "sim-nothing"}, "fault"),
        ({"fault": "gpt-4o"}, "fault"),
        ({"fault": 503}, "fault"),
        ({"fault": "sim-503", "calls": 0}, "calls"),
        ({"fault": "sim-503", "calls": "2"}, "calls"),
    ],
)
def test_an_unknown_fault_is_refused_and_changes_nothing(
    http: httpx.Client, told: dict[str, Any], param: str
) -> None:
    refusal = tell(http, "unchanged", **told)
    assert refusal.status_code == 400
    assert refusal.json()["error"]["param"] == param
    assert statuses(http, "unchanged", 1) == [200]


def test_the_switch_leaves_no_trace_in_the_log(http: httpx.Client) -> None:
    before = http.get("/simulator/calls?since=999999999").json()["next"]
    tell(http, "unlogged", fault="sim-503")
    assert http.get("/simulator/calls?since=999999999").json()["next"] == before


def arrivals(http: httpx.Client, deployment: str) -> tuple[float, list[tuple[float, str]]]:
    """The seconds until the head of a stream came, and its events, each with its own seconds."""
    body = {"messages": [{"role": "user", "content": "repeat 6"}], "stream": True}
    started = time.monotonic()
    with http.stream("POST", CHAT.format(deployment), json=body) as response:
        head_s = time.monotonic() - started
        events = [(time.monotonic() - started, line[6:]) for line in response.iter_lines() if line]
    return head_s, events


def test_a_stream_is_late_after_its_headers(http: httpx.Client) -> None:
    head_s, events = arrivals(http, "sim-late-300")
    assert head_s < 0.2
    assert events[0][0] >= 0.3 and events[-1][1] == "[DONE]"
    started = time.monotonic()
    assert chat(http, "sim-late-300").json()["usage"]["completion_tokens"] == 6
    assert time.monotonic() - started >= 0.3


def test_a_stream_thinks_after_its_opening(http: httpx.Client) -> None:
    _, events = arrivals(http, "sim-think-300")
    (prelude_s, prelude), (role_s, role), (token_s, token), *_, (_, last) = events
    assert json.loads(prelude)["choices"] == []
    assert json.loads(role)["choices"][0]["delta"]["content"] == ""
    assert json.loads(token)["choices"][0]["delta"]["content"] == "["
    assert max(prelude_s, role_s) < 0.2 and token_s >= 0.3 and last == "[DONE]"


def test_only_so_many_calls_find_a_place_at_once(http: httpx.Client) -> None:
    with ThreadPoolExecutor(5) as pool:
        found = Counter(pool.map(lambda _: chat(http, "sim-places-3").status_code, range(5)))
    assert found == {200: 3, 429: 2}
    assert statuses(http, "sim-places-3", 1) == [200]


def test_some_refuse_a_conversation_that_ends_with_the_assistant(http: httpx.Client) -> None:
    messages = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "Well"}]
    assert chat(http, "sim-noprefill").status_code == 200
    refusal = http.post(CHAT.format("sim-noprefill"), json={"messages": messages})
    assert refusal.status_code == 400 and refusal.json()["error"]["param"] == "messages"
    assert http.post(CHAT.format("gpt-4o"), json={"messages": messages}).status_code == 200


@pytest.mark.parametrize(
    ("member", "code"),
    [
        ({"temperature": 0.2}, "unsupported_value"),
        ({"top_p": 0.5}, "unsupported_parameter"),
        ({"presence_penalty": 1}, "unsupported_parameter"),
        ({"frequency_penalty": 1}, "unsupported_parameter"),
        ({"logprobs": True}, "unsupported_parameter"),
        ({"top_logprobs": 2}, "unsupported_parameter"),
        ({"logit_bias": {"1": 1}}, "unsupported_parameter"),
    ],
)
def test_reasoning_deployments_refuse_sampling(
    http: httpx.Client, member: dict[str, Any], code: str
) -> None:
    refusal = chat(http, "gpt-5-mini", **member)
    assert refusal.status_code == 400
    error = refusal.json()["error"]
    assert (error["code"], [error["param"]]) == (code, list(member))
    assert chat(http, "gpt-4o", **member).status_code == 200


def test_reasoning_deployments_take_the_default_temperature(http: httpx.Client) -> None:
    assert chat(http, "o4-mini", temperature=1).status_code == 200


def test_two_simulators_give_the_same_answer(http: httpx.Client) -> None:
    with (
        processes.simulator() as other,
        httpx.Client(base_url=other.url, headers={"api-key": "any"}) as second,
    ):
        for said in ("hello", "repeat 60"):
            texts = {
                chat(client, "gpt-4o", said).json()["choices"][0]["message"]["content"]
                for client in (http, second)
            }
            assert len(texts) == 1
        # An answer of numbered tokens does not even depend on the deployment.
        assert (
            chat(http, "gpt-4o").json()["choices"][0]["message"]
            == chat(second, "gpt-5").json()["choices"][0]["message"]
        )
