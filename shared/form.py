"""A multipart form: kept as it arrives, mostly on disk, its fields read on the way."""

import re
from collections.abc import AsyncIterator, Sequence
from tempfile import SpooledTemporaryFile
from typing import Any, NamedTuple

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from shared.errors import BadRequest
from shared.tokens import Upload

_IN_MEMORY_BYTES = 2**20
_PIECE_BYTES = 2**16
# All fields that are no files, with the headers of all parts; these are read into memory.
_FIELDS_BYTES = 2**20
_MOST_PARTS = 256
# https://www.rfc-editor.org/rfc/rfc2046#section-5.1.1
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
# A parameter may have any case, and be written in the way of RFC 2231: `name*`, `name*0`.
_NAME = re.compile(rb"[;\s]name\s*(\*[^=;]*)?=", re.IGNORECASE)
_FILENAME = re.compile(rb"[;\s]filename\s*(\*[^=;]*)?=", re.IGNORECASE)
_QUOTED = re.compile(rb'"[^"]*"')
_PLAIN = (b"", b"7bit", b"8bit", b"binary")
_SWITCHES = {"true": True, "false": False}
_DISPOSITION, _ENCODING = b"content-disposition", b"content-transfer-encoding"


class Span(NamedTuple):
    """Where something stands in a form: from the byte `start` up to the byte `end`."""

    start: int
    end: int


class Form:
    """A form that has arrived. Close it.

    `members` are its fields by name, those that are numbers or switches as such; a file is an Upload,
    and several of a name are a list.
    """

    def __init__(
        self,
        file: "SpooledTemporaryFile[bytes]",
        boundary: bytes,
        members: dict[str, Any],
        model_at: Span | None,
    ) -> None:
        self.members = members
        self._file = file
        self._boundary = boundary
        self._model_at = model_at
        self._size = file.tell()

    def close(self) -> None:
        self._file.close()

    def as_it_came(self) -> "FormBody":
        return FormBody(self, [Span(0, self._size)])

    def with_model(self, model: str) -> "FormBody":
        """The form with this model; all else stays as it came, to the byte."""
        if self._model_at:
            start, end = self._model_at
            return FormBody(self, [Span(0, start), model.encode(), Span(end, self._size)])
        part = b'--%s\r\nContent-Disposition: form-data; name="model"\r\n\r\n%s\r\n' % (
            self._boundary,
            model.encode(),
        )
        return FormBody(self, [part, Span(0, self._size)])

    @property
    def content_type(self) -> str:
        return f'multipart/form-data; boundary="{self._boundary.decode()}"'

    def read(self, position: int, size: int) -> bytes:
        self._file.seek(position)
        return self._file.read(size)


class FormBody:
    """A form as it goes up, in pieces; it can be iterated any number of times."""

    def __init__(self, form: Form, parts: Sequence[Span | bytes]) -> None:
        self._form = form
        self._parts = parts
        self.content_type = form.content_type

    def __len__(self) -> int:
        """The size in bytes."""
        return sum(
            part.end - part.start if isinstance(part, Span) else len(part) for part in self._parts
        )

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            if not isinstance(part, Span):
                yield part
                continue
            for position in range(part.start, part.end, _PIECE_BYTES):
                yield self._form.read(position, min(_PIECE_BYTES, part.end - position))


