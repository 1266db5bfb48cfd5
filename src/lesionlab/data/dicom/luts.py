"""Look-up tables of DICOM: of modality, VOI and palette, which differ only by their elements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionlab.data.dicom.elements import numbers, refused, tag, title, value
from lesionlab.data.dicom.layout import Pixels
from lesionlab.data.images import UnreadableImage

Entries = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Lut:
    """A table (PS3.3 C.11.1.1.1): input `first` takes the first entry; `bits` is their depth."""

    first: int
    entries: Entries
    bits: int

    def __call__(self, values: Pixels) -> Entries:
        """The entries for `values`; those beyond an end take the entry at that end."""
        place = np.rint(values).astype(np.int64) - self.first
        return np.asarray(self.entries[place.clip(0, len(self.entries) - 1)])

    @property
    def full_scale(self) -> int:
        """What counts as white: the declared bits, unless the entries show that these are wrong.

        Files exist whose entries exceed the declared bits, and files that declare 16 bits and
        fill 12 or 10 of them: less than a quarter of the range, shown as a black picture.
        """
        used = int(self.entries.max()).bit_length()
        short = self.bits == 16 and 0 < used <= 14
        return int(2 ** (used if short else max(used, self.bits)) - 1)


def lut_of(
    item: Any,
    descriptor: str = "LUTDescriptor",
    data: str = "LUTData",
    *,
    signed: bool = False,
    little: bool = True,
) -> Lut | None:
    """The table of an item, None where descriptor or data are absent or empty.

    `signed` says that its input may be negative; `little` the byte order of the file.
    """
    described, stored = numbers(item, descriptor), value(item, data)
    if not described or stored is None:
        return None
    if len(described) != 3 or None in described:
        raise refused(descriptor, described, "three numbers are expected")
    n, first, bits = (int(d or 0) for d in described)
    n = n % 65536 or 65536
    first = first - 65536 if signed and first > 32767 else first
    if not 1 <= bits <= 16:
        raise refused(descriptor, bits, "bits of an entry")
    entries = _entries(stored, n, bits, little)
    if len(entries) < n:
        raise UnreadableImage(
            f"{title(data)} in {tag(data)} has {len(entries)} entries, and {n} are declared"
        )
    return Lut(first, entries[:n], bits)


def _entries(stored: Any, n: int, bits: int, little: bool) -> Entries:
    """Words, or bytes where the table is too short for words (two to a word)."""
    if isinstance(stored, (bytes, bytearray)):
        raw = bytes(stored)
    else:
        words = np.atleast_1d(np.asarray(stored, np.int64)) & 0xFFFF
        raw, little = words.astype("<u2").tobytes(), True
    if bits <= 8 and len(raw) < 2 * n:
        return np.frombuffer(raw, np.uint8).astype(np.uint16)
    even = raw[: len(raw) // 2 * 2]
    return np.frombuffer(even, "<u2" if little else ">u2").astype(np.uint16)
