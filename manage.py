"""The organiser's command line: python manage.py events add|list|show|set|enable|disable|remove

It takes the app's own settings, from the environment and local.settings.json; without any, the Azurite of
`make run`. Every error is one line
on stderr; the exit code is 2 for wrong input or settings, 1 if the store cannot be reached.
"""

import asyncio
import difflib
import io
import logging
import os
import re
import secrets
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn, TypeVar
from unicodedata import category
from zoneinfo import ZoneInfo

import typer

from local import display
from local.display import ZONES
from local.environment import read_local_settings, use_azurite_by_default
from shared import access
from shared.errors import ConfigurationError, EventStoreUnavailable
from shared.events import Events
from shared.model_map import ModelMap
from shared.models import Event
from shared.settings import storage_from_environ
from shared.tables import RowExists, RowNotFound, Tables

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True, add_completion=False, help="What an organiser does.")
events = typer.Typer(no_args_is_help=True, help="Events: who may call, when, and how much.")
app.add_typer(events, name="events")


def _wrong(problem: str, option: str | None = None) -> NoReturn:
    raise typer.BadParameter(problem, param_hint=option)


def _text(pattern: str = ".*", example: str = "") -> Callable[[str | None], str | None]:
    """The callback of an option that takes one line of this form; None is an option left out."""

    def check(value: str | None) -> str | None:
        line = (value or "").strip()
        if {category(letter) for letter in line} & {"Cc", "Cs", "Zl", "Zp"} or len(line) > 2000:
            _wrong("write one line of at most 2000 characters, without control characters")
        if value is not None and not re.fullmatch(pattern, line):
            _wrong(f"write it as {example}")
        return value and line

    return check


def _code(value: str | None) -> str | None:
    if value is None or (6 <= len(value) <= 40 and access.is_code(value) and value[0] != " "):
        return value
    _wrong("a code has 6 to 40 characters, printable ASCII except / \\ # ? %")


def _timezone(name: str | None) -> str | None:
    if name is None or name in ZONES:
        return name
    # Etc/GMT+1 lies west of Greenwich, which is not what anyone means who writes GMT+1.
    zones = [zone for zone in ZONES if "/" in zone and "Etc/" not in zone]
    spellings = {zone.rpartition("/")[2].lower(): zone for zone in zones}
    spellings |= {zone.lower(): zone for zone in [*zones, "UTC"]}
    near = difflib.get_close_matches(name.lower(), spellings, n=1)
    hint = f"did you mean {spellings[near[0]]}?" if near else "write it as Europe/London"
    _wrong(f"there is no time zone '{name}'; {hint}")


def _moment(value: str, zone: ZoneInfo, option: str) -> datetime:
    """The moment that ISO 8601 text names: at its own offset, else on the clocks of the zone."""
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        _wrong(f"'{value}' is not a time; write it as 2026-12-01T09:00", option)
    if not 2000 <= moment.year < 3000:
        _wrong(f"'{value}' is not between the years 2000 and 2999", option)
    if moment.tzinfo:
        return moment
    first, second = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
        _wrong(f"{value} does not exist in {zone}: daylight saving time skips it", option)
    either = f"{first.isoformat(timespec='minutes')} or {second.isoformat(timespec='minutes')}"
    _wrong(f"{value} is ambiguous in {zone}: daylight saving time ends; write {either}", option)


def _members(context: typer.Context) -> dict[str, Any]:
    """The members of an event that the command line gives; times are in --timezone, or else in UTC."""
    options = {name: context.params.get(name) for name in Event.model_fields}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    zone = ZoneInfo(given.get("timezone", "UTC"))
    times = {"start", "end"} & given.keys()
    return given | {name: _moment(given[name], zone, f"--{name}") for name in times}


def _event(members: dict[str, Any]) -> Event:
    event = Event.model_validate(members)
    if event.end <= event.start:
        _wrong(f"{event.end:%Y-%m-%d %H:%M} UTC is not after the start", "--end")
    return event


