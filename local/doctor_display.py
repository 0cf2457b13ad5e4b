"""How findings are shown: as a table for people, as JSON for scripts."""

from collections import Counter
from collections.abc import Sequence

from rich import box
from rich.console import Group as Lines
from rich.table import Table
from rich.text import Text

from local.display import print_out
from local.doctor_findings import Finding, Status

_COLOURS = {Status.OK: "green", Status.WARNING: "yellow", Status.PROBLEM: "red"}


def print_findings(findings: Sequence[Finding], as_json: bool) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("", "Check", "Finding"):
        table.add_column(heading, no_wrap=not heading, overflow="fold")
    for finding in findings:
        fix = f"\nFix: {finding.fix}" if finding.fix else ""
        status = Text(finding.status, _COLOURS[finding.status])
        table.add_row(status, finding.check, finding.message + fix)
    document = {"status": worst(findings), "findings": [each._asdict() for each in findings]}
    print_out(document, Lines(table, _sum(findings)), as_json)


def worst(findings: Sequence[Finding]) -> Status:
    return max((each.status for each in findings), key=list(Status).index, default=Status.OK)


def _sum(findings: Sequence[Finding]) -> str:
    """Such as `1 problem, 2 warnings.`"""
    counts = Counter(each.status for each in findings)
    bad = [(status, counts[status]) for status in (Status.PROBLEM, Status.WARNING)]
    told = [f"{count} {status}{'' if count == 1 else 's'}" for status, count in bad if count]
    return f"{', '.join(told) or 'All is well'}."
