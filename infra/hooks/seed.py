"""Gives the table `resources` the rows of the extra regions that were deployed.

It takes the deployment's outputs from the environment, where azd puts them, or with "-" from stdin, as
`az deployment group show --query properties.outputs` prints them. A row that is there keeps what an
organiser has changed, but for its endpoint and its model map. The role that allows it may be minutes old, so
a refusal is waited out.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from local.store import with_tables  # noqa: E402
from shared import resources  # noqa: E402
from shared.errors import ConfigurationError, EventStoreUnavailable, GatewayError  # noqa: E402
from shared.models import Resource  # noqa: E402
from shared.resources import Resources  # noqa: E402
from shared.tables import Tables  # noqa: E402

_PATIENCE_S, _PAUSE_S = 300.0, 10.0


def main(arguments: list[str]) -> int:
    outputs: Mapping[str, str] = _deployed(sys.stdin.read()) if arguments == ["-"] else os.environ
    rows = json.loads(outputs.get("resources") or "[]")
    if not rows:
        return 0
    # Empty: else that of local.settings.json, which names the Azurite of this machine, would win.
    uri = outputs.get("tableServiceUri", "")
    os.environ.update({"EVENT_STORAGE": "", "EVENT_STORAGE__tableServiceUri": uri})
    try:
        done = _patiently([resources.check(_members(row)) for row in rows])
    except (GatewayError, KeyError) as error:
        return _failed(rows, str(error))
    _say("The table resources has " + ", ".join(done) + ".")
    return 0


def _deployed(text: str) -> dict[str, str]:
    """The outputs as azd would give them: text as it is, all else as JSON."""
    values = {name: output["value"] for name, output in json.loads(text).items()}
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
    }


def _members(row: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "name": "name",
        "endpoint": "endpoint",
        "model_map": "modelMap",
        "priority": "priority",
    }
    return {ours: row[theirs] for ours, theirs in names.items()}


def _patiently(wanted: list[Resource]) -> list[str]:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return with_tables(lambda tables: _seed(tables, wanted))
        except (ConfigurationError, EventStoreUnavailable) as error:
            if time.monotonic() > deadline:
                raise
            _say(f"Not yet ({error}); trying again.")
            time.sleep(_PAUSE_S)


async def _seed(tables: Tables, wanted: list[Resource]) -> list[str]:
    store = Resources(tables)
    for resource in wanted:
        found = await store.get(resource.name)
        if found is None:
            await store.add(resource)
        else:
            decided = {"endpoint": resource.endpoint, "model_map": resource.model_map}
            await store.save(found.model_copy(update=decided))
    return [resource.name for resource in wanted]


def _failed(rows: list[dict[str, Any]], reason: str) -> int:
    _say(f"The extra regions are not in the table resources: {reason} To add them later:")
    for row in rows:
        _say(
            f"  python manage.py resources add {row['name']} --endpoint {row['endpoint']}"
            f" --model-map '{row['modelMap']}' --priority {row['priority']}"
        )
    return 1


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
