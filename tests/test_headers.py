"""What goes up, and what comes back."""

from shared.headers import stream_to_caller, to_caller, to_upstream


def test_nothing_of_the_callers_own_goes_up() -> None:
    secrets = [
        (b"authorization", b"Bearer hackathon/me"),
        (b"api-key", b"hackathon/me"),
        (b"openai-event-code", b"hackathon/me"),
        (b"openai-organization", b"org"),
        (b"x-portkey-api-key", b"hackathon/me"),
        (b"x-portkey-config", b"{}"),
        (b"cookie", b"session=1"),
        (b"x-forwarded-for", b"203.0.113.7"),
        (b"host", b"gateway"),
        (b"content-length", b"5"),
    ]
    assert to_upstream([*secrets, (b"user-agent", b"curl")]) == {"user-agent": "curl"}


def test_what_matters_comes_back_in_lower_case() -> None:
    upstream = [
        (b"Content-Type", b"application/json"),
        (b"Retry-After", b"7"),
        (b"x-ratelimit-remaining-tokens", b"12"),
        (b"Set-Cookie", b"a=b"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Content-Length", b"5"),
        (b"Location", b"/elsewhere"),
    ]
    assert to_caller(upstream) == [
        (b"content-type", b"application/json"),
        (b"retry-after", b"7"),
        (b"x-ratelimit-remaining-tokens", b"12"),
    ]


def test_a_stream_is_not_to_be_stored() -> None:
    headers = stream_to_caller([(b"Content-Type", b"text/event-stream")])
    assert dict(headers)[b"cache-control"] == b"no-cache"
    assert [name for name, _ in headers].count(b"content-type") == 1
