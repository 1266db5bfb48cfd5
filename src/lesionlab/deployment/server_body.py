"""The images of a request, taken from its body in memory: nothing is spooled to a disk."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import parse_options_header

from lesionlab.deployment.http_errors import Problem

MAX_PARTS = 32
IMAGE_TYPES = ("image/", "application/octet-stream", "application/dicom")
_URL_ALPHABET = str.maketrans("-_", "+/")
NO_URLS = "prediction by URL is off: send the image itself"


@dataclass
class Upload:
    """One image as it came; `name` is only given back to who sent it, never logged."""

    name: str
    data: bytearray = field(default_factory=bytearray)


async def read_uploads(content_type: str, chunks: AsyncIterator[bytes], most: int) -> list[Upload]:
    """The images of a body: multipart/form-data, one image as the body, or JSON with base64.

    Raises `Problem` 400 for a body that is not what it says, 413 for more than `most` images,
    415 for another kind of body.
    """
    kind, options = parse_options_header(content_type)
    media = kind.decode("latin-1").lower()
    if media == "multipart/form-data":
        uploads = await _multipart(options, chunks)
    elif media == "application/json":
        uploads = _json(b"".join([c async for c in chunks]))
    elif media.startswith(IMAGE_TYPES):
        uploads = [Upload("", bytearray(b"".join([c async for c in chunks])))]
    else:
        raise Problem(415, "kind", "send multipart/form-data, an image, or application/json")
    if not uploads:
        raise Problem(400, "empty", "no image in the request")
    if len(uploads) > most:
        raise Problem(413, "images", f"{len(uploads)} images, more than {most} at a time")
    return uploads


class _Parts:
    """The callbacks of the parser: files are kept, everything else is refused."""

    def __init__(self) -> None:
        self.uploads: list[Upload] = []
        self.parts = 0
        self._name, self._value = bytearray(), bytearray()
        self._headers: list[tuple[bytes, bytes]] = []
        self._current: Upload | None = None
        self.ended = False

    def callbacks(self) -> dict[str, Any]:
        return {
            "on_part_begin": self.on_part_begin,
            "on_header_field": self.on_header_field,
            "on_header_value": self.on_header_value,
            "on_header_end": self.on_header_end,
            "on_headers_finished": self.on_headers_finished,
            "on_part_data": self.on_part_data,
            "on_end": self.on_end,
        }

    def on_part_begin(self) -> None:
        self.parts += 1
        if self.parts > MAX_PARTS:
            raise Problem(400, "parts", f"more than {MAX_PARTS} parts")
        self._headers, self._current = [], None

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self._headers.append((bytes(self._name).lower(), bytes(self._value)))
        self._name.clear()
        self._value.clear()

    def on_headers_finished(self) -> None:
        disposition = dict(self._headers).get(b"content-disposition", b"")
        _, options = parse_options_header(disposition)
        if b"filename" not in options:
            field_name = options.get(b"name", b"").decode("utf-8", "replace")
            what = NO_URLS if field_name == "url" else f"the field '{field_name}' is not a file"
            raise Problem(400, "field", what)
        name = options[b"filename"].decode("utf-8", "replace")
        self._current = Upload(name)
        self.uploads.append(self._current)

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._current is not None:
            self._current.data += data[start:end]

    def on_end(self) -> None:
        self.ended = True


async def _multipart(options: dict[bytes, bytes], chunks: AsyncIterator[bytes]) -> list[Upload]:
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= 200:
        raise Problem(400, "multipart", "no boundary in the Content-Type")
    parts = _Parts()
    try:
        # The parser itself refuses a part with more than 8 headers or 4 KiB of them.
        parser = MultipartParser(boundary, parts.callbacks())  # type: ignore[arg-type]
        async for chunk in chunks:
            parser.write(chunk)
        parser.finalize()
    except (MultipartParseError, FormParserError) as error:
        raise Problem(400, "multipart", f"not multipart/form-data ({error})") from None
    if not parts.ended:
        raise Problem(400, "multipart", "the multipart body is incomplete")
    return parts.uploads


def _json(data: bytes) -> list[Upload]:
    """The images of a JSON body `{"images": [{"name": "a.jpg", "data": "<base64>"}]}`.

    Raises `Problem` 400 for any other body.
    """
    try:
        value = json.loads(data, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "json", f"not valid JSON ({str(error)[:100]})") from None
    images = value.get("images") if isinstance(value, dict) else None
    if isinstance(value, dict) and "url" in value:
        raise Problem(400, "field", NO_URLS)
    if not isinstance(images, list) or set(value) != {"images"}:
        raise Problem(400, "json", 'send {"images": [{"name": ..., "data": base64}]}')
    return [_from_json(one) for one in images]


def _from_json(one: Any) -> Upload:
    if isinstance(one, dict) and "url" in one:
        raise Problem(400, "field", NO_URLS)
    if not isinstance(one, dict) or not set(one) <= {"name", "data"}:
        raise Problem(400, "json", "an image is an object with 'name' and 'data'")
    name, data = one.get("name", ""), one.get("data")
    if not isinstance(name, str) or not isinstance(data, str):
        raise Problem(400, "json", "'name' and 'data' are strings")
    return Upload(name, bytearray(_from_base64(data)))


def _from_base64(text: str) -> bytes:
    """The bytes of base64, also as a browser's data URI, in lines, or of the alphabet of URLs."""
    head, comma, _ = text.lstrip()[:200].partition(",")
    if comma and head.lower().startswith("data:"):
        if not head.lower().endswith(";base64"):
            raise Problem(400, "json", "the data URI is not ';base64,'")
        text = text.lstrip()[len(head) + 1 :]
    plain = "".join(text.split()).translate(_URL_ALPHABET).rstrip("=")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Problem(400, "json", "'data' is not base64") from None


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")
