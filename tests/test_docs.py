"""What the pages of docs/ say is so: commands, codes, numbers, links."""

import asyncio
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

import manage
from tests import processes, test_manage
from tests.conftest import EVENTS, MODELS, add_events, gateway_settings
from tests.processes import ROOT
from tests.test_manage import Run

manage_py = test_manage.manage_py
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
# What stands for something else in a command.
_MEANT = {"CODE": "hackathon", "NAME": "sweden", "N": "5", "END": "2999-01-01", "…": "2999-01-01"}
_COMMAND = re.compile(r"(?:\.venv/bin/)?(?:python )?manage\.py (.*)")
_INLINE = re.compile(
    r"(?:\.venv/bin/)?(?:python )?manage\.py (?P<whole>.+)"
    r"|(?P<short>(?:events (?:add|list|show|set|enable|disable|remove)"
    r"|resources (?:add|list|set|remove|check)|configs (?:add|list|show|set|remove)|usage CODE)\b.*)"
)
_AZURE = re.compile(r"^(az|azd|func) |\$\(azd? |^curl https://APP")


class Block(NamedTuple):
    """A fenced block, and the one that follows it at once, as (language, text)."""

    page: str
    language: str
    text: str
    following: tuple[str, str]

    @property
    def lines(self) -> list[str]:
        return [line for line in self.text.replace("\\\n", " ").splitlines() if line.strip()]


def blocks(path: Path) -> list[Block]:
    found = re.findall(r"^```(\w+)\n(.*?)^```$", path.read_text("utf-8"), re.M | re.S)
    return [
        Block(path.name, language, text, after)
        for (language, text), after in zip(found, [*found, ("", "")][1:], strict=True)
    ]


SHELL = [block for path in PAGES for block in blocks(path) if block.language == "sh"]


def commands(path: Path) -> Iterator[list[str]]:
    """The arguments of every `manage.py` on a page: in its blocks, and in the middle of a line."""
    for block in blocks(path):
        if block.language == "sh":
            for line in block.lines:
                if found := _COMMAND.search(line):
                    yield words(found[1])
    prose = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.M | re.S)
    for span in re.findall(r"`([^`]+)`", prose):
        if found := _INLINE.fullmatch(" ".join(span.split())):
            yield words(found["whole"] or found["short"])


def words(text: str) -> list[str]:
    given = shlex.split(text.replace(r"\|", "|"), comments=True)
    return [_MEANT.get(word, word) for word in given]


def parse(arguments: list[str]) -> None:
    """Take the command line as manage.py does, and do nothing. Raises what it would complain of.

    A command by its name alone, as in a sentence, need only be there.
    """
    command: Any = typer.main.get_command(manage.app)
    while hasattr(command, "commands"):
        name, *arguments = arguments
        command = command.commands[name]
    if arguments and "--help" not in arguments:
        command.make_context(command.name, list(arguments))


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_every_command_is_one_of_manage_py(path: Path) -> None:
    for arguments in commands(path):
        if "|" in arguments[-1] and arguments[0] == "events":  # `events add|list|…`
            continue
        try:
            parse(arguments)
        except Exception as error:
            raise AssertionError(f"{path.name}: {shlex.join(arguments)}: {error}") from error


def test_commands_are_found() -> None:
    for name, least in (
        ("README.md", 4),
        ("deploy.md", 4),
        ("runbook.md", 15),
        ("resources.md", 7),
    ):
        path = next(path for path in PAGES if path.name == name)
        assert len(list(commands(path))) >= least, name
    with pytest.raises(typer.TyperException):
        parse(["events", "add", "--no-such-option"])


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    """An Azurite of its own, where nothing is wrong that doctor would find."""
    with processes.azurite(processes.free_port()) as server:
        yield processes.connection_string(server.url)


@pytest.fixture(scope="module")
def settings(storage: str, simulator: str) -> dict[str, str]:
    asyncio.run(add_events(storage, EVENTS))
    models = {"AZURE_OPENAI_MODEL_MAP": MODELS}
    return {**gateway_settings(storage, simulator), **models}


@pytest.fixture(scope="module")
def gateway(settings: dict[str, str]) -> Iterator[str]:
    with processes.gateway(settings) as server:
        yield server.url


