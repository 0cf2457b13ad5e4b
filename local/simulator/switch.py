"""Faults that deployments are told to have while the simulator runs."""

from dataclasses import dataclass

from local.simulator.ask import parse_json, read_int
from local.simulator.faults import Fault, find_fault
from local.simulator.refusals import Json, invalid


@dataclass(slots=True)
class _Told:
    fault: Fault
    number: int
    calls_left: int | None


class Switch:
    """What each deployment was told last; it counts more than the deployment's name."""

    def __init__(self) -> None:
        self._told: dict[str, _Told] = {}

    def tell(self, deployment: str, body: bytes) -> Json:
        """Take `{"fault": "sim-503", "calls": 2}`: a fault for so many calls, or until told otherwise.

        A fault of null ends it. Returns what holds now. Raises Refusal.
        """
        wanted = parse_json(body)
        name, calls = wanted.get("fault"), read_int(wanted, "calls")
        if name is None:
            self._told.pop(deployment, None)
            return {"deployment": deployment, "fault": None}
        found = find_fault(name) if isinstance(name, str) else None
        if found is None:
            raise invalid(f"There is no fault '{name}'.", "fault", "invalid_value")
        self._told[deployment] = _Told(*found, calls)
        return {"deployment": deployment, "fault": name, "calls": calls}

    def next_fault(self, deployment: str) -> tuple[Fault, int] | None:
        """The fault that a call meets now, and its number."""
        told = self._told.get(deployment)
        if told is None:
            return find_fault(deployment)
        if told.calls_left is not None:
            told.calls_left -= 1
            if not told.calls_left:
                del self._told[deployment]
        return told.fault, told.number
