"""How resources are shown: as tables for people, as JSON for scripts."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from local.display import print_out
from local.resource_check import Outcome
from shared.model_map import Entry, ModelMap
from shared.models import Resource

States = Mapping[str, str]
_CLOSED = "closed"
_FOLDED = ("Endpoint", "Models")
_NO_KEY = {"azure": "identity", "openai": "none"}


def as_document(resource: Resource, states: States | None = None) -> dict[str, Any]:
    """`states` are those of the deployments that are not closed, by RESOURCE/DEPLOYMENT, if known."""
    deployments = [
        {
            "model": entry.model,
            "deployment": entry.deployment,
            "flags": sorted(entry.flags),
            "state": _state(resource, entry, states),
        }
        for entry in _entries(resource)
    ]
    return {**resource.model_dump(), "deployments": deployments}


def print_resource(resource: Resource, as_json: bool) -> None:
    table = Table(box=box.SIMPLE, show_header=False)
    for cells in _cells(resource, None).items():
        table.add_row(*cells)
    print_out(as_document(resource), table, as_json)


def print_resources(found: Sequence[Resource], states: States | None, as_json: bool) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    rows = [_cells(resource, states) for resource in found]
    for heading in rows[0] if rows else ():
        table.add_column(heading, no_wrap=heading not in _FOLDED, overflow="fold")
    for cells in rows:
        table.add_row(*cells.values())
    none = "There are no resources here. Add one: python manage.py resources add"
    documents = [as_document(resource, states) for resource in found]
    print_out(documents, table if rows else none, as_json)


def print_outcomes(outcomes: Sequence[Outcome], as_json: bool) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("Deployment", "Call", "Status", "ms", "Problem"):
        table.add_column(heading, overflow="fold", justify="right" if heading == "ms" else "left")
    for each in outcomes:
        milliseconds = "" if each.milliseconds is None else f"{each.milliseconds:,}"
        status = each.status or ("-" if each.is_good else "failed")
        table.add_row(each.deployment, each.operation, str(status), milliseconds, each.problem)
    documents = [each._asdict() | {"is_good": each.is_good} for each in outcomes]
    print_out(documents, table if outcomes else "There is nothing to check.", as_json)


def _cells(resource: Resource, states: States | None) -> dict[str, str]:
    return {
        "Name": resource.name,
        "Kind": resource.kind,
        "Endpoint": resource.endpoint,
        "Priority": str(resource.priority),
        "Weight": str(resource.weight),
        "At once": str(resource.max_in_flight or "no limit"),
        "Models": "\n".join(_line(resource, entry, states) for entry in _entries(resource)),
        "Key": resource.key_setting or _NO_KEY[resource.kind],
        "Active": "yes" if resource.active else "no",
    }


def _line(resource: Resource, entry: Entry, states: States | None) -> str:
    """Such as `gpt-5 → my-gpt-5 (reasoning), open`."""
    arrow = "->" if Console().options.ascii_only else "→"
    flags = f" ({', '.join(sorted(entry.flags))})" if entry.flags else ""
    state = _state(resource, entry, states)
    shown = f", {'ok' if state == _CLOSED else state}" if state else ""
    return f"{'any' if entry.is_bare else entry.model} {arrow} {entry.deployment}{flags}{shown}"


def _state(resource: Resource, entry: Entry, states: States | None) -> str | None:
    if states is None or not resource.active:
        return None
    return states.get(f"{resource.name}/{entry.deployment}", _CLOSED)


def _entries(resource: Resource) -> Sequence[Entry]:
    return ModelMap.of(resource).entries
