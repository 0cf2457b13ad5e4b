"""What a body may hold, and the cap on output."""

import json
from typing import Any

import pytest

from shared.errors import BadRequest
from shared.limits import Output, check_types, model_of, output, parse_body, with_members
from shared.operations import CHAT_COMPLETIONS, EMBEDDINGS


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b"model=gpt-4o", "invalid_json"),
        (b"\xff\xfe\xfd", "invalid_json"),
        (b"[" * 100_000, "invalid_json"),
        (b'{"max_tokens": ' + b"9" * 5000 + b"}", "invalid_json"),
        (b'{"max_tokens": 5, "max_tokens": 50000}', "invalid_json"),
        (b'{"max_tokens": 5, "max\\u005ftokens": 50000}', "invalid_json"),
        (b"[]", "invalid_request"),
        (b'"text"', "invalid_request"),
        (b"null", "invalid_request"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(BadRequest) as error:
        parse_body(body)
    assert error.value.code == code


@pytest.mark.parametrize(
    "body",
    [
        b'\xef\xbb\xbf{"n": 1}',
        '{"n": 1}'.encode("utf-16"),
        b' {"n":\n1} ',
        b'{"n": 1, "a": {"n": 2}}',
    ],
)
def test_json_in_any_encoding_is_read(body: bytes) -> None:
    assert parse_body(body)["n"] == 1


@pytest.mark.parametrize("model", [None, "", "portkey-default"])
def test_no_model_means_the_default(model: object) -> None:
    assert model_of({"model": model}) == "" == model_of({})


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"max_tokens": "100"}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": []}, "n"),
    ],
)
def test_a_wrong_type_names_the_member(members: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as error:
        check_types(CHAT_COMPLETIONS, members)
    assert (error.value.code, error.value.param) == ("invalid_request", param)


@pytest.mark.parametrize("model", [5, [], {}, True, "gpt\n4", "gpt-\ud83d", "g" * 257])
def test_a_model_that_is_no_name_is_refused(model: object) -> None:
    with pytest.raises(BadRequest) as error:
        model_of({"model": model})
    assert error.value.param == "model"


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"max_tokens": 101}, "max_tokens"),
        ({"max_completion_tokens": 101}, "max_completion_tokens"),
        ({"max_tokens": 5, "max_completion_tokens": 101}, "max_completion_tokens"),
        ({"max_tokens": 51, "n": 2}, "max_tokens"),
        ({"max_tokens": 51, "best_of": 2}, "max_tokens"),
        ({"n": 101}, "n"),
    ],
)
def test_asking_for_more_than_the_cap_is_refused(members: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as error:
        output(CHAT_COMPLETIONS, members, 100)
    assert (error.value.code, error.value.param) == ("max_tokens_exceeded", param)


@pytest.mark.parametrize(
    ("members", "asked"),
    [
        ({"max_tokens": 100}, Output(1, 100, False)),
        ({"max_completion_tokens": 50, "n": 2}, Output(2, 50, False)),
        ({"max_tokens": 1, "n": None}, Output(1, 1, False)),
        ({"max_tokens": 5, "max_completion_tokens": 7}, Output(1, 7, False)),
        ({}, Output(1, None, True)),
        ({"max_tokens": None, "n": 3}, Output(3, None, True)),
    ],
)
def test_what_a_call_within_the_cap_asks_for(members: dict[str, Any], asked: Output) -> None:
    assert output(CHAT_COMPLETIONS, members, 100) == asked


def nested(depth: int, opening: str, closing: str) -> bytes:
    """A body nested so deep: the object itself, and what lies in it."""
    inner = depth - 1
    return f'{{"a":{opening * inner}1{closing * inner}}}'.encode()


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"b":', "}")])
@pytest.mark.parametrize("beside", [b"", b',"list":[' + b"[1]," * 999 + b"[1]]"])
def test_a_body_nested_200_deep_can_be_written_again_and_a_deeper_one_is_refused(
    opening: str, closing: str, beside: bytes
) -> None:
    body = nested(200, opening, closing)[:-1] + beside + b"}"
    members = parse_body(body)
    assert parse_body(with_members(body, members, {"a": members["a"]})) == members
    for depth in (201, 400, 900, 5000):
        with pytest.raises(BadRequest) as error:
            parse_body(nested(depth, opening, closing)[:-1] + beside + b"}")
        assert error.value.code == "invalid_json" and "200" in error.value.message


def test_brackets_in_a_text_are_no_nesting() -> None:
    text = "[" * 10_000
    lists = [[1, 2]] * 1000
    assert parse_body(json.dumps({"a": text, "b": lists}).encode()) == {"a": text, "b": lists}


def test_embeddings_have_no_output_to_cap() -> None:
    assert output(EMBEDDINGS, {"input": "text"}, 1) == Output(0, None, False)
    check_types(EMBEDDINGS, {"input": "text", "n": "whatever"})


def test_without_a_cap_any_output_may_be_asked_for() -> None:
    assert output(CHAT_COMPLETIONS, {"max_tokens": 10**9}, None) == Output(1, 10**9, False)


def test_a_member_is_set_without_a_change_to_the_rest_of_the_body() -> None:
    body = b' {"x": 1.0, "y":\n 12345678901234567890,"z": "\\u00e9}"} \n'
    changed = with_members(body, parse_body(body), {"a": {"b": True}})
    assert changed == body.replace(b'"} ', b'","a":{"b":true}} ')


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"a": null, "x": 1}',
        b'\xef\xbb\xbf{"x": 1}',
        '{"x": 1}'.encode("utf-16"),
        '{"x": "}"}'.encode("utf-32"),
    ],
)
def test_a_member_is_set_in_any_body(body: bytes) -> None:
    members = parse_body(body)
    assert parse_body(with_members(body, members, {"a": 5})) == {**members, "a": 5}
