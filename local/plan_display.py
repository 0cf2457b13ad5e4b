"""How a plan is shown: as tables for people, as JSON for scripts."""

from collections.abc import Sequence

from rich import box
from rich.console import Group as Lines
from rich.table import Table

from local.display import print_out
from local.plan import CONCURRENCY, UNIT_TPM, Capacity, Caps, Load, capacity, caps, command

Rows = Sequence[tuple[str, float, str]]
_WHOSE = {
    "max_tokens": "of an answer",
    "requests_per_minute": "of an attendee: twice the average of the busiest minute, at least 10",
    "tokens_per_minute": "of the event: what the capacity units take",
    "token_budget": "of the event: half as much again as expected",
}


def print_plan(load: Load, as_json: bool) -> None:
    needed = capacity(load)
    suggested = caps(load, needed)
    line = command(suggested)
    document = {
        "load": load._asdict(),
        "capacity": needed._asdict(),
        "caps": suggested._asdict(),
        "command": line,
    }
    tables = [
        _table("Use", _use(load, needed)),
        _table("Busiest minute", _needs(load, needed)),
        _table("Suggested caps", _caps(suggested)),
    ]
    # The command is in no table, so that it can be copied whole.
    print_out(document, Lines(*tables, line), as_json, width=len(line) + 1)


def _use(load: Load, needed: Capacity) -> Rows:
    return [
        (
            "Requests",
            needed.requests,
            f"{load.attendees:,} attendees, {load.prompts:,} prompts each",
        ),
        ("Input tokens", needed.input_tokens, f"{load.input_tokens:,} each"),
        ("Output tokens", needed.output_tokens, f"{load.output_tokens:,} each"),
        ("Requests a minute", needed.mean_rpm, f"on average; {load.hours:g} h"),
        ("Storage operations", needed.storage_operations, "roughly"),
    ]


def _needs(load: Load, needed: Capacity) -> Rows:
    unit = f"of {UNIT_TPM:,} TPM and {load.rpm_per_unit:g} RPM; the {needed.limited_by} decide"
    counted = (
        f"{load.input_tokens:,} + {load.max_tokens:,} each: the prompt and the cap on its answer"
    )
    return [
        ("Requests (RPM)", needed.peak_rpm, f"{load.peak:g} times the mean"),
        ("Tokens used", needed.used_tpm, f"{load.tokens:,} each"),
        ("Tokens counted (TPM)", needed.counted_tpm, counted),
        ("Capacity units", needed.units, unit),
        ("Calls at once", needed.calls_at_once, f"{load.seconds:g} s each"),
        (
            "Instances",
            needed.instances,
            f"of the function app, {CONCURRENCY} calls at once on each",
        ),
    ]


def _caps(suggested: Caps) -> Rows:
    return [
        (f"--{name.replace('_', '-')}", cap, _WHOSE.get(name, "of an attendee: twice the average"))
        for name, cap in suggested._asdict().items()
    ]


def _table(title: str, rows: Rows) -> Table:
    table = Table(title, box=box.SIMPLE_HEAD)
    table.add_column(justify="right")
    table.add_column()
    for name, number, meaning in rows:
        table.add_row(name, f"{number:,}", meaning)
    return table
