"""The options of manage.py: what each takes, what it means, and what is said of a wrong value."""

import difflib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, NoReturn
from unicodedata import category
from zoneinfo import ZoneInfo

import typer
from pydantic import BaseModel

from local.display import ZONES
from local.usage_report import By
from shared import access
from shared.models import CALLERS_OWN, MOST_CACHE_AGE_S, RESOURCE_NAME, Event, Resource
from shared.portkey_config import NAME

_CLEARED = object()  # what the word `none` stands for; an option that is left out is None
_COUNT = "N|none"
_CAPS_PANEL = "Caps: N is a number such as 1_000_000; 0 allows nothing, none clears it"
_SPAN_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def wrong(problem: str, option: str | None = None) -> NoReturn:
    raise typer.BadParameter(problem, param_hint=option)


def _text(pattern: str = ".*", example: str = "") -> Callable[[str | None], str | None]:
    """The callback of an option that takes one line of this form; None is an option left out."""

    def check(value: str | None) -> str | None:
        line = (value or "").strip()
        if {category(letter) for letter in line} & {"Cc", "Cs", "Zl", "Zp"} or len(line) > 2000:
            wrong("write one line of at most 2000 characters, without control characters")
        if value is not None and not re.fullmatch(pattern, line):
            wrong(f"write it as {example}")
        return value and line

    return check


def _cap(help: str) -> Any:
    return typer.Option(
        callback=_count(0, 10**15), metavar=_COUNT, help=help, rich_help_panel=_CAPS_PANEL
    )


def _code(value: str | None) -> str | None:
    if value is None or (6 <= len(value) <= 40 and access.is_code(value) and value[0] != " "):
        return value
    wrong("a code has 6 to 40 characters, printable ASCII except / \\ # ? %")


def _counted_code(value: str) -> str | None:
    return value if value == CALLERS_OWN else _code(value)


def _timezone(name: str | None) -> str | None:
    if name is None or name in ZONES:
        return name
    # Etc/GMT+1 lies west of Greenwich, which is not what anyone means who writes GMT+1.
    zones = [zone for zone in ZONES if "/" in zone and "Etc/" not in zone]
    spellings = {zone.rpartition("/")[2].lower(): zone for zone in zones}
    spellings |= {zone.lower(): zone for zone in [*zones, "UTC"]}
    near = difflib.get_close_matches(name.lower(), spellings, n=1)
    hint = f"did you mean {spellings[near[0]]}?" if near else "write it as Europe/London"
    wrong(f"there is no time zone '{name}'; {hint}")


def _count(least: int, most: int) -> Callable[[str | None], object]:
    """The callback of an option that takes a whole number in this range, or `none` to clear it."""

    def check(value: str | None) -> object:
        if value is None:
            return None
        text = value.strip().lower()
        if text == "none":
            return _CLEARED
        is_number = re.fullmatch(r"[0-9]+|[0-9]{1,3}([_,][0-9]{3})+", text)
        number = int(re.sub("[_,]", "", text)) if is_number and len(text) <= 40 else -1
        if not least <= number <= most:
            wrong(f"write a whole number from {least} to {most:,}, or none")
        return number

    return check


def _moment(value: str, zone: ZoneInfo, option: str, form: str = "2026-12-01T09:00") -> datetime:
    """The moment that ISO 8601 text names: at its own offset, else on the clocks of the zone."""
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        wrong(f"'{value}' is not a time; write it as {form}", option)
    if not 2000 <= moment.year < 3000:
        wrong(f"'{value}' is not between the years 2000 and 2999", option)
    if moment.tzinfo:
        return moment
    first, second = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
        wrong(f"{value} does not exist in {zone}: daylight saving time skips it", option)
    either = f"{first.isoformat(timespec='minutes')} or {second.isoformat(timespec='minutes')}"
    wrong(f"{value} is ambiguous in {zone}: daylight saving time ends; write {either}", option)


