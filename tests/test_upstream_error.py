"""What is made of the errors that upstreams tell of in their streams and in a 404."""

from typing import Any

import pytest

from shared.upstream_error import Missing, missing, status_of

QUOTING = "The prompt 'is it overloaded?' cannot be answered."


@pytest.mark.parametrize(
    "code",
    [
        "invalid_prompt",
        "bio_policy",
        "vector_store_timeout",
        "invalid_image_url",
        "image_too_large",
        "unsupported_image_media_type",
        "empty_image_file",
        "failed_to_download_image",
        "context_length_exceeded",
        "content_filter",
        "not_known_yet",
    ],
)
@pytest.mark.parametrize("kind", [None, "invalid_request_error"])
def test_what_is_no_failure_of_the_server_is_the_callers_fault(code: str, kind: str | None) -> None:
    assert status_of({"code": code, "type": kind, "message": QUOTING}) == 400


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"code": "server_error"}, 500),
        ({"code": "not_known_yet", "type": "server_error"}, 500),
        ({"code": "InternalServerError"}, 500),
        ({"code": None, "type": None}, 500),
        ({"code": "", "type": ""}, 500),
        ({}, 500),
        ({"code": "server_error", "message": "The model is overloaded."}, 503),
        ({"message": "The model is overloaded."}, 503),
        ({"code": "server_is_overloaded"}, 503),
        ({"type": "overloaded_error"}, 503),
        ({"code": "service_unavailable"}, 503),
        ({"code": "timeout"}, 500),
        ({"code": "rate_limit_exceeded", "type": "server_error"}, 429),
        ({"type": "rate_limit_error", "code": None}, 429),
        ({"code": "insufficient_quota"}, 429),
        ({"code": "429", "message": QUOTING}, 429),
        ({"code": 503, "message": "x"}, 503),
        ({"code": "content_filter", "status": 400, "message": QUOTING}, 400),
        ({"code": None, "type": "invalid_request_error", "message": QUOTING}, 400),
    ],
    ids=str,
)
def test_an_error_has_the_status_it_would_have_had(error: dict[str, Any], status: int) -> None:
    assert status_of(error) == status


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b'{"error": {"code": "DeploymentNotFound", "message": "x"}}', Missing.DEPLOYMENT),
        (b'{"error": {"code": "deployment_not_found"}}', Missing.DEPLOYMENT),
        (b'{"error": {"code": "model_not_found", "param": null}}', Missing.DEPLOYMENT),
        (b'{"error": {"code": null, "message": "DeploymentNotFound"}}', Missing.OTHER),
        (b'{"error": {"code": "404", "message": "Resource not found"}}', Missing.PATH),
        (b'{"detail": "Not Found"}', Missing.PATH),
        (b"<html>", Missing.PATH),
        (b"", Missing.PATH),
    ],
    ids=str,
)
def test_a_404_tells_what_is_not_there(body: bytes, what: Missing) -> None:
    assert missing(body) is what
