"""The results as text and as JSON, and how they stand to the targets."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Any

from benchmarks import caps, pairs
from benchmarks.figures import TITLES, Goal, added_ms, number, ratio_with_range, row
from benchmarks.memory import FEW, Memory
from benchmarks.scenarios import SCENARIOS, Results
from benchmarks.servers import DIRECT, GATEWAY, PASSTHROUGH, RELAXED_DELAY_S, TELLS_CPU_TIMES
from benchmarks.startup import APP, EXTENSION, Startup

_TARGETS = (DIRECT, PASSTHROUGH, GATEWAY)
_CPU_SHARES = {"server_cpu": "CPU: itself", "upstream_cpu": "CPU: upstream"}
_HEADINGS = ("", *_TARGETS, "added", "/ pass-through", "/ direct")


@dataclass(frozen=True)
class Report:
    """All that was measured in one run."""

    results: Results
    startup: Startup
    memory: Memory

    def goals(self) -> list[Goal]:
        plain_1, plain_16, _, burst_1, burst_16 = (scenario.name for scenario in SCENARIOS)
        return [
            *self._rates(plain_16, "request", 0.5),
            self._goal(plain_1, "answer_p50_ms", 1.6),
            *self._rates(burst_1, "event", 0.8),
            *self._rates(burst_16, "event", 0.8),
            *caps.goals(self.results),
            *pairs.goals(self.results),
            Goal(f"import of {APP} / {EXTENSION}", self.startup.ratio, 1.6),
            # Allocators keep a little more as time goes by; a leak of 60 bytes a request shows.
            Goal(
                f"memory after {self.memory.requests:,} / {FEW:,} requests", self.memory.ratio, 1.05
            ),
        ]

    def _rates(self, scenario: str, unit: str, floor: float) -> Iterator[Goal]:
        """The rate seen, and the rate per second of CPU: what it would be if nothing else were slow."""
        yield self._goal(scenario, f"{unit}s_per_s", floor, is_floor=True)
        if TELLS_CPU_TIMES:
            cost = self.results.ratio(scenario, f"cpu_us_per_{unit}", GATEWAY, PASSTHROUGH)
            text = f"{scenario}: {unit}s per CPU second / pass-through"
            yield Goal(text, 1 / cost.median, floor, is_floor=True)

    def _goal(self, scenario: str, figure: str, bound: float, is_floor: bool = False) -> Goal:
        ratio = self.results.ratio(scenario, figure, GATEWAY, PASSTHROUGH)
        text = f"{scenario}: {TITLES[figure]} / pass-through"
        return Goal(text, ratio.median, bound, is_floor)

    def text(self) -> str:
        parts = (module.table(self.results) for module in (caps, pairs))
        lines = (*self._table(), *chain(*parts), *self._rest(), *self._goal_lines(), "")
        return "\n".join(lines)

    def _table(self) -> Iterator[str]:
        yield "Medians of the rounds; ratios within each round, with the least and the most."
        if TELLS_CPU_TIMES:
            yield "Where a server's own CPU is below 100 %, something else bounds its throughput (upstream,"
            yield "load generator, other programs): then CPU time is the better measure of its cost."
        yield f"The gateway's ledger is relaxed (USAGE_DELAY_S={RELAXED_DELAY_S}), unless it says strict."
        for scenario in SCENARIOS:
            yield ""
            yield row(scenario.name.upper())
            yield row(*_HEADINGS)
            for figure in scenario.figures:
                yield self._figure_row(scenario.name, figure)
            for figure, title in _CPU_SHARES.items() if TELLS_CPU_TIMES else ():
                shares = [self.results.median(scenario.name, name, figure) for name in _TARGETS]
                yield row(title, *(f"{share:.0%}" for share in shares))

    def _figure_row(self, scenario: str, figure: str) -> str:
        values = [self.results.median(scenario, name, figure) for name in _TARGETS]
        added = added_ms(figure, self.results.added(scenario, figure, GATEWAY, DIRECT))
        ratios = [
            ratio_with_range(self.results.ratio(scenario, figure, GATEWAY, base))
            for base in (PASSTHROUGH, DIRECT)
        ]
        return row(TITLES[figure], *map(number, values), added, *ratios)

    def _rest(self) -> Iterator[str]:
        startup, memory = self.startup, self.memory
        yield ""
        yield (
            f"Import: {APP} {startup.app_ms:.0f} ms, {EXTENSION} alone "
            f"{startup.extension_ms:.0f} ms, ratio {startup.ratio:.2f}"
        )
        yield (
            f"Memory of the gateway: {memory.few_mb:.1f} MB after {FEW:,} requests, "
            f"{memory.many_mb:.1f} MB after {memory.requests:,}, ratio {memory.ratio:.3f}"
        )

    def _goal_lines(self) -> Iterator[str]:
        yield ""
        for goal in self.goals():
            yield goal.line()

    def document(self) -> dict[str, Any]:
        """Everything, down to the single measurements."""
        return {
            "scenarios": {
                scenario.name: {
                    "figures": {
                        figure: self._figure(scenario.name, figure) for figure in scenario.figures
                    },
                    "rounds": self.results.rounds[scenario.name],
                }
                for scenario in SCENARIOS
            },
            "caps": caps.document(self.results),
            "pairs": pairs.document(self.results),
            "startup": asdict(self.startup),
            "memory": {**asdict(self.memory), "ratio": self.memory.ratio},
            "targets": [{**asdict(goal), "is_met": goal.is_met} for goal in self.goals()],
        }

    def _figure(self, scenario: str, figure: str) -> dict[str, Any]:
        return {
            **{name: self.results.median(scenario, name, figure) for name in _TARGETS},
            "added": self.results.added(scenario, figure, GATEWAY, DIRECT),
            "to_passthrough": asdict(self.results.ratio(scenario, figure, GATEWAY, PASSTHROUGH)),
            "to_direct": asdict(self.results.ratio(scenario, figure, GATEWAY, DIRECT)),
        }
