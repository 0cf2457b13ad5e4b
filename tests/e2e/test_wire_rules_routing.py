"""Rules 1 to 9 of the client libraries: where the key travels, which paths and bodies they send."""

import json
from typing import Any

import httpx
import pytest

from tests.conftest import KEY
from tests.e2e.calls import Calls, names, values
from tests.e2e.wire import (
    CHAT,
    EMBEDDINGS,
    EVENT_CODE,
    Headers,
    ask,
    bare_host_only,
    error_of,
    some_address,
    url,
)

VALID = KEY.encode()
BEARER = b"Bearer " + VALID
WRONG = b"no-such-event/anna"


def upstream_path(deployment: str, operation: str = "chat/completions") -> str:
    return f"/openai/deployments/{deployment}/{operation}?api-version=2024-10-21"


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([(b"openai-event-code", VALID)], id="openai-event-code"),
        pytest.param([(b"api-key", VALID)], id="api-key"),
        pytest.param([(b"x-portkey-api-key", VALID)], id="x-portkey-api-key"),
        pytest.param([(b"authorization", BEARER)], id="bearer"),
        pytest.param([(b"AUTHORIZATION", b"bearer   " + VALID)], id="bearer in another case"),
        pytest.param([(b"api-key", VALID), (b"authorization", BEARER)], id="twice"),
        pytest.param(
            [(b"x-portkey-api-key", VALID), (b"authorization", b"Bearer OPENAI_API_KEY")],
            id="beside a placeholder",
        ),
        pytest.param(
            [(b"x-portkey-api-key", b""), (b"authorization", BEARER)], id="beside nothing"
        ),
        pytest.param([(b"api-key", WRONG), (b"authorization", BEARER)], id="behind an unknown one"),
        pytest.param(
            [(b"api-key", VALID), (b"authorization", b"Bearer " + WRONG)], id="before one"
        ),
        pytest.param(
            [(b"api-key", b"over-event/anna"), (b"openai-event-code", VALID)], id="beside a closed"
        ),
        pytest.param([(b"api-key", b""), (b"api-key", VALID)], id="the same header twice"),
        pytest.param([(b"api-key", VALID), (b"authorization", b"Basic eDp5")], id="beside basic"),
    ],
)
def test_rule_01_a_key_is_good_wherever_it_stands(http: httpx.Client, headers: Headers) -> None:
    response = http.post(CHAT, headers=headers, json=ask("hello"))

    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        pytest.param([], 401, "missing_event_code", id="nothing"),
        pytest.param([(b"api-key", b"")], 401, "missing_event_code", id="an empty header"),
        pytest.param([(b"authorization", b"Bearer")], 401, "missing_event_code", id="empty bearer"),
        pytest.param([(b"authorization", b"Basic eDp5")], 401, "missing_event_code", id="basic"),
        pytest.param([(b"api-key", b"hackathon")], 401, "malformed_event_code", id="malformed"),
        pytest.param(
            [(b"api-key", b"x"), (b"authorization", b"Bearer " + WRONG)],
            401,
            "invalid_event_code",
            id="malformed and unknown",
        ),
        pytest.param(
            [(b"api-key", WRONG), (b"authorization", b"Bearer over-event/anna")],
            403,
            "event_ended",
            id="unknown and closed",
        ),
    ],
)
def test_rule_01_without_a_good_key_the_error_speaks_of_the_best(
    http: httpx.Client, headers: Headers, status: int, code: str
) -> None:
    address = [(b"x-forwarded-for", some_address().encode())]
    response = http.post(CHAT, headers=[*headers, *address], json=ask("hello"))

    assert (response.status_code, error_of(response)["code"]) == (status, code)


