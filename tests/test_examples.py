"""The pages of docs/examples: every block runs as it stands but for the port, and prints what is shown."""

import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import processes
from tests.clients.environments import libraries, run
from tests.conftest import gateway_settings
from tests.processes import ROOT, Server
from tests.test_run import READY, launch

PAGES = [
    path for path in sorted((ROOT / "docs" / "examples").glob("*.md")) if path.stem != "README"
]
NAMES = [page.stem for page in PAGES]
# What the page's client needs beside the project's own libraries.
ENVIRONMENTS = {"python-langchain": "openai-2", "python-llamaindex": "openai-2"}
PATHS = {"python-openai-proxy": {"PYTHONPATH": str(ROOT / "sdk" / "python")}}
SUFFIXES = {"sh": ".sh", "python": ".py", "js": ".mjs"}


class Example(NamedTuple):
    """A block of code, and the output that the page shows below it."""

    page: str
    language: str
    code: str
    output: str


def blocks(page: Path) -> list[tuple[str, str]]:
    return re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)


def examples(page: Path) -> Iterator[Example]:
    """All blocks of a page but the first, which installs the client, in pairs of code and output."""
    rest = blocks(page)[1:]
    for (language, code), (shown, output) in zip(rest[::2], rest[1::2], strict=True):
        assert shown == "text", f"{page.name}: what does this print?\n{code}"
        yield Example(page.stem, language, code, output)


EXAMPLES = [example for page in PAGES for example in examples(page)]


@pytest.fixture(scope="module")
def launched(simulator: str) -> Iterator[Server]:
    """`make run`, on servers of the tests' own: the usual ones are test_run's."""
    with processes.azurite(processes.free_port()) as store:
        env = gateway_settings(processes.connection_string(store.url), simulator)
        command = launch(processes.free_port())
        with processes.running(command, ready=READY, env=env) as server:
            yield server


@pytest.mark.parametrize(
    "example", EXAMPLES, ids=[f"{example.page}-{n}" for n, example in enumerate(EXAMPLES)]
)
def test_an_example_prints_what_its_page_shows(
    launched: Server, tmp_path: Path, example: Example
) -> None:
    program = tmp_path / f"example{SUFFIXES[example.language]}"
    program.write_text(example.code.replace("http://localhost:7071", launched.url), "utf-8")
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")

    printed = run(
        program,
        environment=ENVIRONMENTS.get(example.page, ""),
        cwd=tmp_path,
        settings=PATHS.get(example.page),
    )

    assert printed.strip() == example.output.strip()


def is_installed(installer: str, package: str, page: str) -> bool:
    if installer == "npm":
        return (ROOT / "node_modules" / package / "package.json").exists()
    if installer == "apt":
        return shutil.which(package) is not None
    if package.startswith("./"):
        return (ROOT / package / "pyproject.toml").exists()
    environment = ENVIRONMENTS.get(page)
    path = [str(libraries(environment))] if environment else sys.path
    return any(metadata.distributions(name=package, path=path))


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_a_page_installs_what_its_examples_run_with(page: Path) -> None:
    language, command = blocks(page)[0]
    installer, _, *packages = shlex.split(command.removeprefix("sudo "))

    assert language == "sh" and packages
    assert [name for name in packages if not is_installed(installer, name, page.stem)] == []


def test_every_page_is_listed() -> None:
    listed = (ROOT / "docs" / "examples" / "README.md").read_text("utf-8")

    assert all(f"]({page.name})" in listed for page in PAGES)
