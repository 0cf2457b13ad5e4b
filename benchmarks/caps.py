"""What caps cost the gateway, and what it costs to wait for the ledger: this part of the report."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from benchmarks.figures import TITLES, Goal, added_ms, number, ratio_with_range, row
from benchmarks.scenarios import CAPS_SCENARIOS, Results, Scenario
from benchmarks.servers import (
    CAPPED,
    GATEWAY,
    RELAXED_DELAY_S,
    STRICT,
    STRICT_CAPPED,
    TELLS_CPU_TIMES,
)

# For each kind of ledger the gateway without caps and with all of them.
_LEDGERS = {"relaxed": (GATEWAY, CAPPED), "strict": (STRICT, STRICT_CAPPED)}


def table(results: Results) -> Iterator[str]:
    yield ""
    yield "Caps: an event with all of them next to one with none. No call says max_tokens, so with caps"
    yield "the prompt's tokens are estimated and max_tokens is written into the body. A relaxed ledger"
    yield f"stores usage within {RELAXED_DELAY_S} s, a strict one before the answer ends, here in Azurite."
    for scenario in CAPS_SCENARIOS:
        yield ""
        yield row(scenario.name.upper())
        for ledger in _LEDGERS:
            yield from _ledger_rows(results, scenario, ledger)


def _ledger_rows(results: Results, scenario: Scenario, ledger: str) -> Iterator[str]:
    name = scenario.name
    last = "/ relaxed, no caps" if ledger == "strict" else ""
    yield row(f"{ledger} ledger", "no caps", "all caps", "", "added", "all caps / none", last)
    without, capped = _LEDGERS[ledger]
    for figure in scenario.figures:
        added = added_ms(figure, results.added(name, figure, capped, without))
        ratio = ratio_with_range(results.ratio(name, figure, capped, without))
        to_relaxed = ratio_with_range(results.ratio(name, figure, without, GATEWAY)) if last else ""
        values = (number(results.median(name, each, figure)) for each in (without, capped))
        yield row(TITLES[figure], *values, "", added, ratio, to_relaxed)
    if TELLS_CPU_TIMES:
        shares = (results.median(name, each, "server_cpu") for each in (without, capped))
        yield row("CPU: itself", *(f"{share:.0%}" for share in shares))


def goals(results: Results) -> Iterator[Goal]:
    """Of the relaxed ledger; with the strict one the store decides."""
    caps_1, caps_16 = (scenario.name for scenario in CAPS_SCENARIOS)
    throughput = results.ratio(caps_16, "requests_per_s", CAPPED, GATEWAY).median
    yield Goal(f"{caps_16}: requests/s / without caps", throughput, 0.8, is_floor=True)
    if TELLS_CPU_TIMES:
        cost = results.ratio(caps_16, "cpu_us_per_request", CAPPED, GATEWAY).median
        text = f"{caps_16}: requests per CPU second / without caps"
        yield Goal(text, 1 / cost, 0.8, is_floor=True)
    added = results.added(caps_1, "answer_p50_ms", CAPPED, GATEWAY)
    yield Goal(f"{caps_1}: p50 ms added to that without caps", added, 0.5)


def document(results: Results) -> dict[str, Any]:
    return {
        scenario.name: {
            "figures": {figure: _figure(results, scenario, figure) for figure in scenario.figures},
            "rounds": results.rounds[scenario.name],
        }
        for scenario in CAPS_SCENARIOS
    }


def _figure(results: Results, scenario: Scenario, figure: str) -> dict[str, Any]:
    name = scenario.name
    by_ledger = {
        ledger: {
            "added": results.added(name, figure, capped, without),
            "all_caps_to_none": asdict(results.ratio(name, figure, capped, without)),
        }
        for ledger, (without, capped) in _LEDGERS.items()
    }
    return {
        **{target: results.median(name, target, figure) for target in scenario.targets},
        "ledgers": by_ledger,
        "strict_to_relaxed": asdict(results.ratio(name, figure, STRICT, GATEWAY)),
    }
