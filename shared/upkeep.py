"""What the timer sets off."""

import logging
from collections.abc import Awaitable, Callable

from shared import app
from shared.app import App
from shared.errors import GatewayError

_logger = logging.getLogger("gateway")


async def fold_usage() -> None:
    """Fold the usage of finished days."""
    await _run("rows of usage folded", App.fold_usage)


async def sweep_cache() -> None:
    """Remove the answers that have expired."""
    await _run("rows swept out of the cache", App.sweep_cache)


async def forget_responses() -> None:
    """Forget the stored responses that are too old for an upstream to keep them."""
    await _run("old responses forgotten", App.forget_responses)


async def _run(done: str, work: Callable[[App], Awaitable[int]]) -> None:
    """What cannot be done now is done the next night."""
    try:
        number = await work(app.current())
    except GatewayError as error:
        _logger.warning("no %s: %s", done, error.message)
    else:
        _logger.info("%d %s", number, done)
