"""How fast an answer out of the cache is, next to one from the upstream: this part of the report."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from benchmarks.figures import TITLES, Goal, added_ms, number, ratio_with_range, row
from benchmarks.scenarios import CACHE_SCENARIOS, Results
from benchmarks.servers import CACHED, GATEWAY


def table(results: Results) -> Iterator[str]:
    for scenario in CACHE_SCENARIOS:
        name = scenario.name
        yield ""
        yield row(name.upper())
        yield row("", "upstream", "cache", "", "added", "cache / upstream")
        for figure in scenario.figures:
            values = (results.median(name, each, figure) for each in (GATEWAY, CACHED))
            added = added_ms(figure, results.added(name, figure, CACHED, GATEWAY))
            ratio = ratio_with_range(results.ratio(name, figure, CACHED, GATEWAY))
            yield row(TITLES[figure], *map(number, values), "", added, ratio)


def goals(results: Results) -> Iterator[Goal]:
    for scenario in CACHE_SCENARIOS:
        ratio = results.ratio(scenario.name, "answer_p50_ms", CACHED, GATEWAY).median
        yield Goal(f"{scenario.name}: p50 ms / from the upstream", ratio, 0.33)


def document(results: Results) -> dict[str, Any]:
    return {
        scenario.name: {
            "figures": {
                figure: {
                    **{
                        name: results.median(scenario.name, name, figure)
                        for name in scenario.targets
                    },
                    "cache_to_upstream": asdict(
                        results.ratio(scenario.name, figure, CACHED, GATEWAY)
                    ),
                }
                for figure in scenario.figures
            },
            "rounds": results.rounds[scenario.name],
        }
        for scenario in CACHE_SCENARIOS
    }
