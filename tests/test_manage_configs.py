"""The organiser's view of saved configs, against a real Azurite of their own."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from shared.configs import TABLE, Configs, SavedConfig
from shared.errors import ConfigurationError
from shared.portkey_config import LONGEST
from shared.tables import Tables
from shared.wishes import Wish
from tests import processes, test_manage
from tests.test_events import on
from tests.test_manage import Run, refused

manage_py = test_manage.manage_py
CONFIG = {"virtual_key": "sweden", "retry": {"attempts": 2}}
GIVEN = ("--config", json.dumps(CONFIG))


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    with processes.azurite(processes.free_port()) as server:
        yield processes.connection_string(server.url)


@pytest.fixture
def run(manage_py: Run, storage: str) -> Iterator[Run]:
    """`manage.py configs` with these arguments; no row stays."""
    yield partial(manage_py, "configs")
    on(storage, lambda tables: tables.delete_all(TABLE, " ", "~"))


def write(storage: str, name: str, text: str) -> None:
    """A row as others may write it."""
    on(storage, lambda tables: tables.insert(TABLE, name, "config", {"Config": text}))


def stored(storage: str, name: str) -> SavedConfig | None:
    return on(storage, lambda tables: Configs(tables).find(name))


@pytest.mark.parametrize("name", ["pc-team-4f9a1c", "sample-7g5tr4", "A_1", "a" * 80])
def test_add_saves_what_gateways_read(run: Run, storage: str, name: str) -> None:
    assert run("add", name, *GIVEN, "--json").json == {"name": name, "config": CONFIG}

    async def read(tables: Tables) -> object:
        found = await Configs(tables).get(name)
        return found and found.wishes_for()

    wish = on(storage, read)
    assert isinstance(wish, Wish)
    assert (wish.resource, wish.policy.retries) == ("sweden", 2)
    assert on(storage, lambda tables: Configs(tables).get("another")) is None


def test_a_file_is_taken_as_editors_write_it(run: Run, storage: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG, indent=2) + "\n", "utf-8-sig")
    assert run("add", "pc-team", "--file", str(path)).status == 0
    saved = stored(storage, "pc-team")
    assert saved and json.loads(saved.text) == CONFIG


def test_set_puts_another_one_in_its_place(run: Run) -> None:
    run("add", "pc-team", *GIVEN)
    other = {"virtual_key": "france"}
    run("set", "pc-team", "--config", json.dumps(other))
    assert run("show", "pc-team", "--json").json == {"name": "pc-team", "config": other}
    assert "sweden" not in run("show", "pc-team").out


def test_list_shows_all_by_name(run: Run) -> None:
    assert "configs add" in run("list").out
    for name in ("pc-b", "pc-a"):
        run("add", name, *GIVEN)
    assert [each["name"] for each in run("list", "--json").json] == ["pc-a", "pc-b"]
    shown = run("list").out
    assert shown.index("pc-a") < shown.index("pc-b") and '"sweden"' in shown


def test_remove_needs_yes_where_nobody_can_be_asked(run: Run, storage: str) -> None:
    run("add", "pc-team", *GIVEN)
    refused(run("remove", "pc-team"), "--yes")
    assert run("remove", "pc-team", "--yes", "--json").json == {"name": "pc-team", "removed": True}
    assert stored(storage, "pc-team") is None


def test_a_config_of_the_largest_size_is_saved(run: Run, storage: str) -> None:
    frame = '{"override_params": {"user": ""}}'
    text = frame.replace('""', '"' + "a" * (LONGEST - len(frame)) + '"')
    path_like = SavedConfig("pc-large", text)
    on(storage, lambda tables: Configs(tables).add(path_like))
    assert stored(storage, "pc-large") == path_like


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("add", "pc-team"), "--file / --config"),
        (("add", "pc-team", *GIVEN, "--file", __file__), "--file / --config"),
        (("add", "pc-team", "--file", __file__), "JSON"),
        (("add", "pc-team", "--file", "/no/such/file"), "no/such/file"),
        (("add", "pc/team", *GIVEN), "letters, digits"),
        (("add", "a" * 81, *GIVEN), "80"),
        (("add", "pc-team", "--config", '{"custom_host": "http://x"}'), "'custom_host'"),
        (("set", "pc-none", *GIVEN), "no config 'pc-none'"),
        (("show", "pc-none"), "no config 'pc-none'"),
        (("remove", "pc-none", "--yes"), "no config 'pc-none'"),
    ],
)
def test_wrong_input_gets_one_line(run: Run, arguments: tuple[str, ...], told: str) -> None:
    refused(run(*arguments), told)


def test_a_name_that_is_taken_is_refused(run: Run) -> None:
    run("add", "pc-team", *GIVEN)
    refused(run("add", "pc-team", *GIVEN), "configs set")


@pytest.mark.parametrize("text", ['{"custom_host": "http://x"}', "{", ""])
def test_a_malformed_row_is_named_and_can_be_mended(run: Run, storage: str, text: str) -> None:
    write(storage, "pc-team", text)
    listed = run("list")
    assert listed.status == 0 and "pc-team" in listed.out
    assert "Warning: The saved config pc-team" in listed.err
    with pytest.raises(ConfigurationError, match="pc-team"):
        on(storage, lambda tables: Configs(tables).get("pc-team"))
    assert "Warning" in run("show", "pc-team").err
    assert run("set", "pc-team", *GIVEN).status == 0
    assert run("list").err == ""
