"""Command line: starts the simulator, or lists its faults."""

import argparse
import asyncio
import signal
import sys

from aiohttp import web

from local.simulator.faults import describe_faults
from local.simulator.server import Simulator


def main() -> None:
    options = _read_options()
    if options.list:
        _say(describe_faults())
        return
    asyncio.run(_run(options))


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="simulator", description="A simulated Azure OpenAI.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7081, help="0 takes any free port")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="time between two tokens")
    parser.add_argument("--key", help="the only key accepted; any by default")
    parser.add_argument("--list", action="store_true", help="list the faults and leave")
    return parser.parse_args()


async def _run(options: argparse.Namespace) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stopping.set)
    simulator = Simulator(options.key, options.delay_ms / 1000)
    runner = web.ServerRunner(simulator.make_server(), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, options.host, options.port, backlog=1024).start()
        port = runner.addresses[0][1]
        _say(f"simulator listening on http://{options.host}:{port}")
        await stopping.wait()
    finally:
        await runner.cleanup()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
