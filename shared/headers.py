"""Which headers go up, and which come back: two explicit sets."""

from collections.abc import Iterable

RawHeaders = list[tuple[bytes, bytes]]

# Everything else stays here, above all the caller's credentials, cookies, x-portkey-* and openai-*.
_UP = frozenset(
    {b"accept", b"user-agent", b"idempotency-key", b"x-ms-client-request-id", b"aoai-evals"}
)

_BACK = frozenset(
    {
        b"content-type",
        b"content-encoding",
        b"content-language",
        b"content-disposition",
        b"retry-after",
        b"retry-after-ms",
        b"x-ms-retry-after-ms",
        b"x-should-retry",
        b"apim-request-id",
        b"azureml-model-session",
        b"x-ms-region",
        b"x-ms-deployment-name",
        b"x-ms-client-request-id",
        b"x-ms-rai-invoked",
        b"openai-processing-ms",
        b"x-simulated",
    }
)
_BACK_PREFIX = b"x-ratelimit-"
_LENGTH = b"content-length"


def to_upstream(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The caller's headers that the upstream gets; names come in lower case."""
    return {name.decode(): value.decode("latin-1") for name, value in headers if name in _UP}


def to_caller(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """The upstream's headers that the caller gets, names in lower case."""
    kept = []
    for name, value in headers:
        name = name.lower()
        if name in _BACK or name.startswith(_BACK_PREFIX):
            kept.append((name, value))
    return kept


def media_to_caller(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """The same for an answer that is passed on as it comes, with its length if that is known."""
    headers = list(headers)
    length = [(_LENGTH, value) for name, value in headers if name.lower() == _LENGTH]
    return to_caller(headers) + length[:1]


def stream_to_caller(headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
    """The same for a stream of events, which nothing on the way may store or hold back."""
    kept = [header for header in to_caller(headers) if header[0] != b"content-type"]
    return [
        *kept,
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache"),
    ]
