"""How saved configs are shown: as tables for people, as JSON for scripts."""

import json
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from local.display import print_out
from shared.configs import SavedConfig

_CUT = 120


def as_document(saved: SavedConfig) -> dict[str, Any]:
    """`config` is its text where that is no JSON."""
    return {"name": saved.name, "config": _members(saved.text)}


def print_config(saved: SavedConfig, as_json: bool) -> None:
    shown = json.dumps(_members(saved.text), indent=2, ensure_ascii=False)
    print_out(as_document(saved), f"{saved.name}\n{shown}", as_json)


def print_configs(found: Sequence[SavedConfig], as_json: bool) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("Name", no_wrap=True)
    table.add_column("Config", overflow="fold")
    for saved in found:
        line = " ".join(saved.text.split())
        table.add_row(saved.name, line if len(line) <= _CUT else f"{line[: _CUT - 3]}...")
    none = "There are no configs yet. Save one: python manage.py configs add"
    print_out([as_document(saved) for saved in found], table if found else none, as_json)


def _members(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
