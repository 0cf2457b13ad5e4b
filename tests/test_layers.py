"""The house: imports point down, and each outside library has one place."""

import ast
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parent.parent / "shared"

LAYERS = [
    ["upkeep", "web", "app"],
    ["proxy", "admission", "entry", "pages", "stored"],
    ["failover"],
    ["reuse"],
    ["relay", "media", "metering"],
    ["upstream", "resource_cache", "store_cache", "events", "configs", "resources", "responses"],
    ["cache", "quotas", "ledger", "folding", "presence", "worker"],
    ["cache_table", "usage_table", "quota_table"],
    ["tables", "credentials"],
    ["way"],
    ["posts", "outgoing", "planning", "routing", "transcript", "replay"],
    ["catalogue", "parameters", "exchange", "slots", "breaker"],
    ["scalaone", "portkey"],
    ["portkey_config"],
    ["typed_stream", "form"],
    [
        "upstream_error",
        "waits",
        "plan",
        "limits",
        "access",
        "attempts",
        "model_map",
        "sse",
        "headers",
        "leases",
        "tokens",
    ],
    ["paths"],
    ["telemetry"],
    ["caps", "operations", "call_log"],
    ["usage", "settings", "models"],
    ["wishes", "strict_json"],
    ["errors"],
]
ONLY_IN = {
    "fastapi": {"web"},
    "aiohttp": {"upstream"},
    "azure.data.tables": {"tables"},
    "azure.identity": {"credentials"},
    "opentelemetry": {"telemetry"},
    "python_multipart": {"form"},
}
MODULES = sorted(path.stem for path in SHARED.glob("*.py") if path.stem != "__init__")


def imports(module: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse((SHARED / f"{module}.py").read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_every_module_has_its_layer() -> None:
    assert sorted(module for layer in LAYERS for module in layer) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    used = {
        name.removeprefix("shared.").partition(".")[0]
        for name in imports(module)
        if name.startswith("shared.")
    }
    upward = {name for name in used & set(MODULES) if level[name] < level[module]}
    assert not upward


@pytest.mark.parametrize("module", MODULES)
def test_each_library_has_one_place(module: str) -> None:
    for library, places in ONLY_IN.items():
        used = any(name == library or name.startswith(f"{library}.") for name in imports(module))
        assert not used or module in places, library


@pytest.mark.parametrize("module", MODULES)
def test_the_environment_is_read_in_settings_only(module: str) -> None:
    assert "os" not in imports(module) or module == "settings"
