"""Says where the gateway is, and which commands make its first event."""

import os
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main(outputs: Mapping[str, str]) -> None:
    is_windows = os.name == "nt"
    python = r".venv\Scripts\python" if is_windows else ".venv/bin/python"
    # The first is emptied, for local.settings.json may set it to the Azurite of this machine.
    settings = {
        "EVENT_STORAGE": "",
        "EVENT_STORAGE__tableServiceUri": outputs.get("tableServiceUri", ""),
    }
    commands = []
    if not (ROOT / ".venv").exists():
        commands += [f"{'py -3' if is_windows else 'python3'} -m venv .venv"]
        commands += [f"{python} -m pip install -r requirements-manage.txt"]
    commands += [_assignment(name, value, is_windows) for name, value in settings.items()]
    end = datetime.now(UTC) + timedelta(days=1)
    commands += [f'{python} manage.py events add --name "My event" --end {end:%Y-%m-%dT%H:00}']
    sys.stdout.write(
        f"\nThe gateway runs at {outputs.get('url', '')}. An event that is open until tomorrow:\n\n"
    )
    sys.stdout.write("".join(f"  {command}\n" for command in commands) + "\n")


def _assignment(name: str, value: str, is_windows: bool) -> str:
    if not is_windows:
        return f"export {name}={shlex.quote(value) if value else ''}"
    # PowerShell removes a variable that is set to nothing; a space counts as nothing to manage.py.
    return f"$env:{name} = '{value or ' '}'"


if __name__ == "__main__":
    main(os.environ)
