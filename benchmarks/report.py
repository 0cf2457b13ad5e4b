"""The results as text and as JSON, and how they stand to the targets."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.memory import FEW, Memory
from benchmarks.scenarios import SCENARIOS, Ratio, Results
from benchmarks.servers import DIRECT, GATEWAY, PASSTHROUGH, TELLS_CPU_TIMES
from benchmarks.startup import APP, EXTENSION, Startup

_TARGETS = (DIRECT, PASSTHROUGH, GATEWAY)
_TITLES = {
    "requests_per_s": "requests/s",
    "answer_p50_ms": "p50 ms",
    "answer_p99_ms": "p99 ms",
    "first_byte_p50_ms": "first byte p50 ms",
    "first_byte_p99_ms": "first byte p99 ms",
    "events_per_s": "events/s",
    "cpu_us_per_request": "CPU us per request",
    "cpu_us_per_event": "CPU us per event",
}
_CPU_SHARES = {"server_cpu": "CPU: itself", "upstream_cpu": "CPU: upstream"}
_WIDTHS = (20, 10, 14, 10, 8, 20, 20)
_HEADINGS = ("", *_TARGETS, "added", "/ pass-through", "/ direct")


@dataclass(frozen=True)
class Goal:
    """A figure and the bound it is held against."""

    text: str
    value: float
    bound: float
    is_floor: bool = False

    @property
    def is_met(self) -> bool:
        return self.value >= self.bound if self.is_floor else self.value <= self.bound


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
            cost = self.results.ratio(scenario, f"cpu_us_per_{unit}", PASSTHROUGH)
            text = f"{scenario}: {unit}s per CPU second / pass-through"
            yield Goal(text, 1 / cost.median, floor, is_floor=True)

    def _goal(self, scenario: str, figure: str, bound: float, is_floor: bool = False) -> Goal:
        ratio = self.results.ratio(scenario, figure, PASSTHROUGH)
        text = f"{scenario}: {_TITLES[figure]} / pass-through"
        return Goal(text, ratio.median, bound, is_floor)

    def text(self) -> str:
        return "\n".join((*self._table(), *self._rest(), *self._goal_lines(), ""))

    def _table(self) -> Iterator[str]:
        yield "Medians of the rounds; ratios within each round, with the least and the most."
        if TELLS_CPU_TIMES:
            yield "Where a server's own CPU is below 100 %, something else bounds its throughput (upstream,"
            yield "load generator, other programs): then CPU time is the better measure of its cost."
        for scenario in SCENARIOS:
            yield ""
            yield _row(scenario.name.upper())
            yield _row(*_HEADINGS)
            for figure in scenario.figures:
                yield self._figure_row(scenario.name, figure)
            for figure, title in _CPU_SHARES.items() if TELLS_CPU_TIMES else ():
                shares = [self.results.median(scenario.name, name, figure) for name in _TARGETS]
                yield _row(title, *(f"{share:.0%}" for share in shares))

    def _figure_row(self, scenario: str, figure: str) -> str:
        values = [self.results.median(scenario, name, figure) for name in _TARGETS]
        added = f"{self.results.added(scenario, figure):+.2f}" if figure.endswith("_ms") else ""
        ratios = [
            _ratio(self.results.ratio(scenario, figure, base)) for base in (PASSTHROUGH, DIRECT)
        ]
        return _row(_TITLES[figure], *map(_number, values), added, *ratios)

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
            verdict = "met    " if goal.is_met else "NOT met"
            sense = "at least" if goal.is_floor else "at most"
            yield f"{verdict}  {goal.text}: {goal.value:.2f}, {sense} {goal.bound:g}"

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
            "startup": asdict(self.startup),
            "memory": {**asdict(self.memory), "ratio": self.memory.ratio},
            "targets": [{**asdict(goal), "is_met": goal.is_met} for goal in self.goals()],
        }

    def _figure(self, scenario: str, figure: str) -> dict[str, Any]:
        return {
            **{name: self.results.median(scenario, name, figure) for name in _TARGETS},
            "added": self.results.added(scenario, figure),
            "to_passthrough": asdict(self.results.ratio(scenario, figure, PASSTHROUGH)),
            "to_direct": asdict(self.results.ratio(scenario, figure, DIRECT)),
        }


def _row(*cells: str) -> str:
    head, *others = (cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=False))
    return "".join((cells[0].ljust(_WIDTHS[0]), *others)) if head else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.median:.2f} ({ratio.least:.2f}-{ratio.most:.2f})"
