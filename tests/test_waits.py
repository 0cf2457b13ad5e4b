"""The wait that an upstream asks for, in whichever header and however it is written."""

import pytest

from shared.waits import asked_for_s


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (b"Retry-After", b"7", 7),
        (b"retry-after-ms", b"250", 0.25),
        (b"x-ms-retry-after-ms", b"1500", 1.5),
        (b"retry-after", b"Thu, 01 Jan 1970 00:00:00 GMT", 0),
        (b"retry-after", b"soon", None),
        (b"retry-after", b"-1", None),
        (b"retry-after", "²".encode("latin-1"), None),
        (b"retry-after-ms", b"9" * 5000, None),
        (b"x-other", b"7", None),
    ],
)
def test_the_wait_is_read_where_there_is_one(
    name: bytes, value: bytes, expected: float | None
) -> None:
    assert asked_for_s([(name, value)]) == expected