@pytest.mark.parametrize("page", ["deploy.md", "capacity.md", "runbook.md"])
def test_the_commands_run(
    page: str,
    gateway: str,
    settings: dict[str, str],
    manage_py: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that need no Azure, on Azurite, the simulator and a gateway."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    ran = 0
    for block in SHELL:
        for line in block.lines if block.page == page else ():
            if found := _COMMAND.search(line):
                arguments = words(found[1].replace("https://APP.azurewebsites.net", gateway))
                result = manage_py(*arguments)
                assert result.status == 0, (line, result)
                ran += 1
    assert ran >= 2


def test_the_output_that_is_shown_is_real(manage_py: Run) -> None:
    shown = 0
    for block in SHELL:
        language, text = block.following
        found = _COMMAND.search(block.text)
        if not found or not found[1].startswith("plan") or language not in ("text", "json"):
            continue
        out = manage_py(*words(found[1])).out
        if language == "json":
            assert json.loads(text) == json.loads(out)
        else:
            assert text.split() == out.split()
        shown += 1
    assert shown == 2


@pytest.mark.parametrize("heading", ["A class", "A hack"])
def test_the_cost_is_that_of_the_plan(manage_py: Run, heading: str) -> None:
    page = (ROOT / "docs" / "cost.md").read_text("utf-8")
    section = page.partition(f"## {heading}")[2].partition("\n## ")[0]
    found = _COMMAND.search(section)
    assert found
    planned = manage_py(*words(found[1].partition("`")[0]), "--json").json
    needed = planned["capacity"]
    for name in ("requests", "storage_operations", "input_tokens", "output_tokens"):
        assert f"{needed[name]:,}" in section, name
    assert f"{needed['instances']} instance" in section


def codes() -> set[str]:
    """Those in the contract, those in the tree of shared/errors.py, and those that the code gives."""
    contract = (ROOT / "docs" / "contract.md").read_text("utf-8")
    table = contract.partition("## 5. Errors")[2].partition("## 6.")[0].partition("| when |")[2]
    found = set(re.findall(r"`([a-z]+_[a-z_]+)`", table))
    tree = (ROOT / "shared" / "errors.py").read_text("utf-8").partition("import json")[0]
    found |= set(re.findall(r"\b[a-z]+_[a-z_]+\b", tree))
    for path in (ROOT / "shared").glob("*.py"):
        found |= set(re.findall(r"\bcode\s*=\s*\"([a-z_]+)\"", path.read_text("utf-8")))
    return found


def test_the_runbook_has_every_error() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text("utf-8")
    rows = runbook.partition("## Errors")[2].partition("\n## ")[0].splitlines()
    explained = {code for row in rows for code in re.findall(r"`(\w+)`", row.split(" | ")[0])}
    assert len(codes()) >= 28
    assert codes() - explained == set()


def test_the_runbook_has_every_state_of_a_deployment() -> None:
    runbook = (ROOT / "docs" / "runbook.md").read_text("utf-8")
    for state in ("open", "half_open", "cooling", "misconfigured", "ok", "degraded"):
        assert re.search(rf"^\| `{state}`", runbook, re.M), state


def test_deploy_marks_what_needs_azure_and_nothing_else() -> None:
    marked = 0
    for block in SHELL:
        for line in block.lines if block.page == "deploy.md" else ():
            assert line.endswith("# Azure") == bool(_AZURE.search(line)), line
            marked += line.endswith("# Azure")
    assert marked >= 15


def test_deploy_names_parameters_that_there_are() -> None:
    bicep = (ROOT / "infra" / "main.bicep").read_text("utf-8")
    parameters = set(re.findall(r"^param (\w+)", bicep, re.M))
    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    table = page.partition("## Parameters")[2].partition("\n## ")[0]
    first = [row.split(" | ")[0] for row in table.splitlines() if row.startswith("| `")]
    named = {name for cell in first for name in re.findall(r"`(\w+)`", cell)}
    assert named - parameters == set()
    # The others stand in the commands.
    assert parameters - named == {"name", "location", "principalId"}


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.M)
    kept = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in kept}


@pytest.mark.parametrize("path", PAGES, ids=NAMES)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if link.startswith("https://"):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link
