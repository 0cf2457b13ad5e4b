"""What the timer sets off."""

import logging

from shared import app
from shared.errors import GatewayError

_logger = logging.getLogger("gateway")


async def fold_usage() -> None:
    """Fold the usage of finished days. What cannot be done now is done the next night."""
    try:
        folded = await app.current().fold_usage()
    except GatewayError as error:
        _logger.warning("the usage of finished days is not folded: %s", error.message)
    else:
        _logger.info("folded %d rows of usage", folded)


async def sweep_cache() -> None:
    """Remove the answers that have expired. What cannot be done now is done the next night."""
    try:
        removed = await app.current().sweep_cache()
    except GatewayError as error:
        _logger.warning("the cache is not swept: %s", error.message)
    else:
        _logger.info("swept %d rows out of the cache", removed)


async def forget_responses() -> None:
    """Forget the stored responses that are too old for an upstream to keep them."""
    try:
        removed = await app.current().forget_responses()
    except GatewayError as error:
        _logger.warning("the old responses are not forgotten: %s", error.message)
    else:
        _logger.info("forgot %d responses", removed)
