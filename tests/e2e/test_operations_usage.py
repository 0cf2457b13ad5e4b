"""What each operation costs: the ledger has what the upstream has reported, and caps are held."""

import json
from collections import Counter
from typing import Any

import httpx
import pytest

from shared.operations import IMAGE_TOKENS
from tests.e2e.calls import Calls
from tests.e2e.test_caps import Grant, early_in_a_minute, grant, key, pytestmark, recorded, records
from tests.e2e.test_operations_media import PICTURE, SOUND
from tests.e2e.wire import error_of

__all__ = ["early_in_a_minute", "grant", "pytestmark"]
Post = dict[str, Any]
SPEECH = {"model": "gpt-4o-mini-tts", "voice": "coral"}
# What the estimate of forty kilobytes of audio is: 375 bytes a token.
HEARD = -(-len(SOUND[1]) // 375)


def json_post(path: str, **body: Any) -> Post:
    return {"url": f"/v1/{path}", "json": body}


def form_post(path: str, file: tuple = SOUND, **fields: str) -> Post:
    name = "image" if path == "images/edits" else "file"
    return {"url": f"/v1/{path}", "data": fields, "files": {name: file}}


REPORTED = {
    "completion": json_post("completions", model="gpt-4o", prompt=["TEXT", "b"], max_tokens=50),
    "streamed completion": json_post("completions", model="gpt-4o", prompt="TEXT", stream=True),
    "response": json_post("responses", model="gpt-4o", input="TEXT"),
    "streamed response": json_post("responses", model="gpt-4o", input="TEXT", stream=True),
    "incomplete response": json_post(
        "responses", model="gpt-4o", input="TEXT repeat 50", max_output_tokens=20, stream=True
    ),
    "image": json_post("images/generations", model="gpt-image-1", prompt="TEXT", n=2),
    "streamed image": json_post(
        "images/generations", model="gpt-image-1", prompt="TEXT", stream=True
    ),
    "streamed images": json_post(
        "images/generations", model="gpt-image-1", prompt="TEXT", stream=True, n=3
    ),
    "streamed edits": form_post(
        "images/edits", PICTURE, model="gpt-image-1", prompt="TEXT", stream="true", n="2"
    ),
    "edited image": form_post("images/edits", PICTURE, model="gpt-image-1", prompt="TEXT", n="2"),
    "streamed edit": form_post(
        "images/edits", PICTURE, model="gpt-image-1", prompt="TEXT", stream="true"
    ),
    "speech as events": json_post("audio/speech", **SPEECH, input="TEXT", stream_format="sse"),
    "transcript": form_post("audio/transcriptions", model="gpt-4o-transcribe", prompt="TEXT"),
    "streamed transcript": form_post(
        "audio/transcriptions", model="gpt-4o-transcribe", prompt="TEXT", stream="true"
    ),
    "translation": form_post("audio/translations", model="gpt-4o-transcribe", prompt="TEXT"),
}
ESTIMATED = {
    "image": (json_post("images/generations", model="dall-e-3", prompt="", n=2), 2 * IMAGE_TOKENS),
    "speech": (json_post("audio/speech", **SPEECH, input="hello"), 1),
    "whisper": (form_post("audio/transcriptions", model="whisper-1"), HEARD),
    "whisper's text": (
        form_post("audio/transcriptions", model="whisper-1", response_format="text"),
        HEARD,
    ),
}


def with_text(post: Post, text: str) -> Post:
    return {
        name: json.loads(json.dumps(value).replace("TEXT", text)) if name != "files" else value
        for name, value in post.items()
    }


@pytest.mark.parametrize("name", REPORTED)
def test_what_the_upstream_reports_is_charged(
    http: httpx.Client, storage: str, calls: Calls, grant: Grant, text: str, name: str
) -> None:
    code = grant(daily_tokens=100_000, daily_requests=100)
    post = with_text(REPORTED[name], text)
    assert http.post(**post, headers=key(code)).status_code == 200

    usage = calls.only(text)["usage"]
    read = usage.get("prompt_tokens", usage.get("input_tokens"))
    written = usage.get("completion_tokens", usage.get("output_tokens"))
    [record] = records(storage, code)
    counts = Counter(record.counts)
    assert record.key.operation == post["url"].removeprefix("/v1/").replace(
        "images/generations", "image_generations"
    ).replace("images/edits", "image_edits").replace("/", "_")
    assert (counts["PromptTokens"], counts["CompletionTokens"]) == (read, written)
    assert (counts["Requests"], counts["EstimatedTokens"]) == (1, 0)
    stands = http.get("/api/v1/event", headers=key(code)).json()["caps"]
    assert stands["daily_tokens"]["used"] == read + written
    assert stands["daily_requests"]["used"] == 1


@pytest.mark.parametrize("name", ESTIMATED)
def test_what_the_upstream_does_not_report_is_estimated(
    http: httpx.Client, storage: str, grant: Grant, name: str
) -> None:
    post, least = ESTIMATED[name]
    if name == "image":
        post = {**post, "json": {**post["json"], "prompt": "an elephant"}}
    code = grant(daily_tokens=100_000)
    assert http.post(**post, headers=key(code)).status_code == 200

    counts = recorded(storage, code, "Requests")
    assert counts["PromptTokens"] + counts["CompletionTokens"] == 0
    assert least <= counts["EstimatedTokens"] <= least + 60
    stands = http.get("/api/v1/event", headers=key(code)).json()["caps"]
    assert stands["daily_tokens"]["used"] == counts["EstimatedTokens"]


@pytest.mark.parametrize("name", ["image", "speech", "whisper"])
def test_what_may_be_used_is_reserved(http: httpx.Client, grant: Grant, name: str) -> None:
    post, least = ESTIMATED[name]
    post = {**post, "json": {**post["json"], "prompt": "an"}} if name == "image" else post
    answer = http.post(**post, headers=key(grant(daily_tokens=least - 1)))

    assert answer.status_code == 429
    assert error_of(answer)["code"] == "daily_token_cap_exceeded"


@pytest.mark.parametrize(
    ("path", "body", "sent"),
    [
        ("responses", {"input": "hi"}, {"max_output_tokens": 100}),
        ("responses", {"input": "hi", "max_output_tokens": 90}, {"max_output_tokens": 90}),
        ("completions", {"prompt": "hi"}, {"max_tokens": 16}),
        ("completions", {"prompt": ["hi"] * 10}, {"max_tokens": 10}),
        ("completions", {"prompt": [1, 2, 3]}, {"max_tokens": 16}),
        ("completions", {"prompt": [[1], [2], [3]], "n": 3}, {"max_tokens": 11}),
        ("audio/speech", {"input": "hi", "model": "gpt-4o-mini-tts"}, {}),
    ],
    ids=str,
)
def test_a_cap_on_output_holds_for_each_operation(
    http: httpx.Client, calls: Calls, text: str, path: str, body: dict, sent: dict
) -> None:
    body = {"model": "gpt-4o", **body, "user": text}
    answer = http.post(f"/v1/{path}", headers={"api-key": "capped-event/anna"}, json=body)

    assert answer.status_code == 200
    assert json.loads(calls.only(text)["body"]) == {**body, **sent}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("responses", {"input": "hi", "max_output_tokens": 101}, "max_output_tokens"),
        ("completions", {"prompt": "hi", "max_tokens": 101}, "max_tokens"),
        ("completions", {"prompt": ["a", "b"], "max_tokens": 51}, "max_tokens"),
        ("completions", {"prompt": ["a"] * 101}, "prompt"),
        ("completions", {"prompt": "a", "best_of": 101}, "best_of"),
    ],
    ids=str,
)
def test_more_than_the_cap_on_output_is_refused(
    http: httpx.Client, path: str, body: dict, param: str
) -> None:
    body = {"model": "gpt-4o", **body}
    answer = http.post(f"/v1/{path}", headers={"api-key": "capped-event/anna"}, json=body)

    assert answer.status_code == 400
    error = error_of(answer)
    assert (error["code"], error["param"]) == ("max_tokens_exceeded", param)


