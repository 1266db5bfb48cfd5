"""What one image file turned out to be at import, and the depth of a whole set of greys."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lesionlab.data.depth import depth_needed, is_deep_colour, peak_of
from lesionlab.data.images import (
    USUAL,
    Reading,
    UnreadableImage,
    as_shown,
    decoded,
    open_image,
    orientation_of,
)
from lesionlab.data.phash import perceptual_hash
from lesionlab.errors import BadInput, counted

FEW_BITS = 4  # below the depth of the set: at most 16 greys of 256 are left


@dataclass(frozen=True)
class Checked:
    """What one image file turned out to be, or why it was refused (`reason`)."""

    width: int = 0
    height: int = 0
    sha256: str = ""
    phash: str = ""
    reason: str = ""
    peak: int | None = None  # the largest value of a grey of more than 8 bits
    deep_colour: int | None = None  # the largest of the upper 8 bits of 16 a channel
    orientation: int = 1  # of EXIF


def check_image(data: bytes, name: str) -> Checked:
    """Decode an image completely; a file that is none is refused in the result."""
    try:
        stored = decoded(data, name)
        image = as_shown(stored, USUAL, name)
    except UnreadableImage as error:
        return Checked(reason=error.advice)
    except BadInput as error:
        return Checked(reason=str(error))
    return Checked(
        *image.size,
        sha256=hashlib.sha256(data).hexdigest(),
        phash=perceptual_hash(image),
        peak=peak_of(stored),
        deep_colour=int(np.asarray(image).max()) if is_deep_colour(stored, data) else None,
        orientation=orientation_of(stored, name),
    )


def at_their_depth(
    checked: Mapping[str, Checked], paths: Mapping[str, Path]
) -> tuple[dict[str, Checked], Reading, list[str]]:
    """Every file as it was checked, now by the depth of the whole set; the rule; and notes.

    The depth reads no label. It is one number for all images, and so tells nothing of any.
    """
    known = dict(checked)
    peaks = {name: c.peak for name, c in known.items() if c.peak is not None and not c.reason}
    depth = depth_needed(max(peaks.values())) if peaks else 16
    reading = replace(USUAL, depth=depth)
    if depth < 16:
        for name in peaks:
            image = open_image(paths[name], name, reading=reading)
            known[name] = replace(known[name], phash=perceptual_hash(image))
    _refuse_dark_colours(known)
    return known, reading, _notes(list(peaks.values()), depth)


def _refuse_dark_colours(checked: dict[str, Checked]) -> None:
    """Colours of 16 bits a channel are read by their upper 8: nearly black where few are used."""
    deep = {n: c.deep_colour for n, c in checked.items() if c.deep_colour is not None}
    if not deep or max(deep.values()) >= 2 ** (14 - 8):
        return
    bits = max(deep.values()).bit_length() + 8
    reason = f"16 bits a channel, of which at most {bits} are used: save 8 bits a channel"
    for name in deep:
        checked[name] = replace(checked[name], reason=reason)


def _notes(peaks: Sequence[int], depth: int) -> list[str]:
    """One line on a depth below 16, and one where few images use far fewer bits than the others."""
    told = []
    if peaks and depth < 16:
        greys = counted(len(peaks), "grey image of 16 bits uses", "grey images of 16 bits use")
        told.append(f"{greys} at most {depth} bits: the upper 8 of these {depth} are shown")
    dark = sum(depth_needed(peak) <= depth - FEW_BITS for peak in peaks)
    if dark:
        told.append(
            f"WARNING: {counted(dark, 'grey image uses', 'grey images use')} at most "
            f"{depth - FEW_BITS} of the {depth} bits of the set and will be nearly black: import "
            "those of another device apart"
        )
    return told
