"""What it costs that a call could go to either of two resources: this part of the report."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from benchmarks.figures import TITLES, Goal, added_ms, number, ratio_with_range, row
from benchmarks.scenarios import RESOURCES_SCENARIO, Results
from benchmarks.servers import GATEWAY, TELLS_CPU_TIMES, TWO_RESOURCES

_NAME = RESOURCES_SCENARIO.name


def table(results: Results) -> Iterator[str]:
    yield ""
    yield row(_NAME.upper())
    yield row("", "one", "two", "", "added", "two / one")
    for figure in RESOURCES_SCENARIO.figures:
        values = (results.median(_NAME, each, figure) for each in (GATEWAY, TWO_RESOURCES))
        added = added_ms(figure, results.added(_NAME, figure, TWO_RESOURCES, GATEWAY))
        ratio = ratio_with_range(results.ratio(_NAME, figure, TWO_RESOURCES, GATEWAY))
        yield row(TITLES[figure], *map(number, values), "", added, ratio)


def goals(results: Results) -> Iterator[Goal]:
    throughput = results.ratio(_NAME, "requests_per_s", TWO_RESOURCES, GATEWAY).median
    yield Goal(f"{_NAME}: requests/s / with one", throughput, 0.95, is_floor=True)
    if TELLS_CPU_TIMES:
        cost = results.ratio(_NAME, "cpu_us_per_request", TWO_RESOURCES, GATEWAY).median
        yield Goal(f"{_NAME}: requests per CPU second / with one", 1 / cost, 0.95, is_floor=True)


def document(results: Results) -> dict[str, Any]:
    return {
        "figures": {
            figure: {
                **{
                    name: results.median(_NAME, name, figure) for name in RESOURCES_SCENARIO.targets
                },
                "two_to_one": asdict(results.ratio(_NAME, figure, TWO_RESOURCES, GATEWAY)),
            }
            for figure in RESOURCES_SCENARIO.figures
        },
        "rounds": results.rounds[_NAME],
    }
