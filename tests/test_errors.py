"""The errors' tree is the one that is drawn, and their bodies are OpenAI's."""

import json
import re

import pytest

from shared import errors
from shared.errors import GatewayError

KINDS = GatewayError.__subclasses__()
DRAWN = re.findall(r"── (\w+) +(\d{3})  (\w+)", errors.__doc__ or "")


def test_the_tree_is_drawn_as_it_is() -> None:
    assert [(kind.__name__, str(kind.status)) for kind in KINDS] == [
        (name, status) for name, status, _ in DRAWN
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_body_is_openai_shaped(kind: type[GatewayError]) -> None:
    error = kind("Naïve message.")
    body = json.loads(error.body())["error"]
    assert set(body) == {"message", "type", "param", "code"}
    assert body["message"] == "Naïve message."
    assert body["code"] == kind.code


@pytest.mark.parametrize(
    ("status", "type_"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (413, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (503, "server_error"),
    ],
)
def test_the_type_follows_the_status(status: int, type_: str) -> None:
    assert {kind("x").type for kind in KINDS if kind.status == status} == {type_}


def test_no_error_is_a_conflict() -> None:
    assert 409 not in {kind.status for kind in KINDS}
