"""The settings of local runs: local.settings.json, and the Azurite on this machine."""

import json
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
AZURITE = "UseDevelopmentStorage=true"


def read_local_settings(root: Path = ROOT) -> None:
    """Put the Values of local.settings.json into the environment, unless they are there already."""
    path = root / "local.settings.json"
    if path.exists():
        for name, value in json.loads(path.read_text("utf-8")).get("Values", {}).items():
            os.environ.setdefault(name, str(value))


def use_azurite_by_default() -> None:
    """Name the Azurite that runs on this machine, unless a setting names another event store."""
    settings = ("EVENT_STORAGE", "AzureWebJobsStorage")
    forms = [name + form for name in settings for form in ("", "__tableServiceUri")]
    if not any(os.environ.get(name) for name in forms):
        os.environ["EVENT_STORAGE"] = AZURITE
