"""How usage is shown: as a table for people, as JSON or CSV for scripts and spreadsheets."""

import csv
import sys
from datetime import datetime

from rich import box
from rich.bar import Bar
from rich.console import Console, RenderableType
from rich.console import Group as Lines
from rich.table import Table

from local import usage_report
from local.display import print_out
from local.usage_report import By, Report, total_tokens
from shared.usage_table import Counts

_NUMBERS = {  # headings of as_columns' numbers
    "requests": "Requests",
    "cache_hits": "of which\nfrom the cache",
    "prompt_tokens": "Prompt",
    "cached_tokens": "of which\ncached",
    "completion_tokens": "Completion",
    "reasoning_tokens": "of which\nreasoning",
    "estimated_tokens": "Estimated",
    "total_tokens": "Total tokens",
}
_ESTIMATED = "Estimated tokens were not reported by Azure OpenAI; the gateway has estimated them."
_CLASSES = "of which"
_NONE = "-"
_BAR = ""
_BAR_WIDTH = 20
_WIDEST = 1000  # more than a table takes: a number that does not fit would be cut
# What a spreadsheet takes for the beginning of a formula, in any width.
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")


def print_report(report: Report, budget: int | None, spent: int, as_json: bool) -> None:
    """`spent` are the tokens that count against the event's budget, if it has one."""
    if report.groups:
        shown: list[RenderableType] = [f"Usage of {report.code}{_since(report)}", _table(report)]
    else:
        shown = [f"There is no usage of {report.code}{_since(report)} yet."]
    if report.totals.get("EstimatedTokens"):
        shown.append(_ESTIMATED)
    if budget is not None:
        shown.append(_budget(budget, spent))
    print_out(usage_report.as_document(report), Lines(*shown), as_json, _WIDEST)


def print_csv(report: Report) -> None:
    """Without totals, so that a spreadsheet can sum.

    Texts stand in quotes, since some spreadsheets take a semicolon in a name for the end of the cell.
    """
    writer = csv.writer(sys.stdout, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow([report.by.value, *usage_report.as_columns({})])
    for name, counts in report.groups:
        writer.writerow([_harmless(name), *usage_report.as_columns(counts).values()])


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _since(report: Report) -> str:
    return f" since {report.since:%Y-%m-%d %H:%M} UTC" if report.since else ""


def _budget(budget: int, spent: int) -> str:
    share = f" ({100 * spent / budget:.1f} %)" if budget else ""
    return f"{spent:,} of {budget:,} tokens of the budget{share}"


def _table(report: Report) -> Table:
    """A row per group and one of totals; a column that is 0 everywhere is left out."""
    table = Table(box=box.SIMPLE, show_footer=True)
    zone = " (UTC)" if report.by in (By.HOUR, By.DAY) else ""
    table.add_column(f"{report.by.capitalize()}{zone}", "Total")
    most = max(total_tokens(counts) for _, counts in report.groups)
    has_bars = not Console().options.ascii_only
    totals = _cells(report.totals)
    headings = [each for each in totals if totals[each].strip("0") or (each == _BAR and has_bars)]
    for heading in headings:
        is_left = heading in (_BAR, _CLASSES)
        table.add_column(heading, totals[heading], justify="left" if is_left else "right")
    for name, counts in report.groups:
        bar = Bar(most, 0, total_tokens(counts), width=_BAR_WIDTH)
        cells: dict[str, RenderableType] = {**_cells(counts), _BAR: bar}
        table.add_row(_name(name, report.by), *(cells[heading] for heading in headings))
    return table


def _name(name: str, by: By) -> str:
    return f"{datetime.fromisoformat(name):%Y-%m-%d %H:%M}" if by is By.HOUR else name or _NONE


def _cells(counts: Counts) -> dict[str, str]:
    """The cells of a row by their headings; only a group has a bar."""
    columns, errors = usage_report.as_columns(counts), usage_report.errors(counts)
    numbers = {heading: f"{columns[name]:,}" for name, heading in _NUMBERS.items()}
    classes = [f"{number:,} {name.replace('_', ' ')}" for name, number in errors.items() if number]
    mean = columns["milliseconds"] / (columns["requests"] or 1)
    return {
        **numbers,
        _BAR: "",
        "Mean ms": f"{mean:,.0f}",
        "Errors": f"{sum(errors.values()):,}",
        _CLASSES: ", ".join(classes),
    }
