"""The load generator: a process of its own that does one job for each line of its standard input.

    echo '{"url": "http://127.0.0.1:7071/...", "body": "...", "headers": {"api-key": "..."}}' \\
        | python -m benchmarks.load

A job and its result are JSON objects of one line. The requests are built beforehand and the answers
parsed as little as can be, so that the generator is never the bottleneck.
"""

import asyncio
import gc
import json
import sys
from dataclasses import dataclass, field
from functools import partial
from statistics import quantiles
from time import perf_counter
from urllib.parse import urlsplit

_LAST_CHUNK = b"\r\n0\r\n\r\n"
_LAST_EVENT = b"data: [DONE]\n\n"


class WrongAnswer(Exception):
    """An answer that is not 200, or not complete."""


@dataclass(frozen=True)
class Job:
    """Requests for `seconds` after a warm-up that does not count; or just so many `requests`."""

    url: str
    body: str
    headers: dict[str, str]
    connections: int = 1
    seconds: float = 1.0
    warm_up_s: float = 0.2
    requests: int = 0

    def message(self) -> bytes:
        """The request as it goes over the wire."""
        url = urlsplit(self.url)
        body = self.body.encode()
        head = (
            f"POST {url.path}?{url.query} HTTP/1.1",
            f"host: {url.netloc}",
            "accept: application/json",
            "user-agent: benchmark",
            "content-type: application/json",
            *(f"{name}: {value}" for name, value in self.headers.items()),
            f"content-length: {len(body)}",
        )
        return "\r\n".join((*head, "", "")).encode() + body


@dataclass
class Tally:
    """What is counted between `begin` and `end`, moments of `perf_counter`; times are in seconds."""

    begin: float
    end: float
    to_send: float = float("inf")
    open_answers: int = 0
    answers: int = 0
    events: int = 0
    times: list[float] = field(default_factory=list)
    first_byte_times: list[float] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        seconds = min(self.end, perf_counter()) - self.begin
        return {
            "requests_per_s": self.answers / seconds,
            "events_per_s": self.events / seconds,
            **_percentiles("answer", self.times),
            **_percentiles("first_byte", self.first_byte_times),
        }


def _percentiles(name: str, seconds: list[float]) -> dict[str, float]:
    if len(seconds) < 2:  # a short measurement of long answers
        return {}
    cuts = quantiles(seconds, n=100, method="inclusive")
    return {f"{name}_p50_ms": cuts[49] * 1000, f"{name}_p99_ms": cuts[98] * 1000}


class Connection(asyncio.Protocol):
    """Sends the message again as soon as it is answered. `over` is set when all is done."""

    def __init__(self, message: bytes, tally: Tally, over: "asyncio.Future[None]") -> None:
        self._message = message
        self._tally = tally
        self._over = over
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send(perf_counter())

    def _send(self, now: float) -> None:
        self._received = bytearray()
        self._body_at = 0
        self._size: int | None = None
        if self._tally.to_send > 0:
            self._tally.to_send -= 1
            self._tally.open_answers += 1
            self._sent_at = now
            self._transport.write(self._message)

    def data_received(self, data: bytes) -> None:
        try:
            self._take(data)
        except (WrongAnswer, ValueError) as error:
            self._fail(error)

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(WrongAnswer("the server closed the connection"))

    def _fail(self, error: Exception) -> None:
        if not self._over.done():
            self._over.set_exception(error)

    def _take(self, data: bytes) -> None:
        now = perf_counter()
        received, tally = self._received, self._tally
        is_counted = tally.begin <= now < tally.end
        seen = max(len(received) - 4, 0)
        received += data
        if not self._body_at and not self._read_head():
            return
        if self._size is None and is_counted:
            tally.events += received.count(b"data:", seen)
        if seen < self._body_at < len(received) and self._sent_at >= tally.begin:
            self._note_first_byte(now)
        if self._is_complete():
            self._finish(now, is_counted)

    def _read_head(self) -> bool:
        """Whether the head is complete. Raises WrongAnswer if it tells of a failure."""
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return False
        if not self._received.startswith(b"HTTP/1.1 200 "):
            raise WrongAnswer(self._received.decode("latin-1"))
        head = bytes(self._received[: end + 2]).lower()
        self._body_at = end + 4
        self._first_byte_noted = False
        _, found, rest = head.partition(b"\r\ncontent-length:")
        self._size = int(rest[: rest.index(b"\r")]) if found else None
        return True

    def _note_first_byte(self, now: float) -> None:
        if not self._first_byte_noted:
            self._first_byte_noted = True
            self._tally.first_byte_times.append(now - self._sent_at)

    def _is_complete(self) -> bool:
        if self._size is None:
            return self._received.endswith(_LAST_CHUNK)
        return len(self._received) >= self._body_at + self._size

    def _finish(self, now: float, is_counted: bool) -> None:
        tally = self._tally
        if self._size is None and not _dechunked(self._received[self._body_at :]).endswith(
            _LAST_EVENT
        ):
            raise WrongAnswer("a stream ended without [DONE]")
        tally.open_answers -= 1
        if is_counted:
            tally.answers += 1
            if self._sent_at >= tally.begin:
                tally.times.append(now - self._sent_at)
        self._send(now)
        if not tally.open_answers:
            _end(self._over)


def _dechunked(body: bytearray) -> bytes:
    """The content of a complete body in chunked coding."""
    pieces: list[bytearray] = []
    at = 0
    while True:
        start = body.index(b"\r\n", at) + 2
        size = int(body[at:start], 16)
        if not size:
            return b"".join(pieces)
        pieces.append(body[start : start + size])
        at = start + size + 2


async def run(job: Job) -> dict[str, float]:
    """The job's figures. Raises WrongAnswer at the first answer that is not as it should be."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    tally = _start(job, over)
    url = urlsplit(job.url)
    connect = partial(Connection, job.message(), tally, over)
    opened = []
    try:
        for _ in range(job.connections):
            opened.append(await loop.create_connection(connect, url.hostname or "", url.port or 80))
        await over
    finally:
        for transport, _ in opened:
            transport.abort()
    return tally.figures()


def _start(job: Job, over: "asyncio.Future[None]") -> Tally:
    now = perf_counter()
    if job.requests:
        return Tally(now, float("inf"), to_send=job.requests)
    length = job.warm_up_s + job.seconds
    asyncio.get_running_loop().call_later(length, _end, over)
    return Tally(now + job.warm_up_s, now + length)


def _end(over: "asyncio.Future[None]") -> None:
    if not over.done():
        over.set_result(None)


def main() -> None:
    gc.disable()
    for line in sys.stdin:
        try:
            result: dict[str, object] = {**asyncio.run(run(Job(**json.loads(line))))}
        except (WrongAnswer, ValueError, OSError) as error:
            result = {"error": str(error)}
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
        gc.collect()


if __name__ == "__main__":
    main()
