"""The organiser's command line.

    python manage.py events add|list|show|set|enable|disable|remove
    python manage.py resources add|list|set|remove|check
    python manage.py configs add|list|show|set|remove
    python manage.py usage CODE
    python manage.py plan
    python manage.py doctor

It takes the app's own settings, from the environment and local.settings.json; without any, the Azurite of
`make run`. Every error is one line on stderr; the exit code is 2 for wrong input or settings, 1 if the
store cannot be reached or a check has failed.
"""

import io
import logging
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import typer

from local import (
    config_commands,
    display,
    options,
    plan_command,
    removal,
    resource_commands,
    usage_display,
    usage_report,
)
from local.display import complain
from local.doctor import examine
from local.doctor_display import print_findings, worst
from local.doctor_findings import Status
from local.options import wrong
from local.store import with_tables
from local.usage_report import By
from shared.cache_table import CacheTable
from shared.errors import ConfigurationError, EventStoreUnavailable
from shared.events import Events
from shared.model_map import ModelMap
from shared.models import CALLERS_OWN, Event
from shared.quota_table import QuotaTable
from shared.resources import Resources
from shared.responses import Responses
from shared.tables import RowExists, RowNotFound, Tables
from shared.usage_table import Record, UsageTable

T = TypeVar("T")
app = typer.Typer(no_args_is_help=True, add_completion=False, help="What an organiser does.")
events = typer.Typer(no_args_is_help=True, help="Events: who may call, when, and how much.")
app.add_typer(events, name="events")
app.add_typer(resource_commands.app, name="resources")
app.add_typer(config_commands.app, name="configs")
app.command()(plan_command.plan)


def _event(members: dict[str, Any]) -> Event:
    event = Event.model_validate(members)
    if event.end <= event.start:
        wrong(f"{event.end:%Y-%m-%d %H:%M} UTC is not after the start", "--end")
    return event


def _new_code() -> str:
    """Twelve syllables, 65 bits, like 'hakude-bazefu-jasetu-ramega'.

    No letter in it looks like another one or like a digit; read aloud, none sounds like one left out.
    """
    syllables = [secrets.choice("bdfghjkmnprstwz") + secrets.choice("aeu") for _ in range(12)]
    return "-".join("".join(syllables[place : place + 3]) for place in range(0, 12, 3))


@events.command()
def add(
    context: typer.Context,
    end: options.End,
    code: options.NewCode = None,
    name: options.Name = None,
    start: options.Time = None,
    timezone: options.Zone = None,
    max_tokens: options.MaxTokens = None,
    daily_requests: options.DailyRequests = None,
    daily_embedding_requests: options.DailyEmbeddingRequests = None,
    requests_per_minute: options.RequestsPerMinute = None,
    daily_tokens: options.DailyTokens = None,
    tokens_per_minute: options.TokensPerMinute = None,
    token_budget: options.TokenBudget = None,
    fail_open: options.FailOpen = None,
    store_names: options.StoreNames = None,
    usage_tag: options.UsageTag = None,
    resume_streams: options.ResumeStreams = None,
    cache_max_age: options.CacheMaxAge = None,
    models: options.Models = None,
    url: options.Url = None,
    url_text: options.Text = None,
    organizer_name: options.Text = None,
    organizer_email: options.Email = None,
    inactive: options.Inactive = False,
    as_json: options.AsJson = False,
) -> None:
    """Create an event: from now if there is no --start, for all models, without a cap."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    members = {
        "code": _new_code(),
        "start": now,
        "active": not inactive,
        **options.members(context),
    }
    # The code is a credential and names are logged, so this one is not made from it.
    day = members["start"].astimezone(ZoneInfo(timezone or "UTC")).date()
    event = _event({"name": f"Event of {day}", **members})
    _in_store(Events.add, event)
    _warn_of_unserved(event.models if models else ())
    display.print_event(event, as_json)


@events.command("list")
def list_events(as_json: options.AsJson = False) -> None:
    """All events, by their start."""
    found = _in_store(_all)
    none = "There are no events yet. Create one: python manage.py events add"
    display.print_out(
        [display.as_document(event) for event in found],
        display.table_of(found) if found else none,
        as_json,
    )


@events.command()
def show(code: options.Code, as_json: options.AsJson = False) -> None:
    """Everything about an event."""
    display.print_event(_in_store(_get, code), as_json)


@events.command("set")
def change(
    context: typer.Context,
    code: options.Code,
    name: options.Name = None,
    start: options.Time = None,
    end: options.Time = None,
    timezone: options.Zone = None,
    max_tokens: options.MaxTokens = None,
    no_max_tokens: options.NoMaxTokens = False,
    daily_requests: options.DailyRequests = None,
    daily_embedding_requests: options.DailyEmbeddingRequests = None,
    requests_per_minute: options.RequestsPerMinute = None,
    daily_tokens: options.DailyTokens = None,
    tokens_per_minute: options.TokensPerMinute = None,
    token_budget: options.TokenBudget = None,
    fail_open: options.FailOpen = None,
    store_names: options.StoreNames = None,
    usage_tag: options.UsageTag = None,
    resume_streams: options.ResumeStreams = None,
    cache_max_age: options.CacheMaxAge = None,
    models: options.Models = None,
    all_models: options.AllModels = False,
    url: options.Url = None,
    url_text: options.Text = None,
    organizer_name: options.Text = None,
    organizer_email: options.Email = None,
    as_json: options.AsJson = False,
) -> None:
    """Change what the options say and nothing else; '' clears a text."""
    if (max_tokens and no_max_tokens) or (models and all_models):
        wrong("either give it or clear it", "--max-tokens / --models")
    changes = options.members(context)
    if no_max_tokens:
        changes["max_tokens"] = None
    if all_models:
        changes["models"] = ()
    if changes.keys() == {"code"}:
        wrong("there is nothing to change; see events set --help", "OPTIONS")
    event = _in_store(_change, code, changes)
    _warn_of_unserved(event.models if models else ())
    display.print_event(event, as_json)


@events.command()
def enable(code: options.Code, as_json: options.AsJson = False) -> None:
    """Switch an event on; its times still count."""
    display.print_event(_in_store(_change, code, {"active": True}), as_json)


@events.command()
def disable(code: options.Code, as_json: options.AsJson = False) -> None:
    """Switch an event off, whatever its times say."""
    display.print_event(_in_store(_change, code, {"active": False}), as_json)


@events.command()
def remove(code: options.Code, yes: options.Yes = False, as_json: options.AsJson = False) -> None:
    """Delete an event for good, with all that was counted of its use, and its cache."""
    removal.confirm(code, yes, lambda: _in_store(_get, code))
    with_tables(lambda tables: _remove(tables, code))
    display.print_out({"code": code, "removed": True}, f"Removed {code}.", as_json)


@app.command()
def usage(
    code: options.CountedCode,
    by: options.Grouping = By.DAY,
    since: options.Since = None,
    as_json: options.AsJson = False,
    as_csv: options.AsCsv = False,
) -> None:
    """Requests, tokens and errors of an event, summed by day or otherwise."""
    if as_json and as_csv:
        wrong("one of them at a time", "--json / --csv")
    begin = options.first_hour(since)
    budget, records = with_tables(lambda tables: _used(tables, code, begin))
    report = usage_report.summed(code, records, by, begin)
    if as_csv:
        return usage_display.print_csv(report)
    usage_display.print_report(report, budget, usage_report.spent_tokens(records), as_json)


@app.command()
def doctor(url: options.AppUrl = None, as_json: options.AsJson = False) -> int:
    """Check settings, storage, each deployment, the clock and versions, and say how to mend them.

    The exit code is 1 if there is a problem.
    """
    findings = examine(url)
    print_findings(findings, as_json)
    return 1 if worst(findings) == Status.PROBLEM else 0


def _in_store(work: Callable[..., Awaitable[T]], *arguments: object) -> T:
    """What `work` returns for the store's events, on a connection of its own, and these arguments."""
    return with_tables(lambda tables: work(Events(tables), *arguments))


