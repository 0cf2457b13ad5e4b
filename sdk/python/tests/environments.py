"""The package as its users have it: its wheel, beside each version of OpenAI's library and beside none."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
_CLIENTS = PROJECT / ".clients"
LIBRARIES = {
    "none": [],
    "0.28": ["openai==0.28.1"],
    "1": ["openai>=1,<2"],
    "2": ["openai>=2,<3"],
    "3": ["openai>=3,<4"],
}


def library(name: str) -> Path:
    """A folder with httpx and this version of OpenAI's library, installed when first asked for."""
    return _installed(f"openai-{name}", ["httpx", *LIBRARIES[name]])


def build_wheel(folder: Path) -> Path:
    """The package's wheel, made in this folder by `python -m build`."""
    tools = _installed("build", ["build", "hatchling"])
    command = ["-m", "build", "--no-isolation", "--outdir", str(folder), str(PROJECT)]
    subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": str(tools)},
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


def start(arguments: list[str], *folders: Path) -> subprocess.Popen[str]:
    """Python with these arguments, which can import what is in these folders and nothing else."""
    return subprocess.Popen(
        [sys.executable, "-S", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def printed_by(process: subprocess.Popen[str]) -> str:
    """All that the process prints. Fails if it ends with an error."""
    printed, complaints = process.communicate(timeout=60)
    assert process.returncode == 0, complaints
    return printed


def _installed(name: str, requirements: list[str]) -> Path:
    target = _CLIENTS / name
    if not target.exists():
        _CLIENTS.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_CLIENTS) as folder:
            new = Path(folder) / "new"
            command = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([sys.executable, *command, "--target", new, *requirements], check=True)
            new.rename(target)
    return target
