"""What an event will need: the arithmetic of `manage.py plan`.

docs/capacity.md explains it.
"""

from math import ceil, floor, log10
from typing import NamedTuple

UNIT_TPM = 1000
# A busy attendee uses this many times what an average one does.
_BUSY = 2
# What an attendee may do at least, since agents and retries come in bursts.
_LEAST_RPM = 10
_BUDGET = 1.5
# docs/cost.md: one write to the ledger, and what the leases of the caps take where attendees pause.
OPERATIONS_PER_REQUEST = 4
# An instance reads an event, and the resources, again after 20 s at the soonest.
_READS_PER_INSTANCE_MINUTE = 2 * 3
# As infra/main.bicep sets it: calls at once on one instance.
CONCURRENCY = 100


class Load(NamedTuple):
    """What the organiser expects. `prompts` are those of one attendee in the whole event.

    `hours` are those of use, spread over `days` (UTC). `peak` is how many times as busy as the mean the
    busiest minute is, `seconds` how long an answer takes. `max_tokens` is the cap on an answer.
    """

    attendees: int
    prompts: int
    input_tokens: int
    output_tokens: int
    hours: float
    days: int
    peak: float
    seconds: float
    max_tokens: int
    rpm_per_unit: float

    @property
    def tokens(self) -> int:
        """What a request uses."""
        return self.input_tokens + self.output_tokens


class Capacity(NamedTuple):
    """What the model's deployments must take, together.

    Azure OpenAI counts a request's tokens as its prompt's and all that it may answer
    (`counted_tpm`), whatever it then uses (`used_tpm`).
    """

    requests: int
    input_tokens: int
    output_tokens: int
    mean_rpm: float
    peak_rpm: int
    used_tpm: int
    counted_tpm: int
    units: int
    limited_by: str
    calls_at_once: int
    instances: int
    storage_operations: int


class Caps(NamedTuple):
    """Options of `events add`, by their names."""

    max_tokens: int
    requests_per_minute: int
    daily_requests: int
    daily_tokens: int
    tokens_per_minute: int
    token_budget: int


def capacity(load: Load) -> Capacity:
    requests = load.attendees * load.prompts
    minutes = load.hours * 60
    mean_rpm = requests / minutes
    peak_rpm = ceil(mean_rpm * load.peak)
    counted_tpm = peak_rpm * (load.input_tokens + load.max_tokens)
    by_tokens, by_requests = ceil(counted_tpm / UNIT_TPM), ceil(peak_rpm / load.rpm_per_unit)
    calls_at_once = ceil(peak_rpm * load.seconds / 60)
    instances = ceil(calls_at_once / CONCURRENCY)
    reads = ceil(minutes * instances * _READS_PER_INSTANCE_MINUTE)
    return Capacity(
        requests=requests,
        input_tokens=requests * load.input_tokens,
        output_tokens=requests * load.output_tokens,
        mean_rpm=round(mean_rpm, 1),
        peak_rpm=peak_rpm,
        used_tpm=peak_rpm * load.tokens,
        counted_tpm=counted_tpm,
        units=max(by_tokens, by_requests),
        limited_by="tokens" if by_tokens >= by_requests else "requests",
        calls_at_once=calls_at_once,
        instances=instances,
        storage_operations=requests * OPERATIONS_PER_REQUEST + reads,
    )


def caps(load: Load, needed: Capacity) -> Caps:
    """Caps that nobody meets who uses twice the average, and that the whole event meets before Azure does."""
    minutes = load.hours * 60
    daily_requests = _rounded_up(_BUSY * load.prompts / load.days)
    return Caps(
        max_tokens=load.max_tokens,
        requests_per_minute=max(
            _LEAST_RPM, _rounded_up(_BUSY * load.peak * load.prompts / minutes)
        ),
        daily_requests=daily_requests,
        daily_tokens=_rounded_up(daily_requests * load.tokens),
        tokens_per_minute=needed.units * UNIT_TPM,
        token_budget=_rounded_up(_BUDGET * load.attendees * load.prompts * load.tokens),
    )


def command(suggested: Caps) -> str:
    """The command line that adds an event with these caps; its end is left to fill in."""
    options = [f"--{name.replace('_', '-')} {cap}" for name, cap in suggested._asdict().items()]
    return " ".join(["python manage.py events add --end END", *options])


def _rounded_up(number: float) -> int:
    """To two digits: 1,234 becomes 1,300."""
    step = int(10 ** max(floor(log10(number)) - 1, 0))
    return ceil(number / step) * step
