"""The gateway next to itself where one thing differs: these parts of the report."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.figures import TITLES, Goal, added_ms, number, ratio_with_range, row
from benchmarks.scenarios import (
    CACHE_SCENARIOS,
    PORTKEY_SCENARIOS,
    RESOURCES_SCENARIO,
    Results,
    Scenario,
)
from benchmarks.servers import CACHED, GATEWAY, PORTKEY, TELLS_CPU_TIMES, TWO_RESOURCES


@dataclass(frozen=True)
class Pair:
    """`target` next to GATEWAY, in the words of the table; with the bounds on some of the ratios."""

    target: str
    base_title: str
    title: str
    scenarios: tuple[Scenario, ...]
    bounds: tuple[tuple[str, float], ...]


PAIRS = (
    # As one more resource, what serves the model costs next to nothing.
    Pair(TWO_RESOURCES, "one", "two", (RESOURCES_SCENARIO,), (("requests_per_s", 0.95),)),
    Pair(CACHED, "upstream", "cache", CACHE_SCENARIOS, (("answer_p50_ms", 0.33),)),
    Pair(
        PORTKEY,
        "plain",
        "Portkey",
        PORTKEY_SCENARIOS,
        (("requests_per_s", 0.9), ("answer_p50_ms", 1.1)),
    ),
)


def table(results: Results) -> Iterator[str]:
    for pair in PAIRS:
        for scenario in pair.scenarios:
            yield ""
            yield row(scenario.name.upper())
            heading = f"{pair.title} / {pair.base_title}"
            yield row("", pair.base_title, pair.title, "", "added", heading)
            for figure in scenario.figures:
                name = scenario.name
                values = (results.median(name, each, figure) for each in (GATEWAY, pair.target))
                added = added_ms(figure, results.added(name, figure, pair.target, GATEWAY))
                ratio = ratio_with_range(results.ratio(name, figure, pair.target, GATEWAY))
                yield row(TITLES[figure], *map(number, values), "", added, ratio)


def goals(results: Results) -> Iterator[Goal]:
    for pair in PAIRS:
        for scenario in pair.scenarios:
            for figure, bound in pair.bounds:
                yield from _goals(results, pair, scenario, figure, bound)


def _goals(
    results: Results, pair: Pair, scenario: Scenario, figure: str, bound: float
) -> Iterator[Goal]:
    """The ratio; a rate also per CPU second: what it would be if nothing else were slow."""
    if figure not in scenario.figures:
        return
    is_rate = figure == "requests_per_s"
    ratio = results.ratio(scenario.name, figure, pair.target, GATEWAY).median
    text = f"{scenario.name}: {TITLES[figure]} / {pair.base_title}"
    yield Goal(text, ratio, bound, is_floor=is_rate)
    if is_rate and TELLS_CPU_TIMES:
        cost = results.ratio(scenario.name, "cpu_us_per_request", pair.target, GATEWAY).median
        text = f"{scenario.name}: requests per CPU second / {pair.base_title}"
        yield Goal(text, 1 / cost, bound, is_floor=True)


def document(results: Results) -> dict[str, Any]:
    return {
        scenario.name: {
            "figures": {
                figure: {
                    **{
                        name: results.median(scenario.name, name, figure)
                        for name in scenario.targets
                    },
                    "ratio": asdict(results.ratio(scenario.name, figure, pair.target, GATEWAY)),
                }
                for figure in scenario.figures
            },
            "rounds": results.rounds[scenario.name],
        }
        for pair in PAIRS
        for scenario in pair.scenarios
    }
