"""Parameters that a model does not take: renamed, dropped, and learned from what it answers."""

import json
from typing import Any

import pytest

from shared.limits import Members
from shared.parameters import REASONING, UNCHANGED, Change, Learned, adapt

MESSAGES = [{"role": "user", "content": "Hello"}]
INSTEAD = "Unsupported parameter: '{}' is not supported with this model. Use '{}' instead.".format
ONLY_DEFAULT = (
    "Unsupported value: 'temperature' does not support 0.2 with this model. "
    "Only the default (1) value is supported."
)


def body(**members: Any) -> Members:
    return {"model": "gpt-5", "messages": MESSAGES, **members}


def refusal(
    param: Any, message: Any = "Not supported.", code: Any = "unsupported_parameter"
) -> bytes:
    error = {
        "message": message,
        "type": "invalid_request_error",
        "param": param,
        "code": code,
    }
    return json.dumps({"error": error}).encode()


def test_a_body_that_needs_no_change_is_passed_on_as_it_is() -> None:
    members = body(temperature=1, max_tokens=5)

    adapted, dropped = adapt(members, UNCHANGED)

    assert adapted is members and dropped == []


def test_a_reasoning_model_is_spared_what_it_does_not_take() -> None:
    members = {
        "temperature": 0.2,
        "model": "gpt-5",
        "top_p": 1,
        "max_tokens": 50,
        "messages": MESSAGES,
        "presence_penalty": 0,
        "stop": ["."],
        "frequency_penalty": 0,
        "logprobs": True,
        "top_logprobs": 2,
        "reasoning_effort": "low",
        "logit_bias": {},
    }

    adapted, dropped = adapt(members, REASONING)

    assert list(adapted.items()) == [
        ("model", "gpt-5"),
        ("max_completion_tokens", 50),
        ("messages", MESSAGES),
        ("stop", ["."]),
        ("reasoning_effort", "low"),
    ]
    assert dropped == [
        "temperature",
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "logprobs",
        "top_logprobs",
        "logit_bias",
    ]


def test_the_callers_own_members_stay_as_they_are() -> None:
    members = body(max_tokens=5, temperature=1)

    adapt(members, REASONING)

    assert members == body(max_tokens=5, temperature=1)


def test_what_a_reasoning_model_takes_is_left_alone() -> None:
    members = body(max_completion_tokens=5, stream=True)

    adapted, dropped = adapt(members, REASONING)

    assert adapted is members and dropped == []


@pytest.mark.parametrize("old_first", [True, False])
@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [(5, 9, 9), (9, 5, 9), (5, None, 5), (None, 5, 5), (None, None, None), ("x", 5, 5)],
)
def test_where_a_body_has_both_limits_the_larger_is_kept(
    old: Any, new: Any, kept: Any, old_first: bool
) -> None:
    limits = [("max_tokens", old), ("max_completion_tokens", new)]

    adapted, dropped = adapt(body(**dict(limits if old_first else limits[::-1])), REASONING)

    assert adapted == body(max_completion_tokens=kept)
    assert dropped == []


def test_a_refused_parameter_is_dropped_from_then_on() -> None:
    learned = Learned()
    members = body(temperature=0.2, top_p=0.5)
    assert learned.change == UNCHANGED

    assert learned.learn(400, refusal("temperature"), members)

    assert adapt(members, learned.change) == (body(top_p=0.5), ["temperature"])


def test_one_refusal_after_the_other_is_learned() -> None:
    learned = Learned()
    sent = body(temperature=0.2, max_tokens=5, top_p=0.5)
    for content in (
        refusal("max_tokens", INSTEAD("max_tokens", "max_completion_tokens")),
        refusal("temperature", ONLY_DEFAULT, "unsupported_value"),
        refusal("top_p"),
    ):
        assert learned.learn(400, content, sent)
        sent, _ = adapt(sent, learned.change)

    members = body(temperature=0.2, max_tokens=5, top_p=0.5)
    assert adapt(members, learned.change) == (
        body(max_completion_tokens=5),
        ["temperature", "top_p"],
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")],
)
def test_a_limit_of_the_output_is_renamed(old: str, new: str) -> None:
    learned = Learned()

    assert learned.learn(400, refusal(old, INSTEAD(old, new)), body(**{old: 5}))
    assert adapt(body(**{old: 5}), learned.change) == (body(**{new: 5}), [])


