"""What is published: exactly the app, with packages that are pinned, and it serves from them alone."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement

from tests import processes
from tests.conftest import EVENTS, KEY, add_events, gateway_settings
from tests.processes import ROOT

WORKER = ROOT.parent / "shared" / "tools" / "functions-worker" / "run"
PACKAGES = Path(".python_packages", "lib", "site-packages")
APP = {"function_app.py", "host.json", "requirements.txt"} | {
    f"shared/{path.name}" for path in (ROOT / "shared").iterdir() if path.name != "__pycache__"
}
INSTALLED = {f"{PACKAGES}/one/{name}" for name in ("__init__.py", "__pycache__/__init__.pyc")}
CLUTTER = [
    ".azure/dev/.env",
    ".env",
    ".git/config",
    ".venv-3.13/bin/python",
    ".venv/bin/python",
    ".venv/lib/python3.13/site-packages/_one.py",
    "__pycache__/function_app.cpython-313.pyc",
    "dist/app.zip",
    "local.settings.json",
    "main_env/bin/python",
    "node_modules/.bin/azurite-table",
    "node_modules/@azure/core/index.js",
    "shared/__pycache__/web.cpython-313.pyc",
    "shared/notes.txt",
    "tests/__pycache__/__init__.cpython-313.pyc",
]
# Modules that the first call would import, too.
IMPORTS = """
import json, os, sys, time
began = time.perf_counter()
import function_app
indexed = time.perf_counter()
import aiohttp, azure.data.tables.aio, azure.identity.aio, shared.app
done = time.perf_counter()
files = [module.__file__ for module in sys.modules.values() if getattr(module, "__file__", None)]
own = (os.getcwd(), os.path.dirname(os.__file__))
elsewhere = [file for file in files if not file.startswith(own)]
print(json.dumps({"indexing_s": indexed - began, "all_s": done - began, "elsewhere": elsewhere}))
"""


def core_tools(root: Path) -> set[str]:
    """What Core Tools put into a package: by .funcignore as they read it, which is not as git does.

    A pattern has to match a path's beginning, up to a word's end; `*` is one or more characters;
    and what a `!` line matches is in, wherever that line stands.
    """
    lines = [line.strip() for line in (root / ".funcignore").read_text("utf-8").splitlines()]
    patterns = [line for line in lines if line and not line.startswith("#")]
    ignored = _anchored([line for line in patterns if not line.startswith("!")])
    kept = _anchored([line[1:] for line in patterns if line.startswith("!")])
    never = {".funcignore", ".gitignore", "local.settings.json", "project.lock.json"}
    return {
        path
        for path in _files(root)
        if (kept.match(path) or not ignored.match(path))
        and not {".git", ".vscode"} & set(path.split("/")[:-1])
        and path.rpartition("/")[2] not in never
    }


def _anchored(patterns: list[str]) -> re.Pattern[str]:
    wild = {"**": "(.+)", "*": "([^/]+)"}
    forms = [
        "".join(
            wild.get(part, re.escape(part))
            for part in re.split(r"(\*\*|\*)", line.removeprefix("/"))
        )
        for line in patterns
    ]
    return re.compile(rf"(?:{'|'.join(forms)})\b", re.ASCII)


def azd(root: Path) -> set[str]:
    """What azd puts into a package: .funcignore as git would read it."""
    git = ["git", "-c", "core.quotePath=false", "-C", str(root)]
    subprocess.run([*git, "init", "--quiet"], check=True)
    command = [*git, "ls-files", "--others", "--exclude-from=.funcignore"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


def _files(root: Path) -> list[str]:
    return [
        os.path.relpath(Path(folder, name), root).replace(os.sep, "/")
        for folder, _, names in os.walk(root)
        for name in names
    ]


@pytest.mark.parametrize("publisher", [core_tools, azd])
def test_exactly_the_app_is_published(
    publisher: Callable[[Path], set[str]], tmp_path: Path
) -> None:
    heavy = shutil.ignore_patterns(".git", ".venv*", "node_modules", ".clients", ".*_cache")
    shutil.copytree(ROOT, tmp_path, ignore=heavy, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / ".python_packages", ignore_errors=True)
    for name in [*CLUTTER, *INSTALLED]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert publisher(tmp_path) == APP | INSTALLED


def pins(name: str) -> dict[str, str]:
    """The versions that a file of requirements pins for the Python in Azure."""
    found = {}
    for line in (ROOT / name).read_text("utf-8").replace("\\\n", "").splitlines():
        if line.strip() and not line.startswith("#"):
            requirement = Requirement(line.partition(" --hash")[0])
            if _applies(requirement):
                (pin,) = requirement.specifier
                assert pin.operator == "=="
                found[requirement.name] = pin.version
    return found


def _applies(requirement: Requirement) -> bool:
    azure = {"python_version": "3.13", "python_full_version": "3.13.0", "sys_platform": "linux"}
    return requirement.marker is None or requirement.marker.evaluate(azure)


def test_the_lock_holds_the_same_versions_each_with_a_hash() -> None:
    assert pins("requirements.lock") == pins("requirements.txt")
    for name in ("requirements.lock", "requirements-manage.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text("utf-8")
        entries = [line for line in re.split(r"\n(?=\w)", text) if not line.startswith("#")]
        assert entries and all("--hash=sha256:" in entry for entry in entries), name
        assert pins(name).items() >= pins("requirements.txt").items(), f"{name}: make lock"


@pytest.mark.parametrize("name", ["requirements", "requirements-manage", "requirements-dev"])
def test_the_pins_are_within_what_is_asked_for(name: str) -> None:
    pinned = pins(f"{name}.txt")
    for line in (ROOT / f"{name}.in").read_text("utf-8").splitlines():
        if line and not line.startswith(("#", "-r")) and _applies(Requirement(line)):
            asked = Requirement(line)
            assert asked.specifier.contains(pinned[asked.name]), f"{line}: make lock"


@pytest.fixture(scope="module")
def python() -> str:
    """The Python that runs in Azure."""
    here = [sys.executable] if sys.version_info[:2] == (3, 13) else []
    pyenv = sorted(str(path) for path in Path.home().glob(".pyenv/versions/3.13*/bin/python"))
    found = [*here, *pyenv, *filter(None, [shutil.which("python3.13")])]
    if not found:
        pytest.skip("there is no Python 3.13 here")
    return found[0]


@pytest.fixture(scope="module")
def package(python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that is published, packages and all."""
    folder = tmp_path_factory.mktemp("package")
    for name in APP:
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    build = [python, "infra/hooks/package.py", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    if "connection" in done.stderr.lower():
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    return folder


def test_the_package_is_small(
    package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = _files(package)
    with zipfile.ZipFile(tmp_path / "app.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in files:
            archive.write(package / name, name)
    size = sum((package / name).stat().st_size for name in files)
    zipped = (tmp_path / "app.zip").stat().st_size
    with capsys.disabled():
        say(f"{len(files)} files, {size / 2**20:.1f} MiB, {zipped / 2**20:.1f} MiB zipped")
    assert zipped < 100 * 2**20


def test_the_app_imports_nothing_from_elsewhere(
    package: Path, python: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = os.pathsep.join(map(str, (package, package / PACKAGES)))
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(  # -S: without the interpreter's own site-packages
        [python, "-S", "-c", IMPORTS],
        cwd=package,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["elsewhere"] == []
    with capsys.disabled():
        say(f"imported in {found['indexing_s']:.2f} s, all in {found['all_s']:.2f} s")
    assert found["all_s"] < 30


def say(what: str) -> None:
    sys.stdout.write(f"\nThe package: {what}.\n")


@pytest.fixture(scope="module")
def served(
    package: Path,
    python: str,
    storage: str,
    simulator: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The package on Microsoft's worker, in an environment that has the worker's own needs alone."""
    if not os.access(WORKER, os.X_OK):
        pytest.skip(f"the worker is not here: {WORKER}")
    folder = tmp_path_factory.mktemp("worker")
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    needs = ["azure-functions-runtime", "grpcio", "protobuf"]
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *needs], check=True, stderr=subprocess.DEVNULL)
    there = {path.name.partition("-")[0] for path in folder.glob("lib/*/site-packages/*")}
    assert there.isdisjoint({"aiohttp", "fastapi", "uvicorn", "pydantic"})
    interpreter = folder / "python-with-package"
    interpreter.write_text(
        f'#!/bin/sh\nPYTHONPATH="$PYTHONPATH:{package / PACKAGES}" exec {folder}/bin/python "$@"\n'
    )
    interpreter.chmod(0o755)
    asyncio.run(add_events(storage, EVENTS))
    command = f"{WORKER} {package} --port {{port}} --python {interpreter}"
    settings = {**gateway_settings(storage, simulator), "PYTHON": python}
    with processes.gateway(settings, command, processes.free_port()) as server:
        yield server.url


def test_the_package_serves(served: str) -> None:
    with httpx.Client(base_url=served, headers={"api-key": KEY}, timeout=30) as client:
        question = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
        chat = client.post("/v1/chat/completions", json=question)
        assert chat.json()["choices"][0]["message"]["content"]
        stream = client.post("/v1/chat/completions", json={**question, "stream": True})
        assert stream.text.startswith("data: {") and stream.text.endswith("data: [DONE]\n\n")
        embeddings = client.post(
            "/v1/embeddings", json={"model": "text-embedding-3-small", "input": "Hello"}
        )
        assert len(embeddings.json()["data"][0]["embedding"]) == 1536
