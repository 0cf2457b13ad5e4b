"""How figures are named and written, and the bounds that some are held against."""

from dataclasses import dataclass

from benchmarks.scenarios import Ratio

TITLES = {
    "requests_per_s": "requests/s",
    "answer_p50_ms": "p50 ms",
    "answer_p99_ms": "p99 ms",
    "first_byte_p50_ms": "first byte p50 ms",
    "first_byte_p99_ms": "first byte p99 ms",
    "events_per_s": "events/s",
    "cpu_us_per_request": "CPU us per request",
    "cpu_us_per_event": "CPU us per event",
}
_WIDTHS = (20, 10, 14, 10, 8, 20, 20)


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

    def line(self) -> str:
        verdict = "met    " if self.is_met else "NOT met"
        sense = "at least" if self.is_floor else "at most"
        return f"{verdict}  {self.text}: {self.value:.2f}, {sense} {self.bound:g}"


def row(*cells: str) -> str:
    """A line of a table; the first cell is its title."""
    head, *others = (cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=False))
    return "".join((cells[0].ljust(_WIDTHS[0]), *others)).rstrip() if head else ""


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def added_ms(figure: str, value: float) -> str:
    """Only times are worth a difference."""
    return f"{value:+.2f}" if figure.endswith("_ms") else ""


def ratio_with_range(ratio: Ratio) -> str:
    return f"{ratio.median:.2f} ({ratio.least:.2f}-{ratio.most:.2f})"
