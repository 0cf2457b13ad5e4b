"""Whether the event store can be reached, read and written, and whether its rows can be used."""

from collections.abc import Sequence
from typing import NamedTuple

from azure.core.exceptions import ClientAuthenticationError

from local.doctor_findings import Finding, ok, problem, warning
from shared import cache_table, configs, events, quota_table, resources, responses, usage_table
from shared.configs import Configs
from shared.errors import ConfigurationError, EventStoreUnavailable
from shared.events import Events
from shared.models import Event, Resource
from shared.resources import Resources
from shared.tables import RowNotFound, Tables

_STORAGE, _TABLES, _EVENTS, _RESOURCES = "storage", "tables", "events", "resources"
_CONFIGS = "configs"
_NAMES = (
    events.TABLE,
    resources.TABLE,
    configs.TABLE,
    quota_table.TABLE,
    usage_table.TABLE,
    cache_table.TABLE,
    responses.TABLE,
)
_NO_ROW = ("none", "none")  # too short for a code, so no event has it
_MALFORMED = "The event's row"
_ROLE = (
    "Check the connection string; or, by identity, give the role Storage Table Data Contributor on the "
    "account to the app, and to you."
)
_ADDRESS = "Correct EVENT_STORAGE: https://NAME.table.core.windows.net, or a connection string."


class Store(NamedTuple):
    """What was found, and the rows that can be read."""

    findings: list[Finding]
    events: Sequence[Event] = ()
    resources: Sequence[Resource] = ()


async def examine(tables: Tables) -> Store:
    try:
        return await _examine(tables)
    except EventStoreUnavailable as error:
        return Store([_unreachable(error)])
    except ConfigurationError as error:
        return Store([problem(_STORAGE, error.message, _ROLE)])
    except RowNotFound:
        return Store([problem(_STORAGE, "What answers there is no Table Storage.", _ADDRESS)])


async def _examine(tables: Tables) -> Store:
    missing = [name for name in _NAMES if await _is_missing(tables, name)]
    found_events, event_findings = await _events(tables)
    found_resources, resource_findings = await _resources(tables)
    findings = [await _access(tables), _tables(missing), *event_findings, *resource_findings]
    findings += await _configs(tables)
    return Store(findings, found_events, found_resources)


async def _is_missing(tables: Tables, name: str) -> bool:
    try:
        await tables.get(name, *_NO_ROW)
    except RowNotFound as error:
        code = getattr(error.__cause__, "error_code", None)
        if code not in ("TableNotFound", "ResourceNotFound"):
            raise
        return bool(code == "TableNotFound")
    return False


def _unreachable(error: EventStoreUnavailable) -> Finding:
    if isinstance(error.__cause__, ClientAuthenticationError):
        return problem(_STORAGE, "There is no sign-in to reach it with.", "Sign in: az login.")
    fix = (
        "Check the address in EVENT_STORAGE and that the account's network rules let this machine in; "
        "without EVENT_STORAGE it is the Azurite that make run starts."
    )
    return problem(_STORAGE, "It cannot be reached.", fix)


async def _access(tables: Tables) -> Finding:
    """Deleting what is not there changes nothing, and is refused to those who may not write."""
    try:
        await tables.delete(quota_table.TABLE, *_NO_ROW)
    except (ConfigurationError, EventStoreUnavailable):
        return problem(_STORAGE, "It can be read but not written.", _ROLE)
    return ok(_STORAGE, "It can be read and written.")


def _tables(missing: Sequence[str]) -> Finding:
    if events.TABLE in missing:
        told = f"There is no table {events.TABLE}."
        fix = "If this is the app's storage account, add an event: python manage.py events add"
        return warning(_TABLES, told, fix)
    there = ", ".join(name for name in _NAMES if name not in missing)
    later = f"; {', '.join(missing)} will be made when first written" if missing else ""
    return ok(_TABLES, f"{there}{later}.")


async def _events(tables: Tables) -> tuple[list[Event], list[Finding]]:
    found = []
    try:
        async for event in Events(tables).all():
            found.append(event)
    except ConfigurationError as error:
        if _MALFORMED not in error.message:
            raise
        # In front of it stands the code, which is a credential.
        told = error.message[error.message.index(_MALFORMED) :]
        fix = "python manage.py events list names it; correct the row, or remove the event."
        return found, [problem(_EVENTS, told, fix)]
    return found, [ok(_EVENTS, f"{len(found)} can be read.")]


async def _resources(tables: Tables) -> tuple[list[Resource], list[Finding]]:
    found, problems = await Resources(tables).readable()
    fix = "Correct it with python manage.py resources set, or remove it."
    findings = [problem(_RESOURCES, each, fix) for each in problems]
    return found, findings or [ok(_RESOURCES, f"{len(found)} rows can be read.")]


async def _configs(tables: Tables) -> list[Finding]:
    found, findings = await Configs(tables).all(), []
    for saved in found:
        try:
            saved.parse()
        except ConfigurationError as error:
            fix = "Correct it with python manage.py configs set, or remove it."
            findings.append(problem(_CONFIGS, error.message, fix))
    return findings or [ok(_CONFIGS, f"{len(found)} rows can be read.")]
