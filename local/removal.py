"""What comes before something is removed for good."""

import sys
from collections.abc import Callable
from contextlib import suppress

import typer

from local.options import wrong
from shared.errors import ConfigurationError


def confirm(name: str, yes: bool, find: Callable[[], object]) -> None:
    """Ask the organiser, unless that is answered by `yes`. `find` fails where there is nothing to remove."""
    if not yes and not sys.stdin.isatty():
        wrong("it is needed where stdin is no terminal to ask at", "--yes")
    with suppress(ConfigurationError):  # a row that is there, and that removing is the cure of
        find()
    if not yes:
        typer.confirm(f"Remove {name} for good?", abort=True, err=True)
