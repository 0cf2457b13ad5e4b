"""Stored responses belong to the attendee who made them, and stay with the resource that has them."""

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from threading import Event as Flag

import httpx
import openai
import pytest
from openai import OpenAI

from shared.models import Event, Resource, pseudonym
from shared.resources import Resources
from shared.responses import TABLE, Responses, StoredResponse
from shared.tables import Tables
from tests import fleet, processes
from tests.conftest import EVENTS, add_events, gateway_settings
from tests.e2e.test_caps import recorded
from tests.e2e.test_openai_python import VERSION, make_client
from tests.e2e.test_usage_of_streams import serving
from tests.processes import Server

ANNA, BOB, OTHER_EVENT = "hackathon/anna", "hackathon/bob", "other-event/anna"
# The first two are served by one resource each, the third by both.
HERE, THERE, BOTH = "gpt-4o", "gpt-4.1", "gpt-4o-mini"
CAPPED = "counted-event"
MISSING = "The response '{}' does not exist, or is not yours."


@dataclass
class House:
    """A gateway with two resources that know nothing of each other's responses."""

    storage: str
    gateway: Server
    first: str
    second: str
    open: ExitStack

    def client(self, key: str = ANNA, form: str = "v1") -> OpenAI:
        return self.open.enter_context(make_client(self.gateway.url, form, key))

    def rows(self) -> dict[str, dict]:
        """The table, by the ids of the responses."""

        async def read() -> dict[str, dict]:
            async with fleet.tables(self.storage) as tables:
                return {row["RowKey"]: row async for row in tables.rows(TABLE)}

        return asyncio.run(read())


async def _fill(storage: str, second: str) -> None:
    now = datetime.now(UTC)
    window = {"start": now - timedelta(days=1), "end": now + timedelta(days=1)}
    others = [Event.model_validate({"code": "other-event", "name": "Another", **window})]
    others.append(fleet.event(CAPPED, daily_tokens=2000))
    await add_events(storage, [*EVENTS, *others])
    async with fleet.tables(storage) as tables:
        row = {"endpoint": second, "key_setting": "SECOND_KEY", "model_map": f"{THERE}|{THERE}-x"}
        row["model_map"] += f",{BOTH}|{BOTH}"
        await Resources(tables).add(Resource.model_validate({"name": "second", **row}))


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with (
        processes.azurite(processes.free_port()) as store,
        processes.simulator() as first,
        processes.simulator() as second,
    ):
        storage = processes.connection_string(store.url)
        asyncio.run(_fill(storage, second.url))
        settings = {**gateway_settings(storage, first.url), "SECOND_KEY": "key-of-the-second"}
        settings["AZURE_OPENAI_MODEL_MAP"] = f"{HERE}|{HERE},{BOTH}|{BOTH},sim-cut|sim-cut"
        with processes.gateway(settings) as gateway, ExitStack() as clients:
            yield House(storage, gateway, first.url, second.url, clients)


def make(client: OpenAI, stream: bool = False, **members: object) -> str:
    """A response, and its id."""
    asked = {"model": HERE, "input": "hello", **members}
    if not stream:
        return client.responses.create(**asked).id
    *_, last = client.responses.create(**asked, stream=True)
    return last.response.id


@pytest.mark.parametrize("form", ["v1", "api/v1", "root", "openai/v1", "azure endpoint"])
@pytest.mark.parametrize("stream", [False, True], ids=["document", "stream"])
@pytest.mark.parametrize("model", [HERE, THERE])
def test_ones_own_is_there_until_it_is_deleted(
    house: House, form: str, stream: bool, model: str
) -> None:
    client = house.client(form=form)
    made = make(client, stream, model=model)

    raw = client.responses.with_raw_response.retrieve(made)
    assert raw.parse().output_text.endswith("you said: hello")
    where = f"default/{HERE}" if model == HERE else f"second/{THERE}-x"
    assert raw.headers["x-gateway-deployment"] == where
    [item] = client.responses.input_items.list(made)
    assert item.content[0].text == "hello"

    client.responses.delete(made)
    assert made not in house.rows()
    for call in (client.responses.retrieve, client.responses.delete):
        with pytest.raises(openai.NotFoundError) as error:
            call(made)
        assert error.value.body["message"] == MISSING.format(made)  # type: ignore[index]


