"""Operations on several resources: a call that one of them fails goes to another, whole."""

import asyncio
import json
from collections.abc import Iterator

import httpx
import pytest
from openai import OpenAI

from shared.models import Resource
from shared.resources import Resources
from tests import fleet, processes
from tests.conftest import EVENTS, KEY, add_events, gateway_settings
from tests.e2e.test_openai_python import make_client
from tests.e2e.test_operations_media import PICTURE, SOUND

FAULTS = ("cut", "tear", "stall", "silence", "reset", "500", "429", "malformed", "empty")
STREAM_FAULTS = (*FAULTS, "404", "failed", "firsterror", "notstream")


@pytest.fixture(scope="module")
def upstreams() -> Iterator[tuple[str, str]]:
    with processes.simulator() as first, processes.simulator() as second:
        yield first.url, second.url


@pytest.fixture(scope="module")
def client(upstreams: tuple[str, str]) -> Iterator[OpenAI]:
    """Each fault is a model that is good on another resource, of OpenAI's own kind."""
    first, second = upstreams
    with processes.azurite(processes.free_port()) as store:
        storage = processes.connection_string(store.url)
        asyncio.run(_fill(storage, f"{second}/openai/v1"))
        settings = gateway_settings(storage, first) | {
            "UPSTREAM_FIRST_BYTE_TIMEOUT_S": "4",
            "UPSTREAM_IDLE_TIMEOUT_S": "1",
            "FAILOVER_AFTER_S": "0.5",
            "SPARE_KEY": "the-key-of-the-spare",
            "AZURE_OPENAI_MODEL_MAP": ",".join(
                f"{name}|sim-{name}{'-2' if name in ('cut', 'tear', 'stall') else ''}"
                for name in STREAM_FAULTS
            ),
        }
        with processes.gateway(settings) as gateway, make_client(gateway.url, "v1") as client:
            yield client


async def _fill(storage: str, endpoint: str) -> None:
    await add_events(storage, EVENTS)
    row = {
        "endpoint": endpoint,
        "kind": "openai",
        "key_setting": "SPARE_KEY",
        "priority": 2,
        "model_map": ",".join(f"{name}|vendor/{name}" for name in STREAM_FAULTS),
    }
    async with fleet.tables(storage) as tables:
        await Resources(tables).add(Resource.model_validate({"name": "spare", **row}))
        chats_only = {"endpoint": f"{endpoint}/chats", "model_map": "bare|bare"}
        bare = {**row, "name": "bare", **chats_only}
        await Resources(tables).add(Resource.model_validate(bare))


@pytest.mark.parametrize("fault", STREAM_FAULTS)
def test_a_responses_stream_that_has_not_begun_goes_elsewhere(client: OpenAI, fault: str) -> None:
    """`response.created` and `response.in_progress` are no beginning."""
    raw = client.responses.with_raw_response.create(model=fault, input="repeat 10", stream=True)
    events = list(raw.parse())

    assert raw.headers["x-gateway-deployment"] == f"spare/vendor/{fault}"
    assert [event.type for event in events].count("response.created") == 1
    assert events[-1].type == "response.completed"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_form_is_sent_again_from_its_beginning(
    client: OpenAI, upstreams: tuple[str, str], text: str, fault: str
) -> None:
    heard = client.audio.transcriptions.with_raw_response.create(
        model=fault, file=SOUND, prompt=text
    )

    assert heard.headers["x-gateway-deployment"] == f"spare/vendor/{fault}"
    assert heard.parse().text == f"[simulated] vendor/{fault} heard speech.mp3 of 40004 bytes"
    first, second = (
        [
            call["body"]
            for call in httpx.get(f"{url}/simulator/calls").json()["calls"]
            if text in (call["body"] or "")
        ]
        for url in upstreams
    )
    before, after = f'name="model"\r\n\r\n{fault}', f'name="model"\r\n\r\nvendor/{fault}'
    assert first and all(before in body for body in first)
    assert [body.replace(after, before) for body in second] == [first[0]]


@pytest.mark.parametrize("fault", ["silence", "reset", "500", "429", "empty"])
def test_speech_that_has_not_begun_goes_elsewhere(client: OpenAI, fault: str) -> None:
    said = client.audio.speech.create(model=fault, voice="coral", input="hi")

    assert said.response.headers["x-gateway-deployment"] == f"spare/vendor/{fault}"
    assert len(said.content) == 4170


@pytest.mark.parametrize("fields", [{}, {"model": ""}, {"model": "portkey-default"}], ids=str)
def test_a_form_without_a_model_gets_one_where_it_has_to_have_one(
    client: OpenAI, upstreams: tuple[str, str], text: str, fields: dict
) -> None:
    path = str(client.base_url).replace("/v1/", "/openai/deployments/500/images/edits")
    answer = httpx.post(
        path,
        headers={"api-key": KEY},
        data={"prompt": text, **fields},
        files={"image": PICTURE},
        timeout=20,
    )

    assert answer.headers["x-gateway-deployment"] == "spare/vendor/500"
    [body] = [
        call["body"]
        for call in httpx.get(f"{upstreams[1]}/simulator/calls").json()["calls"]
        if text in (call["body"] or "")
    ]
    assert body.count('name="model"') == 1
    assert 'name="model"\r\n\r\nvendor/500\r\n--' in body


def test_a_body_goes_to_each_resource_with_its_own_model(
    client: OpenAI, upstreams: tuple[str, str], text: str
) -> None:
    client.responses.create(model="500", input=text)
    sent = [
        json.loads(call["body"])["model"]
        for url in upstreams
        for call in httpx.get(f"{url}/simulator/calls").json()["calls"]
        if text in (call["body"] or "")
    ]

    assert sent == ["sim-500", "sim-500", "vendor/500"]


@pytest.mark.parametrize(
    ("model", "state"), [("bare", None), ("404", "misconfigured")], ids=["operation", "deployment"]
)
def test_what_a_resource_does_not_have_says_nothing_of_its_health(
    client: OpenAI, model: str, state: str | None
) -> None:
    home = str(client.base_url).removesuffix("v1/")
    answer = httpx.post(
        f"{home}v1/responses", headers={"api-key": KEY}, json={"model": model, "input": "hi"}
    )
    states = httpx.get(f"{home}health").json()["deployments"]

    assert answer.status_code == (404 if model == "bare" else 200)
    assert states.get("bare/bare" if model == "bare" else "default/sim-404") == state


def test_a_config_cannot_replace_a_field_of_a_form(client: OpenAI) -> None:
    config = {"override_params": {"language": "de"}}
    home = str(client.base_url)
    for path, status in (("audio/transcriptions", 400), ("responses", 200)):
        sent = {"data": {"model": "cut"}, "files": {"file": SOUND}}
        if status == 200:
            sent = {"json": {"model": "cut", "input": "hi"}}
        headers = {"x-portkey-api-key": KEY, "x-portkey-config": json.dumps(config)}
        answer = httpx.post(f"{home}{path}", headers=headers, timeout=20, **sent)
        assert answer.status_code == status
        if status == 400:
            assert "'language' cannot be replaced" in answer.json()["error"]["message"]
