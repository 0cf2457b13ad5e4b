"""The guard against the worker's leak."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from shared.worker import forget


@pytest.mark.parametrize(
    "name", ["azure_functions_runtime.http_v2", "azure_functions_worker.http_v2"]
)
def test_an_invocation_that_is_over_is_forgotten(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType(name)
    references = {"one": object(), "two": object()}
    module.__dict__["http_coordinator"] = SimpleNamespace(_context_references=references)
    monkeypatch.setitem(sys.modules, name, module)
    forget("one")
    forget("never seen")
    assert list(references) == ["two"]


def test_another_worker_is_left_alone() -> None:
    forget("one")
