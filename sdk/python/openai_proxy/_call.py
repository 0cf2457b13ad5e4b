"""One call: where it goes, what it sends, and how long it may take."""

import json
from dataclasses import dataclass
from typing import Any

import httpx

import openai_proxy
from openai_proxy import error

_TIMEOUT_S = 600.0
_OPTIONS = (
    "api_key",
    "api_base",
    "api_version",
    "api_type",
    "organization",
    "request_id",
    "headers",
    "engine",
    "deployment_id",
    "request_timeout",
    "timeout",
)
_OPTION_HEADERS = {"organization": "openai-organization", "request_id": "x-request-id"}
_KEY_HEADERS = {
    "azure": ("api-key", ""),
    "azure_ad": ("authorization", "Bearer "),
    "azuread": ("authorization", "Bearer "),
    "open_ai": ("authorization", "Bearer "),
    "openai": ("authorization", "Bearer "),
}


@dataclass(frozen=True)
class Call:
    """`try_again_s` is for how long an answer of 409 makes it try again."""

    url: httpx.URL
    headers: httpx.Headers
    content: bytes
    timeout: httpx.Timeout
    try_again_s: float


def make_call(operation: str, stream: bool | None, parameters: dict[str, Any]) -> Call:
    """The call with these parameters of `create`.

    The module's attributes stand in for the options that are left out; what is no option is sent as it
    is. Raises an error of `openai_proxy.error` where something is missing or wrong.
    """
    body = dict(parameters) if stream is None else {**parameters, "stream": stream}
    option = {name: body.pop(name, None) for name in _OPTIONS}
    deployment = option["engine"] or option["deployment_id"]
    if deployment:
        body["model"] = deployment
    headers = _headers(
        option["api_key"] or openai_proxy.api_key,
        option["api_type"] or openai_proxy.api_type or "open_ai",
    )
    for name, header in _OPTION_HEADERS.items():
        if option[name]:
            headers[header] = option[name]
    headers.update(option["headers"])
    url = _url(
        option["api_base"] or openai_proxy.api_base,
        operation,
        option["api_version"] or openai_proxy.api_version,
    )
    timeout = _timeout(option["request_timeout"])
    return Call(url, headers, json.dumps(body).encode(), timeout, option["timeout"] or 0)


def _headers(api_key: str | None, api_type: str) -> httpx.Headers:
    if not api_key:
        raise error.AuthenticationError(
            "No API key provided. Set openai_proxy.api_key = 'event-code/your-name'."
        )
    known = _KEY_HEADERS.get(api_type.lower())
    if not known:
        raise error.InvalidAPIType(
            f"The API type {api_type!r} is none of 'azure', 'azure_ad' and 'open_ai'."
        )
    name, prefix = known
    headers = {
        "content-type": "application/json",
        "user-agent": f"openai_proxy/{openai_proxy.__version__}",
        name: prefix + api_key.strip(),
    }
    return httpx.Headers(headers, encoding="utf-8")


def _url(api_base: str | None, operation: str, api_version: str | None) -> httpx.URL:
    if not api_base:
        raise error.InvalidRequestError(
            "No address provided. Set openai_proxy.api_base = 'https://your-proxy'.",
            param="api_base",
        )
    try:
        url = httpx.URL(api_base.strip())
    except httpx.InvalidURL as problem:
        raise error.InvalidRequestError(
            f"{api_base!r} is no address: {problem}.", param="api_base"
        ) from problem
    path = url.path.rstrip("/") or "/api/v1"
    url = url.copy_with(path=f"{path}/{operation}")
    return url.copy_merge_params({"api-version": api_version}) if api_version else url


def _timeout(request_timeout: float | tuple[float, float] | None) -> httpx.Timeout:
    if isinstance(request_timeout, tuple):
        connect, read = request_timeout
        return httpx.Timeout(read, connect=connect)
    return httpx.Timeout(request_timeout or _TIMEOUT_S)
