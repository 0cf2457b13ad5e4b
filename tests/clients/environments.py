"""Starts programs beside one set of client libraries, as their users have it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.processes import ROOT

_RUNS = {".py": sys.executable, ".mjs": "node", ".sh": "bash"}
# Compiled once, not at every start.
_DROPPED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
# No price list from the network.
_ADDED = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def start(
    program: Path,
    *arguments: str,
    environment: str = "",
    cwd: Path = ROOT,
    settings: dict[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start a program, a `.py`, an `.mjs` or a `.sh`, with the project's own libraries.

    An environment is a folder in `.clients`: its libraries are there instead, and no others.
    """
    env = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    command = [_RUNS[program.suffix]]
    if environment:
        command.append("-S")
        env["PYTHONPATH"] = str(libraries(environment))
    return subprocess.Popen(
        [*command, str(program), *arguments],
        cwd=cwd,
        env={**env, **_ADDED, **(settings or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def libraries(environment: str) -> Path:
    """The folder of an environment. Fails if it is not installed."""
    folder = ROOT / ".clients" / environment
    assert folder.is_dir(), f"There is no {folder}. `make clients` installs it."
    return folder


def printed_by(process: subprocess.Popen[str]) -> str:
    """All that the program prints. Fails if it ends with an error, or not within two minutes."""
    try:
        printed, complaints = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        printed, complaints = process.communicate()
    assert process.returncode == 0, complaints + printed
    return printed
