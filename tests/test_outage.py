"""What happens while the event store is away, and when it is back."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import httpx

from tests import processes
from tests.conftest import EVENTS, KEY, add_events, gateway_settings


def chat(url: str, key: str) -> httpx.Response:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
    headers = {"api-key": key}
    return httpx.post(f"{url}/v1/chat/completions", headers=headers, json=body, timeout=20)


def test_attendees_seen_before_go_on_and_others_recover_by_themselves(
    tmp_path: Path, simulator: str
) -> None:
    port = processes.free_port()
    storage = processes.connection_string(f"http://127.0.0.1:{port}")
    with ExitStack() as azurite, ExitStack() as gateway:
        azurite.enter_context(processes.azurite(port, tmp_path))
        asyncio.run(add_events(storage, EVENTS))
        settings = gateway_settings(storage, simulator)
        url = gateway.enter_context(processes.gateway(settings)).url
        assert chat(url, KEY).status_code == 200

        azurite.close()
        assert chat(url, KEY).status_code == 200
        refusal = chat(url, "capped-event/somebody")
        assert refusal.status_code == 503
        assert refusal.headers["retry-after"] == "1"
        assert refusal.json()["error"]["code"] == "event_store_unavailable"
        assert httpx.get(f"{url}/health", timeout=20).json()["status"] == "degraded"
        assert chat(url, KEY).status_code == 200

        azurite.enter_context(processes.azurite(port, tmp_path))
        assert chat(url, "capped-event/somebody").status_code == 200
        assert httpx.get(f"{url}/health").json()["status"] == "ok"


def test_a_store_that_refuses_the_app_is_a_configuration_error(
    storage: str, simulator: str
) -> None:
    wrong = storage.replace("AccountKey=Eby8", "AccountKey=AAAA")
    with processes.gateway(gateway_settings(wrong, simulator)) as server:
        refusal = chat(server.url, KEY)
    assert refusal.status_code == 500
    assert refusal.json()["error"]["code"] == "configuration_error"
    assert "EVENT_STORAGE" in refusal.json()["error"]["message"]
