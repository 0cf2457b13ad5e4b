"""Forms, cut anywhere on their way."""

import asyncio
from typing import Any

import pytest

from shared.errors import BadRequest
from shared.form import Form, FormBody, FormReader
from shared.tokens import Upload

TYPE = 'multipart/form-data; boundary="b-1"'
SOUND = b"\r\n--b-\r\n--b-11\r\nmodel\r\n\r\n\xff\x00" * 3


def part(name: str, value: bytes, file: str = "", *more: str) -> bytes:
    filename = f'; filename="{file}"' if file else ""
    head = [f'Content-Disposition: form-data; name="{name}"{filename}', *more]
    return "\r\n".join(["--b-1", *head, "", ""]).encode() + value + b"\r\n"


END = b"--b-1--\r\n"
FILE = part("file", SOUND, "a.mp3", "Content-Type: audio/mpeg", "Content-Transfer-Encoding: binary")
WHOLE = part("language", "naïve".encode()) + FILE + part("model", b"whisper-1") + END


TWO_NAMES = (
    b'Name="n"; name="x"',
    b'name="x"; NAME=n',
    b"name=\"x\"; name*=utf-8''n",
    b"name*=utf-8''n",
    b'name*0="n"; name="x"',
    b'name="x"; name*0*=n; name*1*=o',
)


def read(*chunks: bytes, content_type: str = TYPE) -> Form:
    reader = FormReader(content_type, numbers=("n",), switches=("stream",))
    try:
        for chunk in chunks:
            reader.feed(chunk)
        return reader.finish()
    except BaseException:
        reader.close()
        raise


def sent(body: FormBody) -> bytes:
    async def collect() -> bytes:
        return b"".join([piece async for piece in body])

    whole = asyncio.run(collect())
    assert len(body) == len(whole)
    return whole


def test_a_form_split_at_any_byte_is_read_and_sent_the_same() -> None:
    expected = {"language": "naïve", "file": Upload("file", len(SOUND)), "model": "whisper-1"}
    renamed = WHOLE.replace(b"\r\n\r\nwhisper-1", b"\r\n\r\nvendor/whisper")
    for cut in range(len(WHOLE) + 1):
        form = read(WHOLE[:cut], WHOLE[cut : cut + 1], WHOLE[cut + 1 :])
        assert form.members == expected
        assert sent(form.as_it_came()) == WHOLE
        assert sent(form.with_model("vendor/whisper")) == renamed
        form.close()


@pytest.mark.parametrize("size", [1, 7, 2**16])
def test_a_large_form_is_kept_on_disk_and_can_be_sent_again(size: int) -> None:
    whole = part("model", b"a") + part("file", SOUND * 1000, "a") + part("prompt", b"b") + END
    whole = whole if size == 1 else whole[:-9] + part("file", bytes(3 * 2**20), "a") + END
    form = read(*(whole[at : at + size] for at in range(0, len(whole), size)))
    try:
        body = form.as_it_came()
        assert sent(body) == sent(body) == whole
        assert sent(form.with_model("bb")) == whole.replace(b"\r\n\r\na\r\n", b"\r\n\r\nbb\r\n", 1)
    finally:
        form.close()


@pytest.mark.parametrize("body", [FILE + END, b"\r\n" + FILE + END])
def test_a_model_that_is_missing_is_put_in_front(body: bytes) -> None:
    form = read(body)
    again = read(sent(form.with_model("whisper-1")), content_type=form.content_type)
    assert again.members == {"model": "whisper-1", **form.members}
    form.close()
    again.close()


@pytest.mark.parametrize("value", [b"", b"w"])
@pytest.mark.parametrize("more", ["Content-Type: text/plain", "X: y"])
def test_a_model_is_replaced_wherever_it_stands(value: bytes, more: str) -> None:
    body = FILE + part("model", value, "", more) + FILE + END
    form = read(*(body[at : at + 1] for at in range(len(body))))
    assert sent(form.with_model("new")) == FILE + part("model", b"new", "", more) + FILE + END
    form.close()