@pytest.mark.parametrize("prompts", [1, 5])
def test_each_prompt_of_a_list_is_reserved(http: httpx.Client, grant: Grant, prompts: int) -> None:
    body = {"model": "gpt-4o", "prompt": ["hi"] * prompts, "max_tokens": 100}
    answer = http.post("/v1/completions", headers=key(grant(daily_tokens=300)), json=body)

    assert answer.status_code == (200 if prompts == 1 else 429)


@pytest.mark.parametrize(
    ("post", "least", "most"),
    [
        (json_post("responses", model="sim-cut-9", input="repeat 50", stream=True), 6, 30),
        (json_post("completions", model="sim-cut-9", prompt="repeat 50", stream=True), 8, 40),
        (json_post("audio/speech", model="sim-cut-9", input="hello"), 1, 5),
        (
            json_post("audio/speech", model="sim-cut-9", input="hello", stream_format="sse"),
            1,
            5,
        ),
        (form_post("audio/transcriptions", model="sim-cut-9", stream="true"), HEARD, HEARD + 30),
    ],
    ids=["response", "completion", "speech", "events of speech", "transcript"],
)
def test_what_breaks_off_is_estimated_and_its_place_freed(
    http: httpx.Client,
    storage: str,
    simulator: str,
    grant: Grant,
    post: Post,
    least: int,
    most: int,
) -> None:
    code = grant(daily_tokens=100_000)
    fields = post.get("json") or post["data"]
    fault = {"fault": fields["model"] if "sse" not in str(fields) else "sim-cut-2", "calls": 1}
    httpx.put(f"{simulator}/simulator/faults/grok-3", json=fault)
    fields = {**fields, "model": "grok-beta"}
    post = {**post, "json" if "json" in post else "data": fields}
    try:
        http.post(**post, headers=key(code))
    except httpx.RemoteProtocolError:
        assert post["url"].endswith("speech")

    counts = recorded(storage, code, "UpstreamErrors")
    assert least <= counts["EstimatedTokens"] <= most
    assert counts["PromptTokens"] + counts["CompletionTokens"] == 0
    stands = http.get("/api/v1/event", headers=key(code)).json()["caps"]
    assert stands["daily_tokens"]["used"] == counts["EstimatedTokens"]


