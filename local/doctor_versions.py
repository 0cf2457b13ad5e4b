"""Whether Python and the dependencies are those that the app runs on."""

import platform
import re
import sys
from collections import defaultdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from local.doctor_findings import Finding, ok, problem, warning
from local.environment import ROOT
from shared.pages import VERSION

_CHECK = "dependencies"
_OLDEST, _DEPLOYED = (3, 11), (3, 13)
_PIN = re.compile(r"([A-Za-z0-9][\w.-]*)==([^\s;\\]+)\s*(;)?")
_FIX = "make run, or pip install -r requirements-manage.txt, installs them."


def examine(root: Path = ROOT) -> list[Finding]:
    return [_gateway(), _python(), _dependencies((root / "requirements.txt").read_text("utf-8"))]


def _gateway() -> Finding:
    return ok("version", f"This is {VERSION} of the gateway.")


def _python() -> Finding:
    here, deployed = platform.python_version(), ".".join(map(str, _DEPLOYED))
    if sys.version_info < _OLDEST:
        return problem("python", f"{here} is too old.", f"Install Python {deployed}.")
    return ok("python", f"{here}; in Azure the app runs on {deployed}.")


def _dependencies(requirements: str) -> Finding:
    """A pin with a marker may be for another system, so it may be missing here."""
    pinned: defaultdict[str, list[str]] = defaultdict(list)
    optional = set()
    for line in requirements.splitlines():
        if pin := _PIN.match(line):
            pinned[pin[1]].append(pin[2])
            if pin[3]:
                optional.add(pin[1])
    here = {name: _version(name) for name in pinned}
    missing = [name for name in pinned if not here[name] and name not in optional]
    other = [
        f"{name} {found} (not {' or '.join(pinned[name])})"
        for name, found in here.items()
        if found and found not in pinned[name]
    ]
    if missing:
        return problem(_CHECK, f"Missing: {', '.join(missing)}.", _FIX)
    if other:
        return warning(_CHECK, f"Other than in requirements.txt: {', '.join(other)}.", _FIX)
    return ok(_CHECK, f"{sum(map(bool, here.values()))} are those of requirements.txt.")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
