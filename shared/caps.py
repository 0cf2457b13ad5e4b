"""An event's caps: what each counts, for whom, in which window, and how its refusal reads."""

from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import Literal, NamedTuple

from shared.errors import CapExceeded
from shared.models import Event
from shared.operations import EMBEDDINGS, Operation

DAY_S = 86_400
MINUTE_S = 60


@dataclass(frozen=True, eq=False)
class Cap:
    """One kind of cap. `name` is a member of Event, `column` its column in the tables.

    Windows are UTC days and whole minutes, as the quotas of Azure OpenAI; `window_s` 0 is the event's
    whole life. `per_attendee` caps hold for each attendee, the others for the event.
    """

    name: str
    column: str
    counts: Literal["requests", "tokens"]
    per_attendee: bool
    window_s: int
    code: str
    grants: str

    def window(self, now: float) -> int:
        """The beginning of the window at `now`, both in Unix seconds; 0 for the event's whole life."""
        return int(now // self.window_s * self.window_s) if self.window_s else 0

    def counts_operation(self, operation: Operation) -> bool:
        """Embeddings have a cap of requests to themselves, and no other operation has a part of it."""
        if self.name == "daily_requests":
            return operation is not EMBEDDINGS
        return self.name != "daily_embedding_requests" or operation is EMBEDDINGS


CAPS = (
    Cap(
        name="daily_requests",
        column="DailyRequestCap",
        counts="requests",
        per_attendee=True,
        window_s=DAY_S,
        code="daily_request_cap_exceeded",
        grants="requests a day for each attendee",
    ),
    Cap(
        name="daily_embedding_requests",
        column="DailyEmbeddingRequestCap",
        counts="requests",
        per_attendee=True,
        window_s=DAY_S,
        code="daily_request_cap_exceeded",
        grants="embedding requests a day for each attendee",
    ),
    Cap(
        name="requests_per_minute",
        column="RequestsPerMinute",
        counts="requests",
        per_attendee=True,
        window_s=MINUTE_S,
        code="rate_limit_exceeded",
        grants="requests a minute for each attendee",
    ),
    Cap(
        name="daily_tokens",
        column="DailyTokenCap",
        counts="tokens",
        per_attendee=True,
        window_s=DAY_S,
        code="daily_token_cap_exceeded",
        grants="tokens a day for each attendee",
    ),
    Cap(
        name="tokens_per_minute",
        column="TokensPerMinute",
        counts="tokens",
        per_attendee=False,
        window_s=MINUTE_S,
        code="rate_limit_exceeded",
        grants="tokens a minute for all attendees together",
    ),
    Cap(
        name="token_budget",
        column="TokenBudget",
        counts="tokens",
        per_attendee=False,
        window_s=0,
        code="event_budget_exceeded",
        grants="tokens in all",
    ),
)
_TOKEN_CAPS = [cap.name for cap in CAPS if cap.counts == "tokens"]


class Need(NamedTuple):
    """What a call may cost: `least` units at the least, else it is refused; `most` if they are there."""

    least: int
    most: int


_ONE = Need(1, 1)


class Charge(NamedTuple):
    """A need, held against one cap of `limit` units in the window that began at `window` (Unix s)."""

    cap: Cap
    limit: int
    window: int
    need: Need


class Standing(NamedTuple):
    """How much of a cap is used in its window, which ends at `resets_at`, if ever."""

    cap: Cap
    limit: int
    used: int
    resets_at: datetime | None


def charges(
    event: Event, operation: Operation | None, tokens: Need, now: float
) -> tuple[list[Charge], list[Charge]]:
    """What a call is charged to: the caps of its attendee, and those of the event. `now` in Unix s.

    Without an operation: all that the event has.
    """
    of_attendee: list[Charge] = []
    of_event: list[Charge] = []
    for cap in CAPS:
        limit = getattr(event, cap.name)
        if limit is not None and (operation is None or cap.counts_operation(operation)):
            need = tokens if cap.counts == "tokens" else _ONE
            charge = Charge(cap, limit, cap.window(now), need)
            (of_attendee if cap.per_attendee else of_event).append(charge)
    return of_attendee, of_event


def has_token_cap(event: Event) -> bool:
    return any(getattr(event, name) is not None for name in _TOKEN_CAPS)


def standing(charge: Charge, left: int) -> Standing:
    cap = charge.cap
    ends = datetime.fromtimestamp(charge.window + cap.window_s, UTC) if cap.window_s else None
    return Standing(cap, charge.limit, charge.limit - left, ends)


def refusal(charge: Charge, left: int, in_use: int, now: float) -> CapExceeded:
    """The error for a call that a cap has too little left for.

    Of what is not left, `in_use` is reserved by calls under way, and partly comes back soon.
    """
    cap = charge.cap
    is_soon_enough = left + in_use >= charge.need.least
    wait_s = 1.0 if is_soon_enough else _resets_in(charge, now)
    headers = {
        "retry-after": str(max(ceil(wait_s), 1)),
        "retry-after-ms": str(ceil(wait_s * 1000)),
        **rate_limit(charge, left, now),
    }
    is_hopeless = cap.window_s != MINUTE_S or charge.need.least > charge.limit
    if is_hopeless and not is_soon_enough:
        headers["x-should-retry"] = "false"
    allowed = f"This event allows {charge.limit:,} {cap.grants}"
    message = f"{allowed}; {_state(charge, max(left, 0))}. {_advice(charge, is_soon_enough)}"
    return CapExceeded(message, code=cap.code, headers=headers)


def rate_limit(charge: Charge, left: int, now: float) -> dict[str, str]:
    """The headers that tell where a cap stands, in the form of OpenAI's own."""
    counts = charge.cap.counts
    return {
        f"x-ratelimit-limit-{counts}": str(charge.limit),
        f"x-ratelimit-remaining-{counts}": str(max(left, 0)),
        f"x-ratelimit-reset-{counts}": _duration(_resets_in(charge, now)),
    }


def _resets_in(charge: Charge, now: float) -> float:
    """Seconds until the charge's window ends; the budget of a whole event has none, so until midnight."""
    window_s = charge.cap.window_s
    return max(charge.window + window_s - now, 0) if window_s else DAY_S - now % DAY_S


def _duration(seconds: float) -> str:
    """As OpenAI writes it: 6m0s, 13h20m5s."""
    minutes, rest = divmod(ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest}s"


def _state(charge: Charge, left: int) -> str:
    if charge.cap.counts == "requests":
        return "they are used up"
    return f"{left:,} are left, and this call needs {charge.need.least:,} for its prompt and its answer"


def _advice(charge: Charge, is_soon_enough: bool) -> str:
    cap = charge.cap
    if is_soon_enough:
        return "Calls under way hold the rest: try again in a moment."
    if charge.need.least > charge.limit > 0:
        return "Shorten the prompt, or ask for a shorter answer."
    if not cap.window_s or not charge.limit:
        return "Ask your organiser for more."
    begins = datetime.fromtimestamp(charge.window + cap.window_s, UTC)
    return f"The count begins anew at {begins:%Y-%m-%d %H:%M} UTC."