def test_a_limit_of_the_output_is_never_dropped() -> None:
    learned = Learned()

    assert not learned.learn(400, refusal("max_tokens"), body(max_tokens=5))
    assert learned.change == UNCHANGED


def test_a_model_that_changed_its_mind_is_followed() -> None:
    learned = Learned(REASONING)
    sent, _ = adapt(body(max_tokens=5), learned.change)
    content = refusal("max_completion_tokens", INSTEAD("max_completion_tokens", "max_tokens"))

    assert learned.learn(400, content, sent)
    assert adapt(body(max_tokens=5), learned.change) == (body(max_tokens=5), [])
    assert learned.change.dropped == REASONING.dropped


def test_a_call_that_was_under_way_when_another_learned_is_worth_another_try_too() -> None:
    learned = Learned()
    sent = body(temperature=0.2)

    assert learned.learn(400, refusal("temperature"), sent)
    assert learned.learn(400, refusal("temperature"), sent)
    assert learned.change == Change({}, frozenset({"temperature"}))


def test_what_was_not_sent_teaches_nothing() -> None:
    learned = Learned()
    sent, _ = adapt(body(temperature=0.2), Change({}, frozenset({"temperature"})))

    assert not learned.learn(400, refusal("temperature"), sent)
    assert learned.change == UNCHANGED


@pytest.mark.parametrize("name", ["model", "messages", "input", "stream"])
def test_what_makes_the_call_is_never_dropped(name: str) -> None:
    learned = Learned()

    assert not learned.learn(400, refusal(name), {**body(stream=True), "input": "x"})
    assert learned.change == UNCHANGED


def test_a_refused_value_of_a_parameter_with_other_values_teaches_nothing() -> None:
    message = (
        "Unsupported value: 'reasoning_effort' does not support 'minimal' with this model. "
        "Supported values are: 'low', 'medium', and 'high'."
    )
    content = refusal("reasoning_effort", message, "unsupported_value")
    learned = Learned()

    assert not learned.learn(400, content, body(reasoning_effort="minimal"))
    assert learned.change == UNCHANGED


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (422, refusal("temperature")),
        (200, refusal("temperature")),
        (400, refusal("temperature", code="invalid_type")),
        (400, refusal("temperature", code=None)),
        (400, refusal("temperature", code=["unsupported_parameter"])),
        (400, refusal(None)),
        (400, refusal(["temperature"])),
        (400, refusal("messages[0].role")),
        (400, b""),
        (400, b"\xff\xfe\x00"),
        (400, b"<html>unsupported_parameter temperature</html>"),
        (400, b"[" * 100_000),
        (400, b'["error"]'),
        (400, b'{"error": "unsupported_parameter"}'),
        (400, b"{}"),
    ],
)
def test_any_other_answer_teaches_nothing(status: int, content: bytes) -> None:
    learned = Learned()

    assert not learned.learn(status, content, body(temperature=0.2))
    assert learned.change == UNCHANGED


def test_a_message_that_is_no_text_does_no_harm() -> None:
    assert Learned().learn(400, refusal("temperature", None), body(temperature=0.2))


def test_a_deployment_that_refuses_whatever_it_is_sent_fills_no_memory() -> None:
    learned = Learned()
    taught = [
        learned.learn(400, refusal(f"made-up-{number}"), {f"made-up-{number}": 1})
        for number in range(1000)
    ]

    assert sum(taught) == len(learned.change.dropped) < 100
