"""JPEG lossless by GDCM, in a process of its own: a damaged file may end that, not the caller.

GDCM lets C++ exceptions escape, which end a whole server. The second half of this file is the
program of that process; it imports GDCM alone, to start quickly.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

SECONDS = 120.0  # for one frame
HEADER = "<IIIIII"  # columns, rows, samples, allocated bits, stored bits, signed


def decode_jpeg_lossless(
    frame: bytes,
    syntax: str,
    *,
    columns: int,
    rows: int,
    samples: int,
    allocated: int,
    bits: int,
    signed: bool,
) -> bytes:
    """The samples of a frame, little endian, colours by pixel; `ValueError` where it is damaged."""
    header = struct.pack(HEADER, columns, rows, samples, allocated, bits, signed)
    done = subprocess.run(
        [sys.executable, "-P", str(Path(__file__)), syntax],
        input=header + frame,
        capture_output=True,
        timeout=SECONDS,
    )
    if done.returncode or len(done.stdout) != columns * rows * samples * allocated // 8:
        raise ValueError("the decoder gave up")
    return done.stdout


def _main(syntax: str) -> None:
    import gdcm

    data = sys.stdin.buffer.read()
    size = struct.calcsize(HEADER)
    columns, rows, samples, allocated, bits, signed = struct.unpack(HEADER, data[:size])
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(data[size:])
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((columns, rows, 1))
    image.SetDataElement(element)
    kind = gdcm.PhotometricInterpretation.GetPIType("RGB" if samples == 3 else "MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    image.SetPixelFormat(gdcm.PixelFormat(samples, allocated, bits, bits - 1, signed))
    sys.stdout.buffer.write(image.GetBuffer().encode("utf-8", "surrogateescape"))


if __name__ == "__main__":
    _main(sys.argv[1])
