"""The error answers of Azure OpenAI: status, headers and body of each. Sends nothing."""

import json
from typing import Any

Json = dict[str, Any]

_SAFE = {"filtered": False, "severity": "safe"}
_BAD_GATEWAY = b"""<html>\r
<head><title>502 Bad Gateway</title></head>\r
<body>\r
<center><h1>502 Bad Gateway</h1></center>\r
<hr><center>Microsoft-Azure-Application-Gateway/v2</center>\r
</body>\r
</html>\r
"""


class Refusal(Exception):
    """An answer that is not the one asked for."""

    def __init__(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers or {}
        self.content_type = content_type


def _refusal(status: int, error: Json, headers: dict[str, str] | None = None) -> Refusal:
    return Refusal(status, json.dumps({"error": error}).encode(), headers)


def invalid(message: str, param: str | None = None, code: str | None = None) -> Refusal:
    """400 as the model service words it."""
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return _refusal(400, error)


def denied() -> Refusal:
    message = (
        "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide"
        " a valid key for an active subscription and use a correct regional API endpoint for your"
        " resource."
    )
    return _refusal(401, {"code": "401", "message": message})


def forbidden() -> Refusal:
    message = "Access denied due to Virtual Network/Firewall rules."
    return _refusal(403, {"code": "403", "message": message})


def not_found() -> Refusal:
    return _refusal(404, {"code": "404", "message": "Resource not found"})


def wrong_method() -> Refusal:
    return _refusal(405, {"code": "405", "message": "Method Not Allowed"})


def deployment_not_found() -> Refusal:
    message = (
        "The API deployment for this resource does not exist. If you created the deployment within"
        " the last 5 minutes, please wait a moment and try again."
    )
    return _refusal(404, {"code": "DeploymentNotFound", "message": message})


def file_not_found() -> Refusal:
    """A 404 that quotes its caller."""
    message = "The file 'DeploymentNotFound, model_not_found' does not exist."
    error = {"message": message, "type": "invalid_request_error", "param": "file", "code": None}
    return _refusal(404, error)


def response_not_found(response_id: str) -> Refusal:
    error = {
        "message": f"Response with id '{response_id}' not found.",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    return _refusal(404, error)


def throttled(seconds: int) -> Refusal:
    message = (
        "Requests to the ChatCompletions_Create Operation under Azure OpenAI API have exceeded"
        " call rate limit of your current OpenAI S0 pricing tier. Please retry after"
        f" {seconds} seconds."
    )
    headers = {
        "retry-after": str(seconds),
        "retry-after-ms": str(seconds * 1000),
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-requests": str(seconds),
        "x-ratelimit-reset-tokens": str(seconds),
    }
    return _refusal(429, {"code": "429", "message": message}, headers)


def busy() -> Refusal:
    """The 429 of an overloaded service, which says nothing about when to come back."""
    message = (
        "The system is currently experiencing high demand and cannot process your request. Your"
        " request exceeds the maximum usage size allowed during peak load."
    )
    return _refusal(429, {"code": "429", "message": message})


def conflict() -> Refusal:
    headers = {"x-should-retry": "false", "x-ms-retry-after-ms": "1500"}
    return _refusal(409, {"code": "Conflict", "message": "Another call is under way."}, headers)


def redirected() -> Refusal:
    error = {"code": "Moved", "message": "Look elsewhere."}
    return _refusal(307, error, {"location": "https://elsewhere.example/"})


def server_error() -> Refusal:
    message = "The server had an error while processing your request. Sorry about that!"
    error = {"message": message, "type": "server_error", "param": None, "code": "500"}
    return _refusal(500, error)


def bad_gateway() -> Refusal:
    return Refusal(502, _BAD_GATEWAY, content_type="text/html")


def unavailable() -> Refusal:
    message = "The service is temporarily unable to process your request. Please try again later."
    return _refusal(503, {"code": "503", "message": message})


def context_length_exceeded() -> Refusal:
    message = (
        "This model's maximum context length is 128000 tokens. However, your messages resulted in"
        " 130001 tokens. Please reduce the length of the messages."
    )
    return invalid(message, "messages", "context_length_exceeded")


def prefill_refused() -> Refusal:
    message = (
        "This model does not support assistant message prefill. The conversation must end with a"
        " user message."
    )
    return invalid(message, "messages", "invalid_value")


def unsupported_parameter(name: str, instead: str = "") -> Refusal:
    message = f"Unsupported parameter: '{name}' is not supported with this model."
    hint = f" Use '{instead}' instead." if instead else ""
    return invalid(message + hint, name, "unsupported_parameter")


def moved_parameter(name: str, to: str) -> Refusal:
    """What the Responses API says of a parameter of chat completions."""
    message = (
        f"Unsupported parameter: '{name}'. In the Responses API, this parameter has moved to"
        f" '{to}'. Try again with the new parameter."
    )
    return invalid(message, name, "unsupported_parameter")


def unsupported_value(name: str, value: object, default: object) -> Refusal:
    message = (
        f"Unsupported value: '{name}' does not support {value} with this model. Only the default"
        f" ({default}) value is supported."
    )
    return invalid(message, name, "unsupported_value")


def content_filtered() -> Refusal:
    message = (
        "The response was filtered due to the prompt triggering Azure OpenAI's content management"
        " policy. Please modify your prompt and retry. To learn more about our content filtering"
        " policies please read our documentation: https://go.microsoft.com/fwlink/?linkid=2198766"
    )
    result = {name: _SAFE for name in ("hate", "self_harm", "sexual", "violence")}
    error = {
        "message": message,
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {**result, "jailbreak": {"filtered": True, "detected": True}},
        },
    }
    return _refusal(400, error)
