"""Resources of the callers' own, where the organiser allows them: at Azure's hosts, and nowhere else."""

import os
import re
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from shared.ledger import Ledger
from shared.models import CALLERS_OWN
from shared.tables import Tables
from shared.usage_table import UsageTable
from tests import processes, tls
from tests.conftest import gateway_settings
from tests.hostile import HOSTILE
from tests.processes import Server
from tests.test_events import on

OWN_KEY = "0123456789abcdef0123456789abcdef"
MAP = "gpt-4|my-gpt-4o,gpt-3.5-turbo|gpt-35-turbo"
BODY = {"model": "gpt-4", "messages": [{"role": "user", "content": "mine"}]}


@pytest.fixture(scope="module")
def own(
    storage: str, gateway: str, simulator: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A gateway that allows them, in a world where every name leads to the simulator."""
    folder = tmp_path_factory.mktemp("own")
    certificate, key = tls.certificate(folder, ["DNS:*.openai.azure.com", "DNS:api.openai.com"])
    there = httpx.URL(simulator)
    with tls.terminated(there.host, there.port or 80, certificate, key) as port:
        settings = {
            **gateway_settings(storage, simulator),
            "ALLOW_OWN_RESOURCE": "true",
            "SSL_CERT_FILE": str(certificate),
            "NAMES_LEAD_TO": f"127.0.0.1:{port}",
        }
        command = f"{sys.executable} -m tests.host_with_names --port {{port}}"
        with processes.gateway(settings, command) as server:
            yield server


@pytest.fixture
def text() -> str:
    """A message that no other test sends."""
    return f"say {uuid.uuid4().hex}"


def looked_up(server: Server) -> set[str]:
    return {line.split()[-1] for line in server.lines if line.startswith("looked up ")}


def post(server: Server, key: str, **members: object) -> httpx.Response:
    return httpx.post(
        f"{server.url}/v1/chat/completions",
        headers={"authorization": f"Bearer {key}"},
        json={**BODY, **members},
        timeout=20,
    )


def calls(simulator: str, text: str) -> list[dict]:
    logged = httpx.get(f"{simulator}/simulator/calls").json()["calls"]
    return [
        {**call, "headers": dict(call["headers"])}
        for call in logged
        if text in (call["body"] or "")
    ]


def asking(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("version", ["", "2024-02-01", "2025-04-01-preview"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_call_goes_to_the_callers_own_resource_with_his_own_key(
    own: Server, simulator: str, text: str, version: str, stream: bool
) -> None:
    key = f"Hai-1:{MAP}:{OWN_KEY}" + (f":{version}" if version else "")
    response = post(own, key, messages=asking(text), stream=stream)

    assert response.status_code == 200, response.text
    assert response.headers["x-gateway-deployment"] == "own"
    (call,) = calls(simulator, text)
    deployment = "/openai/deployments/my-gpt-4o/chat/completions"
    assert call["path"] == f"{deployment}?api-version={version or '2024-10-21'}"
    assert call["headers"]["host"] == "hai-1.openai.azure.com"
    assert call["headers"]["api-key"] == OWN_KEY
    assert "authorization" not in call["headers"]
    assert OWN_KEY not in "\n".join(own.lines)


def test_its_map_is_what_the_caller_says(own: Server, simulator: str) -> None:
    headers = {"authorization": f"Bearer hai:{MAP}:{OWN_KEY}"}
    listed = httpx.get(f"{own.url}/v1/models", headers=headers).json()["data"]
    assert [model["id"] for model in listed] == ["gpt-4", "gpt-3.5-turbo"]
    text = uuid.uuid4().hex
    post(own, f"hai:{MAP}:{OWN_KEY}", model="gpt-unheard-of", messages=asking(text))
    assert "/my-gpt-4o/" in calls(simulator, text)[0]["path"]


def test_its_refusals_are_the_callers_affair(own: Server) -> None:
    for deployment in ("sim-401", "sim-403", "sim-404"):
        refusal = post(own, f"hai:{deployment}:{OWN_KEY}")
        assert refusal.status_code == int(deployment.removeprefix("sim-"))
        assert refusal.headers["x-gateway-attempts"] == "1"
    health = httpx.get(f"{own.url}/health").json()
    assert (health["status"], health["problems"], health["deployments"]) == ("ok", [], {})


def test_an_events_key_goes_on_to_mean_the_event(own: Server) -> None:
    assert post(own, "hackathon/ann").headers["x-gateway-deployment"] == "default/gpt-4"
    form = post(own, f"default:{MAP.replace('my-gpt-4o', 'gpt-4')}:hackathon/ann")
    assert form.headers["x-gateway-deployment"] == "default/gpt-4"


def test_its_usage_is_counted_under_a_code_of_its_own(own: Server, storage: str) -> None:
    assert post(own, f"counted-1:gpt-4:{OWN_KEY}").status_code == 200
    done = subprocess.run(
        [sys.executable, "manage.py", "usage", CALLERS_OWN, "--by", "model", "--json"],
        cwd=processes.ROOT,
        env={**os.environ, "EVENT_STORAGE": storage},
        check=True,
        capture_output=True,
        text=True,
    )
    assert '"gpt-4"' in done.stdout and OWN_KEY not in done.stdout


def test_a_key_in_the_wrong_place_is_not_logged(own: Server) -> None:
    key = f"swapped{uuid.uuid4().hex}"
    response = post(own, f"hai:{key}:gpt-4o-deployment")
    assert response.status_code in (200, 404)
    assert response.headers["x-gateway-deployment"] == "own"
    assert key not in "\n".join(own.lines)


def test_guessing_codes_beside_an_own_key_is_slowed_down(own: Server) -> None:
    headers = {"authorization": f"Bearer hai:{MAP}:{OWN_KEY}", "x-forwarded-for": "10.3.3.3"}
    statuses = [
        httpx.post(
            f"{own.url}/v1/chat/completions",
            headers={**headers, "api-key": f"guess-{number}/x"},
            json=BODY,
        ).status_code
        for number in range(22)
    ]
    assert statuses[0] == 200 and statuses[-1] == 429


def test_after_200_names_of_resources_and_models_the_others_count_together(storage: str) -> None:
    """Anyone may make them up, and each would make a row for each hour."""
    flood = uuid.uuid4().hex[:8]

    async def requests(tables: Tables) -> Counter[str]:
        """By model; on a storage that other tests use too."""
        found: Counter[str] = Counter()
        async for key, counts in UsageTable(tables).records(CALLERS_OWN):
            if flood in key.model or key.model == "(other)":
                found[key.model] += counts["Requests"]
        return found

    async def count(tables: Tables) -> Counter[str]:
        before = await requests(tables)
        ledger = Ledger(UsageTable(tables), time.time, 0)
        names = [f"{flood}-{number}" for number in range(150)]
        for name in [*names, *names]:
            ledger.add(CALLERS_OWN, "hai", name, "chat_completions", "", {"Requests": 1})
        for name in names:
            ledger.add(CALLERS_OWN, name, name, "chat_completions", "", {"Requests": 1})
        ledger.add(f"event-{flood}", "ann", flood, "chat_completions", "", {"Requests": 1})
        await ledger.close()
        assert [key.model async for key, _ in UsageTable(tables).records(f"event-{flood}")] == [
            flood
        ]
        return await requests(tables) - before

    found = on(storage, count)
    assert found.pop("(other)") == 100
    assert found == {f"{flood}-{number}": 3 if number < 50 else 2 for number in range(150)}


HOSTILE_IDS = [
    "evil.example",
    "evil.example/",
    "evil.example#",
    "evil.example?",
    "evil.example%23",
    "evil.example%2f",
    "evil.example%00",
    "evil.example\\",
    "//evil.example",
    "/evil.example",
    "\\\\evil.example",
    "http://evil.example",
    "https://evil.example/",
    "https:evil.example",
    "evil@example",
    "user@evil.example",
    "hai@evil.example#",
    "hai.openai.azure.com@evil.example",
    "hai.openai.azure.com.evil.example",
    "hai.openai.azure.com",
    "evil.example;hai",
    "evil.example,hai",
    "evil.example&x=",
    "evil.example hai",
    " evil.example",
    "evil.example\t",
    "127.0.0.1",
    "127.1",
    "0x7f.1",
    "[::1]",
    "::1",
    "169.254.169.254",
    "169.254.169.254/latest",
    "metadata.google.internal",
    "localhost",
    "localhost.",
    "..",
    "../..",
    ".",
    "-",
    "-hai",
    "hai-",
    "hai..",
    "a" * 64,
    "\u017fai",
    "\u212aai",
    "a" * 5000,
    "hài",
    "xn--hi-nia.example",
    "evil。example",
    "hai\u200b",
    "%68ai",
    "${hai}",
    "{hai}",
    "*",
    "",
]


@pytest.mark.parametrize("resource", HOSTILE_IDS, ids=range(len(HOSTILE_IDS)))
@pytest.mark.parametrize("api_key", [OWN_KEY, "hackathon/ann"], ids=["own", "event"])
def test_no_resource_id_leads_to_another_host(
    own: Server, simulator: str, text: str, resource: str, api_key: str
) -> None:
    address = str(abs(hash(resource)) % 250)
    response = httpx.post(
        f"{own.url}/v1/chat/completions",
        headers=[
            (b"authorization", f"Bearer {resource}:{MAP}:{api_key}".encode()),
            (b"x-forwarded-for", f"10.7.{address}.{len(resource) % 250}".encode()),
        ],
        json={**BODY, "messages": asking(text)},
    )
    allowed = re.compile(r"[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?\.openai\.azure\.com")
    assert all(allowed.fullmatch(name) for name in looked_up(own)), looked_up(own)
    assert not any("evil" in name or "example" in name for name in looked_up(own))
    if resource != "localhost":
        assert response.status_code in (400, 401), response.text
        assert not calls(simulator, text)


def portkey(
    server: Server, headers: dict[str, str], text: str, **members: object
) -> httpx.Response:
    return httpx.post(
        f"{server.url}/v1/chat/completions",
        headers={
            "x-portkey-api-key": "hackathon/ann",
            "authorization": f"Bearer {OWN_KEY}",
            **{f"x-portkey-{name}": value for name, value in headers.items()},
        },
        json={**BODY, "messages": asking(text), **members},
        timeout=20,
    )


AZURE = {"provider": "azure-openai", "azure-resource-name": "Mine"}


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        (AZURE, "gpt-4/chat/completions?api-version=2024-10-21"),
        (
            {**AZURE, "azure-deployment-id": "my-4", "azure-api-version": "2025-01-01-preview"},
            "my-4/chat/completions?api-version=2025-01-01-preview",
        ),
    ],
)
def test_portkeys_azure_provider_is_the_callers_own_resource(
    own: Server, simulator: str, text: str, headers: dict[str, str], path: str
) -> None:
    response = portkey(own, headers, text)
    assert response.status_code == 200, response.text
    (call,) = calls(simulator, text)
    assert call["path"] == f"/openai/deployments/{path}"
    assert call["headers"]["host"] == "mine.openai.azure.com"
    assert call["headers"]["api-key"] == OWN_KEY


@pytest.mark.parametrize(
    "headers", [{"provider": "openai"}, {"config": '{"provider": "openai"}'}], ids=str
)
def test_portkeys_openai_provider_is_openai_itself(
    own: Server, simulator: str, text: str, headers: dict[str, str]
) -> None:
    response = portkey(own, headers, text)
    assert response.status_code == 404  # the simulator has no such path
    assert response.headers["x-gateway-attempts"] == "1"
    (call,) = calls(simulator, text)
    assert call["path"] == "/v1/chat/completions"
    assert call["headers"]["host"] == "api.openai.com"
    assert call["headers"]["authorization"] == f"Bearer {OWN_KEY}"


def test_without_a_key_of_his_own_a_caller_gets_the_organisers_resources(
    own: Server, text: str
) -> None:
    for key in ("OPENAI_API_KEY", "hackathon/ann"):
        headers = {"x-portkey-api-key": "hackathon/ann", "x-portkey-provider": "openai"}
        response = httpx.post(
            f"{own.url}/v1/chat/completions",
            headers={**headers, "authorization": f"Bearer {key}"},
            json=BODY,
        )
        assert response.headers["x-gateway-deployment"] == "default/gpt-4"


def test_an_events_models_hold_for_own_resources_too(own: Server, text: str) -> None:
    headers = {**AZURE, "api-key": "narrow-event/ann"}
    refused = portkey(own, headers, text)
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    assert portkey(own, headers, text, model="gpt-4o").status_code == 200


@pytest.mark.parametrize("attack", HOSTILE, ids=str)
def test_no_portkey_header_leads_to_another_host(
    own: Server, simulator: str, text: str, attack: str
) -> None:
    headers, _ = HOSTILE[attack]
    response = httpx.post(
        f"{own.url}/v1/chat/completions",
        headers=[
            (b"x-portkey-api-key", b"hackathon/ann"),
            (b"authorization", f"Bearer {OWN_KEY}".encode()),
            *((name.encode(), value.encode()) for name, value in headers.items()),
        ],
        json={**BODY, "messages": asking(text)},
    )
    assert response.status_code == 400, response.text
    assert not calls(simulator, text)
    assert not any("evil" in name or "example" in name for name in looked_up(own))