def test_what_a_row_says(house: House) -> None:
    made = house.client().responses.create(model=THERE, input="hello")
    row = house.rows()[made.id]

    assert row["PartitionKey"] == "hackathon"
    assert row["Attendee"] == pseudonym("hackathon", "anna")
    assert (row["Resource"], row["Model"]) == ("second", THERE)
    assert row["Tokens"] == made.usage.total_tokens
    assert abs(row["CreatedUTC"] - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("stranger", [BOB, OTHER_EVENT])
def test_nobody_else_learns_that_it_is_there(house: House, stranger: str) -> None:
    made = make(house.client())
    theirs = house.client(stranger)
    never = "resp_" + "0" * len(made.removeprefix("resp_"))

    def refusals(response: str) -> list[tuple[int, str]]:
        found = []
        for path in (f"/v1/responses/{response}", f"/v1/responses/{response}/input_items"):
            for method in ("GET", "DELETE") if path.endswith(response) else ("GET",):
                answer = httpx.request(
                    method, house.gateway.url + path, headers={"api-key": stranger}
                )
                found.append((answer.status_code, answer.text.replace(response, "ID")))
        body = {"model": HERE, "input": "hi", "previous_response_id": response}
        answer = httpx.post(
            f"{house.gateway.url}/v1/responses", headers={"api-key": stranger}, json=body
        )
        found.append((answer.status_code, answer.text.replace(response, "ID")))
        return found

    assert refusals(made) == refusals(never)
    assert {status for status, _ in refusals(made)} == {404}
    with pytest.raises(openai.NotFoundError) as error:
        theirs.responses.create(model=HERE, input="hi", previous_response_id=made)
    assert (error.value.code, error.value.param) == ("response_not_found", "previous_response_id")
    assert house.client().responses.retrieve(made).id == made


@pytest.mark.parametrize(
    "response",
    ["..%2F..%2Fmodels", "a" * 900, "%F0%9F%90%98", "x%2Fcancel", "%ED%A0%80"],
)
def test_an_odd_id_is_one_that_is_not_there(house: House, response: str) -> None:
    url = httpx.URL(house.gateway.url).copy_with(raw_path=f"/v1/responses/{response}".encode())
    answer = httpx.get(url, headers={"api-key": ANNA})

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "response_not_found"


@pytest.mark.parametrize("previous", [r"\ud800", "🐘" * 256, "a" * 1100])
def test_nobody_can_go_on_from_an_odd_id(house: House, previous: str) -> None:
    body = f'{{"model": "{HERE}", "input": "hi", "previous_response_id": "{previous}"}}'
    answer = httpx.post(
        f"{house.gateway.url}/v1/responses", headers={"api-key": ANNA}, content=body.encode()
    )

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "response_not_found"


@pytest.mark.parametrize("stream", [False, True], ids=["document", "stream"])
def test_what_is_not_stored_cannot_be_had(house: House, stream: bool) -> None:
    made = make(house.client(), stream, store=False)

    assert made not in house.rows()
    with pytest.raises(openai.NotFoundError):
        house.client().responses.retrieve(made)


@pytest.mark.parametrize("stream", [False, True], ids=["document", "stream"])
def test_a_conversation_stays_where_it_began(house: House, stream: bool) -> None:
    """Whichever of the two resources this attendee belongs to."""
    for name in ("c", "d", "e", "f", "g", "h"):
        client = house.client(f"hackathon/{name}")
        raw = client.responses.with_raw_response.create(model=BOTH, input="one two three")
        before, where = raw.parse().id, raw.headers["x-gateway-deployment"]
        for _ in range(2):
            raw = client.responses.with_raw_response.create(
                model=BOTH, input="and", previous_response_id=before
            )
            assert raw.headers["x-gateway-deployment"] == where
            assert raw.parse().previous_response_id == before
            before = raw.parse().id


def test_a_conversation_begun_on_a_resource_never_goes_to_another(house: House) -> None:
    client = house.client()
    made = make(client, model=THERE)
    for number in range(6):
        raw = client.responses.with_raw_response.create(
            model=BOTH, input=f"and {number}", previous_response_id=made
        )
        assert raw.headers["x-gateway-deployment"] == f"second/{BOTH}"


def test_a_model_that_is_not_served_there_cannot_go_on(house: House) -> None:
    made = make(house.client(), model=THERE)
    with pytest.raises(openai.NotFoundError, match=f"Go on with '{THERE}'") as error:
        house.client().responses.create(model=HERE, input="and", previous_response_id=made)

    assert (error.value.code, error.value.param) == ("model_not_found", "model")


def test_the_conversation_so_far_counts_against_the_cap(house: House) -> None:
    client = house.client(f"{CAPPED}/anna")
    first = client.responses.create(model=HERE, input="repeat 1000", max_output_tokens=1100)
    assert first.usage and first.usage.total_tokens > 1000

    with pytest.raises(openai.RateLimitError) as error:
        client.responses.create(model=HERE, input="and", previous_response_id=first.id)
    assert error.value.code == "daily_token_cap_exceeded"
    client.responses.create(model=HERE, input="and", max_output_tokens=50)


def test_a_stream_that_was_cut_leaves_nothing(house: House) -> None:
    before = house.rows()
    with pytest.raises(openai.APIError):
        make(house.client(), stream=True, model="sim-cut", input="repeat 30")

    assert house.rows() == before


def test_what_the_upstream_has_lost_is_not_there(house: House) -> None:
    made = make(house.client())
    path = f"{house.first}/openai/v1/responses/{made}"
    httpx.delete(path, headers={"api-key": "any"}).raise_for_status()

    with pytest.raises(openai.NotFoundError) as error:
        house.client().responses.retrieve(made)
    assert error.value.code == "response_not_found"
    with pytest.raises(openai.NotFoundError):
        house.client().responses.delete(made)
    assert made not in house.rows()


def test_only_what_belongs_to_the_upstream_goes_there(house: House) -> None:
    made = make(house.client())
    url = f"{house.gateway.url}/openai/responses/{made}/input_items?api-version={VERSION}"
    httpx.get(f"{url}&limit=5&x=y", headers={"api-key": ANNA, "cookie": "a=b"}).raise_for_status()

    [call] = [
        call
        for call in httpx.get(f"{house.first}/simulator/calls").json()["calls"]
        if made in call["path"]
    ]
    assert call["path"] == f"/openai/v1/responses/{made}/input_items?limit=5"
    assert "hackathon" not in str(call["headers"]) and "cookie" not in str(call["headers"])


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "HEAD"])
def test_another_method_is_not_allowed(house: House, method: str) -> None:
    url = f"{house.gateway.url}/v1/responses/resp_1"
    answer = httpx.request(method, url, headers={"api-key": ANNA})

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, DELETE")


