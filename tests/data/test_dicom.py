from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")

from PIL import Image  # noqa: E402
from pydicom.dataset import Dataset  # noqa: E402

from helpers.colour_profiles import SRGB, WIDE, converted, profile  # noqa: E402
from helpers.dicom_files import (  # noqa: E402
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    JPEG_2000_LOSSLESS,
    JPEG_LS,
    dicom_file,
    encapsulated,
    jpeg_frame,
)
from lesionlab.data import dicom as dicom_module  # noqa: E402
from lesionlab.data.dicom import (  # noqa: E402
    age_in_years,
    decoders,
    read_dicom,
    read_dicom_header,
)
from lesionlab.data.file_kinds import is_dicom  # noqa: E402
from lesionlab.data.images import Preprocessing, UnreadableImage, prepare  # noqa: E402
from lesionlab.data.importing import import_source  # noqa: E402
from lesionlab.data.sources.table import source_named  # noqa: E402
from lesionlab.deployment.decode import read_view  # noqa: E402
from lesionlab.errors import BadInput  # noqa: E402

RAMP = np.arange(16 * 20, dtype=np.uint16).reshape(16, 20) * 10
COLOURS = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)


def dicom(pixels: np.ndarray = RAMP, syntax: str = EXPLICIT, **tags: Any) -> bytes:
    return dicom_file(pixels, syntax, **tags)


def grey(data: bytes) -> np.ndarray:
    return np.asarray(read_dicom(data, "x.dcm").image).astype(int)


def test_without_a_window_the_whole_range_is_shown() -> None:
    seen = grey(dicom())
    assert (seen.min(), seen.max()) == (0, 255)
    assert (np.diff(seen.ravel()) >= 0).all()


def test_monochrome1_is_inverted() -> None:
    flipped = grey(dicom(PhotometricInterpretation="MONOCHROME1"))
    assert (flipped == 255 - grey(dicom())).all()


def test_the_window_is_applied() -> None:
    seen = grey(dicom(WindowCenter=1600, WindowWidth=400, BitsStored=12, HighBit=11))
    assert (seen[RAMP < 1300] == 0).all()
    assert (seen[RAMP > 1900] == 255).all()
    assert 100 < seen[RAMP == 1600][0] < 155


def test_rescaling_comes_before_the_window() -> None:
    seen = grey(dicom(RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=2200,
                      WindowWidth=400, BitsStored=12, HighBit=11))  # fmt: skip
    assert 100 < seen[RAMP == 1600][0] < 155


def test_colour_stays_colour() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    assert (np.asarray(read_dicom(dicom(pixels), "x").image) == pixels).all()


