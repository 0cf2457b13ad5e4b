"""The managed identity endpoint of App Service, for keyless runs without Azure."""

import base64
import json
import time
from collections.abc import Mapping

from local.simulator.refusals import Json, Refusal
from local.simulator.steps import Answer

_SIGNATURE = base64.urlsafe_b64encode(b"simulated").decode()
_LIFETIME_S = 24 * 60 * 60
_CLIENT_ID = "00000000-0000-4000-8000-00000000c11e"


def issue_token(header: str | None, query: Mapping[str, str]) -> Answer:
    """https://learn.microsoft.com/azure/app-service/overview-managed-identity (REST)."""
    if not header:
        raise _failure(401, "The X-IDENTITY-HEADER header is missing.")
    if query.get("api-version") != "2019-08-01":
        raise _failure(400, "api-version 2019-08-01 is expected.")
    resource = query.get("resource")
    if not resource:
        raise _failure(400, "The resource parameter is missing.")
    token: Json = {
        "access_token": _make_token(resource),
        "expires_on": str(int(time.time()) + _LIFETIME_S),
        "resource": resource,
        "token_type": "Bearer",
        "client_id": query.get("client_id", _CLIENT_ID),
    }
    return Answer(json.dumps(token).encode())


def is_token(text: str) -> bool:
    """Whether this is one of the tokens issued here."""
    return text.endswith(f".{_SIGNATURE}")


def _make_token(resource: str) -> str:
    """A JSON Web Token as Entra ID's, but for the signature; Azurite takes it too."""
    now = int(time.time())
    claims: Json = {
        "aud": resource,
        "iss": "https://sts.windows.net/00000000-0000-4000-8000-000000000000/",
        "iat": now,
        "nbf": now,
        "exp": now + _LIFETIME_S,
    }
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    encoded = [base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, _SIGNATURE])


def _failure(status: int, message: str) -> Refusal:
    return Refusal(status, json.dumps({"statusCode": status, "message": message}).encode())