def _new_code() -> str:
    """Twelve syllables, 65 bits, like 'hakude-bazefu-jasetu-ramega'.

    No letter in it looks like another one or like a digit; read aloud, none sounds like one left out.
    """
    syllables = [secrets.choice("bdfghjkmnprstwz") + secrets.choice("aeu") for _ in range(12)]
    return "-".join("".join(syllables[place : place + 3]) for place in range(0, 12, 3))


MaybeStr = str | None
_NAMES = r"[^\s,|;]+(\s*,\s*[^\s,|;]+)*"
_URL = r"(https?://[^\s/]\S*)?"
_EMAIL = r"([^@\s]+@[^@\s]+)?"
Code = Annotated[str, typer.Argument(callback=_code)]
NewCode = Annotated[MaybeStr, typer.Argument(callback=_code, help="Default: a new one.")]
Name = Annotated[MaybeStr, typer.Option(callback=_text(".+", "--name 'AI Hack'"))]
Time = Annotated[MaybeStr, typer.Option(help="2026-12-01T09:00 in --timezone, or with +01:00.")]
End = Annotated[str, typer.Option(help="The moment from which it is closed, as --start.")]
Zone = Annotated[
    MaybeStr, typer.Option(callback=_timezone, help="Of the times given, and for display.")
]
Cap = Annotated[int | None, typer.Option(min=1, max=2**31 - 1, help="Cap on a request's output.")]
Models = Annotated[MaybeStr, typer.Option(callback=_text(_NAMES, "gpt-4o,gpt-4o-mini"))]
Text = Annotated[MaybeStr, typer.Option(callback=_text())]
Url = Annotated[MaybeStr, typer.Option(callback=_text(_URL, "https://example.org/page"))]
Email = Annotated[MaybeStr, typer.Option(callback=_text(_EMAIL, "name@example.org"))]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Inactive = Annotated[bool, typer.Option("--inactive", help="Switched off for now.")]
NoCap = Annotated[bool, typer.Option("--no-max-tokens")]
AllModels = Annotated[bool, typer.Option("--all-models")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@events.command()
def add(
    context: typer.Context,
    end: End,
    code: NewCode = None,
    name: Name = None,
    start: Time = None,
    timezone: Zone = None,
    max_tokens: Cap = None,
    models: Models = None,
    url: Url = None,
    url_text: Text = None,
    organizer_name: Text = None,
    organizer_email: Email = None,
    inactive: Inactive = False,
    as_json: AsJson = False,
) -> None:
    """Create an event: from now if there is no --start, for all models, without a cap."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    members = {"code": _new_code(), "start": now, "active": not inactive, **_members(context)}
    # The code is a credential and names are logged, so this one is not made from it.
    day = members["start"].astimezone(ZoneInfo(timezone or "UTC")).date()
    event = _event({"name": f"Event of {day}", **members})
    _in_store(Events.add, event)
    _warn_of_unserved(event.models if models else ())
    display.print_event(event, as_json)


@events.command("list")
def list_events(as_json: AsJson = False) -> None:
    """All events, by their start."""
    found = _in_store(_all)
    none = "There are no events yet. Create one: python manage.py events add"
    display.print_out(
        [display.as_document(event) for event in found],
        display.table_of(found) if found else none,
        as_json,
    )


@events.command()
def show(code: Code, as_json: AsJson = False) -> None:
    """Everything about an event."""
    display.print_event(_in_store(_get, code), as_json)


@events.command("set")
def change(
    context: typer.Context,
    code: Code,
    name: Name = None,
    start: Time = None,
    end: Time = None,
    timezone: Zone = None,
    max_tokens: Cap = None,
    no_max_tokens: NoCap = False,
    models: Models = None,
    all_models: AllModels = False,
    url: Url = None,
    url_text: Text = None,
    organizer_name: Text = None,
    organizer_email: Email = None,
    as_json: AsJson = False,
) -> None:
    """Change what the options say and nothing else; '' clears a text."""
    if (max_tokens and no_max_tokens) or (models and all_models):
        _wrong("either give it or clear it", "--max-tokens / --models")
    changes = _members(context)
    if no_max_tokens:
        changes["max_tokens"] = None
    if all_models:
        changes["models"] = ()
    if changes.keys() == {"code"}:
        _wrong("there is nothing to change; see events set --help", "OPTIONS")
    event = _in_store(_change, code, changes)
    _warn_of_unserved(event.models if models else ())
    display.print_event(event, as_json)


@events.command()
def enable(code: Code, as_json: AsJson = False) -> None:
    """Switch an event on; its times still count."""
    display.print_event(_in_store(_change, code, {"active": True}), as_json)


@events.command()
def disable(code: Code, as_json: AsJson = False) -> None:
    """Switch an event off, whatever its times say."""
    display.print_event(_in_store(_change, code, {"active": False}), as_json)


@events.command()
def remove(code: Code, yes: Yes = False, as_json: AsJson = False) -> None:
    """Delete an event for good."""
    if not yes and not sys.stdin.isatty():
        _wrong("it is needed where stdin is no terminal to ask at", "--yes")
    with suppress(ConfigurationError):  # a row that is there, and that removing is the cure of
        _in_store(_get, code)
    if not yes:
        typer.confirm(f"Remove {code} for good?", abort=True, err=True)
    _in_store(Events.remove, code)
    display.print_out({"code": code, "removed": True}, f"Removed {code}.", as_json)


def _in_store(work: Callable[..., Awaitable[T]], *arguments: object) -> T:
    """What `work` returns for the store's events, on a connection of its own, and these arguments."""

    async def connected() -> T:
        tables = Tables(storage_from_environ())
        try:
            return await work(Events(tables), *arguments)
        finally:
            await tables.close()

    try:
        read_local_settings()
    except (OSError, ValueError, AttributeError):
        raise ConfigurationError("local.settings.json is not readable as JSON.") from None
    use_azurite_by_default()
    return asyncio.run(connected())


async def _all(store: Events) -> list[Event]:
    return sorted([event async for event in store.all()], key=lambda event: event.start)


async def _get(store: Events, code: str) -> Event:
    return await store.get(code) or _wrong(f"there is no event '{code}'", "CODE")


async def _change(store: Events, code: str, changes: dict[str, Any]) -> Event:
    event = _event({**(await _get(store, code)).model_dump(), **changes})
    await store.save(event)
    return event


def _complain(message: str) -> None:
    if message:
        sys.stderr.write(" ".join(message.split()) + "\n")


def _warn_of_unserved(models: Sequence[str]) -> None:
    """Say which of these names AZURE_OPENAI_MODEL_MAP does not serve, if it is set."""
    written = os.environ.get("AZURE_OPENAI_MODEL_MAP", "").strip()
    try:
        served = ModelMap.parse(written or "any")
    except ConfigurationError as error:
        return _complain(f"Warning: {error.message}")
    missing = ", ".join(name for name in models if not served.find(name))
    if missing:
        _complain(f"Warning: AZURE_OPENAI_MODEL_MAP does not serve {missing}.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, by default that of the process; returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may know too few characters
            stream.reconfigure(errors="backslashreplace")
    # Where nothing handles them, Python prints a library's warnings on stderr.
    logging.getLogger("azure").setLevel(logging.CRITICAL)
    try:
        return int(app(arguments, prog_name="manage.py", standalone_mode=False) or 0)
    except EventStoreUnavailable:
        _complain(
            "The event store cannot be reached: check EVENT_STORAGE and the sign-in (az login); "
            "without EVENT_STORAGE it is the Azurite that make run starts."
        )
        return 1
    except typer.Abort:
        return 1
    except RowExists:
        _complain("This code is taken: choose another one, or change its event with events set.")
    except RowNotFound:
        _complain("The event has been removed in the meantime.")
    except ConfigurationError as error:
        _complain(error.message)
    except typer.TyperException as error:
        _complain(error.format_message())  # empty if it has shown the help, for want of arguments
    return 2


if __name__ == "__main__":
    sys.exit(main())
