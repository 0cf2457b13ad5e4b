"""How events are shown: as tables for people, as JSON for scripts; complaints on stderr."""

import json
import sys
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text as Coloured

from shared import access
from shared.caps import CAPS
from shared.models import Event

ZONES = available_timezones()  # it reads many files
_LISTED = ("Code", "Name", "Start", "End", "Time zone", "State", "Max tokens", "Models")
_FAILS_OPEN = {
    True: "yes, calls that caps count go on uncounted while the store is down",
    False: "no, calls that caps count are refused while the store is down",
}
_STORES_NAMES = {
    True: "yes, usage is kept under attendees' names",
    False: "no, usage is kept under a hash of attendees' names",
}
_RESUMES = {
    True: "yes, a stream that breaks off is continued from another deployment where that agrees",
    False: "no, a stream that breaks off ends with an error",
}
_STATES = {"event_disabled": "off", "event_not_started": "not started", "event_ended": "ended"}
_COLOURS = {"off": "red", "not started": "yellow", "ended": "dim", "open": "green"}


def _state(event: Event) -> str:
    refusal = access.closed(event, datetime.now(UTC))
    return _STATES[refusal.code] if refusal else "open"


def _zone(event: Event) -> ZoneInfo:
    """The organiser's zone; UTC if others have written one to the row that does not exist."""
    return ZoneInfo(event.timezone if event.timezone in ZONES else "UTC")


def _time(moment: datetime, zone: ZoneInfo) -> str:
    """In UTC, in the organiser's zone if that is another one, and how far off it is, on a line each."""
    zones = dict.fromkeys([ZoneInfo("UTC"), zone])
    now = datetime.now(UTC)
    distance = str(abs(moment - now)).rpartition(":")[0] + " h"
    clocks = [f"{moment.astimezone(at):%Y-%m-%d %H:%M %Z}" for at in zones]
    return "\n".join([*clocks, f"in {distance}" if moment > now else f"{distance} ago"])


def _caps(event: Event) -> str:
    """The caps that are set, on a line each."""
    limits = [(getattr(event, cap.name), cap.grants) for cap in CAPS]
    return "\n".join(f"{limit:,} {grants}" for limit, grants in limits if limit is not None)


def _cache(event: Event) -> str:
    age = event.cache_max_age
    return f"yes, for {age:,} s" if age else "no, unless a caller asks for it"


def _cells(event: Event) -> dict[str, str | Coloured]:
    state, zone = _state(event), _zone(event)
    return {
        "Code": event.code,
        "Name": event.name,
        "Start": _time(event.start, zone),
        "End": _time(event.end, zone),
        "Time zone": event.timezone,
        "State": Coloured(state, _COLOURS[state]),
        "Max tokens": str(event.max_tokens or "no cap"),
        "Caps": _caps(event) or "none",
        "Fails open": _FAILS_OPEN[event.fail_open],
        "Stores names": _STORES_NAMES[event.store_names],
        "Usage tag": event.usage_tag or "-",
        "Resumes streams": _RESUMES[event.resume_streams],
        "Caches answers": _cache(event),
        "Models": ", ".join(event.models) or "all",
        "URL": f"{event.url} {event.url_text}".strip() or "-",
        "Organizer": f"{event.organizer_name} {event.organizer_email}".strip() or "-",
        "API key": f"{event.code}/their-name",
    }


def table_of(found: list[Event]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for heading in _LISTED:
        table.add_column(heading, no_wrap=heading not in ("Name", "Models"), overflow="fold")
    for cells in map(_cells, found):
        table.add_row(*(cells[heading] for heading in _LISTED))
    return table


def print_out(value: object, shown: RenderableType, as_json: bool, width: int = 150) -> None:
    """Print the value for scripts, or what is shown to people, in lines of at least this width."""
    if as_json:
        sys.stdout.write(json.dumps(value, indent=2) + "\n")
        return
    console = Console(markup=False, emoji=False, highlight=False)
    console.width = max(console.width, width)  # long lines read better than columns of four letters
    console.print(shown)


def complain(message: str) -> None:
    if message:
        sys.stderr.write(" ".join(message.split()) + "\n")


def print_event(event: Event, as_json: bool) -> None:
    table = Table(box=box.SIMPLE, show_header=False)
    for cells in _cells(event).items():
        table.add_row(*cells)
    print_out(as_document(event), table, as_json)


def as_document(event: Event) -> dict[str, Any]:
    zone = _zone(event)
    return {
        **event.model_dump(),
        "start": event.start.isoformat(),
        "end": event.end.isoformat(),
        "start_local": event.start.astimezone(zone).isoformat(),
        "end_local": event.end.astimezone(zone).isoformat(),
        "state": _state(event),
        "api_key": f"{event.code}/their-name",
    }