def first_hour(since: str | None) -> datetime | None:
    """The hour that --since lies in: a time, in UTC unless it says otherwise, or a span back from now."""
    if since is None:
        return None
    span = re.fullmatch(r"([0-9]{1,5})([mhd])", since.strip())
    if span:
        moment = datetime.now(UTC) - timedelta(**{_SPAN_UNITS[span[2]]: int(span[1])})
    else:
        forms = "2026-12-01, 2026-12-01T09:00, 90m, 24h or 7d"
        moment = _moment(since, ZoneInfo("UTC"), "--since", forms)
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def members(context: typer.Context) -> dict[str, Any]:
    """The members of an event that the command line gives; times are in --timezone, or else in UTC.

    One that is to be cleared is None.
    """
    given = _given(context, Event)
    zone = ZoneInfo(given.get("timezone", "UTC"))
    times = {"start", "end"} & given.keys()
    given |= {name: _moment(given[name], zone, f"--{name}") for name in times}
    return _cleared(given)


def resource_members(context: typer.Context) -> dict[str, Any]:
    """The members of a resource that the command line gives; one that is to be cleared is None."""
    return _cleared(_given(context, Resource))


def _given(context: typer.Context, model: type[BaseModel]) -> dict[str, Any]:
    options = {name: context.params.get(name) for name in model.model_fields}
    return {name: value for name, value in options.items() if value is not None}


def _cleared(given: dict[str, Any]) -> dict[str, Any]:
    return {name: None if value is _CLEARED else value for name, value in given.items()}


