"""What `manage.py plan` says an event needs, held against arithmetic done by hand."""

import re
import shlex
from typing import Any

import pytest

import manage
from tests import test_manage
from tests.test_manage import Result, Run, refused

manage_py = test_manage.manage_py
CLASS = ("--attendees", "100", "--prompts", "20", "--hours", "1")
HACK = ("--attendees", "1_000", "--prompts", "300", "--hours", "30", "--days", "3", "--peak", "5")


def plan(capsys: pytest.CaptureFixture[str], *options: str) -> Result:
    return Result(manage.main(["plan", *options]), *capsys.readouterr())


def planned(capsys: pytest.CaptureFixture[str], *options: str) -> Any:
    return plan(capsys, *options, "--json").json


def test_a_class_of_100(capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(capsys, *CLASS)
    assert found["capacity"] == {
        "requests": 2000,  # 100 x 20
        "input_tokens": 3_000_000,  # 2,000 x 1,500
        "output_tokens": 800_000,  # 2,000 x 400
        "mean_rpm": 33.3,  # 2,000 / 60
        "peak_rpm": 100,  # 33.3 x 3
        "used_tpm": 190_000,  # 100 x (1,500 + 400)
        "counted_tpm": 230_000,  # 100 x (1,500 + 800)
        "units": 230,
        "limited_by": "tokens",
        "calls_at_once": 17,  # 100 a minute, 10 s each
        "instances": 1,
        "storage_operations": 8360,  # 2,000 x 4 and 60 minutes x 6
    }
    assert found["caps"] == {
        "max_tokens": 800,  # twice the answer
        "requests_per_minute": 10,  # 2 x 3 x 20 / 60, but at least 10
        "daily_requests": 40,  # 2 x 20
        "daily_tokens": 76_000,  # 40 x 1,900
        "tokens_per_minute": 230_000,
        "token_budget": 5_700_000,  # 1.5 x 3,800,000
    }


def test_a_hack_of_1000_over_three_days(capsys: pytest.CaptureFixture[str]) -> None:
    found = planned(capsys, *HACK)
    needed, caps = found["capacity"], found["caps"]
    assert needed["requests"] == 300_000
    assert needed["peak_rpm"] == 834  # 300,000 / 1,800 x 5, rounded up
    assert needed["units"] == 1919  # 834 x 2,300
    assert (needed["calls_at_once"], needed["instances"]) == (139, 2)
    assert caps["daily_requests"] == 200  # 2 x 300 / 3
    assert caps["token_budget"] == 860_000_000  # 1.5 x 570,000,000, rounded up


@pytest.mark.parametrize(
    ("rpm_per_unit", "units", "limited_by"),
    [("1", 100, "requests"), ("6", 20, "tokens")],  # 100 / 1; 100 x (100 + 100) / 1,000
)
def test_short_requests_are_limited_by_their_number_where_a_unit_takes_few(
    capsys: pytest.CaptureFixture[str], rpm_per_unit: str, units: int, limited_by: str
) -> None:
    short = ("--input-tokens", "100", "--output-tokens", "50", "--rpm-per-unit", rpm_per_unit)
    found = planned(capsys, *CLASS, *short)["capacity"]
    assert (found["units"], found["limited_by"]) == (units, limited_by)


def test_the_cap_on_an_answer_counts_whatever_is_answered(
    capsys: pytest.CaptureFixture[str],
) -> None:
    low, high = (
        planned(capsys, *CLASS, "--max-tokens", tokens)["capacity"] for tokens in ("400", "4000")
    )
    assert low["used_tpm"] == high["used_tpm"] == low["counted_tpm"]
    assert high["counted_tpm"] == 550_000  # 100 x (1,500 + 4,000)


def test_people_see_tables_and_a_command_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    shown = plan(capsys, *CLASS)
    assert (shown.status, shown.err) == (0, "")
    assert re.search(r"Tokens counted \(TPM\) +230,000 ", shown.out)
    assert re.search(r"Capacity units +230 ", shown.out)
    assert re.search(r"--token-budget +5,700,000 ", shown.out)
    assert shown.out.splitlines()[-1] == planned(capsys, *CLASS)["command"]


def test_the_command_adds_an_event_with_the_caps(
    manage_py: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    found = planned(capsys, *HACK)
    words = shlex.split(found["command"].replace("END", "2999-01-01"))
    assert words[:2] == ["python", "manage.py"]
    event = manage_py(*words[2:], "--json").json
    assert {name: event[name] for name in found["caps"]} == found["caps"]
    manage_py("events", "remove", event["code"], "--yes")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--attendees", "0"), "attendees"),
        (("--attendees", "many"), "attendees"),
        (("--prompts", "0"), "prompts"),
        (("--hours", "25"), "hours"),
        (("--peak", "0.5"), "peak"),
        (("--days", "0"), "days"),
    ],
)
def test_what_cannot_be_is_refused(
    capsys: pytest.CaptureFixture[str], options: tuple[str, str], word: str
) -> None:
    refused(plan(capsys, *CLASS, *options), word)


@pytest.mark.parametrize("missing", ["--attendees", "--prompts", "--hours"])
def test_what_is_needed_is_asked_for(capsys: pytest.CaptureFixture[str], missing: str) -> None:
    place = CLASS.index(missing)
    refused(plan(capsys, *CLASS[:place], *CLASS[place + 2 :]), missing)