def test_rule_02_nothing_of_the_callers_credentials_goes_upstream(
    http: httpx.Client, calls: Calls, text: str
) -> None:
    secrets = {
        "openai-event-code": KEY,
        "api-key": KEY,
        "authorization": f"Bearer {KEY}",
        "x-portkey-api-key": KEY,
        "x-portkey-virtual-key": "default",
        "x-portkey-config": "config-key",
        "x-portkey-metadata": '{"_user":"anna"}',
        "cookie": "session=1",
        "proxy-authorization": "Basic eDp5",
        "openai-organization": "org-1",
        "openai-project": "proj-1",
        "x-functions-key": "function",
        "x-forwarded-for": "203.0.113.1",
        "x-ms-token-aad-access-token": "token",
    }
    wanted = {"user-agent": "a-client/1.0", "x-ms-client-request-id": "id-1"}
    http.post(f"{CHAT}?code=secret&key=secret", headers=secrets | wanted, json=ask(text))

    call = calls.only(text)
    assert values(call, "api-key") == ["the-upstream-key"]
    assert values(call, "user-agent") == ["a-client/1.0"]
    assert values(call, "x-ms-client-request-id") == ["id-1"]
    assert not names(call) & (secrets.keys() - {"api-key"})
    assert KEY not in str(call["headers"])
    assert call["path"] == upstream_path("gpt-4o")


_BASES = ["/api/v1", "/v1", "", "/openai/v1", "/openai"]
_AZURE = [
    f"{base}{path}/gpt-4o"
    for base in ("", "/api/v1", "/v1")
    for path in ("/openai/deployments", "/deployments", "/engines", "/openai/engines")
]
_SLIPS = ["/api/v1/", "//v1", "/v1/", "//api//v1", "//openai//deployments/gpt-4o/"]


@pytest.mark.parametrize("base", [*_BASES, *_AZURE, *_SLIPS], ids=lambda base: base or "root")
@pytest.mark.parametrize("end", ["", "/", "?api-version=2024-05-01-preview", "?api-version=&x=%2F"])
def test_rule_03_every_spelling_of_the_chat_path_is_taken(
    http: httpx.Client, calls: Calls, gateway: str, text: str, base: str, end: str
) -> None:
    target = url(gateway, f"{base}/chat/completions{end}")
    response = http.post(target, headers=EVENT_CODE, json=ask(text, model="gpt-4o"))

    assert response.status_code == 200
    assert calls.only(text)["path"] == upstream_path("gpt-4o")


@pytest.mark.parametrize("base", _BASES, ids=lambda base: base or "root")
def test_rule_03_the_other_operations_stand_beside_chat(http: httpx.Client, base: str) -> None:
    embeddings = http.post(f"{base}/embeddings", headers=EVENT_CODE, json={"input": "hello"})
    models = http.get(f"{base}/models?api-version=1", headers=EVENT_CODE)
    model = http.get(f"{base}/models/gpt-4o", headers=EVENT_CODE)
    info = http.get(f"{base}/info?api-version=1", headers=EVENT_CODE)

    assert len(embeddings.json()["data"][0]["embedding"]) == 1536
    assert models.json()["data"][0].items() >= {"id": "gpt-4o", "object": "model"}.items()
    assert model.json()["id"] == "gpt-4o"
    assert info.json()["model_name"] == "gpt-4o"


_NO_MODEL: list[dict[str, Any]] = [{}, {"model": None}, {"model": ""}, {"model": "portkey-default"}]


@pytest.mark.parametrize("members", _NO_MODEL, ids=str)
def test_rule_04_a_call_without_a_model_gets_the_default(
    http: httpx.Client, calls: Calls, text: str, members: dict[str, Any]
) -> None:
    http.post(CHAT, headers=EVENT_CODE, json=ask(text, **members))
    http.post(EMBEDDINGS, headers=EVENT_CODE, json={"input": text, **members})

    chat, embeddings = calls.all(text)
    assert chat["path"] == upstream_path("gpt-4o")
    assert embeddings["path"] == upstream_path("text-embedding-3-small", "embeddings")