MaybeStr = str | None
_NAMES = r"[^\s,|;]+(\s*,\s*[^\s,|;]+)*"
_URL = r"(https?://[^\s/]\S*)?"
_EMAIL = r"([^@\s]+@[^@\s]+)?"
Code = Annotated[str, typer.Argument(callback=_code)]
CountedCode = Annotated[
    str, typer.Argument(callback=_counted_code, help=f"{CALLERS_OWN}: callers' own resources.")
]
NewCode = Annotated[MaybeStr, typer.Argument(callback=_code, help="Default: a new one.")]
Name = Annotated[MaybeStr, typer.Option(callback=_text(".+", "--name 'AI Hack'"))]
Time = Annotated[MaybeStr, typer.Option(help="2026-12-01T09:00 in --timezone, or with +01:00.")]
End = Annotated[str, typer.Option(help="The moment from which it is closed, as --start.")]
Zone = Annotated[
    MaybeStr, typer.Option(callback=_timezone, help="Of the times given, and for display.")
]
MaxTokens = Annotated[
    MaybeStr,
    typer.Option(
        callback=_count(1, 2**31 - 1),
        metavar=_COUNT,
        help="Cap on a request's output; none clears it.",
    ),
]
DailyRequests = Annotated[
    MaybeStr, _cap("Requests a day (UTC) of each attendee, embeddings not counted.")
]
DailyEmbeddingRequests = Annotated[
    MaybeStr, _cap("Embedding requests a day (UTC) of each attendee.")
]
RequestsPerMinute = Annotated[MaybeStr, _cap("Requests a minute of each attendee.")]
DailyTokens = Annotated[MaybeStr, _cap("Tokens a day (UTC) of each attendee.")]
TokensPerMinute = Annotated[MaybeStr, _cap("Tokens a minute of all attendees together.")]
TokenBudget = Annotated[
    MaybeStr, _cap("Tokens of all attendees together, as long as the event lasts.")
]
FailOpen = Annotated[
    bool | None,
    typer.Option(
        "--fail-open/--fail-closed",
        help="While the store is down, calls that caps count go on uncounted, or are refused.",
    ),
]
StoreNames = Annotated[
    bool | None,
    typer.Option(
        "--store-names/--hash-names", help="Keep usage under attendees' names, or under a hash."
    ),
]
UsageTag = Annotated[
    MaybeStr,
    typer.Option(
        callback=_text(".{0,128}", "the name of a member, such as team"),
        metavar="NAME",
        help="Keep usage by this member of calls' metadata too, as usage --by tag shows it; '' does "
        "not.",
    ),
]
ResumeStreams = Annotated[
    bool | None,
    typer.Option(
        "--resume-streams/--no-resume-streams",
        help="Continue a stream that breaks off from another deployment, where that repeats to the "
        "letter what was sent.",
    ),
]
CacheMaxAge = Annotated[
    MaybeStr,
    typer.Option(
        callback=_count(1, MOST_CACHE_AGE_S),
        metavar="SECONDS|none",
        help="Give the same answer to the same question, whichever attendee asks, for so long; none "
        "switches that off.",
    ),
]
Models = Annotated[MaybeStr, typer.Option(callback=_text(_NAMES, "gpt-4o,gpt-4o-mini"))]
Text = Annotated[MaybeStr, typer.Option(callback=_text())]
Url = Annotated[MaybeStr, typer.Option(callback=_text(_URL, "https://example.org/page"))]
Email = Annotated[MaybeStr, typer.Option(callback=_text(_EMAIL, "name@example.org"))]
Grouping = Annotated[By, typer.Option(help="What each row sums up; days and hours are in UTC.")]
Since = Annotated[
    MaybeStr,
    typer.Option(
        metavar="WHEN",
        help="2026-12-01, 2026-12-01T09:00 (UTC, or with +01:00), or 90m, 24h or 7d back from now; "
        "it begins with the whole hour.",
    ),
]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print CSV, for spreadsheets.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Inactive = Annotated[bool, typer.Option("--inactive", help="Switched off for now.")]
NoMaxTokens = Annotated[bool, typer.Option("--no-max-tokens")]
AllModels = Annotated[bool, typer.Option("--all-models")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

_ENDPOINT = typer.Option(
    callback=_text(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", "https://NAME.openai.azure.com"),
    metavar="URL",
    help="https://NAME.openai.azure.com, or the base URL of an API like OpenAI's, such as "
    "https://api.openai.com/v1.",
)
_MODEL_MAP = typer.Option(
    callback=_text(".+", "'model|deployment,model|deployment'"),
    metavar="MAP",
    help="Which deployment serves which model: 'gpt-4o|my-gpt-4o,gpt-5|my-gpt-5;reasoning'.",
)
NewResource = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        callback=_text(RESOURCE_NAME.pattern, "sweden-1: a-z, 0-9 and -, 40 at most"),
    ),
]
NewEndpoint = Annotated[str, _ENDPOINT]
Endpoint = Annotated[MaybeStr, _ENDPOINT]
NewModelMap = Annotated[str, _MODEL_MAP]
ModelMap = Annotated[MaybeStr, _MODEL_MAP]
Kind = Annotated[
    Literal["azure", "openai"] | None,
    typer.Option(help="Azure OpenAI (the default), or any API like OpenAI's."),
]
KeySetting = Annotated[
    MaybeStr,
    typer.Option(
        callback=_text(r"([A-Za-z]\w*)?", "the name of an app setting, such as SWEDEN_KEY"),
        metavar="SETTING",
        help="The name of the app setting with the key, never the key; '' is the app's identity "
        "on Azure, no key elsewhere.",
    ),
]
ApiVersion = Annotated[
    MaybeStr, typer.Option(callback=_text(r"[\w.-]+", "2024-10-21"), metavar="VERSION")
]
Priority = Annotated[
    int | None, typer.Option(min=0, max=1000, help="The lowest number is used first; default 1.")
]
Weight = Annotated[
    int | None, typer.Option(min=1, max=1000, help="Its share among equals; default 1.")
]
MaxInFlight = Annotated[
    MaybeStr,
    typer.Option(
        callback=_count(1, 10**6),
        metavar=_COUNT,
        help="Calls at once to each deployment, per instance of the app; none is no limit.",
    ),
]
Active = Annotated[bool | None, typer.Option("--active/--inactive", help="Switched on or off.")]
NewConfig = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        callback=_text(NAME.pattern, "pc-team: letters, digits, - and _, 80 at most"),
    ),
]
ConfigName = Annotated[str, typer.Argument(metavar="NAME")]
ConfigFile = Annotated[
    typer.FileText | None,
    typer.Option(encoding="utf-8-sig", metavar="FILE", help="The config is in here; - is stdin."),
]
ConfigText = Annotated[
    MaybeStr, typer.Option(metavar="JSON", help="The config itself, as Portkey writes it.")
]
ResourceName = Annotated[str, typer.Argument(metavar="NAME")]
OneResource = Annotated[MaybeStr, typer.Argument(metavar="NAME", help="Default: all that are on.")]
AppUrl = Annotated[
    MaybeStr,
    typer.Option(
        callback=_text(_URL, "https://NAME.azurewebsites.net"),
        metavar="URL",
        help="Ask this gateway how its deployments are.",
    ),
]