def test_only_allowed_tags_are_read() -> None:
    data = dicom(PatientSex="F", PatientAge="045Y", BurnedInAnnotation="NO")
    read = read_dicom(data, "x")
    assert "Doe" not in repr(read)
    assert "SECRET" not in repr(read)
    assert read.tags["PatientSex"] == "F"
    header = read_dicom_header(data, "x")
    assert header.identity.patient == "SECRET-77"
    assert "Doe" not in repr(header)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"text", "not a DICOM file"),
        (dicom()[:-100], "cannot be decoded as transfer syntax|not a readable DICOM image"),
        (dicom(preamble=b"MZ" + bytes(126)), "program"),
        (dicom(preamble=b"\x7fELF" + bytes(124)), "program"),
        (dicom(NumberOfFrames=2), r"number of frames 2 in \(0028,0008\): multi-frame"),
        (dicom(Rows=60000, Columns=60000), r"60000 x 60000 pixels in \(0028,0011\).*too many"),
        (dicom(Rows=2), "no usable picture"),
        (dicom(Rows=None), r"no rows in \(0028,0010\)"),
        (dicom(SamplesPerPixel=7), r"samples per pixel 7 in \(0028,0002\): neither grey nor RGB"),
        (dicom(SamplesPerPixel=3), r"samples per pixel 3 in \(0028,0002\): MONOCHROME2 has 1"),
        (dicom(BitsAllocated=1), r"bits allocated 1 in \(0028,0100\): unsupported"),
        (dicom(BitsStored=None, HighBit=15), r"no bits stored in \(0028,0101\)"),
        (dicom(BitsStored=17), r"bits stored 17 in \(0028,0101\)"),
        (dicom(PixelRepresentation=None), r"no pixel representation in \(0028,0103\)"),
        (dicom(BitsStored=12, HighBit=17), r"high bit 17 in \(0028,0102\)"),
        (dicom(PixelData=b"\0\0"), r"pixel data in \(7FE0,0010\) cannot be decoded"),
        (dicom(PhotometricInterpretation="HSV"), r"interpretation HSV in \(0028,0004\)"),
        (dicom(PhotometricInterpretation=""), r"interpretation \(empty\) in \(0028,0004\)"),
        (dicom(COLOURS, PhotometricInterpretation="YBR_PARTIAL_420"), "YBR_PARTIAL_420 in"),
        (dicom(COLOURS, PhotometricInterpretation="CMYK"), "CMYK in"),
        (dicom(COLOURS, PlanarConfiguration=None), r"no planar configuration in \(0028,0006\)"),
        (dicom(COLOURS, PlanarConfiguration=7), r"planar configuration 7 in \(0028,0006\)"),
        (dicom(COLOURS, PixelRepresentation=1), "pixel representation 1"),
        (dicom(WindowCenter=90000, WindowWidth=400),
         r"window center 90000 in \(0028,1050\): with width 400 it shows none of the values, 0 to"),
        (dicom(WindowCenter="1000", WindowWidth="500")
         .replace(b"DS\x04\x001000", b"DS\x04\x00abcd"), r"window center abcd in \(0028,1050\)"),
        (dicom(PhotometricInterpretation="PALETTE COLOR"), r"no palette in \(0028,1101\)"),
        (dicom(WindowCenter=100, WindowWidth=0), r"window width 0 in \(0028,1051\)"),
        (dicom(WindowCenter=100, WindowWidth=0.5), r"window width 0.5 in \(0028,1051\)"),
        (dicom(WindowCenter=100, WindowWidth=-3), r"window width -3 in \(0028,1051\)"),
        (dicom(WindowCenter=1, WindowWidth=0, VOILUTFunction="SIGMOID"), "window width 0 in"),
        (dicom(WindowCenter=1, WindowWidth=0, VOILUTFunction="LINEAR_EXACT"), "window width 0 in"),
        (dicom(WindowCenter=1, WindowWidth=9, VOILUTFunction="CUBIC"),
         r"VOI LUT function CUBIC in \(0028,1056\)"),
        (dicom(RescaleSlope=0, RescaleIntercept=1), r"rescale slope 0 in \(0028,1053\)"),
        (dicom(np.zeros((16, 20), np.uint16), PixelPaddingValue=0), r"pixel padding value 0 in"),
        (encapsulated(RAMP, b"ab", "1.2.840.10008.1.2.4.100"),
         r"transfer syntax 1\.2\.840\.10008\.1\.2\.4\.100 .*not supported; decompress it"),
        (dicom(syntax="1.2.3.4.5", PixelData=b"\0\0"), r"transfer syntax 1\.2\.3\.4\.5 is not"),
        (encapsulated(RAMP.astype(np.uint8), jpeg_frame(COLOURS)), "16 x 16 pixels, and the"),
        (encapsulated(COLOURS[..., 0], jpeg_frame(COLOURS)), "a JPEG of 3 components"),
        (encapsulated(COLOURS, jpeg_frame(COLOURS)[:200]), "cannot be decoded as transfer syntax"),
        (encapsulated(COLOURS, b"no JPEG at all"), "cannot be decoded as transfer syntax"),
    ],
)  # fmt: skip
def test_what_is_hostile_or_of_no_use_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(UnreadableImage, match=why) as error:
        read_dicom(data, "x.dcm")
    assert "SECRET" not in str(error.value)
    assert "Doe" not in str(error.value)


def test_a_missing_decoder_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dicom(np.zeros((32, 32), np.uint8), JPEG_LS)
    monkeypatch.setattr(decoders, "find_spec", lambda name: None)
    with pytest.raises(UnreadableImage, match=r"JPEG-LS.*not installed.*install it: .*dicom"):
        read_dicom(data, "x")


