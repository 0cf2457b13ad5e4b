"""Every error that the gateway itself answers with, each with its status, its code and an OpenAI-shaped body.

GatewayError
├── BadRequest                  400  invalid_json, invalid_form, invalid_request,
│                                    max_tokens_exceeded
├── Unauthorized                401  missing_event_code, malformed_event_code, invalid_event_code
├── Forbidden                   403  event_not_started, event_ended, event_disabled,
│                                    own_resource_not_allowed
├── NotFound                    404  model_not_found, response_not_found, unknown_path
├── MethodNotAllowed            405  method_not_allowed
├── RequestTooLarge             413  request_too_large
├── TooManyAttempts             429  too_many_attempts
├── CapExceeded                 429  rate_limit_exceeded, daily_request_cap_exceeded,
│                                    daily_token_cap_exceeded, event_budget_exceeded
├── UpstreamBusy                429  upstream_busy
├── ConfigurationError          500  configuration_error
├── InternalError               500  internal_error
├── UpstreamUnreachable         502  upstream_unreachable
├── StreamCut                   502  upstream_stream_cut (inside a stream)
├── StreamMalformed             502  upstream_stream_malformed (inside a stream)
├── EventStoreUnavailable       503  event_store_unavailable
├── UpstreamTimeout             504  upstream_timeout
└── StreamStalled               504  upstream_stream_stalled (inside a stream)
"""

import json
from collections.abc import Mapping

# Some clients choose their exception class by `type`, so it follows the status and nothing else.
_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class GatewayError(Exception):
    """A refusal or a failure that the caller is told about.

    `message` says what was wrong and what would be right; it never holds a key. `param` names the
    member of the request at fault. `headers` go out with the response, names in lower case.
    """

    status = 500
    code = "internal_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.code
        self.param = param
        self.headers = dict(headers or {})

    @property
    def type(self) -> str:
        fallback = "server_error" if self.status >= 500 else "invalid_request_error"
        return _TYPES.get(self.status, fallback)

    def body(self) -> bytes:
        """The error as OpenAI's clients expect it: `{"error": {message, type, param, code}}`."""
        error = {
            "message": self.message,
            "type": self.type,
            "param": self.param,
            "code": self.code,
        }
        return json.dumps({"error": error}).encode()


class BadRequest(GatewayError):
    status = 400
    code = "invalid_request"


class Unauthorized(GatewayError):
    status = 401
    code = "invalid_event_code"


class Forbidden(GatewayError):
    status = 403
    code = "event_disabled"


class NotFound(GatewayError):
    status = 404
    code = "unknown_path"


class MethodNotAllowed(GatewayError):
    status = 405
    code = "method_not_allowed"


class RequestTooLarge(GatewayError):
    status = 413
    code = "request_too_large"


class TooManyAttempts(GatewayError):
    status = 429
    code = "too_many_attempts"


class CapExceeded(GatewayError):
    status = 429
    code = "rate_limit_exceeded"


class UpstreamBusy(GatewayError):
    status = 429
    code = "upstream_busy"


class ConfigurationError(GatewayError):
    status = 500
    code = "configuration_error"


class InternalError(GatewayError):
    pass


class UpstreamUnreachable(GatewayError):
    status = 502
    code = "upstream_unreachable"


class StreamCut(GatewayError):
    status = 502
    code = "upstream_stream_cut"


class StreamMalformed(GatewayError):
    status = 502
    code = "upstream_stream_malformed"


class EventStoreUnavailable(GatewayError):
    status = 503
    code = "event_store_unavailable"

    def __init__(self, message: str = "The event store cannot be reached. Try again.") -> None:
        super().__init__(message, headers={"retry-after": "1"})


class UpstreamTimeout(GatewayError):
    status = 504
    code = "upstream_timeout"


class StreamStalled(GatewayError):
    status = 504
    code = "upstream_stream_stalled"
