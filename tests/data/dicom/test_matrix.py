"""Every value of every axis of DICOM pixels, in all pairs that the standard allows.

What a picture must be is written out here from the formulae of the standard (PS3.3 C.11.1,
C.11.2.1, C.7.6.3.1, C.7.9; ITU-T T.871), in floating point, from the values before encoding.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pydicom", reason="the extra dicom is not installed")

from pydicom.dataset import Dataset

from helpers.dicom_files import (
    BIG_ENDIAN,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    JPEG_2000,
    JPEG_2000_LOSSLESS,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_ANY,
    JPEG_LS,
    JPEG_LS_NEAR,
    RLE,
    dicom_file,
)
from lesionlab.data.dicom import read_dicom

NO_PREAMBLE = "no preamble"
SHAPE = (36, 48)  # JPEG 2000 halves it five times
GREY: dict[str, tuple[Any, ...]] = {
    "kind": ("MONOCHROME1", "MONOCHROME2"),
    "syntax": (EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED, NO_PREAMBLE, RLE, JPEG, JPEG_LOSSLESS,
               JPEG_LOSSLESS_ANY, JPEG_LS, JPEG_LS_NEAR, JPEG_2000_LOSSLESS, JPEG_2000),
    "bits": (8, 10, 12, 14, 16),
    "signed": (False, True),
    "window": ("none", "empty", "one", "several", "first is empty", "LINEAR", "LINEAR_EXACT",
               "SIGMOID", "function is empty", "table", "table of 8 bits", "empty table",
               "shared group", "frame group"),
    "rescale": ("none", "one", "negative", "empty", "half empty", "table"),
    "padding": ("none", "below", "above", "range", "empty"),
}  # fmt: skip
LOSSY = {JPEG: 3, JPEG_LS_NEAR: 1, JPEG_2000: 3}  # by how many stored values they may differ


def allowed(case: dict[str, Any]) -> bool:
    """What the standard allows, and what the encoders of the tests can write."""
    if case.get("syntax") == JPEG and (case.get("bits", 8) != 8 or case.get("signed")):
        return False
    if case.get("syntax") in LOSSY and case.get("padding", "none") not in ("none", "empty"):
        return False  # a value that marks padding must survive
    if case.get("syntax") == JPEG_LS_NEAR and case.get("signed"):
        return False  # an error of one level turns the least value into the highest
    return not (case.get("rescale") == "table" and case.get("window") == "empty table")


def all_pairs(axes: dict[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """Greedy cases until each allowed pair of values of two axes has occurred in one."""
    names, rng = list(axes), np.random.default_rng(0)
    open_pairs = {
        frozenset({(a, x), (b, y)})
        for a, b in itertools.combinations(names, 2)
        for x in axes[a]
        for y in axes[b]
        if allowed({a: x, b: y})
    }
    while open_pairs:
        first = min(open_pairs, key=lambda p: sorted(map(str, p)))
        case = dict(sorted(first, key=str))  # a set has another order in each process
        for name in map(str, rng.permutation([n for n in names if n not in case])):
            fits = [v for v in axes[name] if allowed({**case, name: v})]
            gains = [sum(frozenset({(name, v), pair}) in open_pairs for pair in case.items())
                     for v in fits]  # fmt: skip
            best = [v for v, g in zip(fits, gains, strict=True) if g == max(gains)]
            case[name] = best[rng.integers(len(best))]
        open_pairs -= {frozenset(p) for p in itertools.combinations(case.items(), 2)}
        yield case


def ramp(bits: int, signed: bool) -> np.ndarray:
    """A smooth picture that fills the middle of the range."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] / np.array(SHAPE).reshape(2, 1, 1)
    wave = 0.5 + 0.22 * np.sin(5 * x) + 0.2 * np.cos(4 * y + x)
    values = np.rint(wave * (2**bits - 1)).astype(np.int64) - (2 ** (bits - 1) if signed else 0)
    return values