@pytest.mark.parametrize("colour_space", [{}, {"keep_rgb": True}])
@pytest.mark.parametrize("kind", ["RGB", "YBR_FULL", "YBR_FULL_422"])
def test_the_markers_of_a_jpeg_say_its_colour_space(kind: str, colour_space: Any) -> None:
    """Headers that contradict the codestream are common: JFIF, or components named R, G, B."""
    smooth = np.asarray(Image.fromarray(COLOURS).resize((32, 32), Image.Resampling.BICUBIC))
    frame = jpeg_frame(smooth, subsampling=0, **colour_space)
    data = encapsulated(smooth, frame, PhotometricInterpretation=kind)
    seen = np.asarray(read_dicom(data, "x").image).astype(int)
    assert np.abs(seen - smooth).max() <= 10


def test_without_markers_the_header_says_the_colour_space() -> None:
    """The JFIF marker is cut out: RGB is then stored as it is, YBR_FULL is converted."""
    smooth = np.asarray(Image.fromarray(COLOURS).resize((32, 32), Image.Resampling.BICUBIC))
    frame = jpeg_frame(smooth, subsampling=0)
    frame = frame[:2] + frame[4 + int.from_bytes(frame[4:6], "big") :]
    ybr = read_dicom(encapsulated(smooth, frame, PhotometricInterpretation="YBR_FULL"), "x").image
    assert np.abs(np.asarray(ybr).astype(int) - smooth).max() <= 10
    plain = read_dicom(encapsulated(smooth, frame, PhotometricInterpretation="RGB"), "x").image
    expected = np.asarray(Image.fromarray(smooth).convert("YCbCr")).astype(int)
    assert np.abs(np.asarray(plain).astype(int) - expected).max() <= 10


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_without_preamble(syntax: str) -> None:
    bare = dicom(RAMP, syntax, preamble=None)
    assert is_dicom(bare)
    assert (grey(bare) == grey(dicom())).all()
    whole = dicom()
    assert (grey(whole[128:]) == grey(whole)).all()  # begins with DICM
    assert (grey(whole[132:]) == grey(whole)).all()  # begins with its file meta information


@pytest.mark.parametrize("data", [b"", b"\x08\0", b"\xff\xd8\xff\xe0" + bytes(200), b"a,b\n1,2\n",
                                  b"BM" + bytes(99), b"\x08\0\x05\0" + b"\xff" * 99])  # fmt: skip
def test_what_is_no_dicom(data: bytes) -> None:
    assert not is_dicom(data)


def test_the_value_may_lie_above_unused_bits() -> None:
    """Bits 4 to 15 hold the value, and something else lies below (PS3.5 8.1.1)."""
    twelve = RAMP.astype(np.uint16)
    seen = grey(dicom((twelve << 4) | 9, BitsStored=12, HighBit=15))
    assert (seen == grey(dicom(twelve, BitsStored=12))).all()


def test_unused_bits_above_the_value_do_not_count() -> None:
    twelve = RAMP.astype(np.uint16)
    seen = grey(dicom(twelve | 0xA000, BitsStored=12, HighBit=11))
    assert (seen == grey(dicom(twelve, BitsStored=12))).all()
    signed = (RAMP.astype(np.int16) - 1000) & 0x0FFF  # negative values of 12 bits, not extended
    seen = grey(dicom(signed.astype(np.int16), BitsStored=12, HighBit=11))
    assert (seen == grey(dicom((RAMP.astype(np.int16) - 1000), BitsStored=12))).all()


@pytest.mark.parametrize("padding", [65535, 63536])
def test_padding_beyond_the_bits_that_count(padding: int) -> None:
    """Values of 12 bits in cells of 16 that hold 65535 where nothing is."""
    cells = RAMP.copy()
    cells[:, :5] = padding
    seen = grey(dicom(cells, BitsStored=12, HighBit=11, PixelPaddingValue=padding))
    assert (seen[:, :5] == 0).all()
    assert (seen[:, 5:].min(), seen[:, 5:].max()) == (0, 255)


