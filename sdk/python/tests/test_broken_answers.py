"""What a gateway would mend: broken answers, from the simulated Azure OpenAI itself."""

import httpx
import pytest
from conftest import Way
from openai_proxy import error

from tests.e2e.calls import Calls


@pytest.mark.parametrize(
    ("deployment", "kind"),
    [
        ("sim-cut", error.APIConnectionError),
        ("sim-tear", error.APIConnectionError),
        ("sim-nodone", error.APIConnectionError),
        ("sim-empty", error.APIConnectionError),
        ("sim-reset", error.APIConnectionError),
        ("sim-stall", error.Timeout),
        ("sim-malformed", error.APIError),
        ("sim-miderror", error.APIError),
        ("sim-notstream", error.APIError),
    ],
)
def test_a_stream_is_never_complete_when_it_is_not(
    way: Way, azure: str, deployment: str, kind: type[error.OpenAIError]
) -> None:
    with pytest.raises(error.OpenAIError) as caught:
        way.chat(api_base=f"{azure}/{deployment}", stream=True, request_timeout=0.5)

    assert type(caught.value) is kind


@pytest.mark.parametrize("deployment", ["sim-cut", "sim-reset"])
def test_half_an_answer_is_a_connection_error(way: Way, azure: str, deployment: str) -> None:
    with pytest.raises(error.APIConnectionError):
        way.chat(api_base=f"{azure}/{deployment}")


def test_what_is_no_json_is_an_api_error_that_shows_it(way: Way, azure: str) -> None:
    with pytest.raises(error.APIError, match=r"HTTP code 502 from API \(<html>"):
        way.chat(api_base=f"{azure}/sim-502")


def test_crlf_is_read_like_lf(way: Way, azure: str) -> None:
    chunks = way.chat(api_base=f"{azure}/sim-crlf", stream=True)

    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("deployment", "kind"),
    [
        ("sim-409", error.TryAgain),
        ("sim-429", error.RateLimitError),
        ("sim-500", error.APIError),
        ("sim-503", error.ServiceUnavailableError),
        ("sim-reset", error.APIConnectionError),
    ],
)
def test_nothing_is_tried_again(
    way: Way,
    azure: str,
    calls: Calls,
    text: str,
    streams: bool,
    deployment: str,
    kind: type[error.OpenAIError],
) -> None:
    with pytest.raises(kind):
        way.chat(text, api_base=f"{azure}/{deployment}", stream=streams)

    assert len(calls.all(text)) == 1


def test_a_conflict_is_tried_again_for_the_time_given(
    way: Way, simulator: str, azure: str, text: str
) -> None:
    fault = f"{simulator}/simulator/faults/gpt-4o"
    httpx.put(fault, json={"fault": "sim-409", "calls": 1}).raise_for_status()

    answer = way.chat(text, api_base=f"{azure}/gpt-4o", timeout=5)

    assert text in answer.choices[0].message.content
