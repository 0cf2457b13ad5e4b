"""What Portkey's headers and configs ask for, and which are refused."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from shared import portkey
from shared.errors import BadRequest
from shared.models import RESOURCE_NAME
from shared.portkey import Headers
from shared.portkey_config import parse_config
from shared.wishes import Wish, Wishes
from tests.hostile import HOSTILE
from tests.processes import ROOT

KEY = (b"x-portkey-api-key", b"hackathon/githubuser")


def read(**headers: str) -> Headers:
    """The headers x-portkey-…, by their names with underscores."""
    raw = [
        (f"x-portkey-{name.replace('_', '-')}".encode(), text.encode())
        for name, text in headers.items()
    ]
    found = portkey.read([KEY, *raw])
    assert found
    return found


def leaves(wish: Wish | Wishes) -> list[Wish]:
    if isinstance(wish, Wish):
        return [wish]
    return [leaf for member in wish.members for leaf in leaves(member)]


def wishes(config: dict[str, Any]) -> Wish | Wishes:
    return parse_config(json.dumps(config)).wishes_for()


def refusal(**headers: str) -> str:
    with pytest.raises(BadRequest) as caught:
        read(**headers)
    return caught.value.message


def test_a_plain_call_asks_for_nothing() -> None:
    assert portkey.read([(b"authorization", b"Bearer x"), KEY]) is None


def test_every_header_is_read() -> None:
    found = read(
        virtual_key="sweden",
        provider="@azure-openai",
        config="pc-team-4f9a1c",
        trace_id="trace 1",
        metadata='{"_user": "Zoë", "team": ""}',
        cache_force_refresh="True",
        request_timeout="1500",
        azure_resource_name="My-Resource",
        azure_deployment_id="gpt-4o_1.2",
        azure_api_version="2024-10-21",
    )
    assert found == Headers(
        virtual_key="sweden",
        provider="azure-openai",
        config="pc-team-4f9a1c",
        trace_id="trace 1",
        metadata={"_user": "Zoë", "team": ""},
        refresh=True,
        timeout_s=1.5,
        azure_resource="My-Resource",
        azure_deployment="gpt-4o_1.2",
        azure_version="2024-10-21",
    )
    assert found.resource == "sweden" and not found.is_config_inline


def test_what_portkey_clients_send_of_themselves_is_passed_over() -> None:
    found = read(
        virtual_key="",
        custom_host="",
        config="",
        metadata="",
        package_version="portkey-0.1.0",
        runtime="CPython",
        runtime_version="3.13.1",
        strict_open_ai_compliance="false",
        calculate_audio_duration="true",
        debug="true",
        cache_namespace="mine",
        azure_model_name="gpt-4o",
    )
    assert found == Headers()
    assert portkey.wishes_of(found, None) is not None


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("metadata", "team", "JSON"),
        ("metadata", '["team"]', "no JSON object"),
        ("metadata", '{"team": 1}', "'team'"),
        ("metadata", '{"team": "a", "team": "b"}', "twice"),
        ("metadata", json.dumps({"team": "a" * 129}), "128"),
        ("metadata", json.dumps({"a" * 129: ""}), "128"),
        ("metadata", json.dumps({"team": "a\nb"}), "printable"),
        ("metadata", json.dumps({str(number): "" for number in range(21)}), "20"),
        ("trace_id", "a" * 257, "256"),
        ("trace_id", "a\x7fb", "printable"),
        ("trace_id", "Zoë", "ASCII"),
        ("cache_force_refresh", "yes", "true or false"),
        ("request_timeout", "0", "milliseconds"),
        ("request_timeout", "600001", "milliseconds"),
        ("request_timeout", "1.5", "milliseconds"),
        ("default_input_guardrails", "[]", "does not take"),
    ],
)
def test_a_header_that_is_wrong_is_named(name: str, text: str, told: str) -> None:
    message = refusal(**{name: text})
    assert f"x-portkey-{name.replace('_', '-')}" in message
    assert told in message


def test_the_most_that_portkey_allows_is_taken() -> None:
    most = {f"{number:0128}": "b" * 128 for number in range(20)}
    assert read(metadata=json.dumps(most)).metadata == most
    assert read(trace_id="a" * 256).trace_id == "a" * 256


def test_a_header_that_stands_there_twice_is_refused_unless_it_says_the_same() -> None:
    one, two = (b"x-portkey-virtual-key", b"one"), (b"x-portkey-virtual-key", b"two")
    same = portkey.read([one, one])
    assert same and same.virtual_key == "one"
    with pytest.raises(BadRequest, match="x-portkey-virtual-key"):
        portkey.read([one, two])


def test_a_name_alone_is_one_wish() -> None:
    by_key = portkey.wishes_of(read(virtual_key="sweden"), None)
    by_provider = portkey.wishes_of(read(provider="@sweden"), None)
    assert isinstance(by_key, Wish) and isinstance(by_provider, Wish)
    assert by_key.resource == by_provider.resource == "sweden"


def test_a_fallback_is_tried_in_order_by_its_own_statuses() -> None:
    found = wishes(
        {
            "strategy": {"mode": "fallback", "on_status_codes": [429, 503]},
            "targets": [{"virtual_key": "one"}, {"provider": "@two"}, {"virtual_key": "three"}],
        }
    )
    assert isinstance(found, Wishes) and found.weights is None
    assert [leaf.resource for leaf in leaves(found)] == ["one", "two", "three"]
    assert [leaf.policy.moves_on for leaf in leaves(found)] == [{429, 503}, {429, 503}, None]


def test_a_fallback_without_statuses_goes_by_our_own_rules() -> None:
    found = wishes({"strategy": {"mode": "fallback"}, "targets": [{}, {}]})
    assert [leaf.policy.moves_on for leaf in leaves(found)] == [None, None]


def test_the_last_of_an_inner_fallback_moves_on_as_the_outer_says() -> None:
    inner = {
        "strategy": {"mode": "fallback", "on_status_codes": [500]},
        "targets": [{"virtual_key": "one"}, {"virtual_key": "two"}],
    }
    outer = {"mode": "fallback", "on_status_codes": [429]}
    found = wishes({"strategy": outer, "targets": [inner, {"virtual_key": "three"}]})
    assert [leaf.policy.moves_on for leaf in leaves(found)] == [{500}, {429}, None]
    assert isinstance(found, Wishes) and isinstance(found.members[0], Wishes)


def test_a_load_is_spread_by_weights_and_0_is_never() -> None:
    targets = [
        {"virtual_key": "one", "weight": 0.75},
        {"virtual_key": "two"},
        {"virtual_key": "three", "weight": 0},
    ]
    found = wishes({"strategy": {"mode": "loadbalance"}, "targets": targets})
    assert isinstance(found, Wishes) and found.weights == (0.75, 1)
    assert [leaf.resource for leaf in leaves(found)] == ["one", "two"]


def test_single_is_the_first_target() -> None:
    found = wishes({"strategy": {"mode": "single"}, "targets": [{"virtual_key": "one"}, {}]})
    assert isinstance(found, Wish) and found.resource == "one"


def test_targets_inherit_and_their_own_word_goes_first() -> None:
    config = {
        "virtual_key": "one",
        "retry": {"attempts": 2, "on_status_codes": [429]},
        "request_timeout": 1500,
        "override_params": {"temperature": 0, "user": "a"},
        "strategy": {"mode": "fallback"},
        "targets": [
            {},
            {
                "virtual_key": "two",
                "provider": "openai",
                "retry": {"attempts": 0},
                "request_timeout": 10,
                "override_params": {"user": "b"},
            },
        ],
    }
    first, second = leaves(wishes(config))
    assert (first.resource, second.resource) == ("one", "two")
    assert (first.params, second.params) == (
        {"temperature": 0, "user": "a"},
        {"temperature": 0, "user": "b"},
    )
    assert (first.policy.retries, first.policy.retry_on, first.policy.timeout_s) == (2, {429}, 1.5)
    assert (second.policy.retries, second.policy.retry_on) == (0, None)
    assert second.policy.timeout_s == 0.01


def test_the_headers_say_what_the_config_leaves_open() -> None:
    config = parse_config(
        '{"strategy": {"mode": "fallback"}, "targets": [{"request_timeout": 10}, {"virtual_key": "two"}]}'
    )
    found = portkey.wishes_of(read(virtual_key="one", request_timeout="2000"), config)
    assert [leaf.resource for leaf in leaves(found)] == ["one", "two"]
    assert [leaf.policy.timeout_s for leaf in leaves(found)] == [2, 2]
    plain = config.wishes_for()
    assert [leaf.policy.timeout_s for leaf in leaves(plain)] == [0.01, None]


@pytest.mark.parametrize(
    ("cache", "seconds"),
    [
        (None, None),
        ("simple", 604_800),
        ({"mode": "simple"}, 604_800),
        ({"mode": "simple", "max_age": 60}, 60),
    ],
)
def test_a_cache_is_kept_for_as_long_as_the_config_says(cache: object, seconds: int) -> None:
    assert parse_config(json.dumps({"cache": cache})).cache_max_age_s == seconds


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"cache": "semantic"}, "'simple'"),
        ({"cache": {"mode": "semantic"}}, "'simple'"),
        ({"cache": {"mode": "simple", "max_age": 0}}, "cache.max_age"),
        ({"cache": {"mode": "simple", "ttl": 1}}, "known are mode, max_age"),
        ({"retry": {"on_status_codes": [429]}}, "retry.attempts"),
        ({"retry": {"attempts": 1, "on_status_codes": [99]}}, "retry.on_status_codes.0"),
        ({"retry": {"attempts": 1, "on_status_codes": [600]}}, "retry.on_status_codes.0"),
        ({"retry": {"attempts": 6}}, "retry.attempts"),
        ({"strategy": {"mode": "conditional"}, "targets": [{}]}, "strategy.mode"),
        ({"strategy": {"mode": "single", "on_status_codes": [1]}, "targets": [{}]}, "strategy"),
        ({"strategy": {"mode": "single", "if": 1}, "targets": [{}]}, "mode, on_status_codes"),
        ({"strategy": {"mode": "single"}}, "write both"),
        ({"targets": [{}]}, "write both"),
        ({"strategy": {"mode": "single"}, "targets": []}, "targets"),
        ({"strategy": {"mode": "single"}, "targets": [{"cache": "simple"}]}, "targets.0.cache"),
        ({"strategy": {"mode": "loadbalance"}, "targets": [{"weight": 0}]}, "weight 0"),
        (
            {"strategy": {"mode": "loadbalance"}, "targets": [{"weight": 1e-320}]},
            "0.001 to 1000000",
        ),
        ({"strategy": {"mode": "loadbalance"}, "targets": [{"weight": 1e7}]}, "targets.0.weight"),
        ({"strategy": {"mode": "loadbalance"}, "targets": [{"weight": -1}]}, "targets.0.weight"),
        ({"weight": 1}, "'weight'"),
        ({"override_params": {"stream_options": {}}}, "'stream_options'"),
        ({"override_params": {"previous_response_id": "r"}}, "'previous_response_id'"),
        ({"override_params": []}, "override_params"),
        ({"a\nb": 1}, "'a?b'"),
    ],
)
def test_what_is_wrong_with_a_config_is_said_by_its_path(config: object, told: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_config(json.dumps(config))
    assert told in caught.value.message


def test_a_config_of_the_largest_size_is_taken() -> None:
    deep: dict[str, Any] = {"virtual_key": "deepest"}
    for _ in range(5):
        deep = {"strategy": {"mode": "single"}, "targets": [deep]}
    assert leaves(wishes(deep))[0].resource == "deepest"
    wide = {"strategy": {"mode": "fallback"}, "targets": [{"virtual_key": "one"}] * 50}
    assert len(leaves(wishes(wide))) == 50


def test_headers_and_a_config_are_read_once() -> None:
    assert read(trace_id="once") is read(trace_id="once")
    text = '{"virtual_key": "one"}'
    assert parse_config(text) is parse_config(" ".join([text]).strip())
    assert parse_config(text).wishes_for() is parse_config(text).wishes_for()


def test_the_config_that_the_documentation_shows_is_taken() -> None:
    page = (ROOT / "docs" / "portkey.md").read_text("utf-8")
    config = parse_config(page.partition("```json\n")[2].partition("```")[0])
    assert [leaf.resource for leaf in leaves(config.wishes_for())] == ["sweden", "france"]
    assert config.cache_max_age_s == 3600


def asked(headers: dict[str, str]) -> Iterator[Wish]:
    """The places that a call with these headers may go to."""
    raw = [(name.encode(), text.encode()) for name, text in headers.items()]
    found = portkey.read(raw)
    assert found
    config = parse_config(found.config) if found.is_config_inline else None
    yield from leaves(portkey.wishes_of(found, config))


@pytest.mark.parametrize(("headers", "named"), HOSTILE.values(), ids=HOSTILE)
def test_no_header_leads_a_call_elsewhere(headers: dict[str, str], named: str) -> None:
    with pytest.raises(BadRequest) as caught:
        list(asked(headers))
    assert named in caught.value.message
    assert "secret" not in caught.value.message
    assert len(caught.value.message) < 500


def test_the_hostile_table_is_as_large_as_promised() -> None:
    assert len(HOSTILE) >= 50
    for good in ({"x-portkey-virtual-key": "one"}, {"x-portkey-config": '{"provider": "@two"}'}):
        assert all(RESOURCE_NAME.fullmatch(wish.resource) for wish in asked(good))
