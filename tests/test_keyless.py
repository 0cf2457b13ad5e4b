"""Calls without an Azure OpenAI key, by the app's managed identity."""

from urllib.parse import urlsplit

import httpx

from tests import processes
from tests.conftest import KEY, gateway_settings


def keyless_settings(storage: str, simulator: str, identity_url: str) -> dict[str, str]:
    return {
        **gateway_settings(storage, simulator),
        "AZURE_OPENAI_API_KEY": "",
        "IDENTITY_ENDPOINT": f"{identity_url}/msi/token",
        "IDENTITY_HEADER": "a-header",
    }


def chat(url: str) -> httpx.Response:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "keyless"}]}
    return httpx.post(f"{url}/v1/chat/completions", headers={"api-key": KEY}, json=body, timeout=60)


def test_the_identitys_token_goes_up_and_is_asked_for_once(storage: str, gateway: str) -> None:
    with processes.simulator() as upstream:
        settings = keyless_settings(storage, upstream.url, upstream.url)
        with processes.gateway(settings) as server:
            assert [chat(server.url).status_code for _ in range(3)] == [200] * 3
        calls = httpx.get(f"{upstream.url}/simulator/calls").json()["calls"]
    chats = [dict(call["headers"]) for call in calls if "completions" in call["path"]]
    assert {call["authorization"] for call in chats} == {
        "Bearer simulated-token-cognitiveservices.azure.com"
    }
    assert all("api-key" not in call for call in chats)
    assert len([call for call in calls if urlsplit(call["path"]).path == "/msi/token"]) == 1


def test_an_identity_without_a_token_is_a_configuration_error(storage: str, simulator: str) -> None:
    nowhere = f"http://127.0.0.1:{processes.free_port()}"
    with processes.gateway(keyless_settings(storage, simulator, nowhere)) as server:
        refusal = chat(server.url)
    assert refusal.status_code == 500
    assert refusal.json()["error"]["code"] == "configuration_error"
    assert "Cognitive Services OpenAI User" in refusal.json()["error"]["message"]
