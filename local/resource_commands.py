"""What an organiser does with resources, the accounts that calls go to: `manage.py resources`."""

import os
from collections.abc import Sequence
from http.client import HTTPException
from typing import Any

import typer

from local import health, options, removal, resource_check
from local.display import complain, print_out
from local.options import wrong
from local.resource_check import Outcome
from local.resource_display import States, print_outcomes, print_resource, print_resources
from local.store import own_settings, with_tables
from shared import resources
from shared.errors import ConfigurationError
from shared.models import Resource
from shared.resources import Resources
from shared.settings import OWN_RESOURCE, Settings
from shared.tables import RowExists

app = typer.Typer(no_args_is_help=True, help="Resources: the accounts that calls go to.")


@app.command()
def add(
    context: typer.Context,
    name: options.NewResource,
    endpoint: options.NewEndpoint,
    model_map: options.NewModelMap,
    kind: options.Kind = None,
    key_setting: options.KeySetting = None,
    api_version: options.ApiVersion = None,
    priority: options.Priority = None,
    weight: options.Weight = None,
    max_in_flight: options.MaxInFlight = None,
    active: options.Active = None,
    as_json: options.AsJson = False,
) -> None:
    """Add a resource beside the one that the app settings describe; gateways use it within 30 s."""
    resource = resources.check(options.resource_members(context))
    try:
        with_tables(lambda tables: Resources(tables).add(resource))
    except RowExists:
        wrong(f"there is a resource '{name}' already; see resources set --help", "NAME")
    _hint_at_key(resource)
    print_resource(resource, as_json)


@app.command("list")
def list_resources(url: options.AppUrl = None, as_json: options.AsJson = False) -> int:
    """All resources, that of the app settings first, then by priority."""
    found = with_tables(lambda tables: Resources(tables).all())
    own = _own()
    shown = [*([own.resource] if own else []), *found]
    states, problems = _ask(url) if url else (None, [])
    print_resources(shown, states, as_json)
    for line in [*problems, *_elsewhere(states or {}, shown)]:
        complain(line)
    return 1 if url and states is None else 0


@app.command("set")
def change(
    context: typer.Context,
    name: options.ResourceName,
    endpoint: options.Endpoint = None,
    model_map: options.ModelMap = None,
    kind: options.Kind = None,
    key_setting: options.KeySetting = None,
    api_version: options.ApiVersion = None,
    priority: options.Priority = None,
    weight: options.Weight = None,
    max_in_flight: options.MaxInFlight = None,
    active: options.Active = None,
    as_json: options.AsJson = False,
) -> None:
    """Change what the options say and nothing else; gateways follow within 30 s."""
    changes = options.resource_members(context)
    if changes.keys() == {"name"}:
        wrong("there is nothing to change; see resources set --help", "OPTIONS")
    resource = with_tables(lambda tables: _change(Resources(tables), name, changes))
    if key_setting:
        _hint_at_key(resource)
    print_resource(resource, as_json)


@app.command()
def remove(
    name: options.ResourceName, yes: options.Yes = False, as_json: options.AsJson = False
) -> None:
    """Delete a resource for good; calls under way there end as they would."""
    removal.confirm(name, yes, lambda: with_tables(lambda tables: _get(Resources(tables), name)))
    with_tables(lambda tables: Resources(tables).remove(name))
    print_out({"name": name, "removed": True}, f"Removed {name}.", as_json)


@app.command()
def check(name: options.OneResource = None, as_json: options.AsJson = False) -> int:
    """Make a tiny call to each deployment, with the keys or the sign-in that are here."""
    outcomes = with_tables(lambda tables: _check(Resources(tables), name))
    print_outcomes(outcomes, as_json)
    return 0 if all(outcome.is_good for outcome in outcomes) else 1


async def _get(store: Resources, name: str) -> Resource:
    found = await store.get(name)
    if found is None and name == OWN_RESOURCE:
        wrong("it is no row: the app settings AZURE_OPENAI_* describe it", "NAME")
    return found or wrong(f"there is no resource '{name}'", "NAME")


async def _change(store: Resources, name: str, changes: dict[str, Any]) -> Resource:
    resource = resources.check({**(await _get(store, name)).model_dump(), **changes})
    await store.save(resource)
    return resource


async def _check(store: Resources, name: str | None) -> list[Outcome]:
    own = _own()
    if name == OWN_RESOURCE and own:
        asked = [own.resource]
    elif name:
        asked = [await _get(store, name)]
    else:
        asked = [own.resource] if own else []
        asked += [resource for resource in await store.all() if resource.active]
    return await resource_check.check(own, asked)


def _own() -> Settings | None:
    """The settings of the app, if they are here; if they are wrong, it says so on stderr."""
    try:
        return own_settings()
    except ConfigurationError as error:
        complain(f"Warning: {OWN_RESOURCE} is left out. {error.message}")
        return None


def _ask(url: str) -> tuple[States | None, list[str]]:
    """The states that the gateway tells, None if it tells none, and what it complains of, or what we do."""
    try:
        return health.ask(url)
    except (OSError, ValueError, HTTPException) as error:
        return None, [f"The gateway cannot be asked: {getattr(error, 'reason', error)}."]


def _elsewhere(states: States, shown: Sequence[Resource]) -> list[str]:
    """The states of deployments on resources that are not shown, such as those of other settings."""
    names = {resource.name for resource in shown}
    return [
        f"{deployment} is {state}."
        for deployment, state in states.items()
        if deployment.partition("/")[0] not in names
    ]


def _hint_at_key(resource: Resource) -> None:
    name = resource.key_setting
    if name and not os.environ.get(name, "").strip():
        complain(f"Note: {name} is not set here; it must be among the settings of the app.")