def test_a_stored_response_is_not_streamed(house: House) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        house.client().responses.retrieve("resp_1", stream=True)

    assert error.value.param == "stream"


class SlowToKeep(BaseHTTPRequestHandler):
    """A store that takes the rows of responses, and does not answer until it is told to."""

    protocol_version = "HTTP/1.1"
    store = ""
    is_asked, may_answer = Flag(), Flag()

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.command == "PUT" and "/responses(" in self.path:
            self.is_asked.set()
            self.may_answer.wait(10)
        answer = httpx.request(
            self.command, self.store + self.path, headers=dict(self.headers), content=body
        )
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("content-length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_MERGE = _pass_on

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize("stream", [False, True], ids=["document", "stream"])
def test_who_leaves_while_a_response_is_being_kept_has_paid_for_it(stream: bool) -> None:
    SlowToKeep.is_asked.clear()
    SlowToKeep.may_answer.clear()
    with (
        processes.simulator() as upstream,
        processes.azurite(processes.free_port()) as at,
        serving(SlowToKeep) as slow,
    ):
        SlowToKeep.store = at.url
        storage = processes.connection_string(at.url)
        asyncio.run(add_events(storage, EVENTS))
        settings = gateway_settings(processes.connection_string(slow), upstream.url)
        with processes.gateway(settings) as server:
            body = json.dumps({"model": HERE, "input": "hello", "stream": stream}).encode()
            address = server.url.removeprefix("http://").split(":")
            with socket.create_connection((address[0], int(address[1]))) as caller:
                caller.sendall(
                    b"POST /v1/responses HTTP/1.1\r\nhost: x\r\napi-key: %s\r\n"
                    b"content-length: %d\r\n\r\n%s" % (ANNA.encode(), len(body), body)
                )
                assert SlowToKeep.is_asked.wait(10)
            try:
                counts = recorded(storage, "hackathon", "Requests")
            finally:
                SlowToKeep.may_answer.set()

    assert counts["CompletionTokens"] > 0 and counts["EstimatedTokens"] == 0
    assert counts["CallerLeftErrors"] == 0


def test_while_the_store_is_down_answers_go_out_and_nothing_is_read() -> None:
    with processes.simulator() as upstream, processes.azurite(processes.free_port()) as at:
        storage = processes.connection_string(at.url)
        asyncio.run(add_events(storage, EVENTS))
        with (
            processes.gateway(gateway_settings(storage, upstream.url)) as server,
            make_client(server.url, "v1", ANNA) as client,
        ):
            made = make(client)
            at.process.terminate()
            at.process.wait()

            assert make(client) and make(client, stream=True)
            for call in (
                lambda: client.responses.retrieve(made),
                lambda: make(client, previous_response_id=made),
            ):
                with pytest.raises(openai.InternalServerError) as error:
                    call()
                assert error.value.status_code == 503
                assert error.value.code == "event_store_unavailable"
            lines = [line for line in server.lines if "its response is not kept" in line]
            assert len(lines) == 2


def test_an_id_that_is_too_long_for_a_key_is_not_kept(storage: str) -> None:
    """Each of these letters takes twelve characters of the 512 in a key."""

    async def kept(id: str) -> bool:
        async with fleet.tables(storage) as tables:
            responses = Responses(tables)
            stored = StoredResponse(id, "0" * 16, "default", "gpt-4o", 1)
            await responses.keep("long", stored, datetime.now(UTC))
            found = [row async for row in tables.rows(TABLE, "long", "long")]
            await responses.remove_event("long")
            return bool(found)

    assert asyncio.run(kept("🐘" * 42))
    assert not asyncio.run(kept("🐘" * 43))


def test_rows_older_than_30_days_are_removed(storage: str) -> None:
    now = datetime.now(UTC)
    stored = StoredResponse("resp_old", "0" * 16, "default", "gpt-4o", 1)

    async def run(tables: Tables) -> list[str]:
        responses = Responses(tables)
        for number in range(3):
            old = stored._replace(id=f"resp_{number}")
            await responses.keep(f"old/{number}", old, now - timedelta(days=10 * number + 11))
        assert await responses.remove_before(now - timedelta(days=30)) == 1
        found = [row["RowKey"] async for row in tables.rows(TABLE, "old/", "old/~")]
        await responses.remove_event("old/0")
        assert await responses.get("old/0", "resp_0") is None
        return found

    async def within() -> list[str]:
        async with fleet.tables(storage) as tables:
            return await run(tables)

    assert asyncio.run(within()) == ["resp_0", "resp_1"]
