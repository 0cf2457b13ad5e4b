"""What a call sends up: the caller's body, changed where the event's caps or a deployment call for it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from shared.errors import BadRequest
from shared.form import Form, FormBody
from shared.limits import Members, dumped, merged, with_members
from shared.operations import Operation
from shared.parameters import Change, adapt
from shared.plan import Deployment

# Older API versions of Azure refuse `stream_options`.
_TELLS_USAGE_SINCE = "2024-09-01"


class Sent(NamedTuple):
    """A body as one deployment takes it; `members` are what is in it, `dropped` what no longer is.

    `hides_usage`: the usage in its stream was asked for by us, and is not for the caller.
    """

    body: bytes | FormBody
    members: Members
    dropped: list[str]
    hides_usage: bool


class Outgoing:
    """A call's body; `each` is the bound on the tokens of each answer that its caller leaves open."""

    def __init__(
        self, operation: Operation, body: bytes | Form, members: Members, each: int | None
    ) -> None:
        self._operation = operation
        self._body = body
        self._members = members
        self._each = each
        self.is_stream = operation.streams and members.get("stream") is True

    def to(self, deployment: Deployment, change: Change, params: Mapping[str, Any]) -> Sent:
        """The body for this deployment, with these members in place of the caller's.

        Of a form only the model can be replaced. Raises BadRequest for another member, and for a
        number that cannot be written again.
        """
        if isinstance(self._body, Form):
            if others := params.keys() - {"model"}:
                raise BadRequest(f"'{min(others)}' cannot be replaced in a form.")
            names_model = deployment.resource.kind == "openai"
            form = (
                self._body.with_model(deployment.name) if names_model else self._body.as_it_came()
            )
            return Sent(form, self._members, [], False)
        asked = merged(self._operation, self._members, params)
        added: Members = {**params}
        if self._each is not None and self._is_open(asked):
            added[self._operation.output_fields[0]] = self._each
        names_deployment = deployment.resource.kind == "openai" or self._operation.on_v1
        if names_deployment and asked.get("model") != deployment.name:
            added["model"] = deployment.name
        asks_usage = self._must_ask_for_usage(deployment)
        if asks_usage:
            options = self._members.get("stream_options") or {}
            added["stream_options"] = {**options, "include_usage": True}
        members = {**asked, **added} if added else self._members
        adapted, dropped = adapt(members, change)
        if adapted is not members or self._members.keys() - asked.keys():
            return Sent(dumped(adapted), adapted, dropped, asks_usage)
        body = with_members(self._body, self._members, added) if added else self._body
        return Sent(body, members, dropped, asks_usage)

    def _is_open(self, members: Members) -> bool:
        """Whether these members leave open how long an answer may be."""
        return all(members.get(field) is None for field in self._operation.output_fields)

    def _must_ask_for_usage(self, deployment: Deployment) -> bool:
        """Whether this is a stream whose usage the upstream could tell, and the caller has not asked."""
        resource = deployment.resource
        options = self._members.get("stream_options")
        return (
            self._operation.tells_usage_if_asked
            and self.is_stream
            and (resource.kind == "openai" or resource.api_version >= _TELLS_USAGE_SINCE)
            and (
                options is None or (isinstance(options, dict) and not options.get("include_usage"))
            )
        )
