"""TLS in front of a plain server, for the names that a certificate of our own vouches for."""

import asyncio
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path


def certificate(folder: Path, names: Sequence[str]) -> tuple[Path, Path]:
    """A certificate for these names (`DNS:…`, `IP:…`), which vouches for itself; and its key."""
    found, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        + ["-subj", "/CN=test", "-addext", f"subjectAltName={','.join(names)}"]
        + ["-keyout", str(key), "-out", str(found)],
        check=True,
        capture_output=True,
    )
    return found, key


@contextmanager
def terminated(host: str, port: int, certificate: Path, key: Path) -> Iterator[int]:
    """The port of 127.0.0.1 on which the server at this address is reached by TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        plain_reader, plain_writer = await asyncio.open_connection(host, port)
        await asyncio.gather(_copy(reader, plain_writer), _copy(plain_reader, writer))

    with socket.create_server(("127.0.0.1", 0)) as listener:

        async def serve(ready: Future[Callable[[], object]]) -> None:
            loop, over = asyncio.get_running_loop(), asyncio.Event()
            async with await asyncio.start_server(meet, sock=listener, ssl=context):
                ready.set_result(lambda: loop.call_soon_threadsafe(over.set))
                await over.wait()

        ready: Future[Callable[[], object]] = Future()
        thread = threading.Thread(target=lambda: asyncio.run(serve(ready)))
        thread.start()
        stop = ready.result(10)
        try:
            yield int(listener.getsockname()[1])
        finally:
            stop()
            thread.join(10)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
