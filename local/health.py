"""What a running gateway says of its deployments."""

import json
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

_TIMEOUT_S = 60  # an app that has slept takes a while


class Health(NamedTuple):
    """`states` are those of the deployments that are not closed, by RESOURCE/DEPLOYMENT.

    They are None where it is too misconfigured to have any.
    """

    states: dict[str, str] | None
    problems: list[str]


def ask(url: str) -> Health:
    """The health of the gateway at this address, as the instance that answers sees it.

    Raises OSError if it cannot be reached, and ValueError if what answers is no such gateway.
    """
    document = _document(f"{url.rstrip('/')}/health")
    states, several = document.get("deployments"), document.get("problems")
    told = [document.get("problem"), *(several if isinstance(several, list) else [])]
    problems = [str(one) for one in told if one]
    if isinstance(states, dict):
        return Health({str(name): str(state) for name, state in states.items()}, problems)
    if not problems:
        raise ValueError(f"{url} does not tell the states of its deployments")
    return Health(None, problems)


def _document(url: str) -> dict[str, Any]:
    try:
        with urlopen(url, timeout=_TIMEOUT_S) as response:
            content = response.read()
    except HTTPError as error:  # 503 while it is misconfigured, and it says why
        content = error.read()
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict) or "status" not in document:
        raise ValueError(f"there is no gateway at {url}")
    return document
