"""What reached the simulated upstream: its log, asked for the calls of one test."""

import time
from collections.abc import Callable
from typing import Any

import httpx

Call = dict[str, Any]


class Calls:
    """The calls made since this object was made. Other tests' calls are told apart by a text."""

    def __init__(self, http: httpx.Client, simulator: str) -> None:
        self._http = http
        self._url = f"{simulator}/simulator/calls"
        self._since = self._read(10**9)["next"]

    def all(self, text: str) -> list[Call]:
        """The calls with this text in their body."""
        return [call for call in self._read(self._since)["calls"] if text in (call["body"] or "")]

    def only(self, text: str) -> Call:
        found = self.all(text)
        assert len(found) == 1, f"{len(found)} calls went upstream"
        return found[0]

    def wait_for(
        self, text: str, is_so: Callable[[Call], bool], within_s: float = 5, pause_s: float = 0.01
    ) -> Call:
        """The call with this text, once it is as described; fails after `within_s` seconds."""
        deadline = time.monotonic() + within_s
        while True:
            found = self.all(text)
            if len(found) == 1 and is_so(found[0]):
                return found[0]
            assert time.monotonic() < deadline, f"after {within_s} s upstream knows of {found}"
            time.sleep(pause_s)

    def wait_until_open(self, text: str) -> None:
        """Wait until the call has arrived upstream and is being answered."""
        self.wait_for(text, lambda call: call["outcome"] == "open")

    def wait_until_left(self, text: str) -> Call:
        """The call, once upstream has seen its connection closed: at most 1 s from now."""
        return self.wait_for(text, lambda call: call["outcome"] == "client_left", within_s=1)

    def _read(self, since: int) -> dict[str, Any]:
        answer: dict[str, Any] = self._http.get(self._url, params={"since": since}).json()
        return answer


def names(call: Call) -> set[str]:
    """The names of the call's headers."""
    return {name for name, _ in call["headers"]}


def values(call: Call, name: str) -> list[str]:
    """The values of the call's headers of this name."""
    return [value for found, value in call["headers"] if found == name]
