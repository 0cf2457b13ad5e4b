"""How long the app takes to import, next to the one extension that it cannot do without."""

import os
import subprocess
import sys
from dataclasses import dataclass
from statistics import median

from benchmarks.servers import ROOT

APP = "function_app"
EXTENSION = "azurefunctions.extensions.http.fastapi"
_TIMED = """
from time import perf_counter
begin = perf_counter()
import {}
print(perf_counter() - begin)
"""


@dataclass(frozen=True)
class Startup:
    """Import times in fresh interpreters, and the median of the ratios of neighbours."""

    app_ms: float
    extension_ms: float
    ratio: float


def measure(runs: int) -> Startup:
    """Import both in turn, `runs` times, after a first time that writes the bytecode."""
    pairs = [(_import_s(APP), _import_s(EXTENSION)) for _ in range(runs + 1)][1:]
    app, extension = zip(*pairs, strict=True)
    ratio = median(one / other for one, other in pairs)
    return Startup(median(app) * 1000, median(extension) * 1000, ratio)


def _import_s(module: str) -> float:
    # Without bytecode the time would be that of the compiler.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    ran = subprocess.run(
        [sys.executable, "-c", _TIMED.format(module)],
        cwd=ROOT,
        env=env,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return float(ran.stdout)
