"""Small files of every kind that people have beside, or in place of, plain images."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

# 24 x 16 pixels, the left half (200, 40, 40), the right half (40, 60, 200), to be turned (EXIF 6):
# written by libheif, which the project can only read.
TURNED_HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAcdtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAA"
    "AAAAAAAAAAAAAAAAADRpbG9jAAAAAERAAAIAAQAAAAAB6wABAAAAAAAAAJYAAgAAAAACgQABAAAAAAAAACQA"
    "AAA4aWluZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRt"
    "AAAAAAABAAABBmlwcnAAAADlaXBjbwAAAHVodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH/"
    "/wNwAAADAJAAAAMAAAMAHroCQGEAAQApQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqrprm4CGgwIAAAAyAAAAD"
    "AIRiAAEABkQBwXPBiQAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAAChjbGFwAAAA"
    "GAAAAAEAAAAQAAAAAf///9gAAAAC////0AAAAAIAAAAQcGl4aQAAAAADCAgIAAAACWlyb3QDAAAAGWlwbWEA"
    "AAAAAAAAAQABBoECAwWEhgAAABppcmVmAAAAAAAAAA5jZHNjAAIAAQABAAAAwm1kYXQAAACSKAGvBPIa6RWA"
    "QlMov8J///pp9l2v2avQeTCRx+LIpGdtpFrrxhsa4NYnWtrjfynf+PhXMZxnn6BYs8Umxq/8cQAML2rKObyH"
    "gNd7AgbxGQW/8QFOrePWSVhxzqQgZx+igaPIc1tpuIytoIMAB4vMnYudIFLHAzK8CRdIXny6kFKNK3/AUQPf"
    "oeSd7Fn1ltvVn8AAAAAGRXhpZgAATU0AKgAAAAgAAQESAAMAAAABAAYAAAAAAAA="
)


def noise(seed: int, size: tuple[int, int] = (32, 24)) -> Image.Image:
    """A picture of random pixels, (width, height)."""
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


def saved(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    """The bytes of an image file."""
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def multi_picture(image: Image.Image, **options: Any) -> bytes:
    """A JPEG as phones write it: the picture, then a preview of another size."""
    preview = image.resize((image.width // 2, image.height // 2))
    return saved(image, "MPO", save_all=True, append_images=[preview], **options)


def boxes(brand: bytes, *others: bytes) -> bytes:
    """The beginning of a file of ISO boxes."""
    body = b"ftyp" + brand + bytes(4) + b"".join(others)
    return (len(body) + 4).to_bytes(4, "big") + body + bytes(40)
