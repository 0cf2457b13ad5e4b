"""Calls that never reach a server, or get no answer from one."""

import asyncio
import socket

import openai_proxy
import pytest
from conftest import Way
from openai_proxy import error


@pytest.mark.parametrize("streams", [False, True])
def test_a_refused_connection_is_a_connection_error(way: Way, streams: bool) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        base = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(error.APIConnectionError, match="Error communicating"):
            way.chat(api_base=base, api_key="event-code/anna", stream=streams)


@pytest.mark.parametrize("base", ["localhost:7071", "ftp://localhost"])
def test_an_address_of_another_kind_is_a_connection_error(way: Way, base: str) -> None:
    with pytest.raises(error.APIConnectionError, match="protocol"):
        way.chat(api_base=base, api_key="event-code/anna")


@pytest.mark.parametrize("base", [None, "", "http://a b:c"])
def test_no_address_is_an_invalid_request(way: Way, base: str | None) -> None:
    with pytest.raises(error.InvalidRequestError) as caught:
        way.chat(api_base=base, api_key="event-code/anna")

    assert caught.value.param == "api_base"


def test_no_key_is_an_authentication_error(way: Way) -> None:
    with pytest.raises(error.AuthenticationError, match="openai_proxy.api_key"):
        way.chat(api_base="http://localhost")


def test_an_unknown_api_type_is_told(way: Way) -> None:
    with pytest.raises(error.InvalidAPIType, match="'gcp'"):
        way.chat(api_base="http://localhost", api_key="event-code/anna", api_type="gcp")


def test_all_errors_have_one_base() -> None:
    kinds = [getattr(error, name) for name in error.__all__]

    assert all(issubclass(kind, error.OpenAIError) for kind in kinds)
    assert openai_proxy.OpenAIError is error.OpenAIError


def test_cancelling_is_no_error_of_the_package() -> None:
    async def give_up() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            base = f"http://127.0.0.1:{silent.getsockname()[1]}"
            chat = openai_proxy.ChatCompletion.acreate(
                messages=[], api_base=base, api_key="event-code/anna"
            )
            await asyncio.wait_for(chat, 0.2)

    with pytest.raises(TimeoutError):
        asyncio.run(give_up())
