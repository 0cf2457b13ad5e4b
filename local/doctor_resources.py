"""Whether each resource's deployments answer, and serve what the events allow."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime

from local import resource_check
from local.doctor_findings import Finding, ok, problem, warning
from local.resource_check import Outcome
from shared.catalogue import Catalogue
from shared.models import Event, Resource
from shared.settings import Settings

_BUSY = 429
_REFERENCE = "@Microsoft.KeyVault("
_FIXES = {
    400: "Correct the model map; a flag, ;reasoning or ;auto, says what a deployment does not take.",
    401: "Correct the key.",
    403: "Check the account's network rules; without a key, the role Cognitive Services OpenAI User.",
    404: "Correct the deployment's name in the model map, or deploy it; a new one takes minutes to appear.",
    _BUSY: "Give it more capacity, or add another resource: docs/capacity.md.",
}
_SIGN_IN = (
    "az login, with the role Cognitive Services OpenAI User on the account; the app needs it too."
)
_UNREACHABLE = "Check the endpoint, and that this machine may reach it."
_FAILING = "Look at Azure's status; meanwhile another resource takes the calls, if there is one."


async def examine(own: Settings | None, resources: Sequence[Resource]) -> list[Finding]:
    """One finding for each deployment that is asked, and one for each resource that is not."""
    asked = [each for each in resources if each.active and not _lacks_key(each)]
    by_name = {resource.name: resource for resource in asked}
    outcomes = await resource_check.check(own, asked)
    findings = [_answered(each, by_name[each.deployment.partition("/")[0]]) for each in outcomes]
    return findings + [_not_asked(each) for each in resources if each.name not in by_name]


def unserved(events: Sequence[Event], resources: Sequence[Resource]) -> list[Finding]:
    """The models that events allow, and no resource serves."""
    catalogue = Catalogue.of(resources)
    findings = []
    for event in events:
        missing = [name for name in event.models if not catalogue.find(name)]
        if missing and event.end > datetime.now(UTC):
            told = (
                f"The event '{event.name}' allows {', '.join(missing)}, which no resource serves."
            )
            fix = "Correct its models with python manage.py events set, or add the models to a model map."
            findings.append(warning("events", told, fix))
    return findings


def _lacks_key(resource: Resource) -> bool:
    """Whether its key is elsewhere: in the settings of the app, or in a Key Vault."""
    key = os.environ.get(resource.key_setting, "").strip()
    return bool(resource.key_setting) and (not key or key.startswith(_REFERENCE))


def _not_asked(resource: Resource) -> Finding:
    check = f"resource {resource.name}"
    if not resource.active:
        return ok(check, "It is switched off.")
    told = f"{resource.key_setting}, which holds its key, is not set here: it is not checked."
    return warning(
        check, told, f"Set {resource.key_setting} here; the app needs it in its settings."
    )


def _answered(outcome: Outcome, resource: Resource) -> Finding:
    check = f"resource {outcome.deployment}"
    if outcome.is_good and outcome.status is None:
        return ok(check, "There is no call to try it with.")
    if outcome.is_good:
        return ok(check, f"It answers ({outcome.operation}, {outcome.milliseconds:,} ms).")
    told = outcome.problem
    if outcome.status and not told.startswith(str(outcome.status)):
        told = f"{outcome.status} {told}"
    found = warning if outcome.status == _BUSY else problem
    return found(check, told, _fix(outcome, resource))


def _fix(outcome: Outcome, resource: Resource) -> str:
    if outcome.status is None:
        return _SIGN_IN if "identity has no token" in outcome.problem else _UNREACHABLE
    if outcome.status == 401:
        return f"Correct the key in {resource.key_setting}." if resource.key_setting else _SIGN_IN
    return _FIXES.get(outcome.status, _FAILING if outcome.status >= 500 else _FIXES[400])