@pytest.mark.parametrize(
    ("name", "value", "read_as"),
    [
        ("stream", b"true", True),
        ("stream", b"False", False),
        ("n", b"3", 3),
        ("prompt", b"3", "3"),
        ("prompt", b"", ""),
    ],
)
def test_fields_have_their_types(name: str, value: bytes, read_as: object) -> None:
    form = read(part(name, value) + END)
    assert form.members == {name: read_as}
    form.close()


@pytest.mark.parametrize("name", ["a; name=b.mp3", "naïve 🐘.mp3", "a'b.mp3", ""])
def test_a_file_may_have_any_name(name: str) -> None:
    form = read(part("file", b"abc", "NAME").replace(b"NAME", name.encode()) + END)
    assert form.members == {"file": Upload("file", 3)}
    form.close()


def test_several_fields_of_a_name_are_a_list() -> None:
    form = read(part("image[]", b"a", "a") + part("image[]", b"bc", "b") + part("x", b"1") + END)
    assert form.members == {"image[]": [Upload("image[]", 1), Upload("image[]", 2)], "x": "1"}
    form.close()


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "multipart/mixed; boundary=b-1",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "b" * 71,
        'multipart/form-data; boundary="b\r\nx: y"',
    ],
)
def test_another_content_type_is_refused(content_type: str) -> None:
    with pytest.raises(BadRequest, match="multipart/form-data"):
        FormReader(content_type)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{}", None),
        (FILE, None),
        (WHOLE[:-5], None),
        (part("model", b"a") + part("model", b"a") + END, "model"),
        (part("n", b"1") + FILE + part("n", b"1") + END, "n"),
        (part("model", b"a", "a.txt") + END, "model"),
        (part("model", b"YQ==", "", "Content-Transfer-Encoding: base64") + END, "model"),
        (part("model", b"\xff") + END, "model"),
        (part("n", b"1.5") + END, "n"),
        (part("n", "١".encode()) + END, "n"),
        (part("n", b"9" * 5000) + END, "n"),
        (part("stream", b"1") + END, "stream"),
        (part('x"; name="model', b"a") + END, None),
        (part("x\"; name*=\"utf-8''model", b"a").replace(b'name="x"; ', b"") + END, None),
        (part("mod\\el", b"a") + END, None),
        (part("x", b"a", 'a\\"; name=model; x="') + END, None),
        (part("x", b"a", 'a"; name="model') + END, None),
        (part("x", b"a", "", "X:") + END, None),
        (part("x", b"a", "", 'Content-Disposition: form-data; name="model"') + END, None),
        (part("x", b"a").replace(b"form-data", b"attachment") + END, None),
        (part("x", b"a").replace(b'; name="x"', b"") + END, None),
        (part("x", bytes(2**20)) + part("y", b"a") + END, None),
        *((part("x", b"a").replace(b'name="x"', names) + END, None) for names in TWO_NAMES),
        (part("model", b"a").replace(b'model"', b"model\"; filename*=utf-8''x") + END, "model"),
        (part("model", b"a").replace(b'model"', b'model"; FileName="x"') + END, "model"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(body: bytes, param: str | None) -> None:
    with pytest.raises(BadRequest) as error:
        read(body)
    assert error.value.param == param
    assert error.value.code in ("invalid_form", "invalid_request")


def test_a_name_may_be_written_in_any_case() -> None:
    form = read(part("x", b"a").replace(b"name=", b"Name=") + END)
    assert form.members == {"x": "a"}
    form.close()


def test_a_form_has_so_many_parts_at_most() -> None:
    form = read(part("x", b"") * 256 + END)
    assert len(form.members["x"]) == 256
    form.close()
    with pytest.raises(BadRequest, match="256 parts"):
        read(part("x", b"") * 257 + END)


def test_headers_count_like_fields() -> None:
    long = part("file", b"a", "a", *(f"X-{number}: {'y' * 3000}" for number in range(2)))
    form = read(long * 160 + END)
    form.close()
    with pytest.raises(BadRequest, match="1,048,576 bytes"):
        read(long * 180 + END)


def test_headers_of_any_length_are_refused() -> None:
    members: dict[str, Any] = {}
    with pytest.raises(BadRequest):
        members = read(part("x", b"a", "", "X: " + "y" * 10_000) + END).members
    assert members == {}
