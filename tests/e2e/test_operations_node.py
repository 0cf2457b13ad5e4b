"""The further operations with the npm package `openai`, unchanged; one run makes all the calls."""

import json
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import KEY

SCRIPT = Path(__file__).with_name("openai_operations.mjs")
MARK = uuid.uuid4().hex


@pytest.fixture(scope="module")
def results(gateway: str) -> dict[str, Any]:
    command = ["node", str(SCRIPT), gateway, KEY, MARK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("form", ["stream", "stream_azure"])
def test_a_responses_stream_is_whole(results: dict[str, Any], form: str) -> None:
    kinds = results[form]

    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert kinds.count("response.output_text.delta") == 30


@pytest.mark.parametrize("form", ["stored", "stored_azure"])
def test_a_stored_response_is_there_until_it_is_deleted(results: dict[str, Any], form: str) -> None:
    assert results[form]["text"].endswith(MARK)
    assert results[form]["next"]
    gone = results[form]["gone"]
    assert (gone["name"], gone["code"]) == ("NotFoundError", "response_not_found")


@pytest.mark.parametrize(
    ("scenario", "code"),
    [
        ("cut", "upstream_stream_cut"),
        ("stall", "upstream_stream_stalled"),
        ("malformed", "upstream_stream_malformed"),
        ("error", "500"),
    ],
)
def test_a_stream_that_breaks_is_an_error_of_the_library(
    results: dict[str, Any], scenario: str, code: str
) -> None:
    error = results[scenario]

    assert (error["name"], error["code"], error["type"]) == ("APIError", code, "server_error")
    assert error["message"]


def test_what_is_not_possible_is_refused(results: dict[str, Any]) -> None:
    assert results["background"]["name"] == "BadRequestError"


def test_images_are_made_and_edited(results: dict[str, Any]) -> None:
    assert (results["image"], results["edit"]) == (1, 1)


def test_speech_is_whole_or_an_error(results: dict[str, Any]) -> None:
    assert results["speech"] == 4170
    assert results["speech_cut"]["name"] != "no error"


@pytest.mark.parametrize("form", ["transcription", "transcription_azure", "transcription_stream"])
def test_a_recording_is_heard(results: dict[str, Any], form: str) -> None:
    assert results[form].endswith("heard speech.mp3 of 40000 bytes")