def test_padding_of_signed_pixels_may_be_written_unsigned() -> None:
    cells = RAMP.astype(np.int16) - 1000
    cells[:, :5] = -2000
    unsigned = grey(dicom(cells, IMPLICIT, PixelPaddingValue=-2000))
    assert (unsigned[:, :5] == 0).all()
    assert unsigned[:, 5:].min() == 0
    assert unsigned[:, 5:].max() == 255


def test_padding_is_black_in_monochrome1_too() -> None:
    cells = RAMP.copy()
    cells[:, :5] = 0
    seen = grey(dicom(cells, PixelPaddingValue=0, PhotometricInterpretation="MONOCHROME1"))
    assert (seen[:, :5] == 0).all()
    assert seen[:, 5:].max() == 255


@pytest.mark.parametrize("dtype", [np.uint32, np.int32])
@pytest.mark.parametrize("scale", [1, 1_000_000])
def test_greys_of_32_bits(dtype: Any, scale: int) -> None:
    least = 2**31 + 7 if dtype is np.uint32 else -(2**31)
    values = (np.arange(16 * 20).reshape(16, 20) * scale + least).astype(dtype)
    seen = grey(dicom(values))
    assert np.abs(seen - np.arange(16 * 20).reshape(16, 20) / 319 * 255).max() <= 0.5 + 1e-6


def test_a_constant_picture_has_its_place_in_the_range() -> None:
    seen = grey(dicom(np.full((16, 16), 128, np.uint8)))
    assert (seen == 128).all()


def lut(entries: list[int], first: int = 0, bits: int = 16, vr: str = "US") -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(entries), first, bits])
    raw = np.array(entries, "<u2").tobytes()
    item.add_new("LUTData", vr, entries if vr == "US" else raw)
    return item


@pytest.mark.parametrize("bits", [8, 16])
def test_a_table_whose_bits_are_declared_wrongly(bits: int) -> None:
    """Entries of 12 bits in a table that declares 8 or 16: neither clipped nor nearly black."""
    entries = np.linspace(0, 4095, 4000).astype(int).tolist()
    seen = grey(dicom(VOILUTSequence=[lut(entries, bits=bits)]))
    expected = np.array(entries)[RAMP] / 4095 * 255
    assert np.abs(seen - expected).max() <= 0.5 + 1e-9


def test_a_table_of_8_bits_may_have_more_than_256_entries() -> None:
    entries = np.linspace(0, 255, 4000).astype(int).tolist()
    seen = grey(dicom(VOILUTSequence=[lut(entries, bits=8)]))
    assert np.abs(seen - np.array(entries)[RAMP]).max() <= 0.5


def test_a_table_that_is_too_short_is_refused() -> None:
    item = lut(list(range(100)))
    item.LUTDescriptor = [4000, 0, 16]
    with pytest.raises(
        UnreadableImage, match=r"LUT data in \(0028,3006\) has 100 entries, and 4000"
    ):
        read_dicom(dicom(VOILUTSequence=[item]), "x")


def test_a_window_without_width_is_none() -> None:
    assert (grey(dicom(WindowCenter=100, WindowWidth="")) == grey(dicom())).all()


def test_the_frame_says_more_than_all_frames_and_these_more_than_the_file() -> None:
    def group(centre: float) -> list[Dataset]:
        macro, window = Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = centre, 100
        macro.FrameVOILUTSequence = [window]
        return [macro]

    frame = grey(dicom(WindowCenter=500, WindowWidth=100))
    more = {"SharedFunctionalGroupsSequence": group(900), "WindowCenter": 2000, "WindowWidth": 9}
    assert (grey(dicom(PerFrameFunctionalGroupsSequence=group(500), **more)) == frame).all()
    assert (grey(dicom(**more)) == grey(dicom(WindowCenter=900, WindowWidth=100))).all()


def test_deflated_files_are_read_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dicom(syntax=DEFLATED)
    assert (grey(data) == grey(dicom())).all()
    monkeypatch.setattr(dicom_module, "MAX_INFLATED", 500)
    with pytest.raises(UnreadableImage, match="deflated DICOM of more than") as caught:
        read_dicom(data, "x")
    assert caught.value.status == 413