async def _all(store: Events) -> list[Event]:
    return sorted([event async for event in store.all()], key=lambda event: event.start)


async def _get(store: Events, code: str) -> Event:
    return await store.get(code) or wrong(f"there is no event '{code}'", "CODE")


async def _used(
    tables: Tables, code: str, since: datetime | None
) -> tuple[int | None, list[Record]]:
    """An event's token budget, and its records: all of them where there is a budget to compare with."""
    budget = None
    # A malformed row's event has been used all the same; callers' own resources have no event.
    with suppress(ConfigurationError):
        if code != CALLERS_OWN:
            budget = (await _get(Events(tables), code)).token_budget
    found = UsageTable(tables).records(code, since if budget is None else None)
    return budget, [record async for record in found]


async def _remove(tables: Tables, code: str) -> None:
    """The event last: if the store fails on the way, the command can be given again."""
    await UsageTable(tables).remove(code)
    await QuotaTable(tables).remove(code)
    await CacheTable(tables).remove(code)
    await Responses(tables).remove_event(code)
    await Events(tables).remove(code)


async def _change(store: Events, code: str, changes: dict[str, Any]) -> Event:
    event = _event({**(await _get(store, code)).model_dump(), **changes})
    await store.save(event)
    return event


def _warn_of_unserved(models: Sequence[str]) -> None:
    """Say which of these names no resource serves, if AZURE_OPENAI_MODEL_MAP is here to be asked."""
    written = os.environ.get("AZURE_OPENAI_MODEL_MAP", "").strip()
    try:
        maps = [ModelMap.parse(written or "any")]
    except ConfigurationError as error:
        return complain(f"Warning: {error.message}")
    if all(maps[0].find(name) for name in models):
        return
    resources, _ = with_tables(lambda tables: Resources(tables).readable())
    maps += [ModelMap.of(each) for each in resources if each.active]
    missing = [name for name in models if not any(served.find(name) for served in maps)]
    who = "no resource serves" if resources else "AZURE_OPENAI_MODEL_MAP does not serve"
    if missing:
        complain(f"Warning: {who} {', '.join(missing)}.")


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
        complain(
            "The event store cannot be reached: check EVENT_STORAGE and the sign-in (az login); "
            "without EVENT_STORAGE it is the Azurite that make run starts."
        )
        return 1
    except typer.Abort:
        return 1
    except RowExists:
        complain("This code is taken: choose another one, or change its event with events set.")
    except RowNotFound:
        complain("It has been removed in the meantime.")
    except ConfigurationError as error:
        complain(error.message)
    except typer.TyperException as error:
        complain(error.format_message())  # empty if it has shown the help, for want of arguments
    return 2


if __name__ == "__main__":
    sys.exit(main())
