"""Calls without any key: to Azure OpenAI and to the event store by the app's managed identity."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests import processes, tls
from tests.conftest import KEY, gateway_settings
from tests.processes import ROOT


def identity_settings(url: str) -> dict[str, str]:
    """What App Service puts into the environment of an app that has an identity."""
    return {"IDENTITY_ENDPOINT": f"{url}/msi/token", "IDENTITY_HEADER": "a-header"}


def keyless_settings(storage: str, simulator: str, identity_url: str) -> dict[str, str]:
    settings = gateway_settings(storage, simulator)
    return {**settings, "AZURE_OPENAI_API_KEY": "", **identity_settings(identity_url)}


def chat(url: str, key: str = KEY) -> httpx.Response:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "keyless"}]}
    headers = {"api-key": key}
    return httpx.post(f"{url}/v1/chat/completions", headers=headers, json=body, timeout=60)


def audience(authorization: str) -> str:
    claims = authorization.removeprefix("Bearer ").split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(claims + "=="))["aud"])


@pytest.mark.usefixtures("gateway")
def test_the_identitys_token_goes_up_and_is_asked_for_once(storage: str) -> None:
    with processes.simulator() as upstream:
        settings = keyless_settings(storage, upstream.url, upstream.url)
        with processes.gateway(settings) as server:
            assert [chat(server.url).status_code for _ in range(3)] == [200] * 3
        calls = httpx.get(f"{upstream.url}/simulator/calls").json()["calls"]
    chats = [dict(call["headers"]) for call in calls if "completions" in call["path"]]
    assert {audience(call["authorization"]) for call in chats} == {
        "https://cognitiveservices.azure.com"
    }
    assert all("api-key" not in call for call in chats)
    assert len([call for call in calls if urlsplit(call["path"]).path == "/msi/token"]) == 1


@pytest.mark.usefixtures("gateway")
def test_an_identity_without_a_token_is_a_configuration_error(storage: str, simulator: str) -> None:
    nowhere = f"http://127.0.0.1:{processes.free_port()}"
    with processes.gateway(keyless_settings(storage, simulator, nowhere)) as server:
        refusal = chat(server.url)
    assert refusal.status_code == 500
    assert refusal.json()["error"]["code"] == "configuration_error"
    assert "Cognitive Services OpenAI User" in refusal.json()["error"]["message"]


@pytest.fixture
def secured_storage(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The settings for an Azurite that takes identities, which it does over TLS only."""
    certificate, key = tls.certificate(tmp_path, ["IP:127.0.0.1"])
    options = ["--oauth", "basic", "--cert", str(certificate), "--key", str(key)]
    with processes.azurite(processes.free_port(), None, *options) as server:
        uri = server.url.replace("http://", "https://") + "/devstoreaccount1"
        yield {"EVENT_STORAGE__tableServiceUri": uri, "SSL_CERT_FILE": str(certificate)}


def test_the_event_store_is_reached_by_identity(
    secured_storage: dict[str, str], simulator: str
) -> None:
    settings = {**keyless_settings("", simulator, simulator), **secured_storage}
    command = [sys.executable, "manage.py", "events", "add", "keyless-event", "--end", "2999-01-01"]
    subprocess.run(
        command, cwd=ROOT, env={**os.environ, **settings}, check=True, capture_output=True
    )
    with processes.gateway(settings) as server:
        assert chat(server.url, "keyless-event/somebody").status_code == 200
        assert chat(server.url, "another-event/somebody").status_code == 401
