"""Fuzzers of the two readers of foreign bytes, for a bounded time (LESIONLAB_FUZZ_SECONDS).

Each damages good files at random, everywhere and in their headers, and asks for one of two
outcomes: a usable result, or the one error that such a reader may raise. The seed is in the
message of a failure.
"""

from __future__ import annotations

import io
import os
import shutil
import time
import tracemalloc
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lesionlab.data.images import Preprocessing, UnreadableImage
from lesionlab.deployment.bundle import read_bundle
from lesionlab.deployment.decode import read_view, refuse_pixels
from lesionlab.deployment.predictor import Predictor
from lesionlab.errors import BadInput

pytestmark = pytest.mark.slow
SECONDS = float(os.environ.get("LESIONLAB_FUZZ_SECONDS", "10"))
HOW = Preprocessing(size=32)
LONGEST = 20.0  # seconds that one damaged file may take, however loaded the machine is
MEGAPIXELS = 4_000_000

Mutate = Callable[[bytes, np.random.Generator], bytes]


def flip(data: bytes, rng: np.random.Generator) -> bytes:
    out = bytearray(data)
    reach = int(rng.choice([32, 256, len(out)]))
    for place in rng.integers(0, min(reach, len(out)), int(rng.integers(1, 8))):
        out[place] = rng.choice([0, 0xFF, 0x7F, 0x80, int(rng.integers(256))])
    return bytes(out)


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(0, len(data)))]


def repeat(data: bytes, rng: np.random.Generator) -> bytes:
    first, last = sorted(rng.integers(0, len(data), 2))
    return data[:last] + data[first:last] * int(rng.integers(1, 20)) + data[last:]


def drop(data: bytes, rng: np.random.Generator) -> bytes:
    first = int(rng.integers(0, len(data)))
    return data[:first] + data[first + int(rng.integers(1, 64)) :]


def number(data: bytes, rng: np.random.Generator) -> bytes:
    """A four-byte number somewhere near the front becomes an extreme one."""
    out = bytearray(data)
    place = int(rng.integers(0, min(512, max(1, len(out) - 4))))
    value = int(rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 50_000]))
    out[place : place + 4] = value.to_bytes(4, str(rng.choice(["little", "big"])))  # type: ignore[arg-type]
    return bytes(out)


MUTATIONS: tuple[Mutate, ...] = (flip, cut, repeat, drop, number)


def damaged(seeds: list[bytes], rng: np.random.Generator) -> bytes:
    data = seeds[int(rng.integers(len(seeds)))]
    for _ in range(int(rng.integers(1, 4))):
        data = MUTATIONS[int(rng.integers(len(MUTATIONS)))](data, rng) or b"\0"
    return data


def attempts(start: int) -> Iterator[tuple[int, np.random.Generator]]:
    end, seed = time.monotonic() + SECONDS, start
    while time.monotonic() < end:
        yield seed, np.random.default_rng(seed)
        seed += 1


def picture() -> Image.Image:
    y, x = np.mgrid[:48, :64]
    return Image.fromarray(np.stack([4 * x, 5 * y, x * y], -1).astype(np.uint8))


def image_seeds() -> list[bytes]:
    image, made = picture(), []
    exif = Image.Exif()
    exif[0x0112] = 6
    ways: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("JPEG", image, {"exif": exif}),
        ("JPEG", image, {"progressive": True}),
        ("JPEG", image.convert("CMYK"), {}),
        ("PNG", image.convert("P"), {}),
        ("PNG", image.convert("RGBA"), {}),
        ("PNG", Image.fromarray(np.arange(3072, dtype=np.uint16).reshape(48, 64)), {}),
        ("TIFF", image, {"compression": "tiff_lzw"}),
        ("TIFF", image, {"compression": "jpeg"}),
        ("TIFF", image, {}),
        ("BMP", image, {}),
        ("PPM", image, {}),
        ("WEBP", image, {}),
    ]
    for kind, one, options in ways:
        stream = io.BytesIO()
        one.save(stream, kind, **options)
        made.append(stream.getvalue())
    return made + dicom_seeds()


def dicom_seeds() -> list[bytes]:
    try:
        import pydicom
        from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
    except ImportError:
        return []
    head = pydicom.dataset.FileMetaDataset()
    head.TransferSyntaxUID = ExplicitVRLittleEndian
    head.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    head.MediaStorageSOPInstanceUID = "1.2.3"
    stored = pydicom.dataset.FileDataset("a", {}, file_meta=head, preamble=bytes(128))
    stored.Rows, stored.Columns, stored.SamplesPerPixel = 48, 64, 1
    stored.PhotometricInterpretation, stored.PixelRepresentation = "MONOCHROME1", 0
    stored.BitsAllocated = stored.BitsStored = 16
    stored.HighBit, stored.WindowCenter, stored.WindowWidth = 15, 1500, 3000
    stored.PixelData = np.arange(48 * 64, dtype=np.uint16).tobytes()
    stream = io.BytesIO()
    stored.save_as(stream, enforce_file_format=True)
    return [stream.getvalue()] * 3


def test_the_image_reader(capsys: pytest.CaptureFixture[str]) -> None:
    seeds, seen = image_seeds(), Counter[str]()
    for seed, rng in attempts(0):
        data, started = damaged(seeds, rng), time.monotonic()
        try:
            refuse_pixels(data, MEGAPIXELS)
            assert read_view(data, HOW).pixels.shape == (32, 32, 3), seed
            seen["read"] += 1
        except UnreadableImage as error:
            seen[f"refused {error.status}"] += 1
            seen["more than one line"] += "\n" in str(error)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error
        assert time.monotonic() - started < LONGEST, seed
    with capsys.disabled():
        print(f"\nimages: {dict(seen)} in {SECONDS:g} s", end="")
    assert not seen.pop("more than one line")
    assert seen["read"]
    assert seen["refused 422"]


def test_the_bundle_reader(
    bundle_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Damage without its hashes, with its hashes made to fit, and in the zip around it."""
    good = {p.name: p.read_bytes() for p in bundle_folder.iterdir()}
    seen, path = Counter[str](), tmp_path / "b"
    tracemalloc.start()
    for seed, rng in attempts(0):
        how = ("plain", "rehashed", "zip")[int(rng.integers(3))]
        write_damaged(path, good, how, rng)
        try:
            Predictor(read_bundle(path), threads=1).self_test()
            seen[f"{how}: read"] += 1
        except BadInput as error:
            seen[f"{how}: refused"] += 1
            seen["more than one line"] += "\n" in str(error)
        except Exception as error:
            raise AssertionError(f"seed {seed} ({how}): {error!r}") from error
    most = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    with capsys.disabled():
        print(f"\nbundles: {dict(seen)} in {SECONDS:g} s, at most {most:.1f} MB", end="")
    assert not seen["more than one line"]
    assert most < 200
    assert seen["plain: refused"]
    assert seen["zip: refused"]


def write_damaged(path: Path, good: dict[str, bytes], how: str, rng: np.random.Generator) -> None:
    from lesionlab.deployment.bundle import INFO, record

    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
    content = dict(good)
    if how == "zip":
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        path.write_bytes(damaged([stream.getvalue()], rng))
        return
    name = sorted(content)[int(rng.integers(len(content)))]
    content[name] = damaged([content[name]], rng)
    if how == "rehashed" and name != INFO:
        import json

        info = json.loads(content[INFO])
        info["files"][name] = record({name: content[name]})[name].model_dump()
        content[INFO] = json.dumps(info).encode()
    path.mkdir()
    for name, data in content.items():
        (path / name).write_bytes(data)
