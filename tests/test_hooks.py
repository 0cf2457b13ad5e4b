"""The hooks of azure.yaml: what they write into the store, and what they tell the organiser to do."""

import asyncio
import importlib.util
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

import pytest

from shared.errors import ConfigurationError
from shared.models import Resource
from shared.resources import Resources
from shared.settings import storage_from_environ
from shared.tables import Tables
from tests.processes import ROOT

HOOKS = ROOT / "infra" / "hooks"
ROW = {
    "name": "swedencentral",
    "endpoint": "https://gateway-swedencentral.openai.azure.com",
    "modelMap": "gpt-4o|gpt-4o",
    "priority": 2,
}


@pytest.fixture
def seed(storage: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """seed.py, writing to Azurite, which takes no identity."""
    spec = importlib.util.spec_from_file_location("seed", HOOKS / "seed.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", sys.path[:])
    spec.loader.exec_module(module)
    monkeypatch.setenv("EVENT_STORAGE", storage)
    monkeypatch.setenv("EVENT_STORAGE__tableServiceUri", "")
    monkeypatch.setattr(module, "with_tables", lambda work: in_store(storage, work))
    monkeypatch.setattr(module, "_PAUSE_S", 0)
    return module


def in_store(storage: str, work: Callable[[Tables], Awaitable[Any]]) -> Any:
    async def connected() -> Any:
        tables = Tables(storage_from_environ({"EVENT_STORAGE": storage}))
        try:
            return await work(tables)
        finally:
            await tables.close()

    return asyncio.run(connected())


def outputs(*rows: dict[str, Any]) -> io.StringIO:
    """As `az deployment group show --query properties.outputs` prints them."""
    uri = {"type": "String", "value": "https://store.table.core.windows.net"}
    return io.StringIO(
        json.dumps({"resources": {"type": "Array", "value": rows}, "tableServiceUri": uri})
    )


def row(storage: str, name: str) -> Resource | None:
    return in_store(storage, lambda tables: Resources(tables).get(name))


def test_an_extra_region_becomes_a_resource(
    seed: ModuleType, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", outputs({**ROW, "name": "region-new"}))
    assert seed.main(["-"]) == 0
    found = row(storage, "region-new")
    assert found and found.model_map == "gpt-4o|gpt-4o" and found.priority == 2 and found.active
    used = storage_from_environ()
    assert used.table_service_uri == "https://store.table.core.windows.net"
    assert used.connection_string is None


def test_what_an_organiser_has_changed_is_kept(
    seed: ModuleType, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("resources", json.dumps([{**ROW, "name": "region-kept"}]))
    assert seed.main([]) == 0
    found = row(storage, "region-kept")
    assert found
    changed = found.model_copy(update={"priority": 7, "active": False, "weight": 3})
    in_store(storage, lambda tables: Resources(tables).save(changed))
    again = {**ROW, "name": "region-kept", "modelMap": "gpt-4o|gpt-4o,gpt-5|gpt-5;reasoning"}
    monkeypatch.setenv("resources", json.dumps([again]))
    assert seed.main([]) == 0
    assert row(storage, "region-kept") == changed.model_copy(
        update={"model_map": again["modelMap"]}
    )


def test_it_waits_until_the_role_works(
    seed: ModuleType, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refused_at_first(work: Callable[[Tables], Awaitable[Any]]) -> Any:
        asked.append(work)
        if len(asked) < 3:
            raise ConfigurationError("EVENT_STORAGE: the storage account refuses the app.")
        return in_store(storage, work)

    monkeypatch.setattr(seed, "with_tables", refused_at_first)
    monkeypatch.setenv("resources", json.dumps([{**ROW, "name": "region-late"}]))
    assert seed.main([]) == 0
    assert len(asked) == 3 and row(storage, "region-late")


def test_when_it_fails_it_says_the_commands(
    seed: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(work: object) -> None:
        raise ConfigurationError("EVENT_STORAGE: the storage account refuses the app.")

    monkeypatch.setattr(seed, "with_tables", refused)
    monkeypatch.setattr(seed, "_PATIENCE_S", -1)
    monkeypatch.setenv("resources", json.dumps([ROW]))
    assert seed.main([]) == 1
    (command,) = re.findall(r"manage\.py (resources add .*)", capsys.readouterr().out)
    assert shlex.split(command)[2:] == [
        *("swedencentral", "--endpoint", ROW["endpoint"]),
        *("--model-map", "gpt-4o|gpt-4o", "--priority", "2"),
    ]


@pytest.mark.parametrize("given", ["", "[]"])
def test_without_extra_regions_there_is_nothing_to_do(given: str) -> None:
    env = {"PATH": "/usr/bin:/bin", "resources": given}
    done = subprocess.run(
        ["/bin/sh", str(HOOKS / "seed.sh")], env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_next_step_makes_an_event(storage: str) -> None:
    env = {**os.environ, "url": "https://gateway.example", "tableServiceUri": "https://s.example"}
    command = [sys.executable, str(HOOKS / "next_step.py")]
    said = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    assert "https://gateway.example" in said
    assert "export EVENT_STORAGE__tableServiceUri=https://s.example\n" in said
    (step,) = re.findall(r"^ +\S+python (manage\.py .*)$", said, re.M)
    done = subprocess.run(
        [sys.executable, *shlex.split(step), "--json"],
        cwd=ROOT,
        env={**os.environ, "EVENT_STORAGE": storage},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["name"] == "My event"


def test_every_hook_is_there() -> None:
    text = (ROOT / "azure.yaml").read_text("utf-8")
    scripts = re.findall(r"infra/hooks/[\w.]+", text)
    assert len(scripts) == 6 and all((ROOT / name).is_file() for name in scripts)
    assert os.access(HOOKS / "seed.sh", os.X_OK)
