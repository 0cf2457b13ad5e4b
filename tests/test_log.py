"""What a gateway leaves in its log."""

import json

import httpx

from tests import processes
from tests.conftest import gateway_settings

PROMPT = "a-sentence-nobody-should-log"


def lines_after_calls(storage: str, simulator: str) -> list[str]:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": PROMPT}]}
    with (
        processes.gateway(gateway_settings(storage, simulator)) as server,
        httpx.Client(base_url=server.url, headers={"api-key": "hackathon/log-name"}) as client,
    ):
        client.post("/v1/chat/completions", json=body)
        client.post("/v1/chat/completions", json={**body, "stream": True})
        client.post("/v1/chat/completions", json={**body, "model": "nope"})
        client.post("/v1/chat/completions", json={**body, "model": "sim-503"})
        client.post("/v1/embeddings", json={"input": PROMPT}, headers={"api-key": "no-key"})
    return [line for line in server.lines if not line.startswith("listening")]


def test_a_request_leaves_one_structured_line_and_no_secret(
    storage: str, gateway: str, simulator: str
) -> None:
    lines = lines_after_calls(storage, simulator)
    records = [json.loads(line) for line in lines]
    assert [(record["status"], record["error"]) for record in records] == [
        (200, ""),
        (200, ""),
        (404, "model_not_found"),
        (503, "upstream_error"),
        (401, "malformed_event_code"),
    ]
    plain = records[0]
    assert (plain["operation"], plain["model"], plain["deployment"]) == (
        "chat_completions",
        "gpt-4o",
        "default/gpt-4o",
    )
    assert plain["event"] == "The hackathon"
    assert len(plain["attendee"]) == 16 and plain["attendee"] == records[1]["attendee"]
    assert len(plain["request_id"]) == 32
    assert plain["ms"] > 0
    text = "\n".join(lines)
    for secret in ("log-name", "the-upstream-key", PROMPT, "hackathon/", "no-key"):
        assert secret not in text
