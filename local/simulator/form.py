"""Reads the forms that come with audio and image uploads."""

import re

from local.simulator.refusals import Json, invalid
from local.simulator.steps import File

_BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
_NAME = re.compile(rb'[; ]name="([^"]*)"', re.IGNORECASE)
_FILE_NAME = re.compile(rb'filename="([^"]*)"', re.IGNORECASE)
_TYPE = re.compile(rb"^content-type:\s*(\S+)", re.IGNORECASE | re.MULTILINE)


def read_form(content_type: str, body: bytes) -> tuple[Json, tuple[File, ...]]:
    """The plain fields by name, and what is to know of the files."""
    boundary = _BOUNDARY.search(content_type)
    if boundary is None:
        raise invalid("Missing boundary in multipart/form-data POST data.")
    fields: Json = {}
    files: list[File] = []
    for part in (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = _first(_NAME, head)
        if _FILE_NAME.search(head):
            kind = _first(_TYPE, head) or "application/octet-stream"
            files.append(File(name, _first(_FILE_NAME, head), kind, len(content)))
        else:
            fields[name] = content.decode("utf-8", "replace")
    return fields, tuple(files)


def _first(pattern: re.Pattern[bytes], head: bytes) -> str:
    found = pattern.search(head)
    return found[1].decode("utf-8", "replace") if found else ""
