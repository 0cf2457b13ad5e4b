"""An event's usage, summed by attendee, model, operation, tag, hour or day."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from shared.usage_table import COUNTERS, ERRORS, Counts, Key, Record


class By(StrEnum):
    """What a group has in common."""

    ATTENDEE = "attendee"
    MODEL = "model"
    OPERATION = "operation"
    TAG = "tag"
    HOUR = "hour"
    DAY = "day"


class Group(NamedTuple):
    """The sums of one attendee, model, operation or tag by its name, or of one hour or day in ISO form."""

    name: str
    counts: Counts


class Report(NamedTuple):
    """What an event has used since an hour, or since it began."""

    code: str
    by: By
    since: datetime | None
    groups: list[Group]
    totals: Counts


def summed(code: str, records: Iterable[Record], by: By, since: datetime | None) -> Report:
    """Hours and days come in order of time, other groups by their tokens, the most first."""
    sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for key, counts in records:
        if since is None or key.hour >= since:
            sums[_group_name(key, by)].update(counts)
    groups = [Group(name, counts) for name, counts in sorted(sums.items())]
    if by not in (By.HOUR, By.DAY):
        groups.sort(key=lambda group: -total_tokens(group.counts))
    return Report(code, by, since, groups, _total(sums.values()))


def total_tokens(counts: Counts) -> int:
    names = ("PromptTokens", "CompletionTokens", "EstimatedTokens")
    return sum(counts.get(name, 0) for name in names)


def spent_tokens(records: Iterable[Record]) -> int:
    return total_tokens(_total(record.counts for record in records))


def as_columns(counts: Counts) -> dict[str, int]:
    """Every counter by its name in scripts, with the total of the tokens behind them."""
    columns: dict[str, int] = {}
    for name in COUNTERS:
        columns[_snake_case(name)] = counts.get(name, 0)
        if name == "EstimatedTokens":
            columns["total_tokens"] = total_tokens(counts)
    return columns


def errors(counts: Counts) -> dict[str, int]:
    """The errors by their class."""
    return {_snake_case(name.removesuffix("Errors")): counts.get(name, 0) for name in ERRORS}


def as_document(report: Report) -> dict[str, Any]:
    return {
        "code": report.code,
        "by": report.by.value,
        "since": report.since.isoformat() if report.since else None,
        "groups": [{report.by.value: name, **_nested(counts)} for name, counts in report.groups],
        "totals": _nested(report.totals),
    }


def _total(several: Iterable[Counts]) -> Counts:
    total: Counter[str] = Counter()
    for counts in several:
        total.update(counts)
    return total


def _group_name(key: Key, by: By) -> str:
    if by is By.DAY:
        return key.hour.date().isoformat()
    if by is By.HOUR:
        return key.hour.isoformat()
    return {
        By.ATTENDEE: key.attendee,
        By.MODEL: key.model,
        By.OPERATION: key.operation,
        By.TAG: key.tag,
    }[by]


def _nested(counts: Counts) -> dict[str, Any]:
    columns: dict[str, Any] = as_columns(counts)
    milliseconds = columns.pop("milliseconds")
    flat = {name: number for name, number in columns.items() if not name.endswith("_errors")}
    return {**flat, "errors": errors(counts), "milliseconds": milliseconds}


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