class Expected:
    """The tags of a case, and the picture by the formulae."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.case, self.bits, self.signed = case, case["bits"], case["signed"]
        self.least = -(2 ** (self.bits - 1)) if self.signed else 0
        self.most = self.least + 2**self.bits - 1
        self.values = ramp(self.bits, self.signed)
        self.tags: dict[str, Any] = {"BitsStored": self.bits,
                                     "PhotometricInterpretation": case["kind"]}  # fmt: skip
        self.padding = self._padding()
        self.units = self._modality()
        self.steepness = 0.0
        grey = self._voi() * 255
        self.picture = 255 - grey if case["kind"] == "MONOCHROME1" else grey
        self.picture[self.padding] = 0

    def _padding(self) -> np.ndarray:
        how, mask = self.case["padding"], np.zeros(SHAPE, bool)
        if how in ("none", "empty"):
            self.tags |= {"PixelPaddingValue": ""} if how == "empty" else {}
            return mask
        mask[:, :7] = True
        low, high = {"below": (self.least, self.least), "above": (self.most, self.most),
                     "range": (self.least, self.least + 3)}[how]  # fmt: skip
        self.values[mask] = low
        self.values[:3, :7] = high
        self.tags["PixelPaddingValue"] = low
        if how == "range":
            self.tags["PixelPaddingRangeLimit"] = high
        return mask

    def _modality(self) -> np.ndarray:
        """C.11.1: table, or value * slope + intercept."""
        how = self.case["rescale"]
        self.slope = {"one": 2.0, "negative": -1.0, "half empty": 0.5}.get(how, 1.0)
        offset = {"one": -100.0, "negative": 50.0}.get(how, 0.0)
        if how == "table":
            return self._modality_table()
        if how == "empty":
            self.tags |= {"RescaleSlope": "", "RescaleIntercept": ""}
        elif how == "half empty":
            self.tags |= {"RescaleSlope": self.slope, "RescaleIntercept": ""}
        elif how != "none":
            self.tags |= {"RescaleSlope": self.slope, "RescaleIntercept": offset}
        return self.values * self.slope + offset

    def _modality_table(self) -> np.ndarray:
        n = min(2**self.bits, 65535)
        entries = np.rint(np.linspace(0, 1, n) ** 1.5 * 4095).astype(np.int64)
        self.slope = 1.5 * 4095 / n
        self.tags["ModalityLUTSequence"] = [self._lut(entries, self.least, 12)]
        return entries[(self.values - self.least).clip(0, n - 1)]

    def _lut(self, entries: np.ndarray, first: int, bits: int) -> Dataset:
        item = Dataset()
        item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(entries), first, bits])
        order = ">u2" if self.case["syntax"] == BIG_ENDIAN else "<u2"
        item.add_new("LUTData", "OW", entries.astype(order).tobytes())
        return item

    def _voi(self) -> np.ndarray:
        """C.11.2: brightness from 0 to 1."""
        how, seen = self.case["window"], self.units[~self.padding]
        low, high = float(seen.min()), float(seen.max())
        centre, width = round((low + high) / 2), max(round((high - low) * 0.8), 2)
        if how in ("none", "empty"):
            if how == "empty":
                self.tags |= {"WindowCenter": "", "WindowWidth": ""}
            self.steepness = self.slope / (high - low)
            return ((self.units - low) / (high - low)).clip(0, 1)
        if how.startswith("table"):
            return self._voi_table(8 if "8" in how else 12, int(low), int(high))
        if how == "empty table":
            self.tags["VOILUTSequence"] = [Dataset()]
        function = how if how in ("LINEAR", "LINEAR_EXACT", "SIGMOID") else ""
        self._window_tags(how, centre, width, function)
        self.steepness = abs(self.slope) / (width - 1)
        return self._window(centre, width, function)

    def _window_tags(self, how: str, centre: int, width: int, function: str) -> None:
        group = Dataset()
        group.WindowCenter, group.WindowWidth = centre, width
        if how == "several":
            group.WindowCenter, group.WindowWidth = [centre, 10], [width, 20]
        elif how == "first is empty":
            group.WindowCenter, group.WindowWidth = ["", centre], ["", width]
        if function or how == "function is empty":
            group.VOILUTFunction = function
        if how.endswith("group"):
            macro = Dataset()
            macro.FrameVOILUTSequence = [group]
            name = "Shared" if how.startswith("shared") else "PerFrame"
            self.tags[f"{name}FunctionalGroupsSequence"] = [macro]
        else:
            self.tags |= {e.keyword: e.value if e.value is not None else "" for e in group}

    def _window(self, c: float, w: float, function: str) -> np.ndarray:
        if function == "SIGMOID":  # C.11.2.1.3.1
            return np.array([1 / (1 + math.exp(-4 * (x - c) / w)) for x in self.units.flat],
                            float).reshape(SHAPE)  # fmt: skip
        if function == "LINEAR_EXACT":  # C.11.2.1.3.2
            inside = (self.units - c) / w + 0.5
            return np.where(self.units <= c - w / 2, 0, np.where(self.units > c + w / 2, 1, inside))
        below = self.units <= c - 0.5 - (w - 1) / 2  # C.11.2.1.2.1
        above = self.units > c - 0.5 + (w - 1) / 2
        inside = (self.units - (c - 0.5)) / (w - 1) + 0.5
        return np.where(below, 0, np.where(above, 1, inside))

    def _voi_table(self, bits: int, low: int, high: int) -> np.ndarray:
        """C.11.2.1.1: the first entry for `low` and below, the last from `high` on."""
        low = max(low, -(2**15))  # the least that an element can say
        n = min(high - low + 1, 60000)
        entries = np.rint(np.linspace(0, 1, n) ** 1.3 * (2**bits - 1)).astype(np.int64)
        self.tags["VOILUTSequence"] = [self._lut(entries, low, bits)]
        self.steepness = 1.3 * abs(self.slope) / n
        place = np.rint(self.units).astype(np.int64) - low
        return entries[place.clip(0, n - 1)] / (2**bits - 1)


GREY_CASES = list(all_pairs(GREY))
MORE = [
    {"kind": kind, "syntax": EXPLICIT, "bits": 12, "signed": False, "window": window,
     "rescale": rescale, "padding": padding}
    for (n, (window, rescale)) in enumerate(itertools.product(GREY["window"], GREY["rescale"]))
    for kind, padding in [(GREY["kind"][n % 2], GREY["padding"][n % 5])]
]  # fmt: skip


def test_the_matrix_holds_all_pairs() -> None:
    seen = {p for case in GREY_CASES for p in itertools.combinations(case.items(), 2)}
    count = sum(
        allowed({a: x, b: y})
        for a, b in itertools.combinations(GREY, 2)
        for x in GREY[a]
        for y in GREY[b]
    )
    assert len({frozenset(p) for p in seen}) == count
    assert all(map(allowed, GREY_CASES))


@pytest.mark.parametrize("case", [*GREY_CASES, *filter(allowed, MORE)], ids=str)
def test_greys(case: dict[str, Any], tmp_path: Path) -> None:
    expected = Expected(case)
    dtype = np.dtype(f"{'i' if case['signed'] else 'u'}{1 if case['bits'] == 8 else 2}")
    syntax = EXPLICIT if case["syntax"] == NO_PREAMBLE else case["syntax"]
    preamble = None if case["syntax"] == NO_PREAMBLE else bytes(128)
    data = dicom_file(expected.values.astype(dtype), syntax, preamble=preamble, scratch=tmp_path,
                      **expected.tags)  # fmt: skip
    seen = np.asarray(read_dicom(data, "a.dcm").image).astype(float)
    bound = 0.5 + 1e-6 + LOSSY.get(case["syntax"], 0) * (1 + 2 * 255 * abs(expected.steepness))
    assert np.abs(seen - expected.picture).max() <= bound


def rgb_picture() -> np.ndarray:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] / np.array(SHAPE).reshape(2, 1, 1)
    channels = (210 - 90 * x, 160 - 70 * y, 140 - 60 * x * y)
    return np.stack([np.rint(c) for c in channels], -1).astype(np.uint8)


def ycbcr_of(rgb: np.ndarray) -> np.ndarray:
    """ITU-T T.871, section 7."""
    r, g, b = rgb.astype(float).transpose(2, 0, 1)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return np.stack([y, (b - y) / 1.772 + 128, (r - y) / 1.402 + 128], -1)


def rgb_of(ycbcr: np.ndarray) -> np.ndarray:
    y, cb, cr = ycbcr.astype(float).transpose(2, 0, 1)
    red, blue = y + 1.402 * (cr - 128), y + 1.772 * (cb - 128)
    green = (y - 0.299 * red - 0.114 * blue) / 0.587
    return np.stack([red, green, blue], -1).clip(0, 255)


NATIVES = (EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED, NO_PREAMBLE)
LOSSLESS = (*NATIVES, RLE, JPEG_LOSSLESS, JPEG_LOSSLESS_ANY, JPEG_LS)
COLOUR_CASES = [
    *itertools.product(("RGB", "YBR_FULL"), LOSSLESS, (0, 1)),
    *itertools.product(("RGB", "YBR_FULL"), (JPEG_LS_NEAR,), (0, 1)),
    *itertools.product(("YBR_FULL_422",), NATIVES, (0,)),
    *itertools.product(("RGB", "YBR_FULL", "YBR_FULL_422"), (JPEG,), (0, 1)),
    *itertools.product(("RGB", "YBR_RCT"), (JPEG_2000_LOSSLESS,), (0, 1)),
    *itertools.product(("RGB", "YBR_ICT"), (JPEG_2000,), (0, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "syntax", "planar"), COLOUR_CASES)
def test_colours(kind: str, syntax: str, planar: int, tmp_path: Path) -> None:
    rgb, tags = rgb_picture(), {"PhotometricInterpretation": kind, "PlanarConfiguration": planar}
    pixels, expected, bound = rgb, rgb.astype(float), {JPEG: 5, JPEG_2000: 6}.get(syntax, 0)
    if kind == "YBR_FULL" and syntax != JPEG:
        pixels = np.rint(ycbcr_of(rgb)).astype(np.uint8)
        expected, bound = rgb_of(pixels), 0.5 + 1e-3
    elif kind == "YBR_FULL_422" and syntax != JPEG:
        pixels = np.rint(ycbcr_of(rgb)).astype(np.uint8)
        pairs = np.repeat(pixels[:, ::2, 1:], 2, 1)  # the chroma of the first of two neighbours
        expected = rgb_of(np.concatenate([pixels[..., :1], pairs], -1))
        four = np.stack([pixels[:, ::2, 0], pixels[:, 1::2, 0], pixels[:, ::2, 1],
                         pixels[:, ::2, 2]], -1)  # fmt: skip
        tags["PixelData"], bound = four.tobytes(), 0.5 + 1e-3
    if syntax == JPEG_LS_NEAR:
        bound += 4  # one level of each sample
    data = dicom_file(pixels, EXPLICIT if syntax == NO_PREAMBLE else syntax, scratch=tmp_path,
                      preamble=None if syntax == NO_PREAMBLE else bytes(128), **tags)  # fmt: skip
    seen = np.asarray(read_dicom(data, "a.dcm").image).astype(float)
    assert np.abs(seen - expected).max() <= bound


PALETTES = [
    (bits, entries, first, syntax)
    for (bits, entries), (first, syntax) in itertools.product(
        ((8, "bytes"), (8, "words"), (16, "words"), (16, "bytes in words"), (16, "segments")),
        ((0, EXPLICIT), (16, IMPLICIT), (0, BIG_ENDIAN), (0, RLE), (3, JPEG_LOSSLESS),
         (0, JPEG_LS), (0, JPEG_2000_LOSSLESS)),
    )
]  # fmt: skip


@pytest.mark.parametrize(("bits", "entries", "first", "syntax"), PALETTES)
def test_palettes(bits: int, entries: str, first: int, syntax: str, tmp_path: Path) -> None:
    """C.7.6.3.1.5 and 6: index - first, below it the first entry, the upper 8 bits of 16."""
    rng = np.random.default_rng(0)
    n, order = 200, ">u2" if syntax == BIG_ENDIAN else "<u2"
    colours = rng.integers(0, 256, (n, 3))
    indices = rng.integers(0, 256, SHAPE).astype(np.uint8)
    tags: dict[str, Any] = {"PhotometricInterpretation": "PALETTE COLOR"}
    for k, channel in enumerate(("Red", "Green", "Blue")):
        name, column = f"{channel}PaletteColorLookupTable", colours[:, k]
        tags[f"{name}Descriptor"] = [n, first, bits]
        words = column << 8 if bits == 16 and entries != "bytes in words" else column
        if entries == "bytes":
            tags[f"{name}Data"] = column.astype(np.uint8).tobytes()
        elif entries == "segments":  # C.7.9.2: one discrete segment of n entries
            tags[f"Segmented{name}Data"] = np.array([0, n, *words]).astype(order).tobytes()
        else:
            tags[f"{name}Data"] = words.astype(order).tobytes()
    data = dicom_file(indices, syntax, scratch=tmp_path, **tags)
    expected = colours[(indices.astype(int) - first).clip(0, n - 1)]
    assert (np.asarray(read_dicom(data, "a.dcm").image) == expected).all()


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("syntax", [EXPLICIT, BIG_ENDIAN, RLE, JPEG_LS])
def test_colours_of_more_bits(bits: int, planar: int, syntax: str) -> None:
    wide = np.rint(rgb_picture() / 255 * (2**bits - 1)).astype(np.uint16)
    data = dicom_file(wide, syntax, BitsStored=bits, PlanarConfiguration=planar)
    seen = np.asarray(read_dicom(data, "a.dcm").image)
    assert np.abs(seen - wide / (2**bits - 1) * 255).max() <= 0.5 + 1e-6
