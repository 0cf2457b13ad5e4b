"""What an organiser asks before an event: `manage.py plan`."""

from typing import Annotated

import typer

from local.options import AsJson, wrong
from local.plan import Load
from local.plan_display import print_plan

Count = Annotated[int, typer.Option(metavar="N", min=1, max=10**9)]
Prompts = Annotated[
    int, typer.Option(metavar="N", min=1, max=10**6, help="Of each attendee, in the whole event.")
]
InputTokens = Annotated[
    int,
    typer.Option(
        metavar="N", min=1, max=10**7, help="Of a request: its prompt, with what was said before."
    ),
]
OutputTokens = Annotated[int, typer.Option(metavar="N", min=1, max=10**6, help="Of an answer.")]
Hours = Annotated[
    float, typer.Option(metavar="N", min=0.1, max=10**5, help="In which attendees are at work.")
]
Days = Annotated[
    int, typer.Option(metavar="N", min=1, max=1000, help="Over which these hours are spread.")
]
Peak = Annotated[
    float,
    typer.Option(
        metavar="N", min=1, max=100, help="How many times the mean the busiest minute is."
    ),
]
Seconds = Annotated[
    float, typer.Option(metavar="N", min=0.1, max=3600, help="How long an answer takes.")
]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        min=1, max=2**31 - 1, help="The cap on an answer. Default: twice --output-tokens."
    ),
]
RpmPerUnit = Annotated[
    float,
    typer.Option(
        metavar="N",
        min=0.01,
        max=1000,
        help="Requests a minute that a unit of capacity takes: 1 is the least, gpt-4o has 6.",
    ),
]


def plan(
    attendees: Count,
    prompts: Prompts,
    hours: Hours,
    input_tokens: InputTokens = 1500,
    output_tokens: OutputTokens = 400,
    days: Days = 1,
    peak: Peak = 3,
    seconds: Seconds = 10,
    max_tokens: MaxTokens = None,
    rpm_per_unit: RpmPerUnit = 1,
    as_json: AsJson = False,
) -> None:
    """The capacity, and the caps, that an event needs; docs/capacity.md explains the arithmetic."""
    if hours > 24 * days:
        wrong(f"there are not so many in {days} days; see --days", "--hours")
    load = Load(
        attendees=attendees,
        prompts=prompts,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        hours=hours,
        days=days,
        peak=peak,
        seconds=seconds,
        max_tokens=max_tokens or 2 * output_tokens,
        rpm_per_unit=rpm_per_unit,
    )
    print_plan(load, as_json)
