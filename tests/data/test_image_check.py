"""The depth of a whole set of greys, by import."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.picture_files import noise, saved
from lesionlab.data.cache import decoder
from lesionlab.data.images import Preprocessing
from lesionlab.data.importing import import_source
from lesionlab.data.manifest import Dataset, read_dataset
from lesionlab.data.sources.table import source_named
from lesionlab.errors import BadInput


def grey(seed: int, most: int) -> bytes:
    values = np.random.default_rng(seed).integers(0, most + 1, (20, 20), np.uint16)
    values[0, 0] = most
    return saved(Image.fromarray(values), "PNG")


def imported(folder: Path, files: list[bytes], **options: float) -> Dataset:
    for i, data in enumerate(files):
        path = folder / "src" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    import_source(source_named("folder"), folder / "src", folder / "out", **options)  # type: ignore[arg-type]
    return read_dataset(folder / "out")


@pytest.mark.parametrize(
    ("peaks", "depth"),
    [((4095, 3000), 12), ((1023, 900), 10), ((16383, 4095), 14), ((65535, 9), 16), ((255, 9), 8)],
)
def test_the_depth_is_that_of_the_largest_value_of_the_set(
    tmp_path: Path, peaks: tuple[int, int], depth: int
) -> None:
    data = imported(tmp_path, [grey(i, peak) for i, peak in enumerate(peaks)])
    assert data.info.depth == depth
    assert data.reading.depth == depth
    seen = decoder(data, Preprocessing(20, channels=1, mean=(0.0,), std=(1.0,))).take(np.array([0]))
    assert seen.max() == peaks[0] >> (depth - 8)
    assert any(f"at most {depth} bits" in note for note in data.info.notes) == (depth < 16)


def test_a_set_of_8_bits_has_the_depth_of_before(tmp_path: Path) -> None:
    data = imported(tmp_path, [saved(noise(i), "PNG") for i in range(2)])
    assert (data.info.depth, data.info.colour) == (16, "srgb")


def test_greys_of_two_devices_are_told(tmp_path: Path) -> None:
    data = imported(tmp_path, [grey(0, 65535), grey(1, 60000), grey(2, 4095), grey(3, 4000)])
    assert any("2 grey images use at most 12 of the 16 bits" in n for n in data.info.notes)


def test_different_pictures_of_few_bits_are_no_duplicates(tmp_path: Path) -> None:
    """By their upper 8 of 16 bits all would be black, and their perceptual hashes the same."""
    data = imported(tmp_path, [grey(i, 250) for i in range(4)])
    assert data.table["phash"].nunique() == 4


def deep_colour(most: int) -> bytes:
    """A PNG of 16 bits a channel, which Pillow does not write."""
    values = np.random.default_rng(most).integers(0, most + 1, (16, 16, 3)).astype(">u2")
    values[0, 0] = most
    rows = b"".join(b"\0" + row.tobytes() for row in values)

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    head = struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_deep_colours_that_would_be_black_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="of which at most 12 are used: save 8 bits a channel"):
        imported(tmp_path, [deep_colour(4095), deep_colour(4000)])


def test_deep_colours_of_all_bits_are_read_by_the_upper_eight(tmp_path: Path) -> None:
    data = imported(tmp_path, [deep_colour(65535), deep_colour(60000)])
    assert len(data.table) == 2