@pytest.mark.parametrize("members", [*_NO_MODEL, {"model": "gpt-4o"}, {"model": "gpt-9"}], ids=str)
@pytest.mark.parametrize("deployment", ["gpt-3.5-turbo", "gpt-35-turbo"])
def test_rule_04_the_deployment_in_an_azure_path_decides(
    http: httpx.Client, calls: Calls, text: str, members: dict[str, Any], deployment: str
) -> None:
    path = f"/openai/deployments/{deployment}/chat/completions"
    http.post(path, headers=EVENT_CODE, json=ask(text, **members))

    assert calls.only(text)["path"] == upstream_path("gpt-35-turbo")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param('{"messages":[{"role":"user","content":"%s"}],"model":"gpt-4o"}', id="plain"),
        pytest.param(
            '\n { "messages" :\t[ {"content": "%s", "role": "user"} ],\r\n "seed":1.50e0 }\n\n',
            id="odd spacing and numbers",
        ),
        pytest.param(
            r'{"messages": [{"role": "user", "content": "%s \u00e9\ud83d\ude00\/ é😀"}]}',
            id="escapes",
        ),
        pytest.param(
            '{"user": null, "x_unknown": {"a": [null]}, "temperature": null, "functions": null,'
            ' "messages": [{"role": "user", "content": "%s", "name": null}], "stop": null}',
            id="unknown and null members",
        ),
        pytest.param(
            '{"messages": [{"role": "user", "content": [{"type": "text", "text": "%s"},'
            ' {"type": "image_url", "image_url": "https://example.com/a.png"}]}]}',
            id="an image as plain text",
        ),
    ],
)
@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded"])
def test_rule_05_the_body_goes_up_byte_for_byte(
    http: httpx.Client, calls: Calls, text: str, body: str, content_type: str
) -> None:
    body = body.replace("%s", text)
    headers = [*EVENT_CODE, (b"content-type", content_type.encode())]
    response = http.post(CHAT, headers=headers, content=body.encode())

    assert response.status_code == 200, response.text
    assert calls.only(text)["body"] == body


@pytest.mark.parametrize(
    "given",
    ["hello", ["hello", "there"], [15339, 11], [[15339, 11], [1]]],
    ids=["a string", "strings", "tokens", "lists of tokens"],
)
def test_rule_06_embeddings_take_all_four_kinds_of_input(
    http: httpx.Client, calls: Calls, text: str, given: Any
) -> None:
    body = json.dumps({"input": given, "user": text, "dimensions": 8})
    response = http.post(EMBEDDINGS, headers=EVENT_CODE, content=body)

    assert response.status_code == 200
    assert calls.only(text)["body"] == body


@pytest.mark.parametrize(
    ("deployment", "status"),
    [("gpt%2D4o", 200), ("%67pt-4o", 200), ("gpt%252D4o", 404), ("gpt-4o%2Fx", 404)],
)
def test_rule_07_a_name_in_the_path_is_decoded_once(
    http: httpx.Client, gateway: str, deployment: str, status: int
) -> None:
    target = url(gateway, f"/openai/deployments/{deployment}/chat/completions?api-version=1")
    response = http.post(target, headers=EVENT_CODE, json=ask("hello"))

    assert response.status_code == status


@pytest.mark.parametrize("base", ["/v1", "/api/v1", ""])
def test_rule_08_no_function_key_is_asked_for_and_one_does_no_harm(
    http: httpx.Client, base: str
) -> None:
    body = ask("hello")
    without = http.post(f"{base}/chat/completions", headers=EVENT_CODE, json=body)
    with_code = http.post(f"{base}/chat/completions?code=abc", headers=EVENT_CODE, json=body)

    assert without.status_code == with_code.status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("josé".encode(), id="utf-8"),
        pytest.param("josé".encode("latin-1"), id="latin-1", marks=bare_host_only),
    ],
)
def test_rule_09_a_name_beyond_ascii_is_taken_in_both_encodings(
    http: httpx.Client, name: bytes
) -> None:
    response = http.get("/api/v1/event", headers=[(b"api-key", b"hackathon/" + name)])

    assert response.json()["attendee"] == "josé"


@pytest.mark.parametrize(
    "key",
    ["hackathön/anna", "hack#thon/anna", "hack%41thon/anna", "hack?thon/anna", "hack\\athon/a"],
)
def test_rule_09_a_code_is_plain_ascii(http: httpx.Client, key: str) -> None:
    response = http.post(CHAT, headers=[(b"api-key", key.encode())], json=ask("hello"))

    assert error_of(response)["code"] == "malformed_event_code"
