"""DICOM files in every transfer syntax that a test can write."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

START = "1.2.840.10008.1.2"
IMPLICIT, EXPLICIT, BIG_ENDIAN = START, f"{START}.1", f"{START}.2"
DEFLATED, RLE = f"{START}.1.99", f"{START}.5"
JPEG, JPEG_LOSSLESS, JPEG_LOSSLESS_ANY = f"{START}.4.50", f"{START}.4.70", f"{START}.4.57"
JPEG_LS, JPEG_LS_NEAR = f"{START}.4.80", f"{START}.4.81"
JPEG_2000_LOSSLESS, JPEG_2000 = f"{START}.4.90", f"{START}.4.91"
NATIVE = (IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED)


def dicom_file(
    pixels: np.ndarray[Any, Any],
    syntax: str = EXPLICIT,
    *,
    preamble: bytes | None = bytes(128),
    scratch: Path | None = None,
    **tags: Any,
) -> bytes:
    """A file of (H, W) or (H, W, 3) stored values; tags that are None are left out.

    `preamble=None` leaves out preamble and file meta information. JPEG lossless is written by
    GDCM through a file in the folder `scratch`.
    """
    if syntax in (JPEG_LOSSLESS, JPEG_LOSSLESS_ANY):
        assert scratch is not None
        kind = tags.get("PhotometricInterpretation") if pixels.ndim == 3 else None
        frame = jpeg_lossless_frame(pixels, syntax, scratch, kind or "")
        return encapsulated(pixels, frame, syntax, **tags)
    stored = _image(pixels, **tags)
    _encode(stored, pixels, syntax)
    stream = io.BytesIO()
    stored.save_as(
        stream,
        implicit_vr=syntax == IMPLICIT,
        little_endian=syntax != BIG_ENDIAN,
        enforce_file_format=preamble is not None,
    )
    data = stream.getvalue()
    if preamble is None:
        return data
    return preamble + data[128:]


def _image(pixels: np.ndarray[Any, Any], **tags: Any) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset

    stored = Dataset()
    stored.file_meta = FileMetaDataset()
    stored.SOPClassUID = stored.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    stored.SOPInstanceUID = stored.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    stored.Rows, stored.Columns = pixels.shape[:2]
    stored.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    stored.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        stored.PlanarConfiguration = 0
    stored.BitsAllocated = stored.BitsStored = 8 * pixels.dtype.itemsize
    stored.PixelRepresentation = int(pixels.dtype.kind == "i")
    stored.PatientID, stored.PatientName = "SECRET-77", "Doe^Jane"
    for name, value in tags.items():
        if value is None:
            delattr(stored, name)
        else:
            setattr(stored, name, value)
    if "HighBit" not in tags:
        stored.HighBit = stored.BitsStored - 1
    return stored


def _encode(stored: Any, pixels: np.ndarray[Any, Any], syntax: str) -> None:
    """Sets transfer syntax and, unless it was given, pixel data."""
    from pydicom.uid import UID

    stored.file_meta.TransferSyntaxUID = UID(syntax)
    if "PixelData" in stored:
        return
    planes = pixels.transpose(2, 0, 1) if stored.get("PlanarConfiguration") == 1 else pixels
    if syntax in NATIVE:
        order = ">" if syntax == BIG_ENDIAN else "<"
        stored.PixelData = planes.astype(pixels.dtype.newbyteorder(order)).tobytes()
        stored["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    elif syntax == JPEG:
        _encapsulate(stored, jpeg_frame(pixels))
    else:
        lossy = {JPEG_LS_NEAR: {"jls_error": 1}, JPEG_2000: {"j2k_psnr": [60.0]}}.get(syntax, {})
        planar = stored.get("PlanarConfiguration")
        if planar is not None:
            stored.PlanarConfiguration = 0
        stored.compress(syntax, pixels, generate_instance_uid=False, **lossy)  # type: ignore[arg-type]
        if planar is not None:
            stored.PlanarConfiguration = planar


def jpeg_frame(pixels: np.ndarray[Any, Any], **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", **{"quality": 98, **options})
    return stream.getvalue()


def _encapsulate(stored: Any, frame: bytes) -> None:
    from pydicom.encaps import encapsulate

    stored.PixelData = encapsulate([frame])
    stored["PixelData"].VR = "OB"
    stored["PixelData"].is_undefined_length = True


def encapsulated(
    pixels: np.ndarray[Any, Any], frame: bytes, syntax: str = JPEG, **tags: Any
) -> bytes:
    """A file whose codestream is given."""
    from pydicom.uid import UID

    stored = _image(pixels, **tags)
    _encapsulate(stored, frame)
    stored.file_meta.TransferSyntaxUID = UID(syntax)
    stream = io.BytesIO()
    stored.save_as(stream, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return stream.getvalue()


def jpeg_lossless_frame(
    pixels: np.ndarray[Any, Any], syntax: str, scratch: Path, kind: str = ""
) -> bytes:
    """A codestream by GDCM, which reads and writes files."""
    import gdcm
    import pydicom
    from pydicom.encaps import get_frame

    (scratch / "in.dcm").write_bytes(
        dicom_file(pixels, **({"PhotometricInterpretation": kind} if kind else {}))
    )
    reader = gdcm.ImageReader()
    reader.SetFileName(str(scratch / "in.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(str(scratch / "out.dcm"))
    assert writer.Write()
    stored = pydicom.dcmread(scratch / "out.dcm")
    return bytes(get_frame(stored.PixelData, 0, number_of_frames=1))