@pytest.mark.parametrize("name", WIDE)
def test_colours_by_the_profile_of_the_file(name: str) -> None:
    """C.11.15: dermoscopy carries an ICC profile; one of sRGB leaves every pixel."""
    data = dicom(COLOURS, ICCProfile=profile(*WIDE[name], name))
    image = read_dicom(data, "x").image
    assert np.abs(np.asarray(image) - converted(COLOURS, *WIDE[name])).max() <= 2
    assert image.info == {}  # no second conversion, nor a profile in the PNG of import
    same = read_dicom(dicom(COLOURS, ICCProfile=profile(SRGB, 0.0, "sRGB")), "x").image
    assert (np.asarray(same) == COLOURS).all()


def test_side_and_view_from_codes() -> None:
    code, anatomy, group = Dataset(), Dataset(), Dataset()
    code.CodeValue, anatomy.FrameLaterality = "R-10226", "R"
    group.FrameAnatomySequence = [anatomy]
    data = dicom(ViewCodeSequence=[code], SharedFunctionalGroupsSequence=[group])
    tags = read_dicom(data, "x").tags
    assert (tags["ViewPosition"], tags["ImageLaterality"]) == ("MLO", "R")


@pytest.mark.parametrize("syntax", [EXPLICIT, DEFLATED, JPEG, JPEG_LS, JPEG_2000_LOSSLESS])
def test_import_and_server_give_the_same_pixels(
    syntax: str, folder: Callable[..., Path], tmp_path: Path
) -> None:
    rng, files = np.random.default_rng(0), {}
    for name in ("benign__a", "malignant__b", "malignant__c"):
        pixels = rng.integers(0, 255, (48, 40), np.uint8)
        files[name] = dicom(pixels, syntax, WindowCenter=120, WindowWidth=99)
    dataset = import_source(source_named("dicom"), folder(**files), tmp_path / "out")
    how = Preprocessing(size=32)
    for name, data in files.items():
        stored = Image.open(tmp_path / "out" / "images" / f"{name[-1]}.png")
        assert np.array_equal(read_view(data, how).pixels, prepare(stored, how))
    assert len(dataset.table) == 3


def test_ages() -> None:
    assert age_in_years("006W") == "0.115"
    assert age_in_years("45") == ""


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    def make(**files: bytes) -> Path:
        for name, data in files.items():
            path = tmp_path / "src" / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_suffix(".dcm").write_bytes(data)
        return tmp_path / "src"

    return make


def test_a_folder_of_dicom_files(folder: Callable[..., Path], tmp_path: Path) -> None:
    src = folder(
        benign__a=dicom(PatientSex="M", PatientAge="061Y", BodyPartExamined="SKIN"),
        benign__b=dicom(RAMP[::-1].copy()),
        malignant__c=dicom(RAMP[:, ::-1].copy(), PatientID="OTHER", BurnedInAnnotation="YES"),
        malignant__d=dicom(RAMP + 1, PatientID=None),
        malignant__e=dicom(NumberOfFrames=3),
    )
    dataset = import_source(None, src, tmp_path / "out", max_rejected=0.3)
    table = dataset.table.set_index("image_id")
    assert dataset.info.source == "dicom"
    assert table.loc["a", "patient_id"] == table.loc["b", "patient_id"] != ""
    assert table.loc["c", "patient_id"] not in ("", table.loc["a", "patient_id"])
    assert table.loc["d", "patient_id"] == ""
    assert tuple(table.loc["a", ["age", "sex", "site"]]) == (61, "male", "skin")
    assert all(p.endswith(".png") for p in table["path"])
    assert any("1 image declares burned-in text" in n for n in dataset.info.notes)
    assert [r["reason"] for r in dataset.info.counts["rejected"]] == [
        "number of frames 3 in (0028,0008): multi-frame files are not supported; export the frame "
        "that counts as a file of its own"]  # fmt: skip
    everything = b"".join(p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert b"SECRET" not in everything
    assert b"Doe" not in everything


def test_a_folder_without_readable_files(folder: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no readable DICOM files"):
        import_source(source_named("dicom"), folder(a__b=b"x"), tmp_path / "out")