class FormReader:
    """Takes a form in chunks that were cut anywhere.

    `numbers` and `switches` are the fields that are read as such. They and the model may stand there
    only once: if we read one and the upstream the other, a caller could pass a cap. All raise BadRequest
    for what is no form, or a broken one.
    """

    def __init__(
        self, content_type: str, *, numbers: Sequence[str] = (), switches: Sequence[str] = ()
    ) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not _BOUNDARY.fullmatch(boundary):
            raise _invalid("The body must be a form: multipart/form-data, with its boundary")
        self._boundary = boundary
        self._numbers, self._switches = numbers, switches
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._add_header_name,
                "on_header_value": self._add_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_data,
                "on_part_data": self._add_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )
        self._file = SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115
        self._offset = 0
        self._is_whole = False
        self._members: dict[str, Any] = {}
        self._model_at: Span | None = None
        self._fields_size = 0
        self._parts = 0

    def feed(self, chunk: bytes) -> None:
        if (
            not self._offset
        ):  # line breaks in front would come between a part that is put there and the rest
            chunk = chunk.lstrip(b"\r\n")
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise _invalid("The form in the body is broken") from None
        self._file.write(chunk)
        self._offset += len(chunk)

    def finish(self) -> Form:
        """The form, when all of it has been fed."""
        if not self._is_whole:
            raise _invalid("The form in the body breaks off before its last boundary")
        return Form(self._file, self._boundary, self._members, self._model_at)

    def close(self) -> None:
        """Forget what has been fed."""
        self._file.close()

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise _invalid(f"The form has more than {_MOST_PARTS} parts")
        self._headers: dict[bytes, bytes] = {}
        self._header_name = self._header_value = b""
        self._value = b""
        self._data_size = 0

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._header_name += data[start:end].lower()

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._header_value += data[start:end]
        self._data_at = self._offset + end + len(b"\r\n\r\n")

    def _end_header(self) -> None:
        if not self._header_value or self._header_name in self._headers:
            raise _invalid("A part of the form has an empty header, or one twice")
        self._headers[self._header_name] = self._header_value
        self._header_name = self._header_value = b""

    def _begin_data(self) -> None:
        header = self._headers.get(_DISPOSITION, b"")
        kind, options = parse_options_header(header)
        name = options.get(b"name", b"")
        # Quotation marks that are escaped are not so for every reader.
        outside = header if b"\\" in header else _QUOTED.sub(b'""', header)
        if kind != b"form-data" or _NAME.findall(outside) != [b""] or b"\\" in name:
            raise _invalid("A part of the form has no plain name")
        self._name = _text(name, "")
        self._is_file = _FILENAME.search(outside) is not None
        if self._acts_on(self._name):
            is_plain = self._headers.get(_ENCODING, b"").strip().lower() in _PLAIN
            if self._is_file or not is_plain:
                raise _invalid(f"'{self._name}' must be a plain field", self._name)
            if self._name in self._members:
                raise _invalid(f"The form names '{self._name}' twice", self._name)

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._data_size += end - start
        if not self._is_file:
            self._count(end - start)
            self._value += data[start:end]

    def _count(self, size: int) -> None:
        self._fields_size += size
        if self._fields_size > _FIELDS_BYTES:
            raise _invalid(f"The form's fields and headers are larger than {_FIELDS_BYTES:,} bytes")

    def _end_part(self) -> None:
        if self._is_file:
            self._add(Upload(self._name, self._data_size))
            return
        self._add(self._read(_text(self._value, self._name)))
        if self._name == "model":
            self._model_at = Span(self._data_at, self._data_at + self._data_size)

    def _end(self) -> None:
        self._is_whole = True

    def _acts_on(self, name: str) -> bool:
        return name == "model" or name in self._numbers or name in self._switches

    def _read(self, value: str) -> object:
        if self._name in self._switches:
            if value.lower() not in _SWITCHES:
                raise BadRequest(f"'{self._name}' must be true or false.", param=self._name)
            return _SWITCHES[value.lower()]
        if self._name in self._numbers:
            if not (value.isascii() and value.isdecimal() and len(value) < 10):
                raise BadRequest(f"'{self._name}' must be an integer.", param=self._name)
            return int(value)
        return value

    def _add(self, value: object) -> None:
        if self._name not in self._members:
            self._members[self._name] = value
        elif isinstance(several := self._members[self._name], list):
            several.append(value)
        else:
            self._members[self._name] = [several, value]


def _text(value: bytes, name: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        what = f"'{name}'" if name else "The name of a part"
        raise _invalid(f"{what} is no UTF-8", name) from None


def _invalid(problem: str, param: str = "") -> BadRequest:
    return BadRequest(f"{problem}.", code="invalid_form", param=param or None)
