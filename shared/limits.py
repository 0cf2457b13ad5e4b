"""A request's body: its members and their types, what it asks for, and what has to be changed in it."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from shared.errors import BadRequest
from shared.operations import Operation

Members = dict[str, Any]
_NO_MODEL = (None, "", "portkey-default")
# Members that we act on, and which are true or false.
_SWITCHES = ("stream", "store", "background")
# What is read can be written again: neither the decoder nor an encoder gets to the end of the stack.
_DEEPEST = 200
_SCALARS = frozenset({str, int, float, bool, type(None)})


class _Ambiguous(Members):
    """An object that names a member twice."""


def _object(pairs: list[tuple[str, Any]]) -> Members:
    members = dict(pairs)
    return members if len(members) == len(pairs) else _Ambiguous(members)


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def parse_body(body: bytes) -> Members:
    """The members of a JSON body, whatever its content type says. Raises BadRequest.

    A member that stands there twice is refused: if we read one and the upstream the other, a caller
    could pass the event's cap. So is what is nested more than 200 deep.
    """
    try:
        members = _DECODER.decode(body.decode(json.detect_encoding(body)))
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        where = f" ({error})" if isinstance(error, json.JSONDecodeError) else ""
        raise BadRequest(
            f"The request body is not valid JSON{where}.", code="invalid_json"
        ) from None
    if not isinstance(members, dict):
        raise BadRequest("The request body must be a JSON object.")
    if isinstance(members, _Ambiguous):
        raise BadRequest("The request body names a member twice.", code="invalid_json")
    _check_depth(members, body)
    return members


def _check_depth(members: Members, body: bytes) -> None:
    """Raises BadRequest if they are nested too deeply.

    Where there are many objects or arrays, such as lists of tokens, it is cheaper to count brackets: if
    all that is not seen yet is too little to be too deep, nobody has to look at it.
    """
    level: list[Any] = [members]
    seen = brackets = 0
    for depth in range(1, _DEEPEST + 1):
        seen += len(level)
        if len(level) > _DEEPEST:
            brackets = brackets or body.count(b"{") + body.count(b"[")
            if depth + brackets - seen <= _DEEPEST:
                return
        level = [
            part
            for item in level
            for part in (item.values() if isinstance(item, dict) else item)
            if type(part) not in _SCALARS
        ]
        if not level:
            return
    raise _too_deep()


def names_one_twice(value: object) -> bool:
    """Whether an object somewhere in this value names a member twice, so that readers could differ."""
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, _Ambiguous):
            return True
        if isinstance(item, dict):
            rest.extend(item.values())
        elif isinstance(item, list):
            rest.extend(item)
    return False


def model_of(members: Members) -> str:
    """The model asked for, or "" if the call leaves it to us. Raises BadRequest."""
    model = members.get("model")
    if model in _NO_MODEL:
        return ""
    if not isinstance(model, str) or not model.isprintable() or len(model) > 256:
        raise _wrong_type("model", "a string of at most 256 printable characters")
    return model


def check_types(operation: Operation, members: Members) -> None:
    """Raises BadRequest for a member that we act on and that has the wrong type, or is not possible."""
    for field in _SWITCHES if operation.is_stored else _SWITCHES[:1]:
        value = members.get(field)
        if value is not None and not isinstance(value, bool):
            raise _wrong_type(field, "true or false")
    for field, reason in operation.refused:
        if members.get(field):
            raise BadRequest(reason, param=field)
    for field in (*operation.output_fields, *operation.multipliers):
        if _count(members, field) is not None and members[field] < 1:
            raise BadRequest(f"'{field}' must be at least 1.", param=field)


class Output(NamedTuple):
    """What a call asks for: so many answers of at most `each` tokens, unless it leaves that open."""

    answers: int
    each: int | None
    is_open: bool

    def cover(self, other: "Output") -> "Output":
        """What covers both, where the same call may be sent in two ways."""
        each = max(self.each or 0, other.each or 0) or None
        return Output(max(self.answers, other.answers), each, self.is_open or other.is_open)


def output(operation: Operation, members: Members, cap: int | None) -> Output:
    """What may come out: the tokens asked for, times the number of answers (`n`, `best_of`, prompts).

    Raises BadRequest with `max_tokens_exceeded` if that is more than `cap` tokens.
    """
    answers = answers_of(operation, members)
    if not operation.output_fields:
        each = operation.answer_tokens
        return Output(answers if each else 0, each, is_open=False)
    asked = {
        field: count
        for field in operation.output_fields
        if (count := _count(members, field)) is not None
    }
    if cap is not None:
        for field, count in asked.items():
            if count * answers > cap:
                raise _exceeded(field, cap, answers)
        if answers > cap:
            raise _exceeded(_multiplier(operation, members), cap, answers)
    return Output(answers, max(asked.values(), default=None), is_open=not asked)


def merged(operation: Operation, members: Members, params: Mapping[str, Any]) -> Members:
    """The members with these in place of them; one that bounds the output replaces all that do.

    They are the same object if there are none to replace.
    """
    if not params:
        return members
    fields = operation.output_fields
    bounds = () if params.keys().isdisjoint(fields) else fields
    kept = {name: value for name, value in members.items() if name not in bounds}
    return {**kept, **params}


def with_members(body: bytes, members: Members, added: Members) -> bytes:
    """The body with these members set; all else stays as it came, to the byte where that can be.

    Raises BadRequest as `dumped`.
    """
    ends_at = body.rfind(b"}")
    if members and not added.keys() & members.keys() and json.detect_encoding(body) == "utf-8":
        return body[:ends_at] + b"," + dumped(added)[1:] + body[ends_at + 1 :]
    return dumped({**members, **added})


def dumped(members: Members) -> bytes:
    """The members as a body. Raises BadRequest for a number such as 1e400, which has no JSON."""
    try:
        return json.dumps(members, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:
        raise BadRequest("A number in the request body is too large.") from None


def answers_of(operation: Operation, members: Members) -> int:
    """How many answers are asked for: so many for each prompt."""
    answers = max((_count(members, field) or 1 for field in operation.multipliers), default=1)
    prompt = members.get("prompt")
    if operation.answers_each_prompt and isinstance(prompt, list):
        is_one = all(isinstance(item, int) for item in prompt)
        answers *= 1 if is_one else len(prompt)
    return answers


def _multiplier(operation: Operation, members: Members) -> str:
    """The member that asks for most answers."""
    most = max(operation.multipliers, key=lambda field: members.get(field) or 1, default="prompt")
    return most if members.get(most) or not operation.answers_each_prompt else "prompt"


def _exceeded(field: str, cap: int, answers: int) -> BadRequest:
    most = cap // answers
    times = f" ({most} for each of {answers} answers)" if answers > 1 and most else ""
    return BadRequest(
        f"'{field}' asks for more output than this event allows: at most {cap} tokens{times}.",
        code="max_tokens_exceeded",
        param=field,
    )


def _count(members: Mapping[str, Any], field: str) -> int | None:
    value = members.get(field)
    if value is None:
        return None
    if type(value) is not int:
        raise _wrong_type(field, "an integer")
    return value


def _too_deep() -> BadRequest:
    return BadRequest(
        f"The request body is nested too deeply: write at most {_DEEPEST} objects and arrays in each "
        "other.",
        code="invalid_json",
    )


def _wrong_type(field: str, right: str) -> BadRequest:
    return BadRequest(f"'{field}' must be {right}.", param=field)
