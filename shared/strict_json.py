"""JSON that can be read in one way only."""

import json
from math import isfinite
from typing import Any, NoReturn

_DEEPEST = 32
_MOST_VALUES = 2_000
_LONGEST_INTEGER = 16  # digits; a double holds those of 15 exactly


def parse_object(text: str) -> dict[str, Any]:
    """The members of a JSON object.

    Raises ValueError, which says what is wrong with it, also for what JSON lets pass and readers take
    differently: a member that is named twice, NaN, numbers beyond a double, half a surrogate pair. It
    has at most 2,000 values, nested at most 32 deep, so that it stays cheap to keep.
    """
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not valid JSON ({error})") from None
    except RecursionError:
        raise _too_deep() from None
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    _check(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it names {twice[:80]!r} twice")
    return members


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_INTEGER:
        raise ValueError("it has a number that is too large")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if not isfinite(number):
        raise ValueError("it has a number that is too large")
    return number


def _constant(name: str) -> NoReturn:
    raise ValueError(f"it is not valid JSON ({name} is no number there)")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)


def _check(value: object) -> None:
    pending = [(value, 1)]
    values = 0
    while pending:
        value, depth = pending.pop()
        values += 1
        if depth > _DEEPEST:
            raise _too_deep()
        if values > _MOST_VALUES:
            raise ValueError(f"it has more than {_MOST_VALUES:,} values")
        if isinstance(value, dict):
            pending += [(part, depth + 1) for pair in value.items() for part in pair]
        elif isinstance(value, list):
            pending += [(part, depth + 1) for part in value]
        elif isinstance(value, str):
            _check_text(value)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it has half a surrogate pair") from None


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {_DEEPEST} deep")
