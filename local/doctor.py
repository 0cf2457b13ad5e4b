"""What is wrong with a gateway, as its settings here describe it, and how to mend it."""

import asyncio
import difflib
import os
from collections.abc import Sequence
from http.client import HTTPException

import aiohttp

from local import doctor_resources, doctor_store, doctor_versions, health
from local.doctor_clock import Clock
from local.doctor_findings import Finding, ok, problem, warning
from local.doctor_store import Store
from local.store import OWN_SETTINGS, own_settings, read_settings
from shared.errors import ConfigurationError
from shared.model_map import ModelMap
from shared.models import Resource
from shared.settings import Settings, storage_from_environ
from shared.tables import Tables

_STORAGES = ("EVENT_STORAGE", "AzureWebJobsStorage")
_FORMS = ("__tableServiceUri", "__clientId")
_KNOWN = {field.alias for field in Settings.model_fields.values() if field.alias}
_KNOWN |= {name + form for name in _STORAGES for form in ("", *_FORMS)}
_ALIKE = 0.9
_CORRECT = "Correct it: README.md, section Settings, says what each one takes."
_MEND = "Mend it as it says; docs/runbook.md has more."
_SHORTEST_SECRET = 8


def examine(url: str | None) -> list[Finding]:
    """All findings, in the order in which they should be mended; with those of the gateway at `url`."""
    try:
        read_settings()
    except ConfigurationError as error:
        findings = [problem("settings", error.message, "Correct local.settings.json.")]
        return findings + doctor_versions.examine()
    found = asyncio.run(_examine())
    findings = [*found, *(_gateway(url) if url else []), *doctor_versions.examine()]
    return [_without_secrets(finding) for finding in findings]


async def _examine() -> list[Finding]:
    own, findings = _own()
    clock = Clock()
    async with aiohttp.ClientSession(
        trace_configs=[clock.trace()], cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
    ) as session:
        store = await _store(session)
        resources = [*([own.resource] if own else []), *store.resources]
        if resources:
            await clock.ask(session, resources[0].endpoint)
    return [
        *findings,
        *_misspelt(store.resources),
        *store.findings,
        *(doctor_resources.unserved(store.events, resources) if own else []),
        clock.finding(),
        *await doctor_resources.examine(own, resources),
    ]


def _own() -> tuple[Settings | None, list[Finding]]:
    """The app's settings, if they are here and right."""
    try:
        own = own_settings()
    except ConfigurationError as error:
        return None, [problem("settings", error.message, _CORRECT)]
    if own is None:
        told = (
            f"{' and '.join(OWN_SETTINGS)} are not set here: the resource default is not checked."
        )
        fix = "Set them here as the app has them, or in local.settings.json."
        return None, [warning("settings", told, fix)]
    by = "its key" if own.api_key else "identity"
    models = ", ".join(ModelMap.of(own.resource).models)
    told = f"{own.endpoint} is called by {by}; it serves {models}."
    return own, [ok("settings", told)]


def _misspelt(resources: Sequence[Resource]) -> list[Finding]:
    """Names in the environment that look like those of settings, and are none."""
    others = set(os.environ) - _KNOWN - {resource.key_setting for resource in resources}
    findings = []
    for name in sorted(others):
        if meant := difflib.get_close_matches(name, _KNOWN, n=1, cutoff=_ALIKE):
            told = f"{name} is no setting of the gateway."
            findings.append(warning("settings", told, f"Is {meant[0]} meant?"))
    return findings


async def _store(session: aiohttp.ClientSession) -> Store:
    try:
        tables = Tables(storage_from_environ(), session)
    except ConfigurationError as error:
        return Store([problem("storage", error.message, _CORRECT)])
    try:
        return await doctor_store.examine(tables)
    finally:
        await tables.close()


def _gateway(url: str) -> list[Finding]:
    """What the running gateway says of itself."""
    try:
        states, problems = health.ask(url)
    except (OSError, ValueError, HTTPException) as error:
        told = f"It cannot be asked: {getattr(error, 'reason', error)}."
        return [problem("gateway", told, "Check the address; look at the log of the app's start.")]
    findings = [problem("gateway", each, _MEND) for each in problems]
    for deployment, state in (states or {}).items():
        fix = "docs/runbook.md, section Health, says what the state means."
        findings.append(warning("gateway", f"{deployment} is {state}.", fix))
    return findings or [ok("gateway", f"{url} is well.")]


def _without_secrets(finding: Finding) -> Finding:
    """No check shows one; this is for a secret that stands where it does not belong."""
    message = finding.message
    for name, value in os.environ.items():
        is_secret = "KEY" in name.upper() or name in _STORAGES
        if is_secret and len(value.strip()) >= _SHORTEST_SECRET:
            message = message.replace(value.strip(), "...")
    return finding._replace(message=message)
