"""Parameters that a deployment's model does not take: known beforehand, or learned from its refusals."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from shared.limits import Members
from shared.upstream_error import error_of


class Change(NamedTuple):
    """What has to be changed in a body: members by another name, and members left out."""

    renamed: Mapping[str, str]
    dropped: frozenset[str]


UNCHANGED = Change({}, frozenset())
REASONING = Change(
    {"max_tokens": "max_completion_tokens"},
    frozenset(
        {
            "temperature",
            "top_p",
            "presence_penalty",
            "frequency_penalty",
            "logprobs",
            "top_logprobs",
            "logit_bias",
        }
    ),
)

_OTHER_NAME = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}
# Without these a call would be another call.
_NEVER_DROPPED = {
    "model",
    "messages",
    "input",
    "prompt",
    "stream",
    "previous_response_id",
    "max_output_tokens",  # it has no other name
}
_MOST_LEARNED = 50


class Learned:
    """What a deployment has refused in one operation so far, beginning with what is known of it."""

    def __init__(self, change: Change = UNCHANGED) -> None:
        self.change = change

    def learn(self, status: int, content: bytes, members: Members) -> bool:
        """Whether this answer to the members, as they were sent, makes the call worth another try.

        It does if it is a 400 that refuses one of them, from now on renamed or dropped. A limit of
        the output is never dropped, only renamed, since an event's cap may depend on it. A refused
        value says nothing about the parameter if the model takes other values of it.
        """
        if status != 400:
            return False
        error = error_of(content)
        code, name, message = error.get("code"), error.get("param"), str(error.get("message"))
        if not isinstance(name, str) or name not in members or name in _NEVER_DROPPED:
            return False
        if code == "unsupported_value" and "Supported values are" in message:
            return False
        if code not in ("unsupported_parameter", "unsupported_value"):
            return False
        if other := _OTHER_NAME.get(name):
            if other not in message:
                return False
            self.change = self.change._replace(renamed={name: other})
            return True
        dropped = self.change.dropped | {name}
        if len(dropped) > _MOST_LEARNED:
            return False
        self.change = self.change._replace(dropped=dropped)
        return True


def adapt(members: Members, change: Change) -> tuple[Members, list[str]]:
    """The members as this deployment takes them, and the names of those dropped, in the body's order.

    They are the same object if nothing has to be changed. Where a member comes to stand there twice,
    the larger number is kept.
    """
    renamed, dropped = change
    if dropped.isdisjoint(members) and not any(name in members for name in renamed):
        return members, []
    adapted: Members = {}
    for name, value in members.items():
        if name in dropped:
            continue
        name = renamed.get(name, name)
        adapted[name] = _larger(adapted[name], value) if name in adapted else value
    return adapted, [name for name in members if name in dropped]


def _larger(one: Any, other: Any) -> Any:
    numbers = [value for value in (one, other) if isinstance(value, int)]
    return max(numbers, default=other)
