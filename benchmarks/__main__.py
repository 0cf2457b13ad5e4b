"""Measures the gateway next to a bare pass-through and to the upstream reached directly,
what caps and a strict ledger cost it, and what its cache saves.

    python -m benchmarks [--quick] [--json FILE]

Every server and the load generator is a process of its own, on this machine. It is a measurement and
no test: it succeeds whatever the figures are.
"""

import argparse
import json
import sys
from pathlib import Path

from benchmarks import memory, scenarios, servers, startup
from benchmarks.report import Report


def main() -> None:
    options = _read_options()
    _say("Measuring memory, speed and start-up. A full run takes three to four minutes.")
    with servers.all_running() as running:
        memory_found = memory.measure(running, options.requests)
        results = scenarios.run(running, options.rounds, options.seconds)
    report = Report(results, startup.measure(options.imports), memory_found)
    _say("\n" + report.text())
    if options.json:
        options.json.write_text(json.dumps(report.document(), indent=2) + "\n", "utf-8")


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Measure the gateway.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.2, help="length of a measurement")
    parser.add_argument("--requests", type=int, default=50_000, help="served to measure memory")
    parser.add_argument("--imports", type=int, default=7, help="fresh interpreters of each kind")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--quick", action="store_true", help="some seconds: does it still run?")
    options = parser.parse_args()
    if options.requests < 2 * memory.FEW:
        parser.error(f"--requests: at least {2 * memory.FEW}")
    if options.quick:
        options.rounds, options.seconds, options.imports = 1, 0.3, 1
        options.requests = 2 * memory.FEW
    return options


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