@pytest.mark.parametrize("name", ["response", "speech as events", "transcript", "image"])
def test_a_call_that_fails_costs_nothing(
    http: httpx.Client, storage: str, grant: Grant, name: str
) -> None:
    post = REPORTED[name]
    kind = "json" if "json" in post else "data"
    code = grant(daily_tokens=100_000)
    answer = http.post(
        **{**post, kind: {**post[kind], "model": "sim-500"}}, headers=key(code), timeout=20
    )

    assert answer.status_code == 500
    counts = recorded(storage, code, "UpstreamErrors")
    assert counts["EstimatedTokens"] + counts["PromptTokens"] == 0
    stands = http.get("/api/v1/event", headers=key(code)).json()["caps"]
    assert stands["daily_tokens"]["used"] == 0


def test_a_caller_who_leaves_speech_half_way_pays_for_it(
    http: httpx.Client, storage: str, simulator: str, calls: Calls, text: str, grant: Grant
) -> None:
    code = grant(daily_tokens=100_000)
    body = {"model": "sim-stall", "input": text}
    with http.stream("POST", "/v1/audio/speech", headers=key(code), json=body) as answer:
        next(answer.iter_raw())

    calls.wait_until_left(text)
    assert recorded(storage, code, "CallerLeftErrors")["EstimatedTokens"] >= 10
