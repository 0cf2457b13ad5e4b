"""Runs programs beside one set of client libraries, as their users have it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.processes import ROOT

_RUNS = {".py": sys.executable, ".mjs": "node", ".sh": "bash"}
# Compiled once, not at every start.
_DROPPED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
# No price list from the network.
_ADDED = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}


def run(
    program: Path,
    *arguments: str,
    environment: str = "",
    cwd: Path = ROOT,
    settings: dict[str, str] | None = None,
) -> str:
    """What a program, a `.py`, an `.mjs` or a `.sh`, prints with the project's own libraries.

    An environment is a folder in `.clients`: its libraries are there instead, and no others. Fails if
    the program ends with an error, or not within two minutes.
    """
    env = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    command = [_RUNS[program.suffix]]
    if environment:
        command.append("-S")
        env["PYTHONPATH"] = str(libraries(environment))
    done = subprocess.run(
        [*command, str(program), *arguments],
        cwd=cwd,
        env={**env, **_ADDED, **(settings or {})},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run_together(programs: Mapping[str, tuple[Path, str]], *arguments: str) -> dict[str, Any]:
    """The JSON in the last line that each program prints, in its environment; all run at once.

    After the arguments each gets its name.
    """
    with ThreadPoolExecutor(len(programs)) as pool:
        running = {
            name: pool.submit(run, program, *arguments, name, environment=environment)
            for name, (program, environment) in programs.items()
        }
    return {name: json.loads(told.result().splitlines()[-1]) for name, told in running.items()}


def libraries(environment: str) -> Path:
    """The folder of an environment. Fails if it is not installed."""
    folder = ROOT / ".clients" / environment
    assert folder.is_dir(), f"There is no {folder}. `make clients` installs it."
    return folder
