"""What an organiser does with the configs that Portkey's clients name: `manage.py configs`."""

from typing import TextIO

import typer

from local import options, removal
from local.config_display import print_config, print_configs
from local.display import complain, print_out
from local.options import wrong
from local.store import with_tables
from shared.configs import Configs, SavedConfig
from shared.errors import BadRequest, ConfigurationError
from shared.portkey_config import LONGEST, parse_config
from shared.tables import RowExists

app = typer.Typer(no_args_is_help=True, help="Configs: the routing that Portkey's clients name.")


@app.command()
def add(
    name: options.NewConfig,
    file: options.ConfigFile = None,
    config: options.ConfigText = None,
    as_json: options.AsJson = False,
) -> None:
    """Save a config, which clients then use by its name; gateways use it within 30 s."""
    saved = SavedConfig(name, _checked(file, config))
    try:
        with_tables(lambda tables: Configs(tables).add(saved))
    except RowExists:
        wrong(f"there is a config '{name}' already; see configs set --help", "NAME")
    print_config(saved, as_json)


@app.command("set")
def change(
    name: options.ConfigName,
    file: options.ConfigFile = None,
    config: options.ConfigText = None,
    as_json: options.AsJson = False,
) -> None:
    """Put another config in the place of one; gateways follow within 30 s."""
    saved = SavedConfig(name, _checked(file, config))
    with_tables(lambda tables: _change(Configs(tables), saved))
    print_config(saved, as_json)


@app.command("list")
def list_configs(as_json: options.AsJson = False) -> None:
    """All configs, by name."""
    found = with_tables(lambda tables: Configs(tables).all())
    print_configs(found, as_json)
    for saved in found:
        _complain_if_malformed(saved)


@app.command()
def show(name: options.ConfigName, as_json: options.AsJson = False) -> None:
    """A config as it was written."""
    saved = with_tables(lambda tables: _find(Configs(tables), name))
    print_config(saved, as_json)
    _complain_if_malformed(saved)


@app.command()
def remove(
    name: options.ConfigName, yes: options.Yes = False, as_json: options.AsJson = False
) -> None:
    """Delete a config for good; calls that name it are refused then."""
    removal.confirm(name, yes, lambda: with_tables(lambda tables: _find(Configs(tables), name)))
    with_tables(lambda tables: Configs(tables).remove(name))
    print_out({"name": name, "removed": True}, f"Removed {name}.", as_json)


async def _find(store: Configs, name: str) -> SavedConfig:
    return await store.find(name) or wrong(f"there is no config '{name}'", "NAME")


async def _change(store: Configs, saved: SavedConfig) -> None:
    await _find(store, saved.name)
    await store.save(saved)


def _checked(file: TextIO | None, config: str | None) -> str:
    """The config that one of the two options gives."""
    if (file is None) == (config is None):
        wrong("give the config in one of them", "--file / --config")
    text = (_read(file) if file else config or "").strip()
    try:
        parse_config(text)
    except BadRequest as error:
        wrong(error.message, "--file" if file else "--config")
    return text


def _read(file: TextIO) -> str:
    try:
        return file.read(LONGEST + 1)
    except UnicodeDecodeError:
        wrong("it is no text in UTF-8", "--file")


def _complain_if_malformed(saved: SavedConfig) -> None:
    try:
        saved.parse()
    except ConfigurationError as error:
        complain(f"Warning: {error.message}")
